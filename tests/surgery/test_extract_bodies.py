"""extract around control flow and functions: captures at any depth, weights stored once, what is called comes along."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from cuts import assert_cut
from graphkit.graph import walk
from oracle import assert_same, run_ort, run_reference

X = np.array([[1, -2, 3], [-4, 5, 0.5]], np.float32)


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def names(values) -> list[str]:
    return [v.name for v in values]


BRANCH = """<ir_version: 8, opset_import: ["": 17]>
g (float[N, 3] x, bool c) => (float[N, 3] y) <float[3] w = {1, 2, 3}, float[3] unread = {0, 0, 0}>
{
  a = Neg(x)
  b = Exp(x)
  d = If(c) <
    then_branch = then_part () => (float[N, 3] t) { local = Mul(a, w)  t = Add(local, w) },
    else_branch = else_part () => (float[N, 3] e) {
      local = Abs(a)
      e = If(c) <then_branch = deep_then () => (float[N, 3] f) { f = Mul(local, w) },
                 else_branch = deep_else () => (float[N, 3] h) { h = Mul(local, b) }>
    }
  >
  y = Tanh(d)
}"""


@pytest.mark.parametrize("c", [True, False])
def test_what_bodies_read_comes_along_once(c) -> None:
    model = parsed(BRANCH)
    part = gk.extract(model, inputs=["x", "c"], outputs=["d"])
    assert [node.op_type for node in part.proto.graph.node] == ["Neg", "Exp", "If"]
    assert names(part.proto.graph.initializer) == ["w"]
    assert all(not body.initializer for body in walk.nested(part.proto.graph.node))
    assert_cut(model, part, {"x": X, "c": np.array(c)})


@pytest.mark.parametrize("c", [True, False])
def test_captured_values_as_inputs(c) -> None:
    model = parsed(BRANCH)
    part = gk.extract(model, inputs=["a", "b", "c"], outputs=["y"])
    assert [node.op_type for node in part.proto.graph.node] == ["If", "Tanh"]
    assert_cut(model, part, {"x": X, "c": np.array(c)})


def test_a_captured_weight_as_an_input() -> None:
    part = gk.extract(parsed(BRANCH), inputs=["x", "c", "w"], outputs=["d"])
    assert names(part.proto.graph.initializer) == []
    w = np.array([9, 9, 9], np.float32)
    assert_same(run_ort(part, {"x": X, "c": np.array(True), "w": w}), {"d": -X * w + w})


def test_a_capture_that_is_missing_leaves_the_cut_open() -> None:
    """``b`` is read only two bodies deep."""
    with pytest.raises(gk.CutError) as caught:
        gk.extract(parsed(BRANCH), inputs=["a", "c"], outputs=["y"])
    assert caught.value.missing == ("x",)
    assert caught.value.suggestion == ("b",)


def test_by_node_the_captures_are_inputs() -> None:
    model = parsed(BRANCH)
    model.graph.node[2].name = "branch"
    part = gk.extract(model, nodes=["branch"])
    assert names(part.proto.graph.input) == ["c", "a", "b"]
    assert_cut(model, part, {"x": X, "c": np.array(False)})


def test_a_captured_weight_is_stored_once_in_the_file(tmp_path) -> None:
    weight = np.random.default_rng(0).standard_normal((256, 256), np.float32)
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 256] x, bool c) => (float[N, 256] y) {
        a = Neg(x) y = If(c) <then_branch = p () => (float[N, 256] t) { t = MatMul(a, w) },
        else_branch = q () => (float[N, 256] e) { z = Abs(a) e = MatMul(z, w) }> }"""
    )
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "whole.onnx")
    gk.save(gk.extract(tmp_path / "whole.onnx", inputs=["a", "c"], outputs=["y"]), tmp_path / "part.onnx")
    assert weight.nbytes < (tmp_path / "part.onnx").stat().st_size < weight.nbytes + 4096
    a = np.ones((1, 256), np.float32)
    assert_same(run_ort(tmp_path / "part.onnx", {"a": a, "c": np.array(True)}), {"y": a @ weight}, rtol=1e-4, atol=1e-4)


LOOP = """<ir_version: 8, opset_import: ["": 17]>
g (float[3] x, int64 trips, bool go) => (float[3] last, float[K, 3] all) <float[3] w = {1, 2, 3}, int64 one = {1}>
{
  a = Neg(x)
  start = Exp(x)
  last, all = Loop(trips, go, start) <body = turn (int64 i, bool cond, float[3] carried) => (bool next, float[3] out, float[3] scanned) {
    next = Identity(cond)
    inner = Mul(carried, w)
    out, unused = Loop(one, cond, inner) <body = inner_turn (int64 j, bool cond2, float[3] held) => (bool next2, float[3] out2, float[3] seen) {
      next2 = Identity(cond2)
      out2 = Add(held, a)
      seen = Identity(x)
    }>
    scanned = Sub(out, a)
  }>
}"""


def test_loops_in_loops() -> None:
    model = parsed(LOOP)
    feeds = {"x": X[0], "trips": np.array(3), "go": np.array(True)}
    part = gk.extract(model, inputs=["a", "start", "trips", "go", "x"], outputs=["all"])
    assert [node.op_type for node in part.proto.graph.node] == ["Loop"]
    assert sorted(names(part.proto.graph.initializer)) == ["one", "w"]
    assert_cut(model, part, feeds, check=False)
    with pytest.raises(gk.CutError) as caught:
        gk.extract(model, inputs=["start", "trips", "go"], outputs=["all"])
    assert caught.value.suggestion == ("x",)


SCAN = """<ir_version: 8, opset_import: ["": 17]>
g (float[T, 3] x, float[3] s) => (float[3] total, float[T, 3] partial) <float[3] w = {1, 2, 3}>
{
  a = Mul(x, w)
  bias = Neg(s)
  total, partial = Scan <num_scan_inputs = 1, body = step (float[3] sum, float[3] row) => (float[3] out, float[3] kept) {
    shifted = Add(row, bias)
    out = Add(sum, shifted)
    kept = Mul(out, w)
  }> (s, a)
}"""


def test_scan() -> None:
    model = parsed(SCAN)
    part = gk.extract(model, inputs=["s", "a", "bias"], outputs=["partial"])
    assert [node.op_type for node in part.proto.graph.node] == ["Scan"]
    assert_cut(model, part, {"x": X, "s": np.ones(3, np.float32)})


def test_a_body_output_that_names_an_outer_value() -> None:
    """Valid ONNX; ONNX Runtime refuses it, in the whole model as well."""
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[3] x, bool c) => (float[3] y) <float[3] w = {1, 2, 3}>
        { a = Neg(x) b = Exp(x) y = If(c) <then_branch = p () => (float[3] a) { }, else_branch = q () => (float[3] w) { }> }"""
    )
    part = gk.extract(model, inputs=["x", "c"], outputs=["y"])
    assert [node.op_type for node in part.proto.graph.node] == ["Neg", "If"]
    assert names(part.proto.graph.initializer) == ["w"]
    for c, expected in ((True, -X[0]), (False, np.array([1, 2, 3], np.float32))):
        assert_same(run_reference(part, {"x": X[0], "c": np.array(c)}), {"y": expected})


def test_bodies_side_by_side_that_use_one_name() -> None:
    """``v`` is a value of the main graph; one body beside it has an own ``u``, which the other reads from outside."""
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[3] x, bool c) => (float[3] y, float[3] z)
        {
          u = Neg(x)
          y = If(c) <then_branch = p () => (float[3] t) { m = Exp(x) t = Neg(m) }, else_branch = q () => (float[3] e) { m = Abs(x) e = Neg(m) }>
          z = If(c) <then_branch = r () => (float[3] t2) { m = Exp(u) t2 = Neg(m) }, else_branch = s () => (float[3] e2) { e2 = Neg(x) }>
        }"""
    )
    part = gk.extract(model, inputs=["x", "c"], outputs=["y"])
    assert len(part.proto.graph.node) == 1
    assert_cut(model, part, {"x": X[0], "c": np.array(True)})
    part = gk.extract(model, inputs=["x", "c"], outputs=["z"])
    assert len(part.proto.graph.node) == 2
    assert_cut(model, part, {"x": X[0], "c": np.array(True)})


def test_thirty_bodies_deep(tmp_path) -> None:
    """About as deep as protobuf parses; the innermost reads a weight and a value of the main graph."""
    inner = helper.make_graph([helper.make_node("Mul", ["a", "w"], ["v30"])], "body30", [], [_value("v30")])
    for level in range(29, 0, -1):
        other = helper.make_graph(
            [helper.make_node("Neg", ["a"], [f"e{level}"])], f"else{level}", [], [_value(f"e{level}")]
        )
        branch = helper.make_node("If", ["c"], [f"v{level}"], then_branch=inner, else_branch=other)
        inner = helper.make_graph([branch], f"body{level}", [], [_value(f"v{level}")])
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[3] x, bool c) => (float[3] y) <float[3] w = {1, 2, 3}>
        { a = Neg(x) b = Exp(a) y = Abs(b) }"""
    )
    model.graph.node[1].CopyFrom(helper.make_node("If", ["c"], ["b"], then_branch=inner, else_branch=other))
    onnx.save(model, tmp_path / "deep.onnx")
    part = gk.extract(tmp_path / "deep.onnx", inputs=["x", "c"], outputs=["b"])
    gk.save(part, tmp_path / "part.onnx")
    again = gk.load(tmp_path / "part.onnx")
    assert names(again.proto.graph.initializer) == ["w"]
    feeds = {"x": X[0], "c": np.array(True)}
    assert_same(run_reference(again, feeds), {"b": -X[0] * np.array([1, 2, 3], np.float32)})


# --- functions


FUNCTIONS = """<ir_version: 10, opset_import: ["": 17, "local": 1, "other": 1, "unread": 3]>
g (float[N, 3] x, bool c) => (float[N, 3] y, float[N, 3] z)
{
  a = local.outer(x)
  b = If(c) <then_branch = p () => (float[N, 3] t) { t = other.in_a_body(a) },
             else_branch = q () => (float[N, 3] e) { e = Neg(a) }>
  y = Identity(b)
  z = other.elsewhere(x)
}
<domain: "local", opset_import: ["": 16]> inner (i) => (o) { o = Exp(i) }
<domain: "local", opset_import: ["": 17, "local": 1]> outer (i) => (o) { m = local.inner(i) o = Neg(m) }
<domain: "other", opset_import: ["": 17]> deeper (i) => (o) { o = Tanh(i) }
<domain: "other", opset_import: ["": 17, "other": 1]> in_a_body (i) => (o) { o = other.deeper(i) }
<domain: "other", opset_import: ["": 17]> elsewhere (i) => (o) { o = Abs(i) }
"""


def called(part: gk.Model) -> list[str]:
    return [f"{f.domain}.{f.name}{':' + f.overload if f.overload else ''}" for f in part.proto.functions]


def test_functions_that_call_functions_and_those_called_in_a_body() -> None:
    model = parsed(FUNCTIONS)
    part = gk.extract(model, outputs=["y"])
    assert called(part) == ["local.inner", "local.outer", "other.deeper", "other.in_a_body"]
    assert [(o.domain, o.version) for o in part.proto.opset_import] == [
        (o.domain, o.version) for o in model.opset_import
    ]
    assert list(part.proto.functions) == list(model.functions)[:4]
    assert_cut(model, part, {"x": X, "c": np.array(True)})
    assert_cut(model, gk.extract(model, inputs=["a", "c"], outputs=["y"]), {"x": X, "c": np.array(True)})
    assert called(gk.extract(model, outputs=["a"])) == ["local.inner", "local.outer"]
    assert called(gk.extract(model, inputs=["b"], outputs=["y"])) == []


def overloaded() -> onnx.ModelProto:
    def function(overload: str, op: str) -> onnx.FunctionProto:
        made = helper.make_function(
            "local", "f", ["i"], ["o"], [helper.make_node(op, ["i"], ["o"])], [helper.make_opsetid("", 17)]
        )
        made.overload = overload
        return made

    def call(overload: str, source: str, target: str) -> onnx.NodeProto:
        node = helper.make_node("f", [source], [target], domain="local")
        node.overload = overload
        return node

    graph = helper.make_graph(
        [call("first", "x", "a"), call("second", "a", "b"), call("", "b", "y")], "g", [_value("x")], [_value("y")]
    )
    return helper.make_model(
        graph,
        functions=[function("", "Abs"), function("first", "Neg"), function("second", "Exp")],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
        ir_version=10,
    )


def test_overloads_are_told_apart() -> None:
    model = overloaded()
    x = X[0]
    part = gk.extract(model, outputs=["b"], input_types={"b": "float32[3]"})
    assert called(part) == ["local.f:first", "local.f:second"]
    assert list(part.proto.functions) == list(model.functions)[1:]
    assert_same(run_ort(part, {"x": x}), {"b": np.exp(-x)})
    part = gk.extract(model, inputs=["b"], input_types={"b": "float32[3]"})
    assert called(part) == ["local.f"]
    assert_same(run_ort(part, {"b": x}), {"y": np.abs(x)})


@pytest.mark.parametrize(("defined", "used"), [("ai.onnx", ""), ("", "ai.onnx")])
def test_the_default_domain_has_two_spellings(defined, used) -> None:
    """Also for the functions of a model, and for Constant nodes."""
    model = parsed(
        """<ir_version: 10, opset_import: ["": 17]> g (float[3] x) => (float[3] y)
        { a = Twice(x) k = Constant<value_float = 2.0>() y = Mul(a, k) }
        <domain: "", opset_import: ["": 17]> Twice (i) => (o) { o = Add(i, i) }"""
    )
    model.functions[0].domain = defined
    for node in model.graph.node:
        node.domain = used
    part = gk.extract(model, inputs=["x"], outputs=["a"], input_types={"a": "float32[3]"})
    assert len(part.proto.functions) == 1
    model.graph.node[2].name = "last"
    part = gk.extract(model, nodes=["last"], input_types={"a": "float32[3]"})
    assert names(part.proto.graph.input) == ["a"]
    assert len(part.proto.functions) == 0


def test_default_attributes_and_attribute_references_come_along() -> None:
    model = parsed(
        """<ir_version: 9, opset_import: ["": 17, "local": 1]> g (float[3] x) => (float[3] y, float[3] z)
        { a = local.leaky(x) y = local.leaky<alpha = 0.5>(a) z = Neg(x) }
        <domain: "local", opset_import: ["": 17]> leaky <alpha: float = 0.25> (i) => (o) { o = LeakyRelu<alpha: float = @alpha>(i) }"""
    )
    part = gk.extract(model, outputs=["y"])
    assert list(part.proto.functions) == list(model.functions)
    leaky = np.where(X[0] < 0, X[0] * 0.125, X[0]).astype(np.float32)
    assert_same(run_ort(part, {"x": X[0]}), {"y": leaky})  # the reference evaluator does not fill in the defaults


def test_a_gradient_needs_the_value_that_it_differentiates() -> None:
    """ai.onnx.preview.training: no edge leads to ``loss``; nobody runs it here, so the nodes are what is looked at."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["loss"]),
        helper.make_node("Gradient", ["x"], ["dx"], domain="ai.onnx.preview.training", xs=["x"], y="loss"),
    ]
    graph = helper.make_graph(nodes, "g", [_value("x")], [_value("dx")])
    opsets = [helper.make_opsetid("", 12), helper.make_opsetid("ai.onnx.preview.training", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=7)
    part = gk.extract(model, outputs=["dx"])
    assert [node.op_type for node in part.proto.graph.node] == ["Mul", "Gradient"]
    onnx.checker.check_model(part.proto)
    renamed = gk.rename(model, values={"loss": "total", "x": "image"})
    gradient = {a.name: onnx.helper.get_attribute_value(a) for a in renamed.proto.graph.node[1].attribute}
    assert gradient == {"xs": [b"image"], "y": b"total"}


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [3])

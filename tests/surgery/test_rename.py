"""rename: every place that writes a name follows, in its scope, and the model computes what it did."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import graphkit as gk
from graphkit.graph import walk
from oracle import assert_same, run_ort, run_reference

X = np.array([[1, -2, 3], [-4, 5, 0.5]], np.float32)

NET = """<ir_version: 8, opset_import: ["": 17]>
net (float[N, 3] x, bool c) => (float[N, 3] y, float[N, 3] b) <float[3] w = {1, 2, 3}, float[3] v = {-1, 0, 1}, float[N, 3] a>
{
  [first] a = Mul(x, w)
  [branch] b = If(c) <
    then_branch = then_part () => (float[N, 3] t) { m = Add(a, v)  t = Mul(m, w) },
    else_branch = else_part () => (float[N, 3] e) {
      m = Neg(a)
      e = If(c) <then_branch = deep () => (float[N, 3] f) { f = Mul(m, w) }, else_branch = deep2 () => (float[N, 3] h) { h = Sub(m, a) }>
    }
  >
  [last] y = Tanh(b)
}"""


@pytest.fixture
def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(NET)


def all_names(model: gk.Model) -> set[str]:
    return {
        name
        for scope in walk.graphs(model.proto.graph)
        for name in (
            *walk.defined_names(scope),
            *walk.free_names(scope),
            *(v.name for v in (*scope.value_info, *scope.output)),
        )
    }


@pytest.mark.parametrize("c", [True, False])
@pytest.mark.parametrize(
    "table",
    [
        {"a": "hidden"},
        {"x": "image", "y": "logits", "c": "flag"},
        {"w": "weight", "v": "bias", "b": "branched"},
        {"a": "b", "b": "a"},
        {"w": "v", "v": "w"},
        {"a": "b", "b": "y", "y": "x", "x": "a"},
        {"a": "a"},
    ],
    ids=str,
)
def test_the_numbers_stay_under_other_names(model, table, c) -> None:
    feeds = {"x": X, "c": np.array(c)}
    renamed = gk.rename(model, values=table)
    onnx.checker.check_model(renamed.proto, full_check=True)
    fed = {table.get(name, name): value for name, value in feeds.items()}
    expected = {table.get(name, name): value for name, value in run_reference(model, feeds).items()}
    assert_same(run_reference(renamed, fed), expected)
    assert_same(run_ort(renamed, fed), expected)
    gone = table.keys() - set(table.values())
    assert not gone & all_names(renamed)
    assert model == onnx.parser.parse_model(NET)


def test_names_of_bodies_stay_and_siblings_are_apart(model) -> None:
    """``m`` is a name in each branch, and none of the main graph."""
    with pytest.raises(gk.NameNotFoundError, match=r"write 'branch\.then_branch/m'"):
        gk.rename(model, values={"m": "middle"})
    renamed = gk.rename(model, values={"a": "hidden"})
    bodies = list(walk.graphs(renamed.proto.graph))[1:]
    assert [node.output[0] for body in bodies for node in body.node] == ["m", "t", "m", "e", "f", "h"]
    assert [set(walk.free_names(body)) for body in bodies] == [
        {"hidden", "v", "w"},
        {"c", "hidden", "w"},
        {"m", "w"},
        {"m", "hidden"},
    ]


@pytest.mark.parametrize("taken", ["x", "w", "y", "b", "m", "f", "h"])
def test_a_name_that_another_value_has_in_any_scope_is_refused(model, taken) -> None:
    """In a body it would be shadowed, or shadow."""
    with pytest.raises(
        gk.NameTakenError, match=f"'a' cannot become '{taken}': a value of the model has that name"
    ) as caught:
        gk.rename(model, values={"a": taken})
    assert caught.value.name == taken


def test_two_that_get_one_name(model) -> None:
    with pytest.raises(gk.NameTakenError, match="'w' cannot become 'q'"):
        gk.rename(model, values={"a": "q", "w": "q"})


def test_a_name_that_is_read_and_nowhere_defined_is_taken() -> None:
    model = onnx.parser.parse_model(NET.replace("Tanh(b)", "Add(b, ghost)"))
    with pytest.raises(gk.NameTakenError):
        gk.rename(model, values={"a": "ghost"})


def test_values_and_nodes_are_named_apart(model) -> None:
    """As ONNX has it: a value may have the name of a node."""
    renamed = gk.rename(model, values={"a": "last"}, nodes={"first": "x"}).proto.graph
    assert renamed.node[0].output[0] == "last"
    assert [node.name for node in renamed.node] == ["x", "branch", "last"]


def test_nodes(model) -> None:
    renamed = gk.rename(model, nodes={"first": "last", "last": "first"}).proto.graph
    assert [node.name for node in renamed.node] == ["last", "branch", "first"]
    with pytest.raises(gk.NameTakenError, match="'first' cannot become 'branch': a node of the model has that name"):
        gk.rename(model, nodes={"first": "branch"})
    with pytest.raises(gk.NameNotFoundError, match="no node named 'frist'"):
        gk.rename(model, nodes={"frist": "q"})


def test_a_node_without_a_name_is_named_by_what_it_makes(model) -> None:
    model.graph.node[0].ClearField("name")
    assert gk.rename(model, nodes={"a": "first"}).proto.graph.node[0].name == "first"


def test_a_name_that_several_nodes_have(model) -> None:
    model.graph.node[0].name = "last"
    with pytest.raises(gk.NameNotFoundError, match="2 nodes have this name"):
        gk.rename(model, nodes={"last": "q"})


def test_quantization_annotations_follow(model) -> None:
    for tensor, scale in (("x", "w"), ("a", "v")):
        model.graph.quantization_annotation.add(tensor_name=tensor).quant_parameter_tensor_names.add(
            key="SCALE_TENSOR", value=scale
        )
    renamed = gk.rename(model, values={"x": "a", "a": "x", "w": "scale"}).proto.graph
    found = [(a.tensor_name, a.quant_parameter_tensor_names[0].value) for a in renamed.quantization_annotation]
    assert found == [("a", "scale"), ("x", "v")]


def test_annotations_in_bodies_follow_in_their_scope(model) -> None:
    body = next(walk.bodies(model.graph.node[1]))
    for tensor in ("m", "a"):
        body.quantization_annotation.add(tensor_name=tensor).quant_parameter_tensor_names.add(
            key="SCALE_TENSOR", value="w"
        )
    renamed = gk.rename(model, values={"a": "hidden", "w": "scale"})
    found = next(walk.bodies(renamed.proto.graph.node[1])).quantization_annotation
    assert [(a.tensor_name, a.quant_parameter_tensor_names[0].value) for a in found] == [
        ("m", "scale"),
        ("hidden", "scale"),
    ]


def test_sparse_initializers_and_sharding_follow(model) -> None:
    sparse = model.graph.sparse_initializer.add(dims=[4])
    sparse.values.name, sparse.indices.name = "s", "s_indices"
    model.graph.node[2].input.append("s")
    spec = model.graph.node[2].device_configurations.add(configuration_id="two").sharding_spec
    spec.add(tensor_name="b")
    spec.add(tensor_name="s")
    renamed = gk.rename(model, values={"s": "sparse", "b": "branched"}).proto.graph
    assert renamed.sparse_initializer[0].values.name == "sparse"
    assert renamed.node[2].input == ["branched", "sparse"]
    assert [s.tensor_name for s in renamed.node[2].device_configurations[0].sharding_spec] == ["branched", "sparse"]


def test_training_follows(model) -> None:
    """The algorithm is one graph with the main graph (onnx.in.proto); initialization is a graph of its own."""
    training = model.training_info.add()
    training.initialization.node.add(op_type="RandomNormal", output=["a"])
    training.initialization.output.add(name="a")
    training.initialization_binding.add(key="w", value="a")
    training.algorithm.node.add(op_type="Sub", input=["w", "y"], output=["better"])
    training.algorithm.output.add(name="better")
    training.update_binding.add(key="w", value="better")
    renamed = gk.rename(model, values={"w": "weight", "y": "out", "a": "hidden"}).proto.training_info[0]
    assert renamed.algorithm.node[0].input == ["weight", "out"]
    assert [(e.key, e.value) for e in renamed.update_binding] == [("weight", "better")]
    assert [(e.key, e.value) for e in renamed.initialization_binding] == [("weight", "a")]
    assert renamed.initialization == training.initialization
    with pytest.raises(gk.NameTakenError, match="'better'"):
        gk.rename(model, values={"a": "better"})


def test_a_body_that_has_the_name_as_its_own_keeps_it() -> None:
    """Not valid ONNX (shadowing is forbidden), but seen; what the body means is its own value."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[3] x, bool c) => (float[3] y) {
        a = Neg(x) y = If(c) <then_branch = p () => (float[3] t) { a = Exp(x) t = Neg(a) }, else_branch = q () => (float[3] e) { e = Neg(a) }> }"""
    )
    graph = gk.rename(model, values={"a": "hidden"}).proto.graph
    then, other = walk.bodies(graph.node[1])
    assert [list(node.input) for node in then.node] == [["x"], ["a"]]
    assert [list(node.input) for node in other.node] == [["hidden"]]


def test_loop_bodies_follow_where_they_capture() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[3] x, int64 n, bool go) => (float[3] y) {
        a = Neg(x) y = Loop(n, go, x) <body = turn (int64 i, bool cond, float[3] s) => (bool next, float[3] out) { next = Identity(cond) out = Add(s, a) }> }"""
    )
    feeds = {"x": X[0], "n": np.array(3), "go": np.array(True)}
    renamed = gk.rename(model, values={"a": "step", "n": "trips"})
    assert_same(run_ort(renamed, {"x": X[0], "trips": np.array(3), "go": np.array(True)}), run_ort(model, feeds))


def test_history_says_what_was_renamed(model) -> None:
    notes = ("renamed 1 value: 'a' to 'q'",)
    assert gk.rename(model, values={"a": "q"}).history == (gk.Step("rename", {"values": {"a": "q"}}, notes),)
    notes = ("renamed 1 node: 'first' to 'q'",)
    assert gk.rename(model, nodes={"first": "q"}).history == (gk.Step("rename", {"nodes": {"first": "q"}}, notes),)


def test_weights_keep_their_bytes(tmp_path) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N, 64] x) => (float[N, 64] y) { y = MatMul(x, w) }'
    )
    weight = np.random.default_rng(0).standard_normal((64, 64), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    renamed = gk.rename(tmp_path / "m.onnx", values={"w": "weight", "x": "in"})
    assert_same(renamed.array("weight"), weight)
    gk.save(renamed, tmp_path / "out.onnx")
    x = np.ones((1, 64), np.float32)
    assert_same(run_ort(tmp_path / "out.onnx", {"in": x}), {"y": x @ weight}, rtol=1e-4, atol=1e-4)


def test_wrong_arguments(model) -> None:
    with pytest.raises(gk.NameNotFoundError, match="no value named 'q'"):
        gk.rename(model, values={"q": "r"})
    with pytest.raises(gk.EditError, match="the new name of 'a' is empty"):
        gk.rename(model, values={"a": ""})
    with pytest.raises(ValueError, match="needs at least one"):
        gk.rename(model)


def test_a_graph_of_many_nodes_and_one_of_many_bodies() -> None:
    graph = onnx.GraphProto(name="g")
    graph.input.append(helper.make_tensor_value_info("v0", TensorProto.FLOAT, [1]))
    for k in range(20_000):
        graph.node.add(op_type="Neg", input=[f"v{k}"], output=[f"v{k + 1}"])
    model = helper.make_model(graph)
    renamed = gk.rename(model, values={f"v{k}": f"w{k}" for k in range(20_001)}).proto.graph
    assert [renamed.input[0].name, renamed.node[0].input[0], renamed.node[-1].output[0]] == ["w0", "w0", "w20000"]


NESTED = """<ir_version: 8, opset_import: ["": 17, "my": 1]> g (float[2,3] x, bool c) => (float[2,3] y) <float[2,3] m.a> {
  [m.neg] m.a = Neg(x)
  [m.if] y = If(c) <
    then_branch = t () => (float[2,3] m.u) { [m.exp] m.b = Exp(m.a) [m.call] m.u = my.F(m.b) },
    else_branch = e () => (float[2,3] m.u) { [m.exp] m.b = Abs(m.a) m.u = Neg(m.b) }>
}
<domain: "my", opset_import: ["": 17]> F (m.p) => (m.q) { m.h = Sqrt(m.p) m.q = Add(m.h, m.p) }"""


def nested():
    """The parser takes no dots in names, models have them."""
    return gk.rename(onnx.parser.parse_model(NESTED.replace("m.", "m_")), regex={"^m_": "m."})


@pytest.mark.parametrize("c", [True, False])
def test_patterns_and_prefixes_reach_bodies_and_functions(c) -> None:
    model = nested()
    feeds = {"x": -np.ones((2, 3), np.float32), "c": np.array(c)}
    expected = run_ort(model, feeds)
    names = re.findall(rb"m\.\w+", model.proto.SerializeToString())
    assert len(names) == 24
    for edited, wanted in (
        (gk.rename(model, regex={r"^m\.(\w+)$": r"\1.m"}), 0),
        (gk.rename(model, regex={"^m\\.": ""}), 0),
        (gk.rename(model, prefix="net/"), 24),
    ):
        onnx.checker.check_model(edited.proto, full_check=True)
        assert_same(run_ort(edited, feeds), expected)
        assert len(re.findall(rb"m\.\w+", edited.proto.SerializeToString())) == wanted
    assert [v.name for v in gk.rename(model, prefix="net/").proto.graph.value_info] == ["net/m.a"]
    assert gk.rename(model, prefix="net/").nodes[1].name == "net/m.if"


def test_an_address_names_one_body_or_one_function() -> None:
    model = nested()
    edited = gk.rename(
        model,
        values={"m.if.then_branch/m.b": "inner", "function:my::F/m.h": "root", "m.a": "outer"},
        nodes={"m.if.else_branch/m.exp": "abs", "m.if.else_branch/m.u": "last"},
    )
    then, other = (attribute.g for attribute in edited.nodes[1].attribute)
    assert [list(node.input) for node in then.node] == [["outer"], ["inner"]]
    assert [list(node.input) for node in other.node] == [["outer"], ["m.b"]]
    assert [node.name for node in other.node] == ["abs", "last"]
    assert list(edited.proto.functions[0].node[1].input) == ["root", "m.p"]
    feeds = {"x": -np.ones((2, 3), np.float32), "c": np.array(True)}
    assert_same(run_ort(edited, feeds), run_ort(model, feeds))


def test_patterns_that_make_two_names_one_are_refused() -> None:
    with pytest.raises(gk.NameTakenError, match="has that name already"):
        gk.rename(nested(), regex={r"m\.[ab]$": "same"})
    with pytest.raises(gk.EditError, match="no value and no node"):
        gk.rename(nested(), regex={"nowhere": "x"})
    with pytest.raises(gk.EditError, match="no replacement"):
        gk.rename(nested(), regex={"m": r"\3"})
    with pytest.raises(gk.EditError, match="is empty"):
        gk.rename(nested(), regex={r"m\.a": ""})
    with pytest.raises(gk.NameTakenError, match=r"'m\.u' cannot become 'x'"):
        gk.rename(nested(), values={"m.if.then_branch/m.u": "x"})

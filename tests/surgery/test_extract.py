"""extract by names of values and of nodes: what is taken, what is refused, and that it runs."""

import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from cuts import assert_cut
from graphkit.graph.values import format_type
from oracle import assert_same, run_ort, run_reference

X = np.array([[1, -2, 3], [-4, 5, 0.5]], np.float32)

NET = """<ir_version: 8, opset_import: ["": 17]>
net (float[N, 3] x, float[N, 3] z) => (float[N, 3] y) <float[3] w = {1, 2, 3}, float[3] bias = {-1, 0, 1}>
{
  [first] a = Mul(x, w)
  [second] b = Add(a, bias)
  [third] c = Relu(b)
  [side] d = Neg(z)
  [last] y = Add(c, d)
}"""


def parsed(text: str = NET) -> onnx.ModelProto:
    return onnx.parser.parse_model(text)


def inputs(model: gk.Model) -> dict[str, str]:
    return {v.name: format_type(v.type) for v in model.proto.graph.input}


def outputs(model: gk.Model) -> dict[str, str]:
    return {v.name: format_type(v.type) for v in model.proto.graph.output}


def nodes(model: gk.Model) -> list[str]:
    return [node.name or node.output[0] for node in model.proto.graph.node]


@pytest.fixture
def feeds():
    return {"x": X, "z": X[::-1].copy()}


# --- by values


def test_from_a_value_to_a_value(feeds) -> None:
    model = parsed()
    part = gk.extract(model, inputs=["a"], outputs=["c"])
    assert (inputs(part), outputs(part)) == ({"a": "float32[N,3]"}, {"c": "float32[N,3]"})
    assert nodes(part) == ["second", "third"]
    assert [t.name for t in part.proto.graph.initializer] == ["bias"]
    assert_cut(model, part, feeds)
    assert model == parsed()


def test_without_inputs_from_the_graph_inputs_that_are_needed(feeds) -> None:
    part = gk.extract(parsed(), outputs=["b"])
    assert list(inputs(part)) == ["x"]
    assert_cut(parsed(), part, feeds)


def test_without_outputs_to_the_graph_outputs(feeds) -> None:
    part = gk.extract(parsed(), inputs=["c", "d"])
    assert list(outputs(part)) == ["y"]
    assert_cut(parsed(), part, feeds)


def test_inputs_and_outputs_stand_in_the_order_given(feeds) -> None:
    part = gk.extract(parsed(), inputs=["d", "c"], outputs=["y", "c"])
    assert list(inputs(part)) == ["d", "c"]
    assert list(outputs(part)) == ["y", "c"]
    assert_cut(parsed(), part, feeds)


def test_more_outputs_than_the_model_has(feeds) -> None:
    part = gk.extract(parsed(), inputs=["x", "z"], outputs=["b", "y", "a"])
    assert list(outputs(part)) == ["b", "y", "a"]
    assert_cut(parsed(), part, feeds)


def test_a_path_a_proto_and_a_model_give_the_same(tmp_path) -> None:
    onnx.save(parsed(), tmp_path / "net.onnx")
    loaded = gk.load(tmp_path / "net.onnx")
    parts = [
        gk.extract(m, inputs=["a"], outputs=["c"])
        for m in (str(tmp_path / "net.onnx"), tmp_path / "net.onnx", parsed(), loaded)
    ]
    assert all(part.proto == parts[0].proto for part in parts)
    assert loaded.proto == parsed()
    assert loaded.history == ()
    assert parts[3].history == (gk.Step("extract", {"inputs": ["a"], "outputs": ["c"]}, ()),)


def test_what_comes_out_can_be_saved_and_cut_again(tmp_path, feeds) -> None:
    part = gk.extract(parsed(), inputs=["x", "z"], outputs=["y"])
    gk.save(gk.extract(part, inputs=["b"], outputs=["c"]), tmp_path / "part.onnx")
    assert_same(run_ort(tmp_path / "part.onnx", {"b": X}), {"c": np.maximum(X, 0)})


def test_a_large_weight_is_found_again_behind_two_cuts(tmp_path) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 64), np.float32)
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 64] x) => (float[N, 64] y)
        { a = MatMul(x, w) b = MatMul(a, w) c = Neg(b) y = MatMul(c, w) }"""
    )
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "whole.onnx")
    part = gk.extract(gk.extract(tmp_path / "whole.onnx", inputs=["a"]), outputs=["b"])
    gk.save(part, tmp_path / "part.onnx")
    a = np.ones((2, 64), np.float32)
    assert_same(run_ort(tmp_path / "part.onnx", {"a": a}), {"b": a @ weight}, rtol=1e-4, atol=1e-4)


# --- by nodes


def test_by_the_name_of_a_node(feeds) -> None:
    part = gk.extract(parsed(), nodes=["second"])
    assert (list(inputs(part)), list(outputs(part)), nodes(part)) == (["a"], ["b"], ["second"])
    assert_cut(parsed(), part, feeds)


def test_by_the_value_that_a_nameless_node_makes(feeds) -> None:
    text = NET.replace("[second] ", "")
    part = gk.extract(parsed(text), nodes=["b", "third"])
    assert (list(inputs(part)), list(outputs(part))) == (["a"], ["c"])
    assert_cut(parsed(text), part, feeds)


def test_with_the_nodes_some_steps_around(feeds) -> None:
    part = gk.extract(parsed(), nodes=["second"], hops=1)
    assert (list(inputs(part)), list(outputs(part)), nodes(part)) == (["x"], ["c"], ["first", "second", "third"])
    assert_cut(parsed(), part, feeds)
    whole = gk.extract(parsed(), nodes=["second"], hops=9)
    assert (list(inputs(whole)), list(outputs(whole))) == (["x", "z"], ["y"])
    assert_cut(parsed(), whole, feeds)


def test_two_nodes_apart(feeds) -> None:
    part = gk.extract(parsed(), nodes=["third", "first"])
    assert (list(inputs(part)), list(outputs(part))) == (["x", "b"], ["a", "c"])
    assert_cut(parsed(), part, feeds)


def test_a_name_that_several_nodes_have() -> None:
    text = NET.replace("[second]", "[same]").replace("[third]", "[same]")
    with pytest.raises(gk.NameNotFoundError, match="2 nodes have this name; name one by its output: 'b', 'c'"):
        gk.extract(parsed(text), nodes=["same"])
    assert nodes(gk.extract(parsed(text), nodes=["b"])) == ["same"]


def test_cuts_through_nodes_that_share_a_name(feeds) -> None:
    text = NET.replace("[second]", "[same]").replace("[third]", "[same]").replace("[first]", "[same]")
    part = gk.extract(parsed(text), inputs=["a"], outputs=["c"])
    assert [node.op_type for node in part.proto.graph.node] == ["Add", "Relu"]
    assert_cut(parsed(text), part, feeds, ort=False)  # ONNX Runtime wants names of nodes to differ; ONNX does not


def test_a_node_whose_second_result_nobody_reads_gives_the_first() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2, 4] x) => (float[2, 4] y)
        { [drop] a, mask = Dropout(x) y = Neg(a) }"""
    )
    assert list(outputs(gk.extract(model, nodes=["drop"]))) == ["a"]


# --- inputs and outputs that are special


def test_an_initializer_as_an_input_is_required(feeds) -> None:
    part = gk.extract(parsed(), inputs=["x", "w"], outputs=["a"])
    assert inputs(part) == {"x": "float32[N,3]", "w": "float32[3]"}
    assert [t.name for t in part.proto.graph.initializer] == []
    w = np.array([2, 2, 2], np.float32)
    for run in (run_ort, run_reference):
        assert_same(run(part, {"x": X, "w": w}), {"a": X * w})


def test_an_initializer_as_an_output() -> None:
    part = gk.extract(parsed(), inputs=["x"], outputs=["w", "a"])
    for run in (run_ort, run_reference):
        answer = run(part, {"x": X})
        assert_same(answer["w"], np.array([1, 2, 3], np.float32))
        assert_same(answer["a"], X * answer["w"])


def test_an_input_as_an_output(feeds) -> None:
    part = gk.extract(parsed(), inputs=["b"], outputs=["b", "c"])
    for run in (run_ort, run_reference):
        assert_same(run(part, {"b": X}), {"b": X, "c": np.maximum(X, 0)})


def test_a_graph_input_as_an_output(feeds) -> None:
    part = gk.extract(parsed(), outputs=["z", "a"])
    assert list(inputs(part)) == ["x", "z"]
    for run in (run_ort, run_reference):
        assert_same(run(part, feeds), {"z": feeds["z"], "a": X * np.array([1, 2, 3], np.float32)})


def test_an_initializer_that_is_input_and_output_at_once() -> None:
    part = gk.extract(parsed(), inputs=["x", "w"], outputs=["w", "a"])
    w = np.array([5, 5, 5], np.float32)
    assert_same(run_ort(part, {"x": X, "w": w}), {"w": w, "a": X * w})


def test_an_input_that_no_output_needs_is_kept_and_said(feeds) -> None:
    with pytest.warns(gk.GraphkitWarning, match="no output needs the input 'z'; it is kept") as caught:
        part = gk.extract(parsed(), inputs=["x", "z"], outputs=["b"])
    assert [w.filename for w in caught] == [__file__]
    assert list(inputs(part)) == ["x", "z"]
    assert_cut(parsed(), part, feeds)


def test_an_input_upstream_of_another_is_one_that_no_output_needs(feeds) -> None:
    with pytest.warns(gk.GraphkitWarning, match="no output needs the input 'x'"):
        part = gk.extract(parsed(), inputs=["x", "a"], outputs=["c"])
    assert nodes(part) == ["second", "third"]


@pytest.mark.parametrize("role", ["inputs", "outputs"])
def test_a_name_given_twice(role) -> None:
    names = {"inputs": ["x"], "outputs": ["a"]}
    names[role] *= 2
    with pytest.raises(gk.CutError, match=f"the {role[:-1]} '{names[role][0]}' is given 2 times"):
        gk.extract(parsed(), **names)


def test_an_overridable_default_stays_one() -> None:
    model = parsed(NET.replace("float[N, 3] z)", "float[N, 3] z, float[3] w)"))
    part = gk.extract(model, inputs=["x"], outputs=["b"])
    assert list(inputs(part)) == ["x", "w"]
    w = np.array([7, 7, 7], np.float32)
    bias = np.array([-1, 0, 1], np.float32)
    assert_same(run_ort(part, {"x": X}), {"b": X * np.array([1, 2, 3], np.float32) + bias})
    assert_same(run_ort(part, {"x": X, "w": w}), {"b": X * w + bias})
    assert list(inputs(gk.extract(model, inputs=["a"], outputs=["b"]))) == ["a"]


def test_an_overridable_default_as_an_input_is_required() -> None:
    model = parsed(NET.replace("float[N, 3] z)", "float[N, 3] z, float[3] w)"))
    part = gk.extract(model, inputs=["x", "w"], outputs=["a"])
    assert [t.name for t in part.proto.graph.initializer] == []
    w = np.array([7, 7, 7], np.float32)
    assert_same(run_ort(part, {"x": X, "w": w}), {"a": X * w})


def test_inputs_of_the_file_keep_their_order_among_defaults() -> None:
    model = parsed(NET.replace("(float[N, 3] x, ", "(float[N, 3] x, float[3] w, "))
    assert list(inputs(gk.extract(model, outputs=["y"]))) == ["x", "w", "z"]
    assert list(inputs(gk.extract(model, inputs=["z", "x"], outputs=["y"]))) == ["z", "x", "w"]


def test_below_ir_4_every_initializer_stays_listed() -> None:
    old = (
        NET.replace("ir_version: 8", "ir_version: 3")
        .replace('"": 17', '"": 8')
        .replace("float[N, 3] z)", "float[N, 3] z, float[3] w, float[3] bias)")
    )
    part = gk.extract(parsed(old), inputs=["a"], outputs=["c"])
    assert list(inputs(part)) == ["a", "bias"]
    onnx.checker.check_model(part.proto, full_check=True)
    assert_same(run_ort(part, {"a": X}), {"c": np.maximum(X + np.array([-1, 0, 1], np.float32), 0)})


# --- one of several results of a node


SPLIT = """<ir_version: 8, opset_import: ["": 17]>
net (float[4] x) => (float[2] y) <int64[2] sizes = {2, 2}>
{ left, right = Split(x, sizes)  l = Neg(left)  r = Exp(right)  y = Add(l, r) }"""


def test_one_result_is_an_input_and_another_is_still_computed() -> None:
    part = gk.extract(parsed(SPLIT), inputs=["x", "left"], outputs=["y"])
    split = part.proto.graph.node[0]
    assert list(split.output) == ["left_unused", "right"]
    x, left = np.arange(4, dtype=np.float32), np.array([10, 20], np.float32)
    for run in (run_ort, run_reference):
        assert_same(run(part, {"x": x, "left": left}), {"y": -left + np.exp(x[2:])})


def test_the_name_of_an_unused_result_is_free_in_every_scope() -> None:
    model = parsed(SPLIT)
    model.graph.node[1].name = "left_unused"
    model.graph.node[2].output[0] = "left_unused_1"
    model.graph.node[3].input[1] = "left_unused_1"
    part = gk.extract(model, inputs=["x", "left"], outputs=["y"])
    assert part.proto.graph.node[0].output[0] == "left_unused_2"
    onnx.checker.check_model(part.proto)


def test_both_results_as_inputs_leave_the_node_out() -> None:
    part = gk.extract(parsed(SPLIT), inputs=["left", "right"], outputs=["y"])
    assert [node.op_type for node in part.proto.graph.node] == ["Neg", "Exp", "Add"]


def test_an_unread_result_of_a_node_may_be_missing() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2, 4] x) => (float[2, 2] y, int64[2, 2] i) <int64[1] k = {2}>
        { v, i = TopK(x, k)  y = Neg(v) }"""
    )
    part = gk.extract(model, inputs=["x"], outputs=["y"])
    assert list(part.proto.graph.node[0].output) == ["v", "i"]
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert_same(run_ort(part, {"x": x}), {"y": -x[:, :1:-1]})


# --- cuts that are refused


@pytest.mark.parametrize(
    ("given", "wanted", "missing", "suggestion", "said"),
    [
        (
            ["c"],
            ["y"],
            ("z",),
            ("d",),
            "the inputs 'c' do not determine 'y': missing is 'd', which depends on the graph input 'z'",
        ),
        (["x"], ["y"], ("z",), ("d",), "missing is 'd'"),
        (["a"], ["c", "d"], ("z",), ("z",), "do not determine 'd': missing is 'z'"),
        (["d"], ["c", "y"], ("x",), ("c",), "'c', 'y'"),
    ],
)
def test_a_cut_that_is_not_closed(given, wanted, missing, suggestion, said) -> None:
    if given == ["d"]:
        suggestion = ("x",)
    with pytest.raises(gk.CutError) as caught:
        gk.extract(parsed(), inputs=given, outputs=wanted)
    assert (caught.value.missing, caught.value.suggestion) == (missing, suggestion)
    assert said in caught.value.message
    assert caught.value.hint == f"close the cut with inputs={list(suggestion)}"
    assert gk.extract(parsed(), inputs=[*given, *suggestion], outputs=wanted)


def test_no_inputs_at_all() -> None:
    with pytest.raises(gk.CutError, match=r"the inputs \(none\) do not determine 'y'"):
        gk.extract(parsed(), inputs=[], outputs=["y"])
    part = gk.extract(parsed(), inputs=[], outputs=["w"])
    assert_same(run_reference(part, {}), {"w": np.array([1, 2, 3], np.float32)})


def test_names_in_the_hint_are_quoted() -> None:
    model = parsed()
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["it's; d" if name == "d" else name for name in names]
    with pytest.raises(gk.CutError) as caught:
        gk.extract(model, inputs=["c"], outputs=["y"])
    assert caught.value.hint == """close the cut with inputs=["it's; d"]"""


TUTORIAL = """<ir_version: 8, opset_import: ["": 17]>
tutorial (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] n31)
{
  n22 = Conv(x, w) n23 = Conv(n22, w) n24 = Conv(n23, w)
  n25 = Conv(n23, w) n26 = Relu(n25)
  n27 = Conv(n24, w)
  n28 = Add(n26, n27)
  n29 = Conv(n28, w) n30 = Conv(n29, w) n31 = Conv(n30, w)
}"""


def test_the_tutorials_insufficient_input_names_the_value_and_not_only_the_graph_input() -> None:
    model = parsed(TUTORIAL)
    model.graph.initializer.append(
        numpy_helper.from_array(np.random.default_rng(0).random((3, 3, 1, 1), np.float32), "w")
    )
    with pytest.raises(gk.CutError) as caught:
        gk.extract(model, inputs=["n24"], outputs=["n28"])
    assert caught.value.missing == ("x",)
    assert caught.value.suggestion == ("n26",)
    feeds = {"x": np.random.default_rng(1).random((1, 3, 8, 8), np.float32)}
    assert_cut(model, gk.extract(model, inputs=["n24", "n26"], outputs=["n28"]), feeds)
    assert_cut(model, gk.extract(model, inputs=["n22"], outputs=["n28"]), feeds)
    assert_cut(model, gk.extract(model, inputs=["n22"], outputs=["n27", "n31"]), feeds)
    assert_cut(model, gk.extract(model, inputs=["x"], outputs=["n31", "n23", "n25", "n27"]), feeds)
    with pytest.warns(gk.GraphkitWarning, match="no output needs the input 'x'"):
        assert_cut(model, gk.extract(model, inputs=["n22", "x"], outputs=["n28"]), feeds)


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(gk.NameNotFoundError, match="no value named 'biass'") as caught:
        gk.extract(parsed(), inputs=["biass"], outputs=["y"])
    assert caught.value.suggestions == ["bias"]
    with pytest.raises(gk.NameNotFoundError, match="no value named 'zz'"):
        gk.extract(parsed(), outputs=["zz"])
    with pytest.raises(gk.NameNotFoundError, match="no node named 'fisrt'"):
        gk.extract(parsed(), nodes=["fisrt"])


def test_a_value_inside_of_a_body() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] x, bool c) => (float[2] y)
        { y = If(c) <then_branch = then_part () => (float[2] t) { inner = Neg(x) t = Abs(inner) },
                     else_branch = else_part () => (float[2] e) { e = Neg(x) }> }"""
    )
    for where in ({"inputs": ["inner"]}, {"outputs": ["inner"]}):
        with pytest.raises(gk.NameNotFoundError, match=r"'inner'\n.*inside of the body 'then_part'"):
            gk.extract(model, **where)


def test_a_name_that_nothing_defines() -> None:
    with pytest.raises(gk.InvalidGraphError, match="reads 'ghost', which nothing in the model defines"):
        gk.extract(parsed(NET.replace("Mul(x, w)", "Mul(x, ghost)")), outputs=["y"])


def test_what_is_wrong_upstream_of_the_cut_does_not_matter(feeds) -> None:
    """But for the types that would have come from there."""
    for wrong in ("Mul(x, ghost)", "Mul(c, w)"):
        model = parsed(NET.replace("Mul(x, w)", wrong))
        with pytest.raises(gk.TypeUnknownError) as caught:
            gk.extract(model, inputs=["a"], outputs=["c"])
        assert caught.value.names == ("a", "c")
        part = gk.extract(model, inputs=["a"], outputs=["c"], input_types={"a": "float32[N,3]"})
        assert_same(run_ort(part, {"a": X}), {"c": np.maximum(X + np.array([-1, 0, 1], np.float32), 0)})


def test_nodes_of_the_cut_that_read_from_each_other() -> None:
    model = parsed(NET.replace("Mul(x, w)", "Mul(c, w)"))
    with pytest.raises(gk.InvalidGraphError, match=r"in a cycle: .*third -> first"):
        gk.extract(model, inputs=["z"], outputs=["y"])


def test_a_graph_without_outputs() -> None:
    model = parsed()
    del model.graph.output[:]
    with pytest.raises(gk.CutError, match="the graph has no outputs"):
        gk.extract(model, inputs=["x"])


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({}, ValueError, "name the cut"),
        ({"nodes": []}, ValueError, "name the cut"),
        ({"outputs": []}, ValueError, "at least one output"),
        ({"outputs": ["y"], "nodes": ["first"]}, ValueError, "one way"),
        ({"module": "", "nodes": ["first"]}, ValueError, "one way"),
        ({"nodes": ["first"], "hops": -1}, ValueError, "hops"),
        ({"outputs": ["y"], "hops": 2}, ValueError, "hops"),
        ({"outputs": ["y"], "input_types": {"x": "floaty"}}, ValueError, "floaty"),
    ],
)
def test_wrong_arguments(wrong, error, said) -> None:
    with pytest.raises(error, match=said) as caught:
        gk.extract(parsed(), **wrong)
    assert not isinstance(caught.value, gk.GraphkitError)


# --- nodes that are not sorted


def test_nodes_that_are_not_sorted_are_sorted(feeds) -> None:
    model = parsed()
    order = [4, 2, 0, 3, 1]
    shuffled = [model.graph.node[k] for k in order]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in shuffled]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    part = gk.extract(model, inputs=["a", "z"], outputs=["y"])
    assert nodes(part) == ["side", "second", "third", "last"]
    expected = np.maximum(X + np.array([-1, 0, 1], np.float32), 0) - feeds["z"]
    assert_same(run_ort(part, {"a": X, "z": feeds["z"]}), {"y": expected})
    with pytest.raises(gk.CutError) as caught:
        gk.extract(model, inputs=["a"], outputs=["y"])
    assert caught.value.suggestion == ("d",)


# --- shapes that a constant decided


def test_a_constant_that_becomes_an_input_no_longer_decides_shapes() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[2, K] y)
        <int64[2] target = {2, -1}, float[2, K] r, float[2, K] n>
        { r = Reshape(x, target) n = Neg(r) y = Abs(n) }"""
    )
    kept = gk.extract(model, inputs=["x"], outputs=["y"])
    assert outputs(kept) == {"y": "float32[2,K]"}
    freed = gk.extract(model, inputs=["x", "target"], outputs=["y"])
    assert outputs(freed) == {"y": "float32[?,?]"}
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for target in ([4, 2], [8, 1]):
            fed = {"x": x, "target": np.array(target)}
            assert_same(run_ort(freed, fed), {"y": x.reshape(target)})
    onnx.checker.check_model(freed.proto, full_check=True)


def test_the_value_of_a_constant_node_as_an_input_too() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 4] x) => (float[2, K] y)
        { k = Constant <value_ints = [2, -1]> () target = Identity(k) y = Reshape(x, target) }"""
    )
    for name in ("k", "target"):
        assert outputs(gk.extract(model, inputs=["x", name], outputs=["y"])) == {"y": "float32[?,?]"}


def test_a_weight_that_becomes_an_input_changes_no_shape() -> None:
    part = gk.extract(parsed(), inputs=["x", "w"], outputs=["c"])
    assert outputs(part) == {"c": "float32[N,3]"}


# --- types of the boundary


def test_symbolic_dims_are_kept_and_inferred_ones_named_alike() -> None:
    model = parsed()
    for value in (*model.graph.input, *model.graph.output):
        value.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, ["batch", "seq + 1", None, 3]))
    part = gk.extract(model, inputs=["b"], outputs=["c"])
    assert (inputs(part), outputs(part)) == ({"b": "float32[batch,seq + 1,?,3]"}, {"c": "float32[batch,seq + 1,?,3]"})


def test_unknown_types_are_asked_for_and_the_answer_works_for_inputs_and_outputs() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17, "custom": 1]> g (float[N, 3] x) => (float[N, 3] y)
        { a = custom.Foo(x) b = Neg(a) c = custom.Bar(b) y = custom.Baz(c) }"""
    )
    with pytest.raises(gk.TypeUnknownError, match="the type of 'a', 'b' is neither in the file nor") as caught:
        gk.extract(model, inputs=["a"], outputs=["b"])
    assert caught.value.names == ("a", "b")
    assert "input_types={'a': 'float32[1,3,n]'}" in str(caught.value)
    part = gk.extract(model, inputs=["a"], outputs=["b"], input_types={"a": "float32[N,3]"})
    assert (inputs(part), outputs(part)) == ({"a": "float32[N,3]"}, {"b": "float32[N,3]"})
    assert_same(run_ort(part, {"a": X}), {"b": -X})
    given = {"b": "float32[N,3]", "c": helper.make_tensor_type_proto(TensorProto.DOUBLE, ["M"])}
    part = gk.extract(model, inputs=["b"], outputs=["c"], input_types=given)
    assert (inputs(part), outputs(part)) == ({"b": "float32[N,3]"}, {"c": "float64[M]"})


def test_a_shape_that_nobody_knows_is_noted_and_may_be_given() -> None:
    """The value that a Loop hands on may change its shape from turn to turn."""
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[3] x, int64 n, bool go) => (float[3] y)
        { a = Loop(n, go, x) <body = turn (int64 i, bool c, float[3] s) => (bool k, float[3] t) { k = Identity(c) t = Add(s, x) }>
          y = Neg(a) }"""
    )
    part = gk.extract(model, inputs=["a"], outputs=["y"])
    assert inputs(part) == {"a": "float32"}
    assert part.history[-1].notes == ("the shape of 'a' is not known; give it with input_types={'a': TYPE[SHAPE]}",)
    assert_same(run_ort(part, {"a": X[0]}), {"y": -X[0]})
    part = gk.extract(model, inputs=["a"], outputs=["y"], input_types={"a": "float32[3]"})
    assert part.history[-1].notes == ()
    onnx.checker.check_model(part.proto, full_check=True)


def test_a_given_type_replaces_the_files_and_what_follows_from_it(feeds) -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1, 3] x) => (float[1, 6] y) <float[1, 3] a, float[1, 6] b>
        { a = Neg(x) b = Concat<axis = 1>(a, a) y = Abs(b) }"""
    )
    part = gk.extract(model, inputs=["a"], outputs=["y"], input_types={"a": "float32[batch,k]"})
    assert inputs(part) == {"a": "float32[batch,k]"}
    assert outputs(part) == {"y": "float32[batch,?]"}
    assert_same(run_ort(part, {"a": X}), {"y": np.abs(np.concatenate([X, X], 1))})


def test_a_type_for_a_value_that_is_not_there() -> None:
    with pytest.raises(gk.NameNotFoundError, match="'q'"):
        gk.extract(parsed(), outputs=["y"], input_types={"q": "float32"})


def test_inference_is_not_run_where_the_file_has_the_types(monkeypatch) -> None:
    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", None)
    gk.extract(parsed(), inputs=["x", "z"], outputs=["y"])


# --- values that are no tensors


def test_sequence_optional_and_map_boundaries() -> None:
    model = parsed(
        """<ir_version: 8, opset_import: ["": 17, "ai.onnx.ml": 3]>
        g (float[N, 3] x) => (float[N, 6] y, int64 count, seq(map(int64, float)) labels)
        {
          s = SequenceConstruct(x, x)
          o = Optional(s)
          g = OptionalGetElement(o)
          y = ConcatFromSequence<axis = 1>(g)
          count = SequenceLength(g)
          labels = ai.onnx.ml.ZipMap<classlabels_int64s = [5, 6, 7]>(x)
        }"""
    )
    head = gk.extract(model, inputs=["x"], outputs=["s", "labels"])
    onnx.checker.check_model(head.proto)
    answer = run_ort(head, {"x": X})
    assert_same(answer["s"], [X, X])
    assert [sorted(row) for row in answer["labels"]] == [[5, 6, 7], [5, 6, 7]]
    tail = gk.extract(model, inputs=["s"], outputs=["y", "count"])
    fed = {"s": [X, X + 1]}
    assert_same(run_ort(tail, fed), {"y": np.concatenate([X, X + 1], 1), "count": np.array(2)})
    middle = gk.extract(model, inputs=["o"], outputs=["g"])
    assert [v.type.WhichOneof("value") for v in (*middle.proto.graph.input, *middle.proto.graph.output)] == [
        "optional_type",
        "sequence_type",
    ]
    assert_same(run_ort(middle, {"o": [X, X]}), {"g": [X, X]})
    onnx.checker.check_model(gk.extract(model, inputs=["labels"], outputs=["labels"]).proto)

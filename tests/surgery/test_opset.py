"""opset: whole models in another version, from a file to a file, and what lint asks for."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit_cli.spelling import spelt
from oracle import assert_same, run_ort

TEXT = """
<ir_version: 8, opset_import: ["": 18], metadata_props: ["author": "me"]>
net (float[n, 3, h, w] x) => (float[n, 10] y)
<float[10, 3] head = {0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9,0,1,2,3,4,5,6,7,8,9}, float[2] twice = {2, 2}, int64[2] axes = {2, 3}>
{
    [up] u = Resize<mode = "linear", axes = [2, 3]>(x, , twice)
    [mean] m = ReduceMean<keepdims = 0>(u, axes)
    [head] l = Gemm<transB = 1>(m, head)
    [soft] y = Softmax(l)
}
"""


@pytest.fixture
def net():
    return onnx.parser.parse_model(TEXT)


def feeds():
    return {"x": np.random.default_rng(0).random((2, 3, 5, 7), dtype=np.float32)}


@pytest.mark.parametrize("to", [11, 12, 13, 17, 18, 20, 23])
def test_there_and_back_a_net_computes_the_same(net, to):
    want, before = run_ort(net, feeds()), net.SerializeToString()
    there = gk.opset(net, to=to)
    assert_same(run_ort(there, feeds()), want)
    back = gk.opset(there, to=18)
    assert_same(run_ort(back, feeds()), want)
    assert net.SerializeToString() == before
    assert [node.name for node in back.proto.graph.node if node.name in ("up", "mean", "head", "soft")] == [
        "up",
        "mean",
        "head",
        "soft",
    ]
    assert there.proto.metadata_props[0].value == "me"
    assert there.proto.graph.input == net.graph.input


def test_the_notes_name_the_nodes(net):
    assert gk.opset(net, to=12).history[-1].notes == (
        "the model is lowered from opset 18 to 12; rewritten: Resize 'up', ReduceMean 'mean', Softmax 'soft'",
    )
    assert gk.opset(net, to=18).history[-1].notes == ("the model is at opset 18 already",)


def test_from_file_to_file_with_weights_outside(net, tmp_path):
    big = onnx.numpy_helper.from_array(np.random.default_rng(1).random((4096, 3), dtype=np.float32), "head")
    net.graph.initializer[0].CopyFrom(big)
    net.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 4096
    want = run_ort(net, feeds())
    onnx.save(net, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=1024)
    gk.save(gk.opset(tmp_path / "net.onnx", to=13), tmp_path / "net13.onnx")
    assert_same(run_ort(tmp_path / "net13.onnx", feeds()), want)


def test_training_graphs_and_unknown_versions(net):
    net.training_info.add()
    with pytest.raises(gk.EditError, match="training graphs"):
        gk.opset(net, to=13)
    for to in (0, 1000):
        with pytest.raises(ValueError, match="knows opsets 1 to"):
            gk.opset(net, to=to)


FUNCTIONS = """<ir_version: 8, opset_import: ["": 13, "my": 1]> g (float[2,3] x) => (float[2,1] y) { [call] y = my.Total(x) }
<domain: "my", opset_import: ["": %d]> Total (a) => (b) { ax = Constant<value_ints=[1]>() %s b = Relu(s) }"""


@pytest.mark.parametrize("to", [12, 18])
@pytest.mark.parametrize(
    ("version", "node"),
    [(13, "s = ReduceSum<keepdims=1>(a, ax)"), (12, "u = Neg(ax) s = ReduceSum<keepdims=1, axes=[1]>(a)")],
)
def test_functions_are_inlined_also_where_they_import_another_opset(version, node, to):
    proto = onnx.parser.parse_model(FUNCTIONS % (version, node))
    x = {"x": np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)}
    edited = gk.opset(proto, to=to)
    want = np.maximum(x["x"].sum(1, keepdims=True), 0)
    assert_same(run_ort(edited, x), {"y": want}, rtol=1e-5)
    assert "inlined: my::Total (1x)" in edited.history[-1].notes
    assert not edited.proto.functions


def test_inline_writes_a_body_of_another_opset_in_the_models():
    proto = onnx.parser.parse_model(FUNCTIONS % (12, "s = ReduceSum<keepdims=1, axes=[1]>(a)"))
    x = {"x": np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)}
    flat = gk.inline(proto)
    onnx.checker.check_model(flat.proto, full_check=True)
    assert_same(run_ort(flat, x), {"y": np.maximum(x["x"].sum(1, keepdims=True), 0)})


def test_the_notes_name_what_was_expanded_and_not_its_pieces():
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2,3,8] x, float[8] s) => (float[2,3,8] y)
           { [ln] y = LayerNormalization<axis=-1>(x, s) }"""
    )
    edited = gk.opset(proto, to=9)
    assert edited.history[-1].notes[0] == "the model is lowered from opset 17 to 9; rewritten: LayerNormalization 'ln'"
    x = {"x": np.random.default_rng(0).random((2, 3, 8), np.float32), "s": np.arange(8, dtype=np.float32)}
    assert_same(run_ort(edited, x), run_ort(proto, x), rtol=1e-4, atol=1e-5)
    assert "ln" in [node.name for node in edited.proto.graph.node]


def lint_rules(model, version=None):
    return {violation.rule: violation for violation in gk.lint(model, version=version).violations}


def test_what_lint_asks_for_mends_what_it_found(net):
    proto = onnx.parser.parse_model(TEXT.replace("float[n, 3, h, w] x)", "float[n, 3, h, w] x, float[2] factor)"))
    proto.graph.node[0].input[2] = "factor"
    assert "resize-scales-all-axes" in lint_rules(proto)
    assert lint_rules(gk.opset(proto, to=17)) == {}
    given = feeds() | {"factor": np.array([1.5, 3], np.float32)}
    assert_same(run_ort(gk.opset(proto, to=17), given), run_ort(proto, given))
    found = lint_rules(net, "8.6")["opset"]
    assert spelt(found.remedy) == "graphkit opset MODEL OUT --to 17"
    assert "opset" not in lint_rules(gk.opset(net, to=17), "8.6")


def test_an_opset_that_nobody_knows_here_is_not_taken_for_the_newest(net):
    net.opset_import[0].version = 999
    with pytest.raises(gk.EditError, match="imports opset 999, and the installed onnx knows") as caught:
        gk.opset(net, to=18)
    assert "newer onnx" in caught.value.hint


@pytest.mark.parametrize("kind", ["Mean", "Sum", "L1", "L2", "SumSquare", "LogSum", "LogSumExp", "Max", "Prod"])
def test_a_reduction_over_no_axes_is_of_each_number_alone(kind):
    text = f'<ir_version: 9, opset_import: ["": 20]> g (float[2,3] x) => (float[2,3] y) {{ y = Reduce{kind}<noop_with_empty_axes = 1>(x) }}'
    model = onnx.parser.parse_model(text)
    x = {"x": np.random.default_rng(0).random((2, 3), dtype=np.float32) - (0.0 if "Log" in kind else 0.5)}
    assert_same(run_ort(gk.opset(model, to=11), x), run_ort(model, x))


@pytest.mark.parametrize("to", [22, 17, 11])
def test_axes_that_follow_from_the_rank_are_attributes_below_18(to):
    text = """<ir_version: 11, opset_import: ["": 23]> g (float[n,3,4] x) => (float[n,3,4] y) {
        w = Constant<value_floats = [1.0, 2.0, 3.0, 4.0]>()
        y = RMSNormalization(x, w)
    }"""
    model = onnx.parser.parse_model(text)
    x = {"x": np.random.default_rng(0).random((2, 3, 4), dtype=np.float32)}
    lowered = gk.opset(model, to=to)
    assert "Range" not in {node.op_type for node in lowered.nodes}
    assert_same(run_ort(lowered, x), run_ort(model, x))

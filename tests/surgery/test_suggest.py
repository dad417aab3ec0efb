"""suggest: the smallest closed cut for outputs, a closed one for inputs and outputs, and the one around nodes."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import graphkit as gk
from cuts import assert_cut

X = np.array([[1, -2, 3], [-4, 5, 0.5]], np.float32)

NET = """<ir_version: 8, opset_import: ["": 17, "custom": 1]>
net (float[N, 3] x, float[N, 3] z) => (float[N, 3] y) <float[3] w = {1, 2, 3}, float[3] v = {1, 1, 1}>
{
  [first] a = Mul(x, w)
  [join] b = Add(a, z)
  [left] c = Relu(b)
  [right] d = Neg(b)
  [again] e = Mul(d, w)
  [last] y = Add(c, e)
}"""


@pytest.fixture
def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(NET)


def test_as_few_inputs_as_determine_the_outputs(model) -> None:
    found = gk.suggest(model, outputs=["y"])
    assert found == gk.Cut(("b",), ("y",), ("float32[N,3]",), nodes=4, weight_bytes=12, of_nodes=6)
    part = gk.extract(model, inputs=found.inputs, outputs=found.outputs)
    assert len(part.proto.graph.node) == found.nodes
    assert_cut(model, part, {"x": X, "z": X})


def test_the_graph_outputs_by_default(model) -> None:
    assert gk.suggest(model) == gk.suggest(model, outputs=["y"])


def test_two_where_one_does_not_do(model) -> None:
    found = gk.suggest(model, outputs=["a", "y"])
    assert found.inputs == ("x", "z")
    assert_cut(model, gk.extract(model, inputs=found.inputs, outputs=found.outputs), {"x": X, "z": X})


def test_the_given_inputs_and_what_is_missing_beside_them(model) -> None:
    found = gk.suggest(model, inputs=["c"], outputs=["y"])
    assert found.inputs == ("c", "e")
    assert_cut(model, gk.extract(model, inputs=found.inputs, outputs=found.outputs), {"x": X, "z": X})


def test_inputs_that_no_output_needs_are_left_out(model) -> None:
    assert gk.suggest(model, inputs=["x", "b"], outputs=["y"]).inputs == ("b",)
    assert gk.suggest(model, inputs=["b", "w"], outputs=["y"]).inputs == ("b", "w")


def test_a_cut_that_is_closed_already_is_repeated(model) -> None:
    assert gk.suggest(model, inputs=["d", "c"], outputs=["y"]).inputs == ("d", "c")


def test_outputs_that_need_no_input(model) -> None:
    found = gk.suggest(model, outputs=["w"])
    assert (found.inputs, found.nodes, found.weight_bytes) == ((), 0, 12)


def test_an_output_that_is_a_graph_input(model) -> None:
    assert gk.suggest(model, outputs=["x", "y"]).inputs == ("x", "z")


def test_a_node_and_the_nodes_around_it(model) -> None:
    for hops, inputs, outputs in ((0, ("b",), ("d",)), (1, ("a", "z", "c"), ("b", "y")), (9, ("x", "z"), ("y",))):
        found = gk.suggest(model, nodes=["right"], hops=hops)
        part = gk.extract(model, nodes=["right"], hops=hops)
        assert found.inputs == tuple(v.name for v in part.proto.graph.input)
        assert found.outputs == tuple(v.name for v in part.proto.graph.output)
        assert found.nodes == len(part.proto.graph.node)
        if hops != 1:
            assert (found.inputs, found.outputs) == (inputs, outputs)
        again = gk.extract(model, inputs=found.inputs, outputs=found.outputs)
        assert again.proto == part.proto
        assert_cut(model, again, {"x": X, "z": X})


def test_the_tutorials_net() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> tutorial (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] n31) {
        n22 = Conv(x, w) n23 = Conv(n22, w) n24 = Conv(n23, w) n25 = Conv(n23, w) n26 = Relu(n25) n27 = Conv(n24, w)
        n28 = Add(n26, n27) n29 = Conv(n28, w) n31 = Conv(n29, w) }"""
    )
    weight = np.random.default_rng(0).random((3, 3, 1, 1), np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    found = gk.suggest(model, inputs=["n24"], outputs=["n28"])
    assert found.inputs == ("n24", "n26")
    assert found.input_types == ("float32[1,3,8,8]", "float32[1,3,8,8]")
    assert_cut(
        model,
        gk.extract(model, inputs=found.inputs, outputs=["n28"]),
        {"x": weight.reshape(1, 3, 1, 3).repeat(4, 2)},
        check=False,
        ort=False,
    )


def test_weights_that_lie_in_the_file_are_counted(tmp_path) -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[N, 64] x) => (float[N, 64] y)
        { a = MatMul(x, w) b = MatMul(a, w) y = MatMul(b, v) }"""
    )
    for name in ("w", "v"):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros((64, 64), np.float32), name))
    onnx.save(model, tmp_path / "m.onnx")
    assert gk.suggest(tmp_path / "m.onnx", inputs=["x"], outputs=["b"]).weight_bytes == 64 * 64 * 4
    assert gk.suggest(tmp_path / "m.onnx").weight_bytes == 2 * 64 * 64 * 4


def test_types_that_nobody_knows_are_asked_for() -> None:
    model = onnx.parser.parse_model(NET.replace("Mul(x, w)", "custom.Foo(x)").replace("Add(a, z)", "custom.Bar(a, z)"))
    found = gk.suggest(model, outputs=["c"])
    assert found.inputs == ("b",)
    assert found.input_types == ("unknown",)
    assert found.untyped == ("b", "c")
    found = gk.suggest(model, outputs=["c"], input_types={"b": "float32[N,3]"})
    assert found.input_types == ("float32[N,3]",)
    assert found.untyped == ()


def test_names_that_are_not_there(model) -> None:
    for where in ({"outputs": ["q"]}, {"inputs": ["q"]}, {"nodes": ["q"]}, {"module": "q"}):
        with pytest.raises(gk.NameNotFoundError, match="'q'"):
            gk.suggest(model, **where)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"nodes": ["first"], "outputs": ["y"]}, ValueError),
        ({"module": "", "inputs": ["x"]}, ValueError),
        ({"hops": 1}, ValueError),
        ({"outputs": []}, ValueError),
    ],
)
def test_wrong_arguments(model, wrong, error) -> None:
    with pytest.raises(error):
        gk.suggest(model, **wrong)


def test_names_given_twice(model) -> None:
    with pytest.raises(gk.CutError, match="the input 'x' is given 2 times"):
        gk.suggest(model, inputs=["x", "x"], outputs=["y"])


def test_a_graph_that_contradicts_itself() -> None:
    with pytest.raises(gk.InvalidGraphError, match="'ghost'"):
        gk.suggest(onnx.parser.parse_model(NET.replace("Mul(x, w)", "Mul(x, ghost)")), outputs=["y"])


def test_a_cut_at_a_value_without_a_type_moves_to_one_that_can_be_made() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "custom": 1]>
    net (float[N, 3] x, float[N, 3] z) => (float[N, 3] y) { a = Add(x, z)  b = custom.Foo(a)  y = Relu(b) }"""
    model = onnx.parser.parse_model(text)
    found = gk.suggest(model)
    assert (found.inputs, found.untyped, found.nodes) == (("a",), (), 2)
    gk.extract(model, inputs=found.inputs, outputs=found.outputs)
    assert gk.suggest(model, inputs=["b"]).untyped == ("b",)

"""Three models and three inputs: the tutorial's matrix, the axis to blame, and the command that mends it."""

from __future__ import annotations

import onnx
import pytest

import graphkit as gk
from oracle import assert_same

SHAPES = [{"in": (1, 3, 10, 10)}, {"in": (2, 3, 10, 10)}, {"in": (1, 3, 20, 20)}]

FIXED = """
<ir_version: 8, opset_import: ["": 17]>
net (float[n, 3, h, w] x, float[n] weight) => (float[n, k, l] y)
<int64[3] target = {1, 3, 64}>
{
    flat = Reshape(x, target)
    axes = Constant<value_ints = [1, 2]>()
    wide = Unsqueeze(weight, axes)
    y = Mul(flat, wide)
}
"""


# R21
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_the_tutorials_matrix(exporter):
    torch = pytest.importorskip("torch")
    conv = torch.nn.Conv2d(3, 3, 3)
    verdicts = []
    for dynamic in ((), ("in:0=batch",), ("in:2=height", "in:3=width")):
        x = torch.rand(1, 3, 10, 10)
        model = gk.export(conv, x, exporter=exporter, input_names=["in"], output_names=["out"], dynamic=dynamic)
        attempts = gk.probe(model, SHAPES)
        verdicts.append([attempt.accepted for attempt in attempts])
        for attempt in attempts:
            if attempt.accepted:
                n, _, h, w = attempt.shapes["in"]
                assert attempt.outputs == {"out": (n, 3, h - 2, w - 2)}
    assert verdicts == [[True, False, False], [True, True, False], [True, False, True]]


# R22
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_the_axis_that_is_to_blame_is_freed_by_the_command_that_is_named(exporter):
    torch = pytest.importorskip("torch")
    conv, x = torch.nn.Conv2d(3, 3, 3).eval(), torch.rand(2, 3, 10, 10)
    model = gk.export(conv, x[:1], exporter=exporter, input_names=["in"], output_names=["out"])
    (refused,) = gk.probe(model, [{"in": (2, 3, 10, 10)}])
    assert [(b.input, b.axis, b.got, b.expected) for b in refused.blame] == [("in", 0, 2, 1)]
    assert refused.remedy == "graphkit dims MODEL OUT --set in:0=NAME"
    freed = gk.dims(model, {"in:0": "batch"})
    assert gk.probe(freed, [{"in": (2, 3, 10, 10)}])[0].accepted
    with torch.no_grad():
        assert_same(gk.run(freed, {"in": x.numpy()}, device="cpu")["out"], conv(x).numpy(), atol=1e-5)


# R22
def test_a_refused_input_names_each_axis_and_the_command():
    proto = onnx.parser.parse_model(FIXED.replace("n, 3, h, w", "1, 3, 8, 8"))
    (attempt,) = gk.probe(proto, [{"x": (2, 3, 8, 9)}])
    assert [(b.input, b.axis, b.got, b.expected) for b in attempt.blame] == [("x", 0, 2, 1), ("x", 3, 9, 8)]
    assert attempt.remedy == "graphkit dims MODEL OUT --set x:0=NAME --set x:3=NAME"
    (attempt,) = gk.probe(proto, [{"x": (3, 8, 8)}])
    assert str(attempt.blame[0]) == "input 'x' has 4 axes, not 3"


def test_a_node_that_fails_is_named_with_the_axis_that_makes_it_fail():
    proto = onnx.parser.parse_model(FIXED)
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{number}"
    accepted, refused = gk.probe(proto, [{"x": (1, 3, 8, 8), "weight": (1,)}, {"x": (1, 3, 10, 8), "weight": (2,)}])
    assert accepted.outputs == {"y": (1, 3, 64)}
    assert refused.node == "Reshape_0"
    assert [(b.input, b.axis) for b in refused.blame] == [("x", 2)]
    assert "graphkit promote MODEL OUT --tensor target" in refused.remedy


def test_an_unknown_input_is_refused():
    with pytest.raises(gk.NameNotFoundError, match="did you mean 'weight'"):
        gk.probe(onnx.parser.parse_model(FIXED), [{"weigth": (1,)}])


def test_the_text_names_the_model_in_the_command():
    proto = onnx.parser.parse_model(FIXED.replace("n, 3, h, w", "1, 3, 8, 8"))
    text = gk.probe_text({"net.onnx": gk.probe(proto, [{"x": (1, 3, 8, 8), "weight": (1,)}, {"x": (2, 3, 8, 8)}])})
    assert "x[1,3,8,8], weight[1]  succeeds  y[1,3,64]" in text
    assert "to mend it: graphkit dims net.onnx OUT --set x:0=NAME" in text

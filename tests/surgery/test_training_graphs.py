"""What a training graph and its bindings name stays, or is followed, in edits of nodes."""

import numpy as np
import onnx
import pytest
from onnx import helper

import graphkit as gk
from onnx_text import parse

TRAINING = "ai.onnx.preview.training"


def net():
    model = parse(
        "g (float[2] x) => (float[2] y) { a = Mul(x, w) h = Neg(a) y = Exp(h) }", imports=f'"{TRAINING}" : 1', w=[1, 2]
    )
    training = model.training_info.add()
    training.algorithm.name = "step"
    gradient = helper.make_node("Gradient", ["w", "x"], ["dw"], domain=TRAINING, xs=["w"], zs=["x"], y="h")
    training.algorithm.node.extend([gradient, helper.make_node("Sub", ["w", "dw"], ["w_new"])])
    training.algorithm.output.append(helper.make_tensor_value_info("w_new", onnx.TensorProto.FLOAT, [2]))
    training.update_binding.add(key="w", value="w_new")
    return model


def named(model):
    """(what is differentiated, the weights that are there)."""
    (training,) = model.proto.training_info
    said = {attribute.name: helper.get_attribute_value(attribute) for attribute in training.algorithm.node[0].attribute}
    values = {name for node in model.nodes for name in node.output} | {
        tensor.name for tensor in model.proto.graph.initializer
    }
    assert said["y"].decode() in values
    assert [(entry.key, entry.value) for entry in training.update_binding] == [("w", "w_new")]
    return said["y"].decode(), [tensor.name for tensor in model.proto.graph.initializer]


@pytest.mark.parametrize(
    ("edit", "differentiated"),
    [
        (lambda model: gk.insert(model, "h", "relu"), "h"),
        (lambda model: gk.insert(model, "w", "relu"), "h"),
        (lambda model: gk.remove(model, nodes="h"), "a"),
        (lambda model: gk.remove(model, nodes="a"), "h"),
        (lambda model: gk.remove(model, nodes="y"), "y"),
        (lambda model: gk.replace(model, nodes="h", function="relu"), "h"),
        (lambda model: gk.replace(model, inputs=["x"], outputs=["a"], function="relu"), "h"),
        (lambda model: gk.set_parts(model, operands={"a:1": [3.0, 4.0]}), "h"),
        (lambda model: gk.set_parts(model, tensors={"w": np.float32([3, 4])}), "h"),
        (gk.simplify, "h"),
    ],
)
def test_what_is_trained_stays_trained(edit, differentiated):
    y, weights = named(edit(net()))
    assert y == differentiated
    assert "w" in weights


def test_a_region_that_a_gradient_needs_is_not_closed():
    with pytest.raises(gk.EditError, match="makes 'h', which the model's training graph names"):
        gk.replace(net(), inputs=["a"], outputs=["y"], function="relu")
    y, _ = named(gk.replace(net(), inputs=["a"], outputs=["h"], function="relu"))
    assert y == "h"

"""Operators whose meaning changed between versions: how to write the newer one.

Source: onnx/docs/Changelog.md; onnx issue 8480 (the whole-model converter takes the asymmetric Resize of opset 10 for a
half-pixel one).
"""

from __future__ import annotations

import numpy as np
import onnx

from graphkit.edit.lowered_nodes import Place, Rule
from graphkit.edit.nodes import set_attribute, set_inputs
from graphkit.errors import EditError
from graphkit.graph.values import attribute_value
from graphkit.semantics.kinds import SOFTMAXES

BROADCASTING = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor")
"""Operators that had attributes for broadcasting before opset 7."""


def _broadcast(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 7 the second input could lie along any axes of the first, from ``axis`` on."""
    axis = attribute_value(node, "axis", None)
    spread = attribute_value(node, "broadcast", 0)
    set_attribute(node, "axis", None)
    set_attribute(node, "broadcast", None)
    if axis is None or not spread:
        return [node]
    first, second = (place.rank(name) for name in node.input)
    behind = first - (axis if axis >= 0 else axis + first) - second
    if behind < 0:
        raise EditError(f"its second input has {second} axes and lies along {first} from axis {axis} on")
    if not behind:
        return [node]
    made: list[onnx.NodeProto] = []
    shape = place.writer.constant(made, np.array([0] * second + [1] * behind, np.int64), f"{node.output[0]}_shape")
    node.input[1] = place.writer.add(made, "Reshape", [node.input[1], shape], f"{node.output[0]}_along_{axis}")
    return [*made, node]


def _softmax(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 13 every axis from ``axis`` on was one: that is kept by flattening, unless it is the last one anyway."""
    axis = int(attribute_value(node, "axis", 1))
    known = place.scope.dims_of(node.input[0])
    if known is not None and axis in (len(known) - 1, -1):
        set_attribute(node, "axis", axis)
        return [node]
    made: list[onnx.NodeProto] = []
    stem = node.output[0]
    shape = place.writer.add(made, "Shape", [node.input[0]], f"{stem}_shape")
    flat = place.writer.add(made, "Flatten", [node.input[0]], f"{stem}_flat", axis=axis)
    inner = place.writer.add(made, node.op_type, [flat], f"{stem}_of_flat", axis=1)
    node.op_type = "Reshape"
    set_inputs(node, [inner, shape])
    del node.attribute[:]
    return [*made, node]


def _pad_1(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """The pads had another name."""
    del place
    pads = attribute_value(node, "paddings", None)
    set_attribute(node, "paddings", None)
    if pads is not None:
        set_attribute(node, "pads", list(pads))
    return [node]


def _pad(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Pads and the value are inputs since 11; a value that the mode does not use goes."""
    pads, value = attribute_value(node, "pads", None), float(attribute_value(node, "value", 0.0))
    if pads is None:
        raise EditError("it has no pads")
    made: list[onnx.NodeProto] = []
    inputs = [node.input[0], place.writer.constant(made, np.array(pads, np.int64), f"{node.output[0]}_pads")]
    if value and attribute_value(node, "mode", "constant") == "constant":
        array = np.array(value, place.dtype(node.input[0]))
        inputs.append(place.writer.constant(made, array, f"{node.output[0]}_value"))
    set_inputs(node, inputs)
    set_attribute(node, "pads", None)
    set_attribute(node, "value", None)
    return [*made, node]


def _renamed(op: str) -> Rule:
    def rename(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
        del place
        node.op_type = op
        return [node]

    return Rule(11, rename)


def _upsample_1(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Two scales, of images only, and another word for linear."""
    height, width = (float(attribute_value(node, f"{side}_scale", 1.0)) for side in ("height", "width"))
    if place.rank(node.input[0]) != 4:
        raise EditError("it scales images, and its input has another number of axes")
    mode = attribute_value(node, "mode", "nearest")
    del node.attribute[:]
    set_attribute(node, "mode", {"bilinear": "linear"}.get(mode, mode))
    set_attribute(node, "scales", [1.0, 1.0, height, width])
    return [node]


def _upsample_9(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """The scales are an input since 9."""
    scales = attribute_value(node, "scales", None)
    if scales is None:
        raise EditError("it has no scales")
    made: list[onnx.NodeProto] = []
    name = place.writer.constant(made, np.array(scales, np.float32), f"{node.output[0]}_scales")
    set_attribute(node, "scales", None)
    node.input.append(name)
    return [*made, node]


def _upsample_10(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Upsample is called Resize since 10."""
    del place
    node.op_type = "Resize"
    return [node]


def _resize_11(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Resize 10 knew asymmetric coordinates only, and floor for nearest; since 11 there is a roi."""
    made: list[onnx.NodeProto] = []
    roi = place.writer.constant(made, np.zeros(0, np.float32), f"{node.output[0]}_roi") if place.target < 13 else ""
    node.input.insert(1, roi)
    set_attribute(node, "coordinate_transformation_mode", "asymmetric")
    set_attribute(node, "nearest_mode", "floor")
    return [*made, node]


def _resize_13(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Resize 11 marks roi and scales that are not used by an empty tensor, Resize 13 and later by leaving them out."""
    if attribute_value(node, "coordinate_transformation_mode", "") == "tf_half_pixel_for_nn":
        raise EditError("tf_half_pixel_for_nn ended with opset 13")
    for position, name in enumerate(node.input[1:3], 1):
        tensor = place.scope.constant(name) if name else None
        if tensor is not None and 0 in tensor.dims:
            node.input[position] = ""
    while node.input and not node.input[-1]:
        node.input.pop()
    return [node]


def _batch_normalization(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Since 14 an attribute says that it is training, which five outputs did; spatial ended with 9."""
    if not attribute_value(node, "spatial", 1):
        raise EditError("spatial=0 ended with opset 9")
    set_attribute(node, "spatial", None)
    if place.before < 14 <= place.target and any(node.output[1:]):
        raise EditError("its outputs beyond the first were others before opset 14")
    return [node]


def _dropout(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Since 12 the ratio is an input."""
    ratio = attribute_value(node, "ratio", None)
    set_attribute(node, "ratio", None)
    place.drop_unread(node)
    if len(node.output) > 1 and place.before < 10:
        raise EditError("its mask was no bool before opset 10")
    if ratio is None:
        return [node]
    made: list[onnx.NodeProto] = []
    set_inputs(
        node, [node.input[0], place.writer.constant(made, np.array(ratio, np.float32), f"{node.output[0]}_ratio")]
    )
    return [*made, node]


def _roi_align(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 16 there was what is called output_half_pixel since."""
    del place
    set_attribute(node, "coordinate_transformation_mode", "output_half_pixel")
    return [node]


def _split(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Since 18 a Split says how many parts it makes, or how large they are."""
    del place
    if attribute_value(node, "split", None) is None and (len(node.input) < 2 or not node.input[1]):
        set_attribute(node, "num_outputs", len(node.output))
    return [node]


def _grid_sample(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """The modes have the names of any number of axes since 20."""
    del place
    mode = attribute_value(node, "mode", "bilinear")
    set_attribute(node, "mode", {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))
    return [node]


def _dft(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Since 20 the axis is an input, and another one where it is not given."""
    made: list[onnx.NodeProto] = []
    axis = np.array(int(attribute_value(node, "axis", 1)), np.int64)
    set_attribute(node, "axis", None)
    set_inputs(node, [*[*node.input, ""][:2], place.writer.constant(made, axis, f"{node.output[0]}_axis")])
    return [*made, node]


def _topk(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """The number is an input since 10."""
    made: list[onnx.NodeProto] = []
    count = attribute_value(node, "k", None)
    if count is None:
        raise EditError("it has no k")
    node.input.append(place.writer.constant(made, np.array([count], np.int64), f"{node.output[0]}_k"))
    set_attribute(node, "k", None)
    return [*made, node]


def _scan(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    del node, place
    raise EditError("since opset 9 it has no batch axis and no sequence_lens")


def _by_definition(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """What ONNX defines it to be says what it meant then (``function_bodies``)."""
    del node
    raise EditError(f"it meant something else before opset {place.target}")


RULES: dict[str, tuple[Rule, ...]] = {
    **{op: (Rule(7, _broadcast),) for op in BROADCASTING},
    **{op: (Rule(13, _softmax),) for op in SOFTMAXES},
    "BatchNormalization": (Rule(9, _batch_normalization), Rule(14, _batch_normalization)),
    "DFT": (Rule(20, _dft),),
    "Dropout": (Rule(12, _dropout),),
    "GridSample": (Rule(20, _grid_sample),),
    "GroupNormalization": (Rule(21, _by_definition),),
    "Pad": (Rule(2, _pad_1), Rule(11, _pad)),
    "Resize": (Rule(11, _resize_11), Rule(13, _resize_13)),
    "RoiAlign": (Rule(16, _roi_align),),
    "Scan": (Rule(9, _scan),),
    "Scatter": (_renamed("ScatterElements"),),
    "Split": (Rule(18, _split),),
    "TopK": (Rule(10, _topk),),
    "Upsample": (Rule(7, _upsample_1), Rule(9, _upsample_9), Rule(10, _upsample_10)),
}
"""Operator -> rules, earlier opsets first. What is not here is written as the newer definition has it, or refused."""

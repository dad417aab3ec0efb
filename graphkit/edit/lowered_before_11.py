"""Lowering below opset 11, down to 7: axes count from the front, Scatter has its old name, and Pad, TopK, Slice and Resize
take their numbers as attributes or in another way.

Source: onnx/docs/Changelog.md.
"""

from __future__ import annotations

import numpy as np
import onnx

from graphkit.edit.lowered_nodes import Place, Rule, axis_from_front
from graphkit.edit.nodes import set_attribute, set_inputs
from graphkit.errors import EditError
from graphkit.graph.values import attribute_value


def count_from_front(node: onnx.NodeProto, place: Place) -> None:
    """Write the axes of a node as numbers from 0 on: before opset 11 they were nothing else. Changes the node.

    Raises:
        EditError: An axis counts from the end, and the number of axes is not known.
    """
    for name in ("axis", "axes", "scan_input_axes", "scan_output_axes"):
        value = attribute_value(node, name, None)
        axes = [value] if isinstance(value, int) else list(value or ())
        if not any(isinstance(axis, int) and axis < 0 for axis in axes):
            continue
        if node.op_type == "Scan":
            raise EditError(f"{name}={axes} counts from the end, which came with opset 11")
        rank = place.rank(node.input[0])
        if node.op_type == "Unsqueeze":
            rank += len(axes)
        if node.op_type == "OneHot":
            rank += 1
        counted = [axis_from_front(axis, rank) for axis in axes]
        set_attribute(node, name, counted[0] if isinstance(value, int) else counted)


def _pad(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Pads and the value were attributes."""
    set_attribute(node, "pads", [int(n) for n in place.array(node.input[1], "list of pads").ravel()])
    if len(node.input) > 2 and node.input[2]:
        value = place.array(node.input[2], "value")
        if value.size != 1:
            raise EditError(f"its value {node.input[2]!r} is no number")
        set_attribute(node, "value", float(value.ravel()[0]))
    set_inputs(node, node.input[:1])
    return [node]


def _topk(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """The number was an attribute."""
    set_attribute(node, "k", int(place.array(node.input[1], "number").ravel()[0]))
    set_inputs(node, node.input[:1])
    return [node]


def _slice_11(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """The axes are an input, which may not count from the end."""
    if len(node.input) < 4 or not node.input[3]:
        return [node]
    axes = place.array(node.input[3], "list of axes")
    if (axes >= 0).all():
        return [node]
    rank = place.rank(node.input[0])
    counted = np.array([axis_from_front(int(axis), rank) for axis in axes.ravel()], axes.dtype)
    made: list[onnx.NodeProto] = []
    node.input[3] = place.writer.constant(made, counted, f"{node.output[0]}_axes")
    return [*made, node]


def _slice_10(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Starts, ends and axes were attributes, and there were no steps."""
    if len(node.input) > 4 and node.input[4] and (place.array(node.input[4], "list of steps") != 1).any():
        raise EditError("steps other than 1 came with opset 10")
    for position, name in ((1, "starts"), (2, "ends"), (3, "axes")):
        if len(node.input) > position and node.input[position]:
            set_attribute(node, name, [int(n) for n in place.array(node.input[position], f"list of {name}").ravel()])
    set_inputs(node, node.input[:1])
    return [node]


def _resize_11(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """There were asymmetric coordinates only, floor for nearest, and scales."""
    del place
    mode = attribute_value(node, "mode", "nearest")
    where = attribute_value(node, "coordinate_transformation_mode", "half_pixel")
    if where != "asymmetric" or mode == "cubic":
        raise EditError(f"mode={mode!r} with {where!r} coordinates came with opset 11")
    if mode == "nearest" and attribute_value(node, "nearest_mode", "round_prefer_floor") != "floor":
        raise EditError("a nearest_mode other than floor came with opset 11")
    if len(node.input) > 3 and node.input[3]:
        raise EditError("sizes came with opset 11")
    for name in ("coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "extrapolation_value"):
        set_attribute(node, name, None)
    set_attribute(node, "exclude_outside", None)
    set_inputs(node, [node.input[0], node.input[2]])
    return [node]


def _resize_10(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """It was called Upsample, and made nothing smaller."""
    scales = place.known(node.input[1])
    if scales is None or (scales < 1).any():
        raise EditError("its scales are computed or below 1, which came with opset 10")
    node.op_type = "Upsample"
    if place.target < 9:
        set_attribute(node, "scales", [float(scale) for scale in scales.ravel()])
        set_inputs(node, node.input[:1])
    return [node]


def _scatter(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """ScatterElements was called Scatter."""
    if attribute_value(node, "reduction", "none") != "none":
        raise EditError("a reduction came with opset 16")
    set_attribute(node, "reduction", None)
    _no_negative(node.input[1], place)
    node.op_type = "Scatter"
    return [node]


def _gather(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Indices did not count from the end."""
    indices = place.known(node.input[1])
    if indices is None or (indices >= 0).all():
        return [node]
    known = place.scope.dims_of(node.input[0])
    axis = int(attribute_value(node, "axis", 0))
    size = None if known is None else known[axis_from_front(axis, len(known))]
    if not isinstance(size, int):
        raise EditError(f"its indices {node.input[1]!r} count from the end, and the size of that axis is not known")
    made: list[onnx.NodeProto] = []
    counted = np.where(indices < 0, indices + size, indices).astype(indices.dtype)
    node.input[1] = place.writer.constant(made, counted, f"{node.output[0]}_indices")
    return [*made, node]


def _no_negative(name: str, place: Place) -> None:
    indices = place.known(name)
    if indices is not None and (indices < 0).any():
        raise EditError(f"its indices {name!r} count from the end, which came with opset 11")


def _gemm(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """The third input could not be left out."""
    if len(node.input) > 2 and node.input[2]:
        return [node]
    made: list[onnx.NodeProto] = []
    zero = place.writer.constant(made, np.zeros(1, place.dtype(node.input[0])), f"{node.output[0]}_zero")
    set_inputs(node, [*node.input[:2], zero])
    return [*made, node]


def _same_dims(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """The inputs did not broadcast."""
    dims = [place.scope.dims_of(name) for name in node.input]
    same = None not in dims and all(None not in (known or ()) and known == dims[0] for known in dims)
    if not same and node.op_type == "Sum":
        made: list[onnx.NodeProto] = []
        first, *others, last = node.input
        for name in others:
            first = place.writer.add(made, "Add", [first, name], f"{node.output[0]}_part")
        node.op_type = "Add"
        set_inputs(node, [first, last])
        return [*made, node]
    if not same and len(node.input) > 1:
        raise EditError("inputs of other shapes, or of shapes that are not known, came with opset 8")
    return [node]


def _other_meaning(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    del node, place
    raise EditError("it meant something else then")


RULES: dict[str, tuple[Rule, ...]] = {
    **{op: (Rule(8, _same_dims),) for op in ("Max", "Min", "Sum", "Mean")},
    "Gather": (Rule(11, _gather),),
    "Gemm": (Rule(11, _gemm),),
    "Pad": (Rule(11, _pad),),
    "Resize": (Rule(11, _resize_11), Rule(10, _resize_10)),
    "Scan": (Rule(9, _other_meaning),),
    "ScatterElements": (Rule(11, _scatter),),
    "Slice": (Rule(11, _slice_11), Rule(10, _slice_10)),
    "TopK": (Rule(10, _topk),),
}
"""Operator -> rules, later opsets first; they come after those of ``lowered_nodes``."""

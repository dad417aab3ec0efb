"""Operators whose meaning changed between versions, or whose older form needs other nodes: how to write the older one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx

from graphkit.edit.nodes import NodeWriter, set_attribute, set_inputs
from graphkit.errors import EditError
from graphkit.graph.names import Names
from graphkit.graph.scopes import Scope
from graphkit.graph.values import attribute_value, constant_tensor
from graphkit.semantics.kinds import POOLS, REDUCTIONS, SOFTMAXES
from graphkit.tensor import numpy_type

if TYPE_CHECKING:
    from graphkit.tensor import Array


@dataclass(frozen=True)
class Place:
    """Where a node is lowered: its scope, the two opsets, and the names in use."""

    scope: Scope
    before: int
    target: int
    names: Names
    writer: NodeWriter = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "writer", NodeWriter(self.names))

    def rank(self, name: str) -> int:
        """The number of axes of a value.

        Raises:
            EditError: Neither the file nor inference gives it.
        """
        known = self.scope.dims_of(name)
        if known is None:
            raise EditError(f"the rank of {name!r} is not known")
        return len(known)

    def dtype(self, name: str) -> Any:
        """The numpy type of a value's elements.

        Raises:
            EditError: Neither the file nor inference gives it.
        """
        known = self.scope.type_of(name)
        found = numpy_type(known.tensor_type.elem_type) if known is not None and known.tensor_type.elem_type else None
        if found is None:
            raise EditError(f"the type of {name!r} is not known")
        return found

    def array(self, name: str, what: str) -> Array:
        """A small constant.

        Raises:
            EditError: The value is computed, or is no small constant.
        """
        array = self.known(name)
        if array is None:
            raise EditError(f"its {what} {name!r} is computed")
        return array

    def drop_unread(self, node: onnx.NodeProto) -> None:
        """Drop the outputs beyond the first if nothing reads any of them: what they said matters to nobody."""
        index = self.scope.index
        if not any(name in index.consumers or name in index.outputs for name in node.output[1:] if name):
            del node.output[1:]

    def known(self, name: str) -> Array | None:
        """A small constant of the model or of a rule before; None where the value is computed or large."""
        made = self.writer.constants.get(name)
        return made if made is not None else self.scope.constant_array(name)


def axis_from_front(axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        EditError: There is no such axis.
    """
    if not -rank <= axis < rank:
        raise EditError(f"it has the axis {axis} of a tensor that has {rank}")
    return axis % rank


Lower = Callable[[onnx.NodeProto, Place], list[onnx.NodeProto]]


class Rule(NamedTuple):
    """How to go below the opset in which an operator changed.

    Attributes:
        since: The first opset with the newer meaning.
        lower: Gives the nodes for a copy of the node, which it may change; the last one makes its output.
    """

    since: int
    lower: Lower


def _softmax(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 13 every axis from ``axis`` on was one: the same for the last axis, so that one is brought there."""
    rank = place.rank(node.input[0])
    axis = axis_from_front(attribute_value(node, "axis", -1), max(rank, 1))
    last = max(rank - 1, 0)
    set_attribute(node, "axis", last)
    if axis == last:
        return [node]
    turn = list(range(rank))
    turn[axis], turn[last] = turn[last], turn[axis]
    before: list[onnx.NodeProto] = []
    turned = place.writer.add(before, "Transpose", [node.input[0]], f"{node.output[0]}_turned", perm=turn)
    result = place.names.fresh(f"{node.output[0]}_turned_back")
    after = onnx.NodeProto()
    after.CopyFrom(node)
    del after.attribute[:]
    after.op_type = "Transpose"
    set_inputs(after, [result])
    set_attribute(after, "perm", turn)
    inner = onnx.helper.make_node(node.op_type, [turned], [result], name=place.names.fresh(f"{result}_node"), axis=last)
    return [*before, inner, after]


def _constant(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """value_float, value_ints and so on came with opset 12."""
    del place
    tensor = constant_tensor(node)
    if tensor is not None:
        del node.attribute[:]
        node.attribute.append(onnx.helper.make_attribute("value", tensor))
    return [node]


def _shape(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """A window of a shape is a Slice of it before 15."""
    start, end = int(attribute_value(node, "start", 0)), attribute_value(node, "end", None)
    set_attribute(node, "start", None)
    set_attribute(node, "end", None)
    if start == 0 and end is None:
        return [node]
    made: list[onnx.NodeProto] = []
    whole = place.writer.add(made, "Shape", [node.input[0]], f"{node.output[0]}_whole")
    bounds = (start, np.iinfo(np.int64).max if end is None else end)
    ends = [
        place.writer.constant(made, np.array([b], np.int64), f"{node.output[0]}_{w}")
        for b, w in zip(bounds, ("start", "end"), strict=True)
    ]
    node.op_type = "Slice"
    set_inputs(node, [whole, *ends])
    return [*made, node]


def _reshape(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """allowzero is about zeros in the target only."""
    if attribute_value(node, "allowzero", 0) and 0 in place.array(node.input[1], "target (with allowzero=1)"):
        raise EditError("allowzero=1 with a 0 in the target came later")
    set_attribute(node, "allowzero", None)
    return [node]


def _reduce(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """noop_with_empty_axes says something where there are no axes only."""
    given = len(node.input) > 1 and node.input[1]
    empty = not given or place.array(node.input[1], "list of axes").size == 0
    if attribute_value(node, "noop_with_empty_axes", 0) and empty:
        return _reduced_over_nothing(node)
    set_attribute(node, "noop_with_empty_axes", None)
    return [node]


_OF_ONE = {"ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log"}
"""What a reduction is over no axes, where each number stands alone; the others leave it as it is, or square it."""


def _reduced_over_nothing(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """No axes and noop_with_empty_axes: every number is reduced by itself."""
    name = node.input[0]
    square = node.op_type == "ReduceSumSquare"
    node.op_type = "Mul" if square else _OF_ONE.get(node.op_type, "Identity")
    set_inputs(node, [name, name] if square else [name])
    del node.attribute[:]
    return [node]


def _split(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 18 a Split without sizes gave equal parts; num_outputs makes the last part smaller."""
    if len(node.input) > 1 and node.input[1]:
        return [node]
    count = int(attribute_value(node, "num_outputs", len(node.output)))
    if count != len(node.output):
        raise EditError(f"it says num_outputs={count} and has {len(node.output)}")
    known = place.scope.dims_of(node.input[0])
    axis = int(attribute_value(node, "axis", 0))
    size = None if known is None else known[axis_from_front(axis, len(known))]
    if not isinstance(size, int):
        raise EditError(f"the size of axis {axis} is not known, which num_outputs divides")
    set_attribute(node, "num_outputs", None)
    if size % count == 0:
        return [node]
    part = -(-size // count)
    if part * (count - 1) > size:
        raise EditError(f"{size} cannot be split into {count} parts")
    sizes = np.array([*[part] * (count - 1), size - part * (count - 1)], np.int64)
    made: list[onnx.NodeProto] = []
    if place.target < 13:
        set_attribute(node, "split", sizes.tolist())
        return [node]
    name = place.writer.constant(made, sizes, f"{node.output[0]}_sizes")
    set_inputs(node, [node.input[0], name])
    return [*made, node]


def _pad_axes(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 18 pads are for every axis."""
    if len(node.input) < 4 or not node.input[3]:
        return [node]
    rank = place.rank(node.input[0])
    axes = [axis_from_front(int(axis), rank) for axis in place.array(node.input[3], "list of axes").ravel()]
    pads = place.array(node.input[1], "list of pads")
    if pads.size != 2 * len(axes):
        raise EditError(f"it has {pads.size} pads for {len(axes)} axes")
    whole = np.zeros((2, rank), np.int64)
    whole[:, axes] = pads.reshape(2, -1)
    made: list[onnx.NodeProto] = []
    name = place.writer.constant(made, whole.ravel(), f"{node.output[0]}_pads")
    kept = [node.input[0], name, node.input[2]]
    set_inputs(node, kept if kept[2] else kept[:2])
    return [*made, node]


def _pad_wrap(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    del place
    if attribute_value(node, "mode", "constant") == "wrap":
        raise EditError("mode='wrap' came with opset 19")
    return [node]


def _dropout(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Since 12 an input says whether it is training; at inference nothing is dropped and the ratio says nothing."""
    training = node.input[2] if len(node.input) > 2 else ""
    if training and place.array(training, "training_mode").any():
        raise EditError("it is in training mode")
    place.drop_unread(node)
    if len(node.output) > 1:
        raise EditError("the mask of what was kept was another one then")
    set_inputs(node, node.input[:1])
    set_attribute(node, "seed", None)
    return [node]


def _quantize(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 13 one scale served the whole tensor."""
    known = place.scope.dims_of(node.input[1])
    if known is None or any(dim != 1 for dim in known):
        raise EditError("a scale for each channel came with opset 13")
    set_attribute(node, "axis", None)
    return [node]


def _roi_align(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 16 there was what is called output_half_pixel since."""
    del place
    if attribute_value(node, "coordinate_transformation_mode", "half_pixel") != "output_half_pixel":
        raise EditError("half_pixel coordinates came with opset 16")
    set_attribute(node, "coordinate_transformation_mode", None)
    return [node]


def _grid_sample(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """linear and cubic were called bilinear and bicubic, and worked on images only."""
    if place.rank(node.input[0]) != 4:
        raise EditError("more than two spatial axes came with opset 20")
    mode = attribute_value(node, "mode", "linear")
    set_attribute(node, "mode", {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode))
    return [node]


def _pool(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Since 22 ceil_mode counts no window that starts behind the input; onnx's inference of before does."""
    if not attribute_value(node, "ceil_mode", 0):
        return [node]
    kernel = list(attribute_value(node, "kernel_shape", ()))
    axes = len(kernel)
    strides, dilations = (attribute_value(node, name, [1] * axes) for name in ("strides", "dilations"))
    pads = attribute_value(node, "pads", [0] * 2 * axes)
    known = place.scope.dims_of(node.input[0]) or [None] * (axes + 2)
    if {len(strides), len(dilations), len(pads) / 2, len(known) - 2} != {axes} or min(strides, default=1) < 1:
        raise EditError("its kernel, strides, dilations and pads do not fit each other or its input")
    for axis, (size, stride) in enumerate(zip(known[2:], strides, strict=True)):
        begin, end, reach = pads[axis], pads[axis + axes], dilations[axis] * (kernel[axis] - 1) + 1
        if isinstance(size, int):
            last = -(-(size + begin + end - reach) // stride) * stride
            behind = last >= size + begin
        else:
            behind = end > 0 or stride > reach
        if behind:
            raise EditError("with ceil_mode=1 its last window may start behind the input, which counted then")
    return [node]


def _pow(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 12 the exponent had the type of the base."""
    types = [place.scope.type_of(name) for name in node.input]
    base, exponent = (known.tensor_type.elem_type if known is not None else 0 for known in types)
    if not base or not exponent or base == exponent:
        return [node]
    made: list[onnx.NodeProto] = []
    node.input[1] = place.writer.add(made, "Cast", [node.input[1]], f"{node.output[0]}_exponent", to=base)
    return [*made, node]


def _dft(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 20 the axis was an attribute, and 1 where it was not given; since then it is the last but one."""
    given = node.input[2] if len(node.input) > 2 else ""
    axis = int(place.array(given, "axis").ravel()[0]) if given else -2
    if axis < 0:
        axis = axis_from_front(axis, place.rank(node.input[0]))
    set_attribute(node, "axis", axis)
    set_inputs(node, [name for name in node.input[:2] if name])
    return [node]


def _other_meaning(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    del node, place
    raise EditError("it meant something else then")


def _resize_18(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 18 scales and sizes are for every axis, and there is no antialias and no aspect ratio."""
    for name, default in (("antialias", 0), ("keep_aspect_ratio_policy", "stretch")):
        if attribute_value(node, name, default) != default:
            raise EditError(f"{name}={attribute_value(node, name, default)!r} came with opset 18")
        set_attribute(node, name, None)
    axes = attribute_value(node, "axes", None)
    set_attribute(node, "axes", None)
    if axes is None:
        return [node]
    if attribute_value(node, "coordinate_transformation_mode", "") == "tf_crop_and_resize":
        raise EditError("a roi for some axes came with opset 18")
    rank = place.rank(node.input[0])
    inputs = [*node.input, "", "", ""][:4]
    inputs[1] = ""
    at = 2 if inputs[2] else 3
    if not inputs[at]:
        raise EditError("it is given neither scales nor sizes")
    made: list[onnx.NodeProto] = []
    inputs[at] = _for_all_axes(made, node, place, [axis_from_front(axis, rank) for axis in axes], rank, scales=at == 2)
    set_inputs(node, inputs[: at + 1])
    return [*made, node]


def _for_all_axes(
    made: list[onnx.NodeProto], node: onnx.NodeProto, place: Place, axes: list[int], rank: int, *, scales: bool
) -> str:
    """Scales or sizes of all axes from those of some: 1 for the others, or their own size."""
    given, write, stem = node.input[2 if scales else 3], place.writer, node.output[0]
    array = place.known(given)
    if scales and array is not None:
        if array.shape != (len(axes),):
            raise EditError(f"it has {array.size} scales for {len(axes)} axes")
        whole = np.ones(rank, np.float32)
        whole[axes] = array
        return write.constant(made, whole, f"{stem}_scales")
    if scales:
        others, index = write.constant(made, np.ones(1, np.float32), f"{stem}_one"), [len(axes)] * rank
    else:
        others, index = write.add(made, "Shape", [node.input[0]], f"{stem}_shape"), [len(axes) + a for a in range(rank)]
    for position, axis in enumerate(axes):
        index[axis] = position
    joined = write.add(made, "Concat", [given, others], f"{stem}_some_axes", axis=0)
    order = write.constant(made, np.array(index, np.int64), f"{stem}_order")
    return write.add(made, "Gather", [joined, order], f"{stem}_{'scales' if scales else 'sizes'}", axis=0)


def _resize_19(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    del place
    if attribute_value(node, "coordinate_transformation_mode", "half_pixel") == "half_pixel_symmetric":
        raise EditError("half_pixel_symmetric came with opset 19")
    return [node]


def _resize_13(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Before 13 roi and scales are required, and an empty tensor stands for one that is not used."""
    inputs = [*node.input, "", ""][: max(3, len(node.input))]
    made: list[onnx.NodeProto] = []
    if not (inputs[1] and inputs[2]):
        none = place.writer.constant(made, np.zeros(0, np.float32), f"{node.output[0]}_unused")
        inputs[1], inputs[2] = inputs[1] or none, inputs[2] or none
    set_inputs(node, inputs)
    return [*made, node]


RULES: dict[str, tuple[Rule, ...]] = {
    **{op: (Rule(13, _softmax),) for op in SOFTMAXES},
    **{op: (Rule(18, _reduce),) for op in REDUCTIONS},
    "ReduceSum": (Rule(13, _reduce),),
    "Constant": (Rule(12, _constant),),
    **{op: (Rule(22, _pool),) for op in POOLS},
    "DFT": (Rule(20, _dft),),
    "DequantizeLinear": (Rule(13, _quantize),),
    "Dropout": (Rule(12, _dropout),),
    "GridSample": (Rule(20, _grid_sample),),
    "GroupNormalization": (Rule(21, _other_meaning),),
    "Pow": (Rule(12, _pow),),
    "Pad": (Rule(19, _pad_wrap), Rule(18, _pad_axes)),
    "QuantizeLinear": (Rule(13, _quantize),),
    "Reshape": (Rule(14, _reshape),),
    "Resize": (Rule(19, _resize_19), Rule(18, _resize_18), Rule(13, _resize_13)),
    "RoiAlign": (Rule(16, _roi_align),),
    "Shape": (Rule(15, _shape),),
    "Split": (Rule(18, _split),),
}
"""Operator -> rules, later opsets first. What is not here is written as the older definition has it, or refused."""

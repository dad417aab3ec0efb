"""What nodes make of small values: shapes being computed, indices, masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnx

from graphkit.graph.values import attribute_value
from graphkit.semantics.kinds import CONTROL_FLOW, MAY_DRAW, PRODUCTS, RECURRENT, RESIZERS
from graphkit.semantics.on_constants import NOT_COMPUTED, on_constants
from graphkit.tensor import numpy_type

if TYPE_CHECKING:
    from graphkit.tensor import Array

Given: TypeAlias = "Sequence[Array | None]"

NEVER = frozenset((*MAY_DRAW, *CONTROL_FLOW, *RECURRENT, *PRODUCTS, *RESIZERS))
"""Operators that make no sizes: random ones, and those that are of weights and pictures."""


def computed(node: onnx.NodeProto, given: Given, opset: int) -> list[Array] | None:
    """What a node of ai.onnx makes of values.

    Args:
        node: The node; it holds no graphs.
        given: The values of its inputs, None for one that is left out.
        opset: The version of ai.onnx.

    Returns:
        Its outputs, or None where that is not known here.

    Cost: O(values); operators that are rare among sizes run in onnx.reference.
    """
    if node.op_type in NEVER:
        return None
    rule = _RULES.get(node.op_type)
    try:
        with np.errstate(all="ignore"):
            if rule is not None:
                result = rule(node, given)
                return None if result is None else [np.asarray(result)]
            return _by_reference(node, given, opset)
    except NOT_COMPUTED:
        return None


def _by_reference(node: onnx.NodeProto, given: Given, opset: int) -> list[Array] | None:
    tensors = {n: onnx.numpy_helper.from_array(a, n) for n, a in zip(node.input, given, strict=True) if a is not None}
    return on_constants([node], tensors.values(), [name for name in node.output if name], opset)


def axes_of(node: onnx.NodeProto, given: Given, position: int = 1) -> list[int] | None:
    """The axes of an operator that had them as an attribute and has them as an input."""
    attribute = attribute_value(node, "axes")
    if attribute is not None:
        return [int(axis) for axis in attribute]
    if len(given) > position and (array := given[position]) is not None:
        return [int(axis) for axis in array.reshape(-1)]
    return None


def _squeeze(node: onnx.NodeProto, given: Given) -> Array | None:
    data, axes = _first(given), axes_of(node, given)
    return np.squeeze(data) if axes is None else np.squeeze(data, tuple(axes))


def _unsqueeze(node: onnx.NodeProto, given: Given) -> Array | None:
    data, axes = _first(given), axes_of(node, given)
    return None if axes is None else np.expand_dims(data, tuple(axes))


def _first(given: Given) -> Array:
    if given[0] is None:
        raise ValueError("the first input is left out")
    return given[0]


def _all(given: Given) -> list[Array]:
    found = [array for array in given if array is not None]
    if len(found) != len(given):
        raise ValueError("an input is left out")
    return found


def _divided(_: onnx.NodeProto, given: Given) -> Array | None:
    a, b = _all(given)
    if a.dtype.kind in "iu":
        if (b == 0).any():
            return None
        cut: Array = np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b))  # ONNX cuts towards zero
        return cut.astype(a.dtype)
    return np.asarray(a / b).astype(a.dtype)


def _cast(node: onnx.NodeProto, given: Given) -> Array | None:
    target = numpy_type(attribute_value(node, "to"))
    if target is None or target.kind not in "iufb":
        return None
    made: Array = _first(given).astype(target)
    return made


def _range(_: onnx.NodeProto, given: Given) -> Array | None:
    start, limit, delta = (array.reshape(-1)[0] for array in _all(given))
    count = max(math.ceil((limit - start) / delta), 0)
    made: Array = (start + np.arange(count, dtype=start.dtype) * delta).astype(start.dtype)
    return made if count <= 4096 else None


def _gather(node: onnx.NodeProto, given: Given) -> Array:
    data, places = _all(given)
    axis = attribute_value(node, "axis", 0)
    size = data.shape[axis]
    places = np.where(places < 0, places + size, places)
    if places.size and (places.max() >= size or places.min() < 0):
        raise ValueError("beyond the end")
    return np.take(data, places, axis)


def _gather_elements(node: onnx.NodeProto, given: Given) -> Array:
    data, places = _all(given)
    axis = attribute_value(node, "axis", 0)
    whole = tuple(slice(None) if a == axis % data.ndim else slice(size) for a, size in enumerate(places.shape))
    taken: Array = np.take_along_axis(data[whole], np.where(places < 0, places + data.shape[axis], places), axis)
    return taken


def _reshape(node: onnx.NodeProto, given: Given) -> Array:
    data, target = _all(given)
    sizes = [int(size) for size in target]
    if not attribute_value(node, "allowzero", 0):
        sizes = [data.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
    return data.reshape(sizes)


def _slice(node: onnx.NodeProto, given: Given) -> Array | None:
    if attribute_value(node, "ends") is not None:
        return None
    data, starts, ends = _all(given[:3])
    axes = given[3] if len(given) > 3 and given[3] is not None else np.arange(len(starts))
    steps = given[4] if len(given) > 4 and given[4] is not None else np.ones(len(starts), np.int64)
    window = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        stop = None if step < 0 and end < -data.shape[axis] else int(end)
        window[int(axis)] = slice(int(start), stop, int(step))
    return data[tuple(window)]


def _filled(node: onnx.NodeProto, given: Given) -> Array | None:
    value = attribute_value(node, "value")
    fill = np.zeros(1, np.float32) if value is None else onnx.numpy_helper.to_array(value)
    sizes = [int(size) for size in _first(given).reshape(-1)]
    return np.full(sizes, fill.reshape(-1)[0]) if math.prod(sizes) <= 4096 else None


def _of_two(function: Callable[[Any, Any], Any]) -> Callable[[onnx.NodeProto, Given], Array | None]:
    def rule(_: onnx.NodeProto, given: Given) -> Array | None:
        a, b = _all(given)
        result = np.asarray(function(a, b))
        return result if result.dtype == bool else result.astype(a.dtype)

    return rule


def _of_one(function: Callable[[Any], Any]) -> Callable[[onnx.NodeProto, Given], Array | None]:
    return lambda _, given: np.asarray(function(_first(given))).astype(_first(given).dtype)


_RULES: dict[str, Callable[[onnx.NodeProto, Given], Array | None]] = {
    "Abs": _of_one(np.abs),
    "Add": _of_two(np.add),
    "Cast": _cast,
    "Ceil": _of_one(np.ceil),
    "Concat": lambda node, given: np.concatenate(_all(given), attribute_value(node, "axis", 0)),
    "ConstantOfShape": _filled,
    "Div": _divided,
    "Equal": _of_two(np.equal),
    "Expand": lambda _, given: _first(given) * np.ones(_all(given)[1].astype(np.int64), _first(given).dtype),
    "Floor": _of_one(np.floor),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Greater": _of_two(np.greater),
    "Identity": lambda _, given: _first(given),
    "Less": _of_two(np.less),
    "Mul": _of_two(np.multiply),
    "Neg": _of_one(np.negative),
    "Range": _range,
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _of_two(np.subtract),
    "Unsqueeze": _unsqueeze,
    "Where": lambda _, given: np.where(*_all(given)),
}

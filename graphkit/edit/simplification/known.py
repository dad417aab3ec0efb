"""Values that are the same in every run: constants that are computed, and sizes that are known from shapes."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.edit.evaluation import computable, evaluated
from graphkit.edit.simplification.view import READ, View, integers
from graphkit.semantics.kinds import SAME_NUMBERS, SHAPE_ONLY
from graphkit.tensor import bits

if TYPE_CHECKING:
    from graphkit.tensor import Array

SIZES = 64
"""Elements up to which an integer vector is followed element by element: no shape has more."""

KEPT = frozenset(("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear", "ConstantOfShape", "Constant"))
"""Operators that are not computed for their own sake: quantized weights would grow fourfold, and constants are constants."""


def learn(view: View, node: onnx.NodeProto, limit: int) -> bool:
    """Find out what a node gives, where that does not depend on the model's inputs; True where all of it is known."""
    if len(node.output) != 1 or not node.output[0] or node.domain not in ("", "ai.onnx"):
        return _computed(view, node, limit)
    if node.op_type in _PARTS and (found := _part(view, node)) is not None:
        output = node.output[0]
        if None not in found:
            array = _shaped(view, node, found)
            if array is not None:
                view.known[output] = array
                return True
        view.partly[output] = found
    if node.op_type == "Equal" and (answer := _equal_sizes(view, node)) is not None:
        view.known[node.output[0]] = answer
        return True
    return _computed(view, node, limit)


def _computed(view: View, node: onnx.NodeProto, limit: int) -> bool:
    if node.op_type in KEPT and not (node.op_type == "ConstantOfShape" and _small(view, node)):
        return False
    if not node.input or not all(view.is_constant(name) for name in node.input if name):
        return False
    if not computable(node, view.opset) or not _fits(view, node, limit):
        return False
    inputs: dict[str, Array] = {}
    for name in filter(None, node.input):
        array = view.array(name)
        if array is None:
            return False
        inputs[name] = array
    results = evaluated(node, inputs, view.opset)
    if results is None or any(array.dtype.kind == "O" for array in results.values()):
        return False
    view.known.update(results)
    return True


def _small(view: View, node: onnx.NodeProto) -> bool:
    count = view.count(node.output[0])
    return count is not None and count <= SIZES


def _fits(view: View, node: onnx.NodeProto, limit: int) -> bool:
    """Whether a node's results are of a size that is known, and at most ``limit`` or what goes in."""
    total = 0
    for name in filter(None, node.output):
        count = view.count(name)
        if count is None:
            count = _count_like_inputs(view, node)
        if count is None:
            return False
        total += count * max(bits(view.elem(name)) or 64, 8) // 8
    arrays = [view.array(name, READ) for name in node.input if name]
    return total <= max(limit, sum(array.nbytes for array in arrays if array is not None))


def _count_like_inputs(view: View, node: onnx.NodeProto) -> int | None:
    """How many elements a node makes that makes no more than it reads, where inference does not say."""
    if node.op_type not in (*SAME_NUMBERS, "Transpose", "Slice", "Concat"):
        return None
    arrays = [view.array(name) for name in node.input if name]
    return sum(array.size for array in arrays if array is not None)


_SUMS: dict[str, Callable[[int, int], int]] = {"Add": operator.add, "Mul": operator.mul, "Div": operator.floordiv}
"""What is computed with sizes that are known."""

_PARTS = frozenset(
    (*SHAPE_ONLY, *_SUMS, "Gather", "Slice", "Concat", "Unsqueeze", "Squeeze", "Cast", "Identity", "Reshape")
)
"""Operators through which the elements of a shape are followed one by one."""


def _elements(view: View, name: str) -> list[int | None] | None:
    """An integer vector or number, element by element."""
    if name in view.partly:
        return view.partly[name]
    shape = view.shape(name)
    if shape is None or len(shape) > 1 or math.prod(shape) > SIZES:
        return None
    array = view.array(name, SIZES * 8)
    return integers(array) if array is not None and array.dtype.kind in "iu" else None


def _part(view: View, node: onnx.NodeProto) -> list[int | None] | None:
    """The elements of a node's result, as far as they are known; None where nothing is."""
    op = node.op_type
    if op in SHAPE_ONLY:
        dims = view.dims(node.input[0])
        if dims is None:
            return None
        sizes = [dim if isinstance(dim, int) else None for dim in dims]
        if op == "Size":
            known = [size for size in sizes if size is not None]
            return [math.prod(known)] if len(known) == len(sizes) else None
        start, end = view.attribute(node, "start", 0), view.attribute(node, "end", None)
        assert isinstance(start, int)
        assert end is None or isinstance(end, int)
        return sizes[start:end]
    if op in _SUMS:
        return _reckoned(view, node)
    if op == "Concat":
        parts = [_elements(view, name) for name in node.input]
        return None if None in parts else [element for part in parts if part is not None for element in part]
    if not node.input or (held := _elements(view, node.input[0])) is None:
        return None
    if op in ("Gather", "Slice"):
        return (_gathered if op == "Gather" else _sliced)(view, node, held)
    if op == "Cast" and view.attribute(node, "to") not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
        return None
    if op == "Reshape" and (view.shape(node.output[0]) is None or len(view.shape(node.output[0]) or ()) > 1):
        return None
    return held


def _reckoned(view: View, node: onnx.NodeProto) -> list[int | None] | None:
    """Sizes that are added, multiplied or divided: none of them is below 0, so neither is what comes out."""
    one, other = (_elements(view, name) for name in node.input)
    if not one or not other or not (len(one) == len(other) or 1 in (len(one), len(other))):
        return None
    if any(element is not None and element < 0 for element in (*one, *other)):
        return None
    count = max(len(one), len(other))
    pairs = zip(one * (count // len(one) or 1), other * (count // len(other) or 1), strict=True)
    return [_whole(node.op_type, a, b) for a, b in pairs]


def _equal_sizes(view: View, node: onnx.NodeProto) -> Array | None:
    """Whether sizes are equal to numbers, where that is known of each: one that is not known is none below 0."""
    one, other = (_elements(view, name) for name in node.input)
    dims = view.dims(node.output[0])
    if (
        not one
        or not other
        or dims is None
        or len(dims) != 1
        or not (len(one) == len(other) or 1 in (len(one), len(other)))
    ):
        return None
    count = max(len(one), len(other))
    pairs = list(zip(one * (count // len(one)), other * (count // len(other)), strict=True))
    if any(None in pair and not any(element is not None and element < 0 for element in pair) for pair in pairs):
        return None
    return np.array([a == b for a, b in pairs])


def _whole(op: str, one: int | None, other: int | None) -> int | None:
    if one is None or other is None or (op == "Div" and not other):
        return None
    found = _SUMS[op](one, other)
    return found if found < 1 << 31 else None


def _gathered(view: View, node: onnx.NodeProto, held: list[int | None]) -> list[int | None] | None:
    indices, rank = view.numbers(node.input[1]), view.dims(node.input[0])
    if indices is None or rank is None or len(rank) != 1 or view.attribute(node, "axis", 0) not in (0, -1):
        return None
    if any(not -len(held) <= index < len(held) for index in indices):
        return None
    return [held[index] for index in indices]


def _sliced(view: View, node: onnx.NodeProto, held: list[int | None]) -> list[int | None] | None:
    if view.opset < 10 or len(node.input) < 3:
        return None
    bounds = [view.numbers(name) if name else None for name in node.input[1:]]
    starts, ends = bounds[0], bounds[1]
    axes = bounds[2] if len(bounds) > 2 and node.input[3] else [0]
    steps = bounds[3] if len(bounds) > 3 and node.input[4] else [1]
    if starts is None or ends is None or axes not in ([0], [-1]) or steps is None or len(starts) != 1:
        return None
    if len(ends) != 1 or len(steps) != 1 or not steps[0]:
        return None
    end: int | None = ends[0]
    if steps[0] < 0 and end is not None and end < -len(held):
        end = None
    return held[starts[0] : end : steps[0]]


def target(view: View, node: onnx.NodeProto) -> list[int] | None:
    """What a Reshape's target says that is computed from sizes of which some are free; None where no constant says it.

    A size that the input has at the same axis is 0; one that follows from all the others is -1. The two are used together
    only where the -1 was there: where the size that 0 copies is 0 in a run, nothing follows from it.
    """
    if node.op_type != "Reshape" or node.domain not in ("", "ai.onnx") or len(node.input) != 2:
        return None
    elements = view.partly.get(node.input[1])
    before, after = view.dims(node.input[0]), view.dims(node.output[0])
    if elements is None or None not in elements or elements.count(-1) > 1:
        return None
    if any(element is not None and element < 1 and element != -1 for element in elements):
        return None
    if elements.count(None) == 1 and -1 not in elements:
        return [-1 if element is None else element for element in elements]
    if before is None or after is None or len(after) != len(elements) or view.attribute(node, "allowzero", 0):
        return None
    same = [isinstance(one, str) and one == other for one, other in zip(before, after, strict=False)]
    places = [axis for axis, element in enumerate(elements) if element is None]
    if any(axis >= len(same) or not same[axis] for axis in places):
        return None
    return [0 if element is None else element for element in elements]


def _shaped(view: View, node: onnx.NodeProto, elements: list[int | None]) -> Array | None:
    """The elements as the node gives them: its type, and its rank of 0 or 1."""
    elem, dims = view.elem(node.output[0]), view.dims(node.output[0])
    if elem not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32) or dims is None or len(dims) > 1:
        return None
    array = np.array(elements, onnx.helper.tensor_dtype_to_np_dtype(elem))
    return array.reshape(()) if not dims and array.size == 1 else array if len(dims) == 1 else None

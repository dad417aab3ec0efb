"""What range of numbers an input can take, read from what the graph does with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.graph import values
from graphkit.graph.exact import drives_resize
from graphkit.graph.index import GraphIndex
from graphkit.model import Model

if TYPE_CHECKING:
    from graphkit.tensor import Array


@dataclass(frozen=True)
class Range:
    """The numbers to draw for one input.

    Attributes:
        low: Lowest value, or None for no bound: a standard normal distribution is drawn then.
        high: Highest value (included), or None.
        step: Values are multiples of this; 0 for any.
        mask: Ones followed by zeros.
        leading_ones: Leading elements of a vector that must be 1 (the batch and channels of Resize scales).
        length: Length of a vector whose size the graph fixes.
    """

    low: float | None = None
    high: float | None = None
    step: float = 0.0
    mask: bool = False
    leading_ones: int = 0
    length: int | None = None

    def integers(self, dtype: np.dtype[Any]) -> tuple[int, int]:
        """(lowest, highest) for an integer dtype; 0 to 9 where the graph says nothing, the whole range of 8-bit types."""
        if self.low is None and self.high is None:
            return (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) if dtype.itemsize == 1 else (0, 9)
        low = 0 if self.low is None else int(np.ceil(self.low))
        high = low + 9 if self.high is None else int(np.floor(self.high))
        return low, max(low, high)

    def reals(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Random float64 numbers of a shape."""
        if self.low is None or self.high is None:
            return np.asarray(generator.standard_normal(shape))
        numbers = np.asarray(generator.uniform(self.low, self.high, shape))
        return np.round(numbers / self.step) * self.step if self.step else numbers


POSITIVE = Range(0.1, 2.0)
PIXELS = Range(0.0, 1.0)
FACTORS = Range(1.5, 3.0, step=0.5)

_SAME_NUMBERS = frozenset(
    "Identity Cast Reshape Unsqueeze Squeeze Flatten Transpose Concat Slice Expand Split Gather Tile "
    "DepthToSpace SpaceToDepth Dropout SequenceConstruct".split()
)
"""Operators that hand on numbers of their first input unchanged (Concat: of every input)."""

_DOMAINS = {
    "Log": POSITIVE,
    "Sqrt": POSITIVE,
    "Reciprocal": POSITIVE,
    "Asin": Range(-0.9, 0.9),
    "Acos": Range(-0.9, 0.9),
    "Atanh": Range(-0.9, 0.9),
    "Acosh": Range(1.1, 3.0),
}


def input_range(model: Model, index: GraphIndex, name: str) -> Range:
    """The range of a graph input, from its readers, the readers of what hands its numbers on, its type and its name.

    Rows of an embedding bound the token ids; Log and Sqrt want positive numbers; what becomes Resize scales is a
    factor of 1.5 to 3; what is called a mask is ones and zeros; pictures (4 dims, 1 or 3 channels) lie in 0..1.
    A narrower range wins.

    Cost: O(nodes that the numbers reach).
    """
    info = index.inputs[name]
    dims = values.dims(info.type)
    kind = info.type.tensor_type.elem_type
    if dims is not None and len(dims) == 1 and drives_resize(model.proto, name):
        if kind == onnx.TensorProto.INT64:
            return Range(8, 24)
        if all(index.nodes[position].op_type == "Expand" for position in index.consumers.get(name, ())):
            return replace(FACTORS, length=1)  # what gk.resize makes: one factor for all axes, or one for each
    found = [r for r in _readers_want(model, index, name) if r is not None]
    if found:
        return _narrowest(found)
    if re.search(r"mask(?!ed)", name, re.IGNORECASE) and kind != onnx.TensorProto.BOOL:
        return Range(mask=True)
    if dims is not None and len(dims) == 4 and 1 in (dims[1] == 1, dims[1] == 3, dims[3] == 3, dims[1] is None):
        return PIXELS
    return Range()


def _narrowest(found: list[Range]) -> Range:
    lengths = [r.length for r in found if r.length is not None]
    best = min(
        found, key=lambda r: (r.high if r.high is not None else np.inf) - (r.low if r.low is not None else -np.inf)
    )
    return replace(best, length=lengths[0]) if lengths else best


def _readers_want(model: Model, index: GraphIndex, name: str) -> Iterator[Range | None]:
    waiting, seen = [name], {name}
    while waiting:
        value = waiting.pop()
        for position in index.consumers.get(value, ()):
            node = index.nodes[position]
            if node.domain not in ("", "ai.onnx"):
                continue
            places = [i for i, read in enumerate(node.input) if read == value]
            for place in places:
                yield _wanted(model, index, node, place)
            handed_on = node.op_type == "Concat" or 0 in places
            if handed_on and node.op_type in _SAME_NUMBERS:
                fresh = [output for output in node.output[:1] if output not in seen]
                seen.update(fresh)
                waiting.extend(fresh)


def _wanted(model: Model, index: GraphIndex, node: onnx.NodeProto, place: int) -> Range | None:
    """The range that one reader wants at one of its inputs, or None for any."""
    op = node.op_type
    if op in _DOMAINS:
        return _DOMAINS[op]
    if (op, place) in (("Div", 1), ("Pow", 0)):
        return POSITIVE
    if (op, place) in (("Gather", 1), ("GatherElements", 1), ("ScatterElements", 1), ("GatherND", 1), ("ScatterND", 1)):
        return _rows(index, node)
    if (op, place) == ("OneHot", 0):
        depth = values.constant(index, node.input[1])
        array = None if depth is None else np.ravel(model.array_of(depth))
        return None if array is None or not array.size else Range(0, int(array[0]) - 1)
    if (op, place) in (("Resize", 2), ("Resize", 1), ("Upsample", 1)) and not (
        op == "Resize" and len(node.input) > 2 and place == 1
    ):
        return _scales(index, node, place)
    if (op, place) in (("Loop", 0), ("Tile", 1), ("TopK", 1), ("Range", 1), ("Range", 2)):
        return Range(1, 3)
    if (op, place) in (("Expand", 1), ("ConstantOfShape", 0), ("Reshape", 1)):
        return Range(1, 4)
    if (op, place) in (("Slice", 1), ("Range", 0)):
        return Range(0, 0)
    return None


def _rows(index: GraphIndex, node: onnx.NodeProto) -> Range | None:
    """Indices within the axis of the data that a gathering node reads."""
    if node.op_type in ("GatherND", "ScatterND"):
        axis = 0
    else:
        axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    declared = values.value_type(index, node.input[0])
    dims = values.dims(declared) if declared is not None else None
    if dims is None:
        constant = values.constant(index, node.input[0])
        dims = list(constant.dims) if constant is not None else None
    if dims is None or not -len(dims) <= axis < len(dims):
        return Range(0, 0)
    size = dims[axis]
    return Range(0, size - 1) if isinstance(size, int) and size > 0 else Range(0, 0)


def _scales(index: GraphIndex, node: onnx.NodeProto, place: int) -> Range:
    """Scales: 1 for batch and channels where the input is the whole vector, a factor elsewhere."""
    if node.input[place] not in index.inputs:
        return replace(FACTORS, length=1)  # a factor on its way to be expanded: one number counts for every axis
    axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), None)
    declared = values.value_type(index, node.input[0])
    dims = values.dims(declared) if declared is not None else None
    rank = len(axes) if axes else len(dims) if dims else None
    return replace(FACTORS, leading_ones=0 if axes else 2, length=rank)

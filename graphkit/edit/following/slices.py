"""A Slice along an axis that varies: to the end, a roll, two halves, or bounds that may be meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import onnx

from graphkit.edit.following.context import EXPORT, Following, Want, in_full
from graphkit.edit.nodes import set_attribute, set_input
from graphkit.graph.values import attribute_value
from graphkit.shapes.points import Dim

TO_THE_END = np.iinfo(np.int64).max
"""An end that is behind every place."""


def follow_slice(state: Following, node: onnx.NodeProto) -> None:
    """Fixed bounds along an axis that varies: the size in the file is the end, and what counts from there follows."""
    _cut_at_seams(state, node)
    known = state.get(node.input[0])
    bounds = _bounds(state, node)
    if not known.varies or known.dims is None or bounds is None:
        return
    starts, ends, axes = bounds
    new_starts, new_ends = list(starts), list(ends)
    halves: list[tuple[onnx.NodeProto, int, int]] = []
    for position, axis in enumerate(axes):
        dim, end = known.dims[axis], ends[position]
        if not dim.varies or position >= len(starts) or end is None:
            continue
        if end == dim.base and (dim.base > 1 or starts[position] == 0):
            new_ends[position] = TO_THE_END
        rolled = _rolled(state, node, dim, starts[position], end)
        if rolled is not None:
            new_starts[position], new_ends[position] = rolled
        elif (half := _half(state, node, axis, dim, (starts[position], end))) is not None:
            halves = [(node, axis, half[0]), (half[1], axis, half[0])]
        else:
            _doubt_bounds(state, node, axis, dim, (starts[position], new_ends[position]))
    for each, axis, cut in halves:
        _cut_in_half(state, each, axis, cut)
    if new_ends == ends and new_starts == starts:
        return
    _set_bounds(state, node, (starts, new_starts), (ends, new_ends))
    text, done = f"takes the fixed places {in_full(starts)} to {in_full(ends)}", "they count from the end now"
    state.find("follows", node, text, value=node.input[0], done=done)


Bounds: TypeAlias = "tuple[list[int | None], list[int | None], list[int]]"


def _bounds(state: Following, node: onnx.NodeProto) -> Bounds | None:
    """(starts, ends, axes) of a Slice."""
    starts: list[int | None] | None
    ends: list[int | None] | None
    if attribute_value(node, "ends") is not None:
        starts, ends = list(attribute_value(node, "starts")), list(attribute_value(node, "ends"))
        return starts, ends, list(attribute_value(node, "axes") or range(len(starts)))
    if len(node.input) < 3:
        return None
    starts, ends = state.numbers(node.input[1]), state.numbers(node.input[2])
    if starts is None or ends is None:
        return None
    if len(node.input) < 4 or not node.input[3]:
        return starts, ends, list(range(len(starts)))
    axes = state.numbers(node.input[3])
    if axes is None or None in axes:
        return None
    return starts, ends, [axis for axis in axes if axis is not None]


def _set_bounds(
    state: Following,
    node: onnx.NodeProto,
    starts: tuple[list[int | None], list[int | None]],
    ends: tuple[list[int | None], list[int | None]],
) -> None:
    for place, name, (old, new) in ((1, "starts", starts), (2, "ends", ends)):
        if old == new:
            continue
        if attribute_value(node, name) is not None:
            set_attribute(node, name, new)
            continue
        elem = state.get(node.input[place]).elem
        if elem == onnx.TensorProto.INT32 and None not in new:
            short = np.array([min(number, 2**31 - 1) for number in new if number is not None], np.int32)
            set_input(node, place, state.constant(short, name))
        else:
            made = state.listed(node.input[place], new)
            set_input(node, place, made)


def _rolled(state: Following, node: onnx.NodeProto, dim: Dim, start: int | None, end: int) -> tuple[int, int] | None:
    """The two parts of a roll: [cut:] and [:cut] joined in that order. A cut behind the middle counts from the end."""
    cut = start if end >= dim.base else end
    if start is None or cut is None or not dim.base // 2 < cut < dim.base or (end < dim.base and start != 0):
        return None
    joins = [reader for reader in state.readers(node.output[0]) if reader.op_type == "Concat"]
    if len(joins) != 1 or len(joins[0].input) != 2:
        return None
    others = [reader for reader in state.readers(node.input[0]) if reader.op_type == "Slice" and reader is not node]
    mates = [other for other in others if set(other.output) & set(joins[0].input)]
    if len(mates) != 1:
        return None
    first = joins[0].input[0] == node.output[0]
    if first != (end >= dim.base):
        return None
    return (cut - dim.base, TO_THE_END) if end >= dim.base else (0, cut - dim.base)


def _half(
    state: Following, node: onnx.NodeProto, axis: int, dim: Dim, bounds: tuple[int | None, int]
) -> tuple[int, onnx.NodeProto] | None:
    """The place in the middle of an axis, and the Slice that takes the other half of the value."""
    start, end = bounds
    cut = start if end >= dim.base else end
    if start is None or cut is None or cut < 2 or dim.base - 2 * cut not in (0, 1) or (end < dim.base and start):
        return None
    first = end == cut
    for mate in state.readers(node.input[0]):
        own = _bounds(state, mate) if mate.op_type == "Slice" and mate is not node else None
        if own is None or axis not in own[2]:
            continue
        at = own[2].index(axis)
        begin, stop = own[0][at], own[1][at]
        whole = stop is not None and stop >= dim.base
        if (first and begin == cut and whole) or (not first and begin == 0 and stop == cut):
            return cut, mate
    return None


def _cut_in_half(state: Following, node: onnx.NodeProto, axis: int, cut: int) -> None:
    """Let a Slice begin or end in the middle of an axis."""
    bounds = _bounds(state, node)
    if bounds is None or attribute_value(node, "ends") is not None:
        state.find("held", node, f"cuts axis {axis} of {node.input[0]!r} in halves at {cut}", axis=axis, remedy=EXPORT)
        return
    position = bounds[2].index(axis)
    place = 1 if bounds[0][position] == cut else 2
    half = state.add("Div", [state.size(node.input[0], axis), state.constant([2])], "half")
    if state.get(node.input[place]).elem == onnx.TensorProto.INT32:
        half = state.add("Cast", [half], "half", to=onnx.TensorProto.INT32)
    parts = [half if p == position else state.element(node.input[place], p) for p in range(len(bounds[0]))]
    set_input(node, place, state.concatenated(parts))
    text = (
        f"cuts axis {axis} of {node.input[0]!r} in halves at {cut}, and the file does not say that {cut} is not meant"
    )
    state.find("choice", node, text, value=node.input[0], axis=axis, done="it cuts in the middle now")


def _cut_at_seams(state: Following, node: onnx.NodeProto) -> None:
    """Bounds at which values that vary were joined, from the front or from the end."""
    bounds, dims = _bounds(state, node), state.get(node.input[0]).dims
    if bounds is None or dims is None or attribute_value(node, "ends") is not None:
        return
    for position, axis in enumerate(bounds[2]):
        dim = dims[axis]
        joined = state.parts(Want(dim.sizes, node.input[0], axis, factors=dim.factors)) if dim.varies else []
        for place, numbers in ((1, bounds[0]), (2, bounds[1])):
            bound = numbers[position] if position < len(numbers) else None
            if len(joined) < 2 or bound is None or not 0 < abs(bound) < dim.base:
                continue
            own = _up_to(joined if bound > 0 else joined[::-1], abs(bound))
            if not any(part.varies for part in own):
                continue
            seam = _total(state, own)
            seam = state.add("Neg", [seam], "seam") if bound < 0 else seam
            if state.get(node.input[place]).elem == onnx.TensorProto.INT32:
                seam = state.add("Cast", [seam], "seam", to=onnx.TensorProto.INT32)
            parts = [seam if p == position else state.element(node.input[place], p) for p in range(len(numbers))]
            text = f"cuts axis {axis} of {node.input[0]!r} at {bound}, where values were joined"
            set_input(node, place, state.concatenated(parts))
            state.find("follows", node, text, value=node.input[0], axis=axis, done="it cuts there at every size now")


def _up_to(parts: Sequence[Want], bound: int) -> Sequence[Want]:
    """The first parts that have so many places together; none where they have not."""
    count = 0
    for number, part in enumerate(parts, 1):
        count += part.sizes[0]
        if count == bound:
            return parts[:number]
    return ()


def _total(state: Following, parts: Sequence[Want]) -> str:
    total, *more = (state.wanted(part) if part.varies else state.constant([part.sizes[0]]) for part in parts)
    for part in more:
        total = state.add("Add", [total, part], "seam")
    return total


def _doubt_bounds(
    state: Following, node: onnx.NodeProto, axis: int, dim: Dim, bounds: tuple[int | None, int | None]
) -> None:
    """A bound in the middle of the size, or behind, may be a number or may follow."""
    size = dim.base
    for bound in bounds:
        if bound is not None and bound < -1 and abs(2 * bound + size) <= 1:  # a half that is counted from the end
            text = (
                f"cuts axis {axis} of {node.input[0]!r}, of size {size}, {-bound} before its end: that stays as it is"
            )
            state.find("held", node, text, value=node.input[0], axis=axis, remedy=EXPORT)
        if bound is None or not 1 < bound < size:
            continue
        if bound * 2 >= size or (size % bound == 0 and bound * 4 >= size and not _in_roll(state, node)):
            text = f"cuts axis {axis} of {node.input[0]!r}, of size {size}, at {bound}: that stays as it is"
            state.find("held", node, text, value=node.input[0], axis=axis, remedy=EXPORT)


def _in_roll(state: Following, node: onnx.NodeProto) -> bool:
    """Whether a Slice is joined with another of the same value."""
    others = {name for r in state.readers(node.input[0]) if r.op_type == "Slice" and r is not node for name in r.output}
    joins = [reader for reader in state.readers(node.output[0]) if reader.op_type == "Concat"]
    return any(len(join.input) == 2 and set(join.input) & others for join in joins)

"""Operators that are told a size, a place or a condition for each place: Tile, Pad, CenterCropPad, Compress, SequenceAt."""

from __future__ import annotations

import onnx

from graphkit.edit.following.context import EXPORT, Following, in_full, in_short
from graphkit.edit.nodes import set_input
from graphkit.graph.values import attribute_value


def _told(state: Following, node: onnx.NodeProto, position: int, what: str) -> None:
    """A number that an operator is told and that is the size of an axis that becomes free: named."""
    numbers = state.baked(node.input[position]) if position < len(node.input) and node.input[position] else None
    bases = {sizes[0] for sizes in state.freed if sizes[0] > 2}
    if numbers is None or not any(int(number) in bases for number in numbers.reshape(-1)):
        return
    text = f"{what} {in_short(numbers)}, with the size of an axis that becomes free: that stays as it is"
    state.find("held", node, text, value=node.input[position], remedy=EXPORT)


def tell_tile(state: Following, node: onnx.NodeProto) -> None:
    """Repeats as many as an axis that becomes free has places."""
    if state.depends(node.input[0]) and state.baked(node.input[0]) is None:
        _told(state, node, 1, "repeats its input")


def tell_suppression(state: Following, node: onnx.NodeProto) -> None:
    """As many boxes at most as there are in the file."""
    _told(state, node, 2, "selects at most")


def tell_sequence_at(state: Following, node: onnx.NodeProto) -> None:
    """The last element of a sequence that is as long as an axis that becomes free."""
    place = state.baked(node.input[1])
    if place is not None and any(int(place) == sizes[0] - 1 > 1 for sizes in state.freed):
        text = f"takes the fixed element {int(place)}, one below the size of an axis that becomes free"
        state.find("held", node, text, value=node.input[1], remedy=EXPORT)


def tell_compress(state: Following, node: onnx.NodeProto) -> None:
    """A condition for each place of an axis that varies."""
    known, condition = state.get(node.input[0]), state.baked(node.input[1])
    axis = attribute_value(node, "axis")
    if known.dims is None or condition is None or axis is None or not known.dims[axis].varies:
        return
    if condition.size * 2 > known.dims[axis].base:
        text = (
            f"keeps fixed places of axis {axis % len(known.dims)} of {node.input[0]!r}, of size {known.dims[axis].base}"
        )
        state.find("held", node, text, value=node.input[1], axis=axis % len(known.dims), remedy=EXPORT)


def follow_crop_or_pad(state: Following, node: onnx.NodeProto) -> None:
    """CenterCropPad to a fixed size: to that of its input, which follows, or to another, which stays."""
    known, sizes = state.get(node.input[0]), state.numbers(node.input[1])
    if known.dims is None or sizes is None or not known.varies:
        return
    axes = [int(axis) % len(known.dims) for axis in attribute_value(node, "axes") or range(len(known.dims))]
    parts: list[int | str] = []
    for place, (axis, size) in enumerate(zip(axes, sizes, strict=True)):
        dim = known.dims[axis]
        if size is None:
            parts.append(state.element(node.input[1], place))
        elif dim.varies and size == dim.base:
            parts.append(state.size(node.input[0], axis))
        else:
            parts.append(size)
            if dim.varies:
                text = f"crops or pads axis {axis} of {node.input[0]!r} to the fixed size {size}"
                state.find("held", node, text, value=node.input[1], axis=axis, remedy=EXPORT)
    if any(isinstance(part, str) and size is not None for part, size in zip(parts, sizes, strict=True)):
        set_input(node, 1, state.concatenated(parts))
        text = f"crops or pads to the fixed size {in_full(sizes)}"
        state.find("follows", node, text, value=node.input[0], done=f"it follows {node.input[0]!r} now")


LARGEST_PAD = 4
"""Places that a net may add at the end of an axis whatever its size: more of them fill it up to a length."""


def tell_pad(state: Following, node: onnx.NodeProto) -> None:
    """Zeros at the end alone, and many: they fill an axis that varies up to a length."""
    known = state.get(node.input[0])
    given = attribute_value(node, "pads")
    if given is None and len(node.input) > 1:
        baked = state.baked(node.input[1])
        given = None if baked is None else baked.reshape(-1).tolist()
    if known.dims is None or given is None or not known.varies:
        return
    chosen = state.baked(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    axes = list(range(len(known.dims))) if chosen is None else [int(a) % len(known.dims) for a in chosen]
    for place, axis in enumerate(axes):
        before, behind = int(given[place]), int(given[place + len(axes)])
        if known.dims[axis].varies and not before and behind > LARGEST_PAD:
            length = known.dims[axis].base + behind
            text = f"adds {behind} places behind axis {axis} of {node.input[0]!r}, {length} in all: that stays as it is"
            state.find("held", node, text, value=node.input[0], axis=axis, remedy=EXPORT)

"""Nodes that hold a size in a constant or an attribute: Slice, Resize, TopK, Split, pools, Expand, Gather, Loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx

from graphkit.edit.following.agreement import EXPORT
from graphkit.edit.following.context import Following
from graphkit.edit.following.growing import diagonal
from graphkit.edit.following.lookups import follow_gather, follow_places, follow_scatter, in_short
from graphkit.edit.following.numbers import PLACES_ONLY, follow_numbers
from graphkit.edit.following.reshapes import follow_reshape
from graphkit.edit.nodes import set_input, set_inputs
from graphkit.graph.values import attribute_value
from graphkit.semantics.elementwise import BROADCASTING, ONE_BY_ONE
from graphkit.shapes.points import Dim

TO_THE_END = np.iinfo(np.int64).max


def hold(state: Following, node: onnx.NodeProto) -> None:
    """Make what a node holds follow its input. Changes the node; what cannot follow is found."""
    rule = _RULES.get(node.op_type)
    if rule is not None and node.domain in ("", "ai.onnx") and node.input and node.input[0]:
        rule(state, node)


def _set_attribute(node: onnx.NodeProto, name: str, value: object) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)
    if value is not None:
        node.attribute.append(onnx.helper.make_attribute(name, value))


# Expand.


def _expand(state: Following, node: onnx.NodeProto) -> None:
    """An axis that varies and is spelt out in the target: 1 leaves it as it is."""
    known, sizes = state.get(node.input[0]), state.numbers(node.input[1]) if len(node.input) > 1 else None
    if sizes is None or not known.varies or known.dims is None:
        return
    offset = len(sizes) - len(known.dims)
    new = list(sizes)
    for axis, dim in enumerate(known.dims):
        place = axis + offset
        size = sizes[place] if place >= 0 else 1
        if not dim.varies or size == 1 or size is None:
            continue
        if size != dim.base:
            text = f"repeats axis {axis} of {node.input[0]!r} to the fixed size {size}"
            state.find("held", node, text, value=node.input[1], axis=place, remedy=EXPORT)
            continue
        new[place] = 1
    if new != sizes:
        text = f"has the fixed target {_spelt(sizes)}{state.spelt(node.input[1])}"
        set_input(node, 1, _list(state, node.input[1], new))
        state.find("follows", node, text, value=node.input[0], done=f"it follows {node.input[0]!r} now")


def _list(state: Following, name: str, numbers: list[int | None]) -> str:
    """A list of numbers, those that follow a size already taken from the list that is there."""
    return state.concatenated([state.element(name, p) if n is None else n for p, n in enumerate(numbers)])


def _spelt(numbers: list[int | None]) -> str:
    return f"[{', '.join('?' if number is None else str(number) for number in numbers)}]"


# Slice.


def _slice(state: Following, node: onnx.NodeProto) -> None:
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
    text, done = f"takes the fixed places {_spelt(starts)} to {_spelt(ends)}", "they count from the end now"
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
            _set_attribute(node, name, new)
            continue
        elem = state.get(node.input[place]).elem
        if elem == onnx.TensorProto.INT32 and None not in new:
            short = np.array([min(number, 2**31 - 1) for number in new if number is not None], np.int32)
            set_input(node, place, state.constant(short, name))
        else:
            made = _list(state, node.input[place], new)
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


# Split.


def _split(state: Following, node: onnx.NodeProto) -> None:
    known = state.get(node.input[0])
    if known.dims is None:
        return
    axis = attribute_value(node, "axis", 0) % max(len(known.dims), 1)
    if axis >= len(known.dims) or not known.dims[axis].varies:
        return
    dim = known.dims[axis]
    parts = attribute_value(node, "split")
    if parts is None and len(node.input) > 1 and node.input[1]:
        baked = state.baked(node.input[1])
        parts = None if baked is None else [int(size) for size in baked]
    if parts is None:
        return
    if len(set(parts)) > 1 or len(parts) < 2:
        text = f"cuts axis {axis} of {node.input[0]!r} in the fixed parts {list(parts)}"
        state.find("held", node, text, value=node.input[0], axis=axis, remedy=EXPORT)
        return
    _set_attribute(node, "split", None)
    set_inputs(node, [node.input[0]])
    if state.opset >= 18:
        _set_attribute(node, "num_outputs", len(parts))
    text = f"cuts axis {axis} of {node.input[0]!r} in the fixed parts {list(parts)}"
    state.find("follows", node, text, value=node.input[0], axis=axis, done="they are equal parts of any size now")
    if dim.base == len(parts):
        state.find("held", node, f"has one output for each of the {dim.base} places of axis {axis}", remedy=EXPORT)


# TopK.


def _top_k(state: Following, node: onnx.NodeProto) -> None:
    known = state.get(node.input[0])
    if known.dims is None or len(node.input) < 2:
        return
    axis = attribute_value(node, "axis", -1) % max(len(known.dims), 1)
    count = state.baked(node.input[1])
    if count is None or not known.dims[axis].varies:
        return
    dim = known.dims[axis]
    number = int(count.reshape(-1)[0])
    if number == dim.base and number > 1:
        set_input(node, 1, state.size(node.input[0], axis))
        text, done = f"gives the fixed number of {number} largest, all of axis {axis}", "it gives all of any size now"
        state.find("follows", node, text, value=node.input[0], axis=axis, done=done)
    elif number * 2 in (dim.base, dim.base - 1) and number > 1:
        text = (
            f"gives the fixed number of {number} largest, half of axis {axis} of {node.input[0]!r}: that stays as it is"
        )
        state.find("held", node, text, value=node.input[1], axis=axis, remedy=EXPORT)


# Resize.


def _resize(state: Following, node: onnx.NodeProto) -> None:
    known = state.get(node.input[0])
    if not known.varies or known.dims is None or len(node.input) < 4 or not node.input[3]:
        return
    written = state.numbers(node.input[3])
    if written is None:
        return
    axes = attribute_value(node, "axes")
    places = [int(axis) % len(known.dims) for axis in axes] if axes else list(range(len(known.dims)))
    if len(written) != len(places):
        return
    parts: list[int | str] = []
    guessed: list[int] = []
    changed = False
    for position, (size, axis) in enumerate(zip(written, places, strict=True)):
        dim = known.dims[axis]
        if size is None:
            parts.append(state.element(node.input[3], position))
            continue
        part: int | str | None = size
        if dim.varies and size == dim.base:
            part = state.size(node.input[0], axis)
        elif dim.varies:
            part, sure = _resized(state, node, axis, dim, size)
            if not sure and part is not None:
                guessed.append(axis)
        if part is None:
            text = f"resizes axis {axis} of {node.input[0]!r} to the fixed size {size}"
            state.find("held", node, text, value=node.input[3], axis=axis, remedy=EXPORT)
            part = size
        changed = changed or part is not size
        parts.append(part)
    if not changed:
        return
    set_input(node, 3, state.concatenated(parts))
    text = f"resizes {node.input[0]!r} to the fixed sizes {_spelt(written)}"
    if guessed:
        text += ", and the file does not say that these are not meant"
        state.find(
            "choice", node, text, value=node.input[3], axis=guessed[0], done=f"axes {guessed} keep the factor now"
        )
    else:
        state.find("follows", node, text, value=node.input[0], done="they follow now")


def _resized(state: Following, node: onnx.NodeProto, axis: int, dim: Dim, size: int) -> tuple[str | None, bool]:
    """(the size that an axis is resized to, whether that is certain)."""
    if (joined := _joined_with(state, node, axis, size)) is not None:
        return joined, True
    if any(s * size % dim.base for s in dim.sizes):
        return _same_size(state, size)
    wanted = tuple(s * size // dim.base for s in dim.sizes)
    if wanted in state.inference.origins:
        return state.size(*state.inference.origins[wanted]), True
    return state.expression(wanted, [(node.input[0], axis)]), False


def _joined_with(state: Following, node: onnx.NodeProto, axis: int, size: int) -> str | None:
    """The size of what the result is joined with further on, where that varies and is this size in the file."""
    name = node.output[0]
    for _ in range(6):
        readers = state.readers(name)
        for reader in readers:
            if reader.op_type != "Concat" and reader.op_type not in BROADCASTING:
                continue
            for other in reader.input:
                dims = state.get(other).dims if other != name else None
                if dims is not None and len(dims) > axis and dims[axis].varies and dims[axis].base == size:
                    return state.size(other, axis)
        if len(readers) != 1 or readers[0].op_type not in (*ONE_BY_ONE, "Cast", "BatchNormalization"):
            return None
        name = readers[0].output[0]
    return None


def _same_size(state: Following, size: int) -> tuple[str | None, bool]:
    """The one size that was seen before and is this one in the file, where no factor gives it."""
    found = [place for sizes, place in state.inference.origins.items() if sizes[0] == size]
    return (state.size(*found[0]), True) if len(found) == 1 else (None, False)


# Pools.


def _pool(state: Following, node: onnx.NodeProto) -> None:
    """A window as large as the picture, or as high or wide as it, and windows that tile it."""
    known = state.get(node.input[0])
    kernel = attribute_value(node, "kernel_shape")
    if not known.varies or known.dims is None or not kernel or len(known.dims) != len(kernel) + 2:
        return
    spatial = known.dims[2:]
    if not any(dim.varies for dim in spatial) or any(attribute_value(node, "pads") or ()):
        return
    sides = list(zip(kernel, spatial, strict=True))
    full = [axis + 2 for axis, (size, dim) in enumerate(sides) if dim.varies and size == dim.base > 1]
    plain = len([name for name in node.output if name]) == 1
    text = f"has the fixed window {list(kernel)}, as large as {node.input[0]!r}"
    if full and plain and all(size == dim.base for size, dim in sides):
        _make_global(node)
        state.find("follows", node, text, value=node.input[0], done="it is global now")
        return
    if full and plain and node.op_type != "LpPool" and all(a + 2 in full or size == 1 for a, size in enumerate(kernel)):
        _make_reduction(state, node, full)
        state.find("follows", node, text, value=node.input[0], done=f"it reduces axes {full} now")
        return
    strides = attribute_value(node, "strides") or [1] * len(kernel)
    tiled = [
        axis + 2
        for axis, ((size, dim), stride) in enumerate(zip(sides, strides, strict=True))
        if dim.varies and ((size == stride and dim.base % size == 0 and size > 3) or size == dim.base)
    ]
    if tiled:
        text = f"has windows of {list(kernel)} that tile axes {tiled} of {node.input[0]!r} exactly, as an adaptive pool's do"
        state.find("property", node, text, value=node.input[0], axis=tiled[0], remedy=EXPORT)


def _make_global(node: onnx.NodeProto) -> None:
    order = attribute_value(node, "p", 2)
    node.op_type = f"Global{node.op_type}"
    del node.attribute[:]
    if node.op_type == "GlobalLpPool":
        _set_attribute(node, "p", order)


def _make_reduction(state: Following, node: onnx.NodeProto, axes: list[int]) -> None:
    node.op_type = "ReduceMean" if node.op_type == "AveragePool" else "ReduceMax"
    del node.attribute[:]
    _set_attribute(node, "keepdims", 1)
    if state.opset >= 18:
        set_inputs(node, [node.input[0], state.constant(axes, "axes")])
    else:
        _set_attribute(node, "axes", axes)


def _squeeze(state: Following, node: onnx.NodeProto) -> None:
    """An axis that varies is taken away."""
    known = state.get(node.input[0])
    if not known.varies or known.dims is None:
        return
    axes = attribute_value(node, "axes")
    if axes is None and len(node.input) > 1 and node.input[1]:
        baked = state.baked(node.input[1])
        axes = None if baked is None else baked.reshape(-1).tolist()
    if axes is None:
        axes = [axis for axis, dim in enumerate(known.dims) if dim.base == 1]
    for axis in axes:
        if known.dims[int(axis)].varies:
            text = f"takes away axis {int(axis) % len(known.dims)} of {node.input[0]!r}, which varies"
            state.find("held", node, text, value=node.input[0], axis=int(axis) % len(known.dims), remedy=EXPORT)


def _loop(state: Following, node: onnx.NodeProto) -> None:
    """A fixed number of turns over an axis that varies."""
    trips = state.baked(node.input[0])
    if trips is None or trips.size != 1:
        return
    count = int(trips.reshape(-1)[0])
    body = next((a.g for a in node.attribute if a.HasField("g")), None)
    if body is None or count < 2 or count >= TO_THE_END // 2:
        return
    turn = {body.input[0].name}
    for inner in body.node:
        if (
            inner.op_type in ("Identity", "Cast", "Unsqueeze", "Reshape", "Squeeze")
            and inner.input
            and inner.input[0] in turn
        ):
            turn.update(inner.output)
    for inner in body.node:
        if inner.op_type not in ("Gather", "Slice") or len(inner.input) < 2 or inner.input[1] not in turn:
            continue
        known = state.get(inner.input[0])
        axis = attribute_value(inner, "axis", 0)
        if known.dims is not None and known.dims[axis].varies and known.dims[axis].base == count:
            size = state.size(inner.input[0], axis % len(known.dims))
            dims = state.get(node.input[0]).dims
            set_input(node, 0, state.scalar(size) if dims == () else size)
            text, done = f"has the fixed number of turns {count}", f"it follows axis {axis} of {inner.input[0]!r} now"
            state.find("follows", node, text, value=inner.input[0], axis=axis, done=done)
            return
    if any(count == sizes[0] for sizes in state.inference.origins):
        state.find("held", node, f"has the fixed number of turns {count}", value=node.input[0], remedy=EXPORT)


def _lengths(state: Following, node: onnx.NodeProto) -> None:
    """Lengths of sequences that say that each is as long as there are steps: left out, they say so at every size."""
    known = state.get(node.input[0])
    if len(node.input) < 5 or not node.input[4] or known.dims is None or not known.varies:
        return
    lengths = state.baked(node.input[4])
    steps = known.dims[1 if attribute_value(node, "layout", 0) else 0]
    if lengths is not None and lengths.size and bool((lengths == steps.base).all()):
        set_input(node, 4, "")
        text = f"has the fixed lengths {in_short(lengths)}"
        state.find("follows", node, text, value=node.input[0], done="it goes over all steps now")


def _triangle(state: Following, node: onnx.NodeProto) -> None:
    """A triangle over an axis that varies, whose diagonal is how long a cache is."""
    known = state.get(node.input[0])
    if not known.varies or known.dims is None or len(known.dims) < 2:
        return
    old = node.input[1] if len(node.input) > 1 else ""
    number = diagonal(state, node, node.input[0])
    if number is None:
        text = f"has a fixed diagonal{state.spelt(old)} over {node.input[0]!r}, which varies: it stays as it is"
        state.find("held", node, text, value=old, remedy=EXPORT)
    elif number != old:
        set_input(node, 1, number)
        text = f"has a fixed diagonal{state.spelt(old)} over {node.input[0]!r}"
        state.find("follows", node, text, value=node.input[0], done="it ends in the last corner now")


_RULES: dict[str, Callable[[Following, onnx.NodeProto], None]] = {
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), _pool),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _lengths),
    **dict.fromkeys(("Div", "Mul", *PLACES_ONLY), follow_numbers),
    "Expand": _expand,
    "Gather": follow_gather,
    **dict.fromkeys(("GatherElements", "GatherND"), follow_places),
    "Loop": _loop,
    "Reshape": follow_reshape,
    "Resize": _resize,
    "ScatterND": follow_scatter,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "TopK": _top_k,
    "Trilu": _triangle,
}

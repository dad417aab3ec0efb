"""Nodes that hold a size in a constant or an attribute: Slice, Resize, TopK, Split, pools, Expand, Gather, Loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx

from graphkit.edit.following.agreement import EXPORT
from graphkit.edit.following.context import Following, Want
from graphkit.edit.following.growing import grow
from graphkit.edit.following.reshapes import follow_reshape
from graphkit.edit.nodes import set_inputs
from graphkit.graph.values import attribute_value
from graphkit.shapes.points import Dim

TO_THE_END = np.iinfo(np.int64).max


def hold(state: Following, node: onnx.NodeProto) -> None:
    """Make what a node holds follow its input. Changes the node; what cannot follow is found."""
    rule = _RULES.get(node.op_type)
    if rule is not None and node.domain in ("", "ai.onnx") and node.input and node.input[0]:
        rule(state, node)


def _replace(node: onnx.NodeProto, position: int, name: str) -> None:
    inputs = [*node.input, *[""] * (position + 1 - len(node.input))]
    inputs[position] = name
    set_inputs(node, inputs)


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
        _replace(node, 1, _list(state, node.input[1], new))
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
    for position, axis in enumerate(axes):
        dim, end = known.dims[axis], ends[position]
        if not dim.varies or position >= len(starts) or end is None:
            continue
        if end == dim.base and (dim.base > 1 or starts[position] == 0):
            new_ends[position] = TO_THE_END
        rolled = _rolled(state, node, dim, starts[position], end)
        if rolled is not None:
            new_starts[position], new_ends[position] = rolled
        else:
            _doubt_bounds(state, node, axis, dim, (starts[position], new_ends[position]))
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
            _replace(node, place, state.constant(short, name))
        else:
            made = _list(state, node.input[place], new)
            _replace(node, place, made)


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


def _doubt_bounds(
    state: Following, node: onnx.NodeProto, axis: int, dim: Dim, bounds: tuple[int | None, int | None]
) -> None:
    """A bound in the middle of the size, or behind, may be a number or may follow."""
    size = dim.base
    for bound in bounds:
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


# Gather.


def _gather(state: Following, node: onnx.NodeProto) -> None:
    """Indices that go over the whole of an axis that varies."""
    known, places = state.get(node.input[0]), _fixed(state, node.input[1])
    if not known.varies or known.dims is None or places is None:
        return
    axis = attribute_value(node, "axis", 0) % len(known.dims)
    dim = known.dims[axis]
    if not dim.varies:
        return
    if places.ndim == 1 and places.size == dim.base and places.size > 1:
        made = _order(state, places, Want(dim.sizes, node.input[0], axis))
        if made is not None:
            _replace(node, 1, made)
            text, done = f"takes the fixed places {_short(places)}", f"they follow axis {axis} of {node.input[0]!r} now"
            state.find("follows", node, text, value=node.input[0], axis=axis, done=done)
            return
    if places.size > 1 and dim.base > 1 and places.max() == dim.base - 1:
        text = f"takes fixed places of axis {axis} of {node.input[0]!r}: {_short(places)}"
        state.find("held", node, text, value=node.input[1], axis=axis, remedy=EXPORT)
    elif places.size == 1 and dim.base > 2 and int(places.reshape(-1)[0]) == dim.base - 1:
        text = f"takes the place {dim.base - 1}, the last of axis {axis} of {node.input[0]!r}: that stays as it is"
        state.find("held", node, text, value=node.input[1], axis=axis, remedy=EXPORT)


def _fixed(state: Following, name: str) -> np.ndarray | None:
    """Numbers that are the same at every size: small ones that are computed of constants, or a constant."""
    baked = state.baked(name)
    return baked if baked is not None else state.array(name)


def _places(state: Following, node: onnx.NodeProto) -> None:
    """Fixed places along an axis that varies, which are all places of it at the size in the file."""
    known, places = state.get(node.input[0]), _fixed(state, node.input[1])
    if not known.varies or known.dims is None or places is None or not places.size:
        return
    elements = node.op_type == "GatherElements"
    skipped = attribute_value(node, "batch_dims", 0)
    own = attribute_value(node, "axis", 0) % len(known.dims)
    components = {own: places} if elements else {skipped + c: places[..., c] for c in range(places.shape[-1])}
    for axis, numbers in components.items():
        dim = known.dims[axis]
        if dim.varies and np.array_equal(
            np.unique(np.where(numbers < 0, numbers + dim.base, numbers)), np.arange(dim.base)
        ):
            text = f"takes fixed places of axis {axis} of {node.input[0]!r}, all of size {dim.base}: {_short(numbers)}"
            state.find("held", node, text, value=node.input[1], axis=axis, remedy=EXPORT)


def _order(state: Following, places: np.ndarray, want: Want) -> str | None:
    """All places in order, backwards, or rolled by a fixed number."""
    count = places.size
    ordered = np.arange(count)
    if np.array_equal(places, ordered):
        return grow(state, state.constant(places.astype(np.int64), "places"), {0: want})
    size = state.size(want.value, want.axis)

    def number(value: int) -> str:
        return state.constant(np.array(value, np.int64), "number")

    if np.array_equal(places, ordered[::-1]) and count > 2:
        last = state.add("Sub", [state.scalar(size), number(1)], "last")
        return state.add("Range", [last, number(-1), number(-1)], "places")
    shift = int(places[0])
    if count > 2 and np.array_equal(places, (ordered + shift) % count):
        shift = shift if shift <= count // 2 else shift - count
        moved = state.add("Range", [number(0), state.scalar(size), number(1)], "places")
        return state.add("Mod", [state.add("Add", [moved, number(shift)], "places"), state.scalar(size)], "places")
    return None


def _short(values: np.ndarray) -> str:
    numbers = values.reshape(-1).tolist()
    return str(numbers) if len(numbers) < 7 else f"[{', '.join(map(str, numbers[:6]))}, ...]"


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
        _replace(node, 1, state.size(node.input[0], axis))
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
            if not sure:
                guessed.append(axis)
        if part is None:
            text = f"resizes axis {axis} of {node.input[0]!r} to the fixed size {size}"
            state.find("held", node, text, value=node.input[3], axis=axis, remedy=EXPORT)
            part = size
        changed = changed or part is not size
        parts.append(part)
    if not changed:
        return
    _replace(node, 3, state.concatenated(parts))
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
    if any(s * size % dim.base for s in dim.sizes):
        return None, False
    wanted = tuple(s * size // dim.base for s in dim.sizes)
    if wanted in state.inference.origins:
        return state.size(*state.inference.origins[wanted]), True
    return state.expression(wanted, [(node.input[0], axis)]), False


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
            _replace(node, 0, state.scalar(size) if dims == () else size)
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
        _replace(node, 4, "")
        text = f"has the fixed lengths {_short(lengths)}"
        state.find("follows", node, text, value=node.input[0], done="it goes over all steps now")


def _scatter(state: Following, node: onnx.NodeProto) -> None:
    """Updates that vary, into a value made of constants: places that follow, and a value that is as much larger."""
    _places(state, node)
    data, updates = state.get(node.input[0]), state.get(node.input[2])
    if len(node.input) < 3 or data.dims is None or updates.dims is None or not updates.varies:
        return
    indices = state.get(node.input[1])
    if indices.dims is None:
        return
    depth, outer = indices.dims[-1].base, len(indices.dims) - 1
    wants: dict[int, Want] = {}
    for axis in range(depth, len(data.dims)):
        place = outer + axis - depth
        if place < len(updates.dims) and updates.dims[place].varies and not data.dims[axis].varies:
            wants[axis] = Want(updates.dims[place].sizes, node.input[2], place)
    constant = state.array(node.input[1])
    numbers = indices.data if indices.data is not None or constant is None else (constant,) * state.points
    _scatter_batch(state, node, depth, outer, wants)
    for axis in range(min(depth, len(data.dims))):
        if data.dims[axis].varies or axis in wants or numbers is None or any(not array.size for array in numbers):
            continue
        highest = tuple(int(array[..., axis].max()) for array in numbers)
        rising = [p for p in range(outer) if updates.dims[p].varies and _rises(numbers[0], p, axis)]
        if not rising:
            continue
        place = rising[0]
        sizes, margin = updates.dims[place].sizes, data.dims[axis].base - updates.dims[place].base
        stride = data.dims[axis].base // sizes[0]
        if highest == tuple(s + highest[0] - sizes[0] for s in sizes) and 0 <= margin <= 8:
            wants[axis] = Want(tuple(s + margin for s in sizes), node.input[2], place, margin)
        elif data.dims[axis].base == stride * sizes[0] and highest == tuple(
            highest[0] + stride * (s - sizes[0]) for s in sizes
        ):
            wants[axis] = Want(tuple(s * stride for s in sizes), node.input[2], place, times=stride)
        else:
            text = f"writes into axis {axis} of {node.input[0]!r}, which has the fixed size {data.dims[axis].base}"
            state.find("held", node, text, value=node.input[0], axis=axis, remedy=EXPORT)
    if not wants:
        return
    made = grow(state, node.input[0], wants)
    if made is None:
        text = f"writes {node.input[2]!r} into {node.input[0]!r}, whose axes {list(wants)} do not follow"
        state.find("held", node, text, value=node.input[0], axis=min(wants), remedy=EXPORT)
        return
    text, done = (
        f"writes into {node.input[0]!r} of a fixed size",
        f"its axes {list(wants)} follow {node.input[2]!r} now",
    )
    _replace(node, 0, made)
    state.find("follows", node, text, value=node.input[0], axis=min(wants), done=done)


def _scatter_batch(state: Following, node: onnx.NodeProto, depth: int, outer: int, wants: dict[int, Want]) -> None:
    """Places that were made for one sample are all 0 along its axis: they count the samples."""
    data, updates = state.get(node.input[0]).dims or (), state.get(node.input[2]).dims or ()
    for axis in range(min(depth, outer, len(data))):
        places = state.get(node.input[1]).data
        if not (updates[axis].varies and updates[axis].base == 1 == data[axis].base) or data[axis].varies:
            continue
        if places is None or any(array[..., axis].any() for array in places):
            continue
        want = Want(updates[axis].sizes, node.input[2], axis)
        zero, one = state.constant(np.array(0, np.int64), "zero"), state.constant(np.array(1, np.int64), "one")
        count = state.add("Range", [zero, state.scalar(state.wanted(want)), one], "count")
        count = state.unsqueezed(count, [a for a in range(outer + 1) if a != axis], "count")
        only = state.constant((np.arange(depth) == axis).astype(np.int64), "component")
        _replace(node, 1, state.add("Add", [node.input[1], state.add("Mul", [count, only], "steps")], "places"))
        wants[axis] = want


def _rises(places: np.ndarray, axis: int, component: int) -> bool:
    """Whether a component of the places rises along an axis of them."""
    part = places[..., component]
    return part.shape[axis] > 1 and bool((np.diff(part, axis=axis) > 0).all())


def _divide(state: Following, node: onnx.NodeProto) -> None:
    """A number that is the size of an axis: the divisor of a mean, the width that coordinates are divided by."""
    if len(node.input) != 2:
        return
    for place in (0, 1):
        number = state.baked(node.input[place])
        other = node.input[1 - place]
        if number is None or number.size != 1 or number.dtype.kind not in "iuf":
            continue
        value = abs(float(number.reshape(-1)[0]))
        size = next((size for size in state.moving_sizes() if _is_size(value, size, node.op_type)), None)
        if size is None or not state.depends(other) or _is_scale(state, other, value):
            continue
        text = (
            f"computes with the number {value:g}, which is {size[1]} {size[0]}, the size in the file: it stays as it is"
        )
        state.find("property", node, text, value=node.input[place], remedy=EXPORT)


def _is_size(value: float, size: tuple[int, str], op_type: str) -> bool:
    number = size[0] - 1 if size[1] == "one below" else size[0]
    if number < 3:
        return False
    return abs(value - number) < 1e-6 or (op_type == "Mul" and abs(value * number - 1) < 1e-6)


def _is_scale(state: Following, name: str, value: float) -> bool:
    """Whether a number scales a product of attention: its square is the length of the vectors."""
    node, length = state.maker(name), None
    for _ in range(4):
        if node is None:
            return False
        if node.op_type in ("MatMul", "Einsum"):
            length = (state.get(node.input[0]).dims or (None,))[-1]
            break
        node = state.maker(node.input[0]) if node.input and node.input[0] else None
    if length is None or not length.sizes or length.varies:
        return False
    return any(abs(x * x - length.base) < 1e-3 * length.base for x in (value, value * value, 1 / value))


_RULES: dict[str, Callable[[Following, onnx.NodeProto], None]] = {
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), _pool),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _lengths),
    **dict.fromkeys(("Div", "Mul"), _divide),
    "Expand": _expand,
    "Gather": _gather,
    **dict.fromkeys(("GatherElements", "GatherND"), _places),
    "Loop": _loop,
    "Reshape": follow_reshape,
    "Resize": _resize,
    "ScatterND": _scatter,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "TopK": _top_k,
}

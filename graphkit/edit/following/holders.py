"""Nodes that hold a size in a constant or an attribute: Slice, Resize, TopK, Split, pools, Expand, Gather, Loop."""

from __future__ import annotations

from collections.abc import Callable

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
    known, target = state.get(node.input[0]), state.baked(node.input[1]) if len(node.input) > 1 else None
    if target is None or not known.varies or known.dims is None:
        return
    sizes = [int(size) for size in target.reshape(-1)]
    offset = len(sizes) - len(known.dims)
    new = list(sizes)
    for axis, dim in enumerate(known.dims):
        place = axis + offset
        if place < 0 or not dim.varies or sizes[place] == 1:
            continue
        if sizes[place] != dim.base:
            text = f"repeats axis {axis} of {node.input[0]!r} to the fixed size {sizes[place]}"
            state.find("held", node, text, value=node.input[1], axis=place, remedy=EXPORT)
            continue
        new[place] = 1
    if new != sizes:
        _replace(node, 1, state.constant(new, "target"))
        done = f"it follows {node.input[0]!r} now"
        state.find("follows", node, f"has the fixed target {sizes}", value=node.input[0], done=done)


# Slice.


def _slice(state: Following, node: onnx.NodeProto) -> None:
    known = state.get(node.input[0])
    if not known.varies or known.dims is None:
        return
    by_attribute = attribute_value(node, "ends") is not None
    if by_attribute:
        starts, ends = list(attribute_value(node, "starts")), list(attribute_value(node, "ends"))
        axes = list(attribute_value(node, "axes") or range(len(starts)))
    else:
        found = [state.baked(name) if name else None for name in node.input[1:4]]
        if len(found) < 2 or found[0] is None or found[1] is None:
            return
        starts, ends = [int(v) for v in found[0].reshape(-1)], [int(v) for v in found[1].reshape(-1)]
        given = found[2] if len(found) > 2 else None
        axes = [int(v) for v in given.reshape(-1)] if given is not None else list(range(len(starts)))
    new = list(ends)
    for position, axis in enumerate(axes):
        dim = known.dims[axis]
        if not dim.varies:
            continue
        start, end = starts[position], ends[position]
        if (end == dim.base and dim.base > 1) or (end == dim.base and start == 0):
            new[position] = TO_THE_END
        _doubt_bounds(state, node, axis, dim, start, new[position])
    if new == ends:
        return
    if by_attribute:
        _set_attribute(node, "ends", new)
    else:
        elem = state.get(node.input[2]).elem
        wide = elem != onnx.TensorProto.INT32
        limit = np.array(new, np.int64) if wide else np.array([min(v, 2**31 - 1) for v in new], np.int32)
        _replace(node, 2, state.constant(limit, "ends"))
    state.find("follows", node, f"ends at the fixed {ends}", value=node.input[0], done="it goes to the end now")


def _doubt_bounds(state: Following, node: onnx.NodeProto, axis: int, dim: Dim, start: int, end: int) -> None:
    """A bound that is a half of the size, or one below it, may be a number or may follow."""
    size = dim.base
    if size < 4:
        return
    for bound in (start, end):
        if bound in (size // 2, size - 1) or (
            bound not in (0, 1) and bound > 0 and size % bound == 0 and bound * 4 >= size
        ):
            what = "half of" if bound == size // 2 else "one below" if bound == size - 1 else "a part of"
            text = f"cuts axis {axis} of {node.input[0]!r} at {bound}, {what} its size: that stays as it is"
            state.find("held", node, text, value=node.input[0], axis=axis, remedy=EXPORT)


# Gather.


def _gather(state: Following, node: onnx.NodeProto) -> None:
    """Indices that go over the whole of an axis that varies."""
    known, places = state.get(node.input[0]), state.baked(node.input[1])
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
    sizes = state.baked(node.input[3])
    if sizes is None:
        return
    written = [int(size) for size in sizes.reshape(-1)]
    axes = attribute_value(node, "axes")
    places = [int(axis) % len(known.dims) for axis in axes] if axes else list(range(len(known.dims)))
    if len(written) != len(places):
        return
    parts: list[int | str] = []
    guessed: list[int] = []
    for size, axis in zip(written, places, strict=True):
        dim = known.dims[axis]
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
        parts.append(part)
    if all(isinstance(part, int) for part in parts):
        return
    _replace(node, 3, state.concatenated(parts))
    text = f"resizes {node.input[0]!r} to the fixed sizes {written}"
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
    """A window as large as the picture, and windows that tile it."""
    known = state.get(node.input[0])
    kernel = attribute_value(node, "kernel_shape")
    if not known.varies or known.dims is None or not kernel or len(known.dims) != len(kernel) + 2:
        return
    spatial = known.dims[2:]
    if not any(dim.varies for dim in spatial):
        return
    padded = any(attribute_value(node, "pads") or ())
    whole_picture = all(size == dim.base for size, dim in zip(kernel, spatial, strict=True)) and max(kernel) > 1
    kind = {"AveragePool": "GlobalAveragePool", "MaxPool": "GlobalMaxPool", "LpPool": "GlobalLpPool"}[node.op_type]
    if whole_picture and not padded and len([name for name in node.output if name]) == 1:
        order = attribute_value(node, "p", 2)
        node.op_type = kind
        del node.attribute[:]
        if kind == "GlobalLpPool":
            _set_attribute(node, "p", order)
        text = f"has the fixed window {list(kernel)}, the whole picture"
        state.find("follows", node, text, value=node.input[0], done="it is global now")
        return
    strides = attribute_value(node, "strides") or [1] * len(kernel)
    tiled = [
        axis + 2
        for axis, (size, stride, dim) in enumerate(zip(kernel, strides, spatial, strict=True))
        if dim.varies and size == stride and dim.base % size == 0 and (size > 3 or size == dim.base)
    ]
    if tiled and not padded:
        text = f"has windows of {list(kernel)} that tile axes {tiled} of {node.input[0]!r} exactly: an adaptive pool is written so"
        state.find("property", node, text, value=node.input[0], axis=tiled[0], remedy=EXPORT)


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


_RULES: dict[str, Callable[[Following, onnx.NodeProto], None]] = {
    **dict.fromkeys(("AveragePool", "MaxPool", "LpPool"), _pool),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _lengths),
    "Expand": _expand,
    "Gather": _gather,
    "Loop": _loop,
    "Reshape": follow_reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "TopK": _top_k,
}

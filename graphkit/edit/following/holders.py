"""Nodes that hold a size in a constant or an attribute, by operator: here Expand, Split, TopK, pools, Squeeze, Loop."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import onnx

from graphkit.edit.following.context import EXPORT, Following, Want, in_full, in_short
from graphkit.edit.following.lookups import follow_gather, follow_places, follow_scatter
from graphkit.edit.following.numbers import PLACES_ONLY, follow_joined_numbers, follow_numbers
from graphkit.edit.following.reshapes import follow_reshape
from graphkit.edit.following.resizes import follow_resize
from graphkit.edit.following.slices import TO_THE_END, follow_slice
from graphkit.edit.following.told_sizes import (
    follow_crop_or_pad,
    tell_compress,
    tell_pad,
    tell_sequence_at,
    tell_suppression,
    tell_tile,
)
from graphkit.edit.following.triangles import follow_triangle
from graphkit.edit.nodes import set_attribute, set_input, set_inputs
from graphkit.graph.values import attribute_value
from graphkit.semantics.kinds import POOLS, RECURRENT, SAME_NUMBERS
from graphkit.shapes.points import Sizes, product


def hold(state: Following, node: onnx.NodeProto) -> None:
    """Make what a node holds follow its input. Changes the node; what cannot follow is found."""
    rule = _RULES.get(node.op_type)
    if rule is not None and node.domain in ("", "ai.onnx") and node.input and node.input[0]:
        rule(state, node)


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
        text = f"has the fixed target {in_full(sizes)}{state.spelt(node.input[1])}"
        set_input(node, 1, state.listed(node.input[1], new))
        state.find("follows", node, text, value=node.input[0], done=f"it follows {node.input[0]!r} now")


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
    joined = state.parts(Want(dim.sizes, node.input[0], axis, factors=dim.factors))
    if len(parts) > 1 and [part.sizes[0] for part in joined] == list(parts) and state.opset >= 13:
        text = f"cuts axis {axis} of {node.input[0]!r} in the fixed parts {list(parts)}"
        set_inputs(node, [node.input[0], state.concatenated([state.of_size(part) for part in joined])])
        done = "they are as long as what was joined there now"
        state.find("follows", node, text, value=node.input[0], axis=axis, done=done)
        return
    if len(set(parts)) > 1 or len(parts) < 2:
        text = f"cuts axis {axis} of {node.input[0]!r} in the fixed parts {list(parts)}"
        state.find("held", node, text, value=node.input[0], axis=axis, remedy=EXPORT)
        return
    set_attribute(node, "split", None)
    set_inputs(node, [node.input[0]])
    if state.opset >= 18:
        set_attribute(node, "num_outputs", len(parts))
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
        set_attribute(node, "p", order)


def _make_reduction(state: Following, node: onnx.NodeProto, axes: list[int]) -> None:
    node.op_type = "ReduceMean" if node.op_type == "AveragePool" else "ReduceMax"
    del node.attribute[:]
    set_attribute(node, "keepdims", 1)
    if state.opset >= 18:
        set_inputs(node, [node.input[0], state.constant(axes, "axes")])
    else:
        set_attribute(node, "axes", axes)


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
        if inner.op_type in SAME_NUMBERS and inner.input and inner.input[0] in turn:
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


def _affine_grid(state: Following, node: onnx.NodeProto) -> None:
    """A grid as large as the picture that is sampled by it, for as many samples as there are matrices."""
    sizes = state.numbers(node.input[1])
    samples = [r for r in state.readers(node.output[0]) if r.op_type == "GridSample" and r.input[1] == node.output[0]]
    picture = state.get(samples[0].input[0]).dims if samples else None
    if sizes is None or picture is None or len(picture) != len(sizes):
        return
    theta = state.get(node.input[0]).dims or ()
    parts: list[int | str] = []
    for place, (size, dim) in enumerate(zip(sizes, picture, strict=True)):
        if size is None:
            parts.append(state.element(node.input[1], place))
        elif place == 0 and theta and theta[0].varies and theta[0].base == size:
            parts.append(state.size(node.input[0], 0))
        elif place > 1 and dim.varies and dim.base == size:
            parts.append(state.size(samples[0].input[0], place))
        else:
            parts.append(size)
    if all(isinstance(part, int) or size is None for part, size in zip(parts, sizes, strict=True)):
        return
    set_input(node, 1, state.concatenated(parts))
    text = f"makes a grid of the fixed size {in_full(sizes)}"
    state.find("follows", node, text, value=samples[0].input[0], done=f"it follows {samples[0].input[0]!r} now")


def _col2im(state: Following, node: onnx.NodeProto) -> None:
    """The one picture that has as many blocks as there are, at every size."""
    dims, picture, block = state.get(node.input[0]).dims, state.baked(node.input[1]), state.baked(node.input[2])
    if dims is None or picture is None or block is None or len(dims) != 3 or not dims[2].varies:
        return
    rank = len(picture)
    strides, dilations = (attribute_value(node, name) or [1] * rank for name in ("strides", "dilations"))
    pads = attribute_value(node, "pads") or [0] * (2 * rank)
    seen = [*state.inference.origins]
    choices = [
        [(int(size),) * state.points, *(sizes for sizes in seen if sizes[0] == size and any(s != size for s in sizes))]
        for size in picture
    ]

    def blocks(axis: int, sizes: Sizes) -> Sizes:
        reach = dilations[axis] * (int(block[axis]) - 1) + 1
        return tuple((size + pads[axis] + pads[axis + rank] - reach) // strides[axis] + 1 for size in sizes)

    fitting = [
        chosen
        for chosen in itertools.product(*choices)
        if product([blocks(axis, sizes) for axis, sizes in enumerate(chosen)], state.points) == dims[2].sizes
    ]
    text = f"makes a picture of the fixed size {picture.tolist()}"
    if len(fitting) != 1:
        state.find("held", node, text, value=node.input[1], remedy=EXPORT)
        return
    parts = [sizes[0] if sizes not in seen else state.size(*state.inference.origins[sizes]) for sizes in fitting[0]]
    set_input(node, 1, state.concatenated(parts))
    state.find("follows", node, text, value=node.input[0], axis=2, done="it has as many blocks as there are now")


_RULES: dict[str, Callable[[Following, onnx.NodeProto], None]] = {
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(RECURRENT, _lengths),
    **dict.fromkeys(("Div", "Mul", *PLACES_ONLY), follow_numbers),
    "AffineGrid": _affine_grid,
    "CenterCropPad": follow_crop_or_pad,
    "Col2Im": _col2im,
    "Compress": tell_compress,
    "Concat": follow_joined_numbers,
    "Expand": _expand,
    "Gather": follow_gather,
    **dict.fromkeys(("GatherElements", "GatherND"), follow_places),
    "Loop": _loop,
    "NonMaxSuppression": tell_suppression,
    "Pad": tell_pad,
    "Reshape": follow_reshape,
    "Resize": follow_resize,
    "ScatterND": follow_scatter,
    "SequenceAt": tell_sequence_at,
    "Slice": follow_slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": tell_tile,
    "TopK": _top_k,
    "Trilu": follow_triangle,
}

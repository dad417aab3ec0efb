"""Reshape: a fixed target that follows its input."""

from __future__ import annotations

import math

import numpy as np
import onnx

from graphkit.edit.following.context import Following
from graphkit.edit.nodes import set_inputs
from graphkit.graph.values import attribute_value
from graphkit.shapes.points import Alignment, Dim, align


def follow_reshape(state: Following, node: onnx.NodeProto) -> None:
    """Make the target of a Reshape follow its input, where it is fixed and the input varies. Changes the node."""
    if len(node.input) < 2:
        return
    known, target = state.get(node.input[0]), state.baked(node.input[1])
    if not known.varies or target is None or known.dims is None:
        return
    written = [int(size) for size in target.reshape(-1)]
    if not known.complete:
        state.find("lost", node, f"has the fixed target {written}, and sizes cannot be followed past it")
        return
    dims, resolved = known.dims, _resolved(node, known.dims, written)
    found = None
    if resolved is not None:
        open_axis = written.index(-1) if -1 in written else None
        found = align(dims, resolved, open_axis, state.points)
    if found is None:
        state.find(
            "held", node, f"has the fixed target {written}, and what it follows cannot be told", value=node.input[1]
        )
        return
    if _says(node, dims, written, state.points) == [dim.sizes for dim in found.dims]:
        return
    name = _target(state, node, found)
    if name is None:
        state.find("held", node, f"has the fixed target {written}", value=node.input[1])
        return
    set_inputs(node, [node.input[0], name])
    moving = [axis for axis, dim in enumerate(found.dims) if dim.varies]
    text, done = (
        f"has the fixed target {written}",
        f"its axes {', '.join(map(str, moving))} follow {node.input[0]!r} now",
    )
    axis = moving[0] if moving else None
    if found.ambiguous:
        one, other = found.ambiguous
        text += f", and whether axis {one} or axis {other} follows {node.input[0]!r} the file does not say"
        state.find("choice", node, text, value=node.input[0], axis=axis, done=done)
    else:
        state.find("follows", node, text, value=node.input[0], axis=axis, done=done)


def _resolved(node: onnx.NodeProto, dims: tuple[Dim, ...], written: list[int]) -> list[int] | None:
    """The shape that the target means at the first point."""
    sizes = list(written)
    if not attribute_value(node, "allowzero", 0):
        sizes = [dims[axis].base if size == 0 and axis < len(dims) else size for axis, size in enumerate(sizes)]
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        count = math.prod(dim.base for dim in dims)
        if rest <= 0 or count % rest:
            return None
        sizes[sizes.index(-1)] = count // rest
    return sizes


def _says(node: onnx.NodeProto, dims: tuple[Dim, ...], written: list[int], points: int) -> list[tuple[int, ...]] | None:
    """The sizes that the target as it is gives at every point, None where it fits at some only."""
    columns = []
    for point in range(points):
        at = tuple(Dim((dim.sizes[point],), ()) for dim in dims)
        sizes = _resolved(node, at, written)
        if sizes is None or math.prod(sizes) != math.prod(dim.base for dim in at):
            return None
        columns.append(sizes)
    return list(zip(*columns, strict=True))


def _target(state: Following, node: onnx.NodeProto, found: Alignment) -> str | None:
    """A target that gives these dims: constant with 0 and -1 where that says it all, else computed."""
    dims = state.get(node.input[0]).dims or ()
    zero_copies = not attribute_value(node, "allowzero", 0)
    parts: list[int | str] = []
    hard: list[int] = []
    for axis, dim in enumerate(found.dims):
        if not dim.varies:
            parts.append(dim.base)
        elif zero_copies and axis < len(dims) and dims[axis].sizes == dim.sizes and found.sources[axis] == (axis,):
            parts.append(0)
        else:
            parts.append(-1)
            hard.append(axis)
    for axis in hard[:-1] if _easy(state, node, found, hard) else hard[1:]:
        near = [(node.input[0], source) for source in found.sources[axis]]
        computed = state.expression(found.dims[axis].sizes, near)
        if computed is None:
            return None
        parts[axis] = computed
    if all(isinstance(part, int) for part in parts):
        return state.constant(np.array(parts, np.int64), "target")
    return state.concatenated(parts)


def _easy(state: Following, node: onnx.NodeProto, found: Alignment, hard: list[int]) -> bool:
    """Whether the last of several axes may be the one that is left open: the first is that of an input."""
    dims = state.get(node.input[0]).dims or ()
    return bool(hard) and found.dims[hard[0]].sizes in [dims[axis].sizes for axis in found.sources[hard[0]]]

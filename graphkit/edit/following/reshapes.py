"""Reshape: a fixed target that follows its input."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Literal

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
    known, data = state.get(node.input[0]), state.get(node.input[1]).data
    if not known.varies or data is None or known.dims is None:
        return
    columns = [[int(size) for size in array.reshape(-1)] for array in data]
    written, moving = columns[0], any(column != columns[0] for column in columns)
    if not known.complete:
        if not moving:
            state.find("lost", node, f"has the fixed target {written}, and sizes cannot be followed past it")
        return
    dims, resolved = known.dims, _resolved(node, known.dims, written)
    said = _says(node, dims, columns)
    if moving and said is not None:
        return
    found = _aligned(state, node, dims, resolved, written) if resolved is not None else None
    if found is None:
        text = f"has the fixed target {written}{state.spelt(node.input[1])}, and what it follows cannot be told"
        state.find("held", node, text, value=node.input[1])
        return
    if said == [dim.sizes for dim in found.dims]:
        return
    name = _target(state, node, found, columns)
    if name is None:
        state.find("held", node, f"has the fixed target {written}{state.spelt(node.input[1])}", value=node.input[1])
        return
    said_as = f"has the fixed target {written}{state.spelt(node.input[1])}"
    set_inputs(node, [node.input[0], name])
    _tell(state, node, found, said_as)


def _tell(state: Following, node: onnx.NodeProto, found: Alignment, text: str) -> None:
    moving = [axis for axis, dim in enumerate(found.dims) if dim.varies]
    done = f"its axes {', '.join(map(str, moving))} follow {node.input[0]!r} now"
    axis = moving[0] if moving else None
    if found.ambiguous:
        one, other = found.ambiguous[0]
        text += f", and whether axis {one} or axis {other} follows {node.input[0]!r} the file does not say"
        state.find("choice", node, text, value=node.input[0], axis=axis, done=done)
    else:
        state.find("follows", node, text, value=node.input[0], axis=axis, done=done)


def _aligned(
    state: Following, node: onnx.NodeProto, dims: tuple[Dim, ...], resolved: list[int], written: list[int]
) -> Alignment | None:
    """The dims of the result; where a size is cut in two, what comes behind the node says which part varies."""
    open_axis = written.index(-1) if written.count(-1) == 1 else None
    found = align(dims, resolved, open_axis, state.points)
    if found is None:
        return _permuted(dims, resolved)
    if not found.ambiguous:
        window = _one_window(state, node, dims, found)
        return replace(found, ambiguous=((window - 1, window),)) if window else found
    settled = _settled(state, node, found)
    if settled == "first":
        return replace(found, ambiguous=())
    return align(dims, resolved, open_axis, state.points, inner=True) if settled == "second" else found


def _one_window(state: Following, node: onnx.NodeProto, dims: tuple[Dim, ...], found: Alignment) -> int:
    """An axis that may be one window, or patch, of a picture that has one of them in the file; 0 for none.

    Windows are [.., count, window, ..], and a Transpose brings the counts together. An axis of size 1 that is new, stands in
    front of another and is moved away from it is such a count.
    """
    readers = state.readers(node.output[0])
    perm = _order_behind(readers[0]) if len(readers) == 1 else None
    if perm is None or len(perm) != len(found.dims):
        return 0
    place = {axis: position for position, axis in enumerate(perm)}
    ones = [dim.base == 1 and not dim.varies for dim in found.dims]
    old = sum(dim.base == 1 for dim in itertools.takewhile(lambda dim: dim.base == 1, dims))
    for axis in range(2, len(found.dims)):  # the first of all are samples
        new = ones[axis - 1] and (not all(ones[:axis]) or axis - 1 >= old)
        if not new or found.dims[axis].base == 1 or place[axis] == place[axis - 1] + 1:
            continue
        if found.dims[axis].varies:
            return axis
        if len(dims) == len(found.dims) > 3 and any(dim.varies and dim.base > 1 for dim in found.dims[1:]):
            return axis  # the count of the other side was merged with what stands before it
    return 0


def _permuted(dims: tuple[Dim, ...], resolved: list[int]) -> Alignment | None:
    """The same sizes in another order, as in the shift of relative positions: [rows, columns + 1] -> [columns + 1, rows]."""
    if sorted(resolved) != sorted(dim.base for dim in dims) or len({d.sizes for d in dims}) != len(
        {d.base for d in dims}
    ):
        return None
    own = {dim.base: (dim, axis) for axis, dim in enumerate(dims)}
    return Alignment(tuple(own[size][0] for size in resolved), tuple((own[size][1],) for size in resolved))


def _settled(state: Following, node: onnx.NodeProto, found: Alignment) -> Literal["first", "second"] | None:
    """Windows, patches and cells: [.., h, r, w, s, ..] is transposed so that what counts them comes together.

    Windows are counted by the outer axes, and what is in one lies together behind. A pixel_unshuffle puts the inner axes
    into the channels and leaves the outer ones as height and width. A grid (MaxViT) has what is counted inside.
    """
    readers = state.readers(node.output[0])
    if len(readers) != 1:
        return None
    perm = _order_behind(readers[0])
    if perm is None or len(perm) != len(found.dims):
        return None
    place = {axis: position for position, axis in enumerate(perm)}
    if all(place[one] + 1 < place[other] for one, other in found.ambiguous):
        return "first"
    if not all(place[other] < place[one] for one, other in found.ambiguous):
        return None
    after = state.readers(readers[0].output[0])
    target = state.baked(after[0].input[1]) if len(after) == 1 and after[0].op_type == "Reshape" else None
    last = [int(size) for size in target.reshape(-1)] if target is not None else []
    height_and_width = [found.dims[axis].base for axis in perm[-2:]]
    outer = {one for one, _ in found.ambiguous}
    return "first" if outer <= set(perm[-2:]) and last[-2:] == height_and_width else "second"


def _order_behind(node: onnx.NodeProto) -> list[int] | None:
    """The order of axes that a Transpose gives, or an Einsum that is one."""
    if node.op_type == "Transpose":
        order: list[int] | None = attribute_value(node, "perm")
        return order
    before, arrow, after = attribute_value(node, "equation", "").replace(" ", "").partition("->")
    if node.op_type != "Einsum" or not arrow or "." in before or sorted(before) != sorted(after):
        return None
    return [before.index(letter) for letter in after]


def _resolved(node: onnx.NodeProto, dims: tuple[Dim, ...], written: list[int], point: int = 0) -> list[int] | None:
    """The shape that the target means at a point."""
    sizes = list(written)
    if not attribute_value(node, "allowzero", 0):
        sizes = [dims[a].sizes[point] if size == 0 and a < len(dims) else size for a, size in enumerate(sizes)]
    count = math.prod(dim.sizes[point] for dim in dims)
    if -1 in sizes:
        rest = math.prod(size for size in sizes if size != -1)
        if rest <= 0 or count % rest:
            return None
        sizes[sizes.index(-1)] = count // rest
    return sizes if math.prod(sizes) == count else None


def _says(node: onnx.NodeProto, dims: tuple[Dim, ...], columns: list[list[int]]) -> list[tuple[int, ...]] | None:
    """The sizes that the target as it is gives at every point, None where it fits at some only."""
    rows = [_resolved(node, dims, written, point) for point, written in enumerate(columns)]
    return (
        None if any(row is None for row in rows) else list(zip(*(row for row in rows if row is not None), strict=True))
    )


def _target(state: Following, node: onnx.NodeProto, found: Alignment, columns: list[list[int]]) -> str | None:
    """A target that gives these dims: constant with 0 and -1 where that says it all, else computed."""
    dims = state.get(node.input[0]).dims or ()
    zero_copies = not attribute_value(node, "allowzero", 0)
    given = list(zip(*columns, strict=True))
    parts: list[int | str] = []
    hard: list[int] = []
    for axis, dim in enumerate(found.dims):
        if not dim.varies:
            parts.append(dim.base)
        elif given[axis] == dim.sizes:
            parts.append(state.element(node.input[1], axis))
        elif zero_copies and axis < len(dims) and dims[axis].sizes == dim.sizes and found.sources[axis] == (axis,):
            parts.append(0)
        else:
            parts.append(-1)
            hard.append(axis)
    for axis in hard[:-1] if _easy(state, node, found, hard) else hard[1:]:
        near = [(node.input[0], source) for source in found.sources[axis]]
        computed = state.expression(found.dims[axis].sizes, near) or state.product_of(found.dims[axis].factors)
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

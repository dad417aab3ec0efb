"""Nodes that are told their sizes or places, made again with others: Expand, Tile, Range, Slice, Gather, OneHot, Resize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from graphkit.edit.following.context import Following, GrowRule, Want
from graphkit.edit.following.evident import Wants
from graphkit.edit.following.growing import grow, remade, shape_of, wider
from graphkit.graph.values import attribute_value
from graphkit.shapes.known import Known
from graphkit.shapes.points import whole


def _expand(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    dims = state.get(node.input[0]).dims
    if dims is None or known.dims is None:
        return None
    offset = len(known.dims) - len(dims)
    own = {a - offset: w for a, w in wants.items() if a >= offset and dims[a - offset].base != 1}
    name = grow(state, node.input[0], own, depth) if own else node.input[0]
    all_dims = known.dims

    def keep(axis: int) -> int | str | None:
        if not all_dims[axis].varies and all_dims[axis].sizes:
            return all_dims[axis].base
        if axis >= offset and dims[axis - offset].sizes == all_dims[axis].sizes:
            return 1
        return state.add("Gather", [node.input[1], state.constant([axis])], "size", axis=0)

    shape = shape_of(state, known, wants, keep)
    return remade(state, node, [name, shape])


def _tile(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    dims, repeats = state.get(node.input[0]).dims, state.baked(node.input[1])
    if dims is None or repeats is None:
        return None
    own = {axis: want for axis, want in wants.items() if repeats[axis] == 1}
    if any(axis not in own and dims[axis].base != 1 for axis in wants):
        return None
    name = grow(state, node.input[0], own, depth) if own else node.input[0]
    new = {axis: want for axis, want in wants.items() if axis not in own}
    state.remade.add(node.name or node.output[0])
    return remade(state, node, [name, shape_of(state, known, new, lambda axis: int(repeats[axis]))])


def _filled(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    del depth

    def keep(axis: int) -> int | str | None:
        dim = (known.dims or ())[axis]
        if dim.sizes and not dim.varies:
            return dim.base
        return state.add("Gather", [node.input[0], state.constant([axis])], "size", axis=0)

    return remade(state, node, [shape_of(state, known, wants, keep)])


def _range(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    del depth
    start, delta = state.baked(node.input[0]), state.baked(node.input[2])
    if start is None or delta is None or delta.dtype.kind not in "iuf":
        return None
    size = state.scalar(state.wanted(wants[0]))
    if known.elem != onnx.TensorProto.INT64:
        size = state.add("Cast", [size], "count", to=known.elem)
    if float(delta) != 1:
        size = state.add("Mul", [size, node.input[2]], "span")
    if float(start) != 0:
        size = state.add("Add", [size, node.input[0]], "limit")
    return remade(state, node, [node.input[0], size, node.input[2]])


def _slice(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """Of a table of which the first so many rows are taken."""
    if len(node.input) < 3:
        return None
    data = state.get(node.input[0])
    starts, ends = state.baked(node.input[1]), state.baked(node.input[2])
    if data.dims is None or known.dims is None or starts is None or ends is None:
        return None
    axes = state.baked(node.input[3]) if len(node.input) > 3 and node.input[3] else np.arange(len(starts))
    steps = state.baked(node.input[4]) if len(node.input) > 4 and node.input[4] else np.ones(len(starts), np.int64)
    if axes is None or steps is None:
        return None
    rank = len(data.dims)
    where = {int(axis) % rank: position for position, axis in enumerate(axes)}
    begins: list[int | str] = [int(start) for start in starts]
    parts: list[int | str] = [int(end) for end in ends]
    behind: dict[int, Want] = {}
    through: dict[int, Want] = {}
    limited: dict[int, Want] = {}
    for axis, want in wants.items():
        position = where.get(axis)
        start = 0 if position is None else int(starts[position])
        all_of_it = position is not None and int(ends[position]) >= data.dims[axis].base == want.sizes[0] and start == 0
        if position is None or all_of_it:
            through[axis] = want
            if position is not None:
                parts[position] = np.iinfo(np.int64).max
            continue
        if int(steps[position]) != 1:
            return None
        if start < 0:
            if int(ends[position]) < data.dims[axis].base or -start != want.sizes[0]:
                return None
            begins[position] = state.add("Neg", [state.wanted(want)], "start")
            behind[axis] = want
            continue
        size = state.wanted(want)
        parts[position] = size if start == 0 else state.add("Add", [size, state.constant([start])], "end")
        limited[axis] = want
    cut = limited or behind
    name = grow(state, node.input[0], through, depth) if cut else wider(state, node.input[0], through, depth)
    if name is None:
        return None
    if cut:
        state.remade.add(node.name or node.output[0])
    starts_now = state.concatenated(begins) if behind else node.input[1]
    made = remade(state, node, [name, starts_now, state.concatenated(parts), *node.input[3:]])
    return _within_table(state, made, node, limited, data)


def _within_table(state: Following, made: str | None, node: onnx.NodeProto, wants: Wants, data: Known) -> str | None:
    """A part of a table follows as far as the table goes, which is said."""
    if made is None or not wants or data.dims is None:
        return made
    known = state.inference.known[made]
    for axis, want in wants.items():
        rows = data.dims[axis].base
        if known.dims is not None and known.dims[axis].sizes != want.sizes and rows > want.sizes[0]:
            dims = list(known.dims)
            dims[axis] = whole(want.sizes)
            known = state.inference.known[made] = Known(known.elem, tuple(dims))
            state.find(
                "limit",
                node,
                f"takes a part of {node.input[0]!r}, which has {rows} rows: sizes of {state.cause} go up to {rows}",
                value=node.input[0],
                axis=axis,
            )
    return made


def _gather(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    del known
    data, places = state.get(node.input[0]), state.get(node.input[1])
    if data.dims is None or places.dims is None:
        return None
    axis, wide = attribute_value(node, "axis", 0) % len(data.dims), len(places.dims)
    of_places = {a - axis: w for a, w in wants.items() if axis <= a < axis + wide}
    of_data = {a if a < axis else a - wide + 1: w for a, w in wants.items() if not axis <= a < axis + wide}
    indices = grow(state, node.input[1], of_places, depth) if of_places else node.input[1]
    table = grow(state, node.input[0], of_data, depth) if of_data else node.input[0]
    made = remade(state, node, [table, indices])
    if of_places:
        state.remade.add(node.name or node.output[0])
    numbers = state.get(indices).data if indices is not None else None
    rows = data.dims[axis].base
    if made is not None and of_places and numbers is not None and _beyond(numbers, rows):
        middle = int(numbers[0].reshape(-1)[0]) if len(of_places) > 1 else 0
        most = min(middle + 1, rows - middle) if middle else rows
        state.find(
            "limit",
            node,
            f"looks up {node.input[0]!r}, which has {rows} rows: sizes of {state.cause} go up to {most}",
            value=node.input[0],
            axis=axis,
        )
    return made


def _beyond(numbers: Sequence[np.ndarray], rows: int) -> bool:
    """Whether places leave a table at some size, at either end."""
    first = numbers[0].min() if numbers[0].size else 0
    return any(a.size and (a.max() >= rows or a.min() < 0 <= first) for a in numbers)


def _one_hot(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    rank = len(known.dims or ())
    axis = attribute_value(node, "axis", -1) % max(rank, 1)
    own = {a if a < axis else a - 1: w for a, w in wants.items() if a != axis}
    depth_name: str | None = node.input[1]
    if axis in wants:
        depth_name = state.wanted(wants[axis])
        elem = state.get(node.input[1]).elem
        if elem != onnx.TensorProto.INT64:
            depth_name = state.add("Cast", [depth_name], "depth", to=elem)
        if state.get(node.input[1]).dims == ():
            depth_name = state.scalar(depth_name)
    indices = grow(state, node.input[0], own, depth) if own else node.input[0]
    return remade(state, node, [indices, depth_name, *node.input[2:]])


def _resize(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """To fixed sizes: of a picture that was pooled to one place, as a rule."""
    del depth
    dims = state.get(node.input[0]).dims
    sizes = state.numbers(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    if sizes is None or dims is None or known.dims is None:
        return None
    axes = attribute_value(node, "axes")
    places = [int(axis) % len(dims) for axis in axes] if axes else list(range(len(dims)))
    if len(places) != len(sizes) or not wants.keys() <= set(places) or any(dims[axis].varies for axis in wants):
        return None
    parts = [
        state.wanted(wants[axis]) if axis in wants else state.element(node.input[3], p) if size is None else size
        for p, (axis, size) in enumerate(zip(places, sizes, strict=True))
    ]
    return remade(state, node, [*node.input[:3], state.concatenated(parts)])


def _affine_grid(
    state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int
) -> str | None:
    del known
    sizes = state.numbers(node.input[1])
    if sizes is None or any(axis >= len(sizes) - 1 for axis in wants):
        return None
    theta = grow(state, node.input[0], {0: wants[0]}, depth) if 0 in wants else node.input[0]
    places = {0 if axis == 0 else axis + 1: want for axis, want in wants.items()}
    parts = [
        state.wanted(places[p]) if p in places else size if size is not None else state.element(node.input[1], p)
        for p, size in enumerate(sizes)
    ]
    return remade(state, node, [theta, state.concatenated(parts)])


GROWN_SIZES: Mapping[str, GrowRule] = {
    "AffineGrid": _affine_grid,
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "Gather": _gather,
    "OneHot": _one_hot,
    "Range": _range,
    "Resize": _resize,
    "Slice": _slice,
    "Tile": _tile,
}
"""Operator -> how a node of it is made again."""

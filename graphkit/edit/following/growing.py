"""Values that are made of constants, given another size along some axes: back to what fixes the size."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import onnx

from graphkit.edit.following.context import Following, Want
from graphkit.edit.following.evident import Wants, evident, expanded
from graphkit.edit.following.reshapes import follow_reshape
from graphkit.graph.values import attribute_value
from graphkit.semantics.elementwise import BROADCASTING
from graphkit.shapes.known import Known
from graphkit.shapes.points import align, whole
from graphkit.shapes.value_rules import axes_of

REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)

DEEPEST = 100
"""Nodes behind each other that are made again."""

Rule: TypeAlias = Callable[[Following, onnx.NodeProto, Known, dict[int, Want], int], "str | None"]


def grow(state: Following, name: str, wants: Wants, depth: int = 0) -> str | None:
    """A value like another one whose axes have the sizes that are wanted, or None where it cannot be had.

    What makes the value is made again, back to a constant whose making is evident, to a range, an Expand or a Slice.

    Args:
        state: The walk; new nodes are put at its end.
        name: A value that has the wanted sizes at the first point.
        wants: The sizes.
        depth: How many nodes were made again already.

    Cost: O(nodes behind the value), once for each size.
    """
    known = state.get(name)
    if known.dims is None or depth > DEEPEST:
        return None
    open_wants = {axis: want for axis, want in wants.items() if known.dims[axis].sizes != want.sizes}
    if not open_wants:
        return name
    if any(known.dims[axis].varies for axis in open_wants):
        return None
    key = (name, *sorted((axis, want.sizes) for axis, want in open_wants.items()))
    for place in reversed(state.places):
        if key in place.grown:
            return place.grown[key]
    made = _made(state, name, known, open_wants, depth)
    if made is not None and any(
        (state.get(made).dims or known.dims)[a].sizes != w.sizes for a, w in open_wants.items()
    ):
        made = None
    state.place.grown[key] = made
    if made is not None:
        axes = frozenset(axis for axis, want in open_wants.items() if want.factors or not want.more)
        if len(axes) > len(state.place.widest.get(name, (frozenset(),))[0]):
            state.place.widest[name] = axes, made
    return made


def _wider(state: Following, name: str, wants: Wants, depth: int) -> str | None:
    """As ``grow``; a value that has another size along further axes elsewhere is taken from there.

    For what reads a whole axis, or its last place, and does not show in its result how long that is.
    """
    made = grow(state, name, wants, depth) if wants else name
    for place in reversed(state.places):
        axes, wider = place.widest.get(name, (frozenset(), ""))
        if wider and axes >= wants.keys():
            return wider
    return made if wants else _regrown(state, name, depth)


def _regrown(state: Following, name: str, depth: int) -> str:
    """A value of the same shape, of the same constants as others that have other sizes elsewhere; itself where it is of none."""
    node = state.maker(name)
    known = state.get(name)
    if node is None or depth > DEEPEST or not known.constant or state.tensor(name) is not None or known.dims is None:
        return name
    if not any(place.widest for place in state.places):
        return name
    key = ("regrown", name, len(state.place.widest))
    if key in state.place.grown:
        return state.place.grown[key] or name
    state.place.grown[key] = name
    inputs = []
    for part in node.input:
        widest = next((p.widest[part][1] for p in reversed(state.places) if part in p.widest), "")
        inputs.append(widest or (_regrown(state, part, depth + 1) if part else part))
    if inputs == list(node.input):
        return name
    made = _remade(state, node, list(inputs))
    dims = state.get(made).dims if made is not None else None
    if made is not None and dims is not None and [dim.sizes for dim in dims] == [dim.sizes for dim in known.dims]:
        state.place.grown[key] = made
    return state.place.grown[key] or name


def _made(state: Following, name: str, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    assert known.dims is not None
    if all(known.dims[axis].base == 1 for axis in wants):
        return expanded(state, name, known, wants)
    if (repeated := _repeated(state, name, known, wants, depth)) is not None:
        return repeated
    array = state.array(name) if state.tensor(name) is not None else state.baked(name)
    if (
        array is not None
        and not _condensed(state, name)
        and (made := evident(state, name, array, known, wants)) is not None
    ):
        return made
    if state.tensor(name) is not None:
        return None
    node = state.maker(name)
    rule = _RULES.get(node.op_type) if node is not None and node.domain in ("", "ai.onnx") else None
    if node is None or rule is None or not node.output or node.output[0] != name:
        return None
    return rule(state, node, known, wants, depth + 1)


def _condensed(state: Following, name: str) -> bool:
    """Whether one place or a sum stands for a whole axis in what a computed value is made of: its numbers hide the size."""
    waiting, seen = [name], {""}
    while waiting:
        value = waiting.pop()
        node = state.maker(value) if value not in seen and state.tensor(value) is None else None
        seen.add(value)
        if node is None:
            continue
        if node.op_type in (*REDUCTIONS, "Slice", "Gather") and node.input[0]:
            shapes = [state.get(part).shape_at(0) for part in (node.input[0], value)]
            if None in shapes or sum(s > 1 for s in shapes[0] or ()) > sum(s > 1 for s in shapes[1] or ()):
                return True
        waiting.extend(node.input)
    return False


def _repeated(state: Following, name: str, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """What is there once for the only sample, where samples were merged with it: the whole is repeated for each."""
    dims = known.dims or ()
    for axis, want in wants.items():
        outer, base = (want.factors[0] if want.factors else ()), dims[axis].base
        if len(want.factors) < 2 or outer[0] != 1 or want.sizes != tuple(base * size for size in outer):
            continue
        inner = grow(state, name, {a: w for a, w in wants.items() if a != axis}, depth + 1)
        if inner is None:
            return None
        count = state.add("Div", [state.wanted(want), state.constant([base])], "count")
        repeats = state.concatenated([count if place == axis else 1 for place in range(len(dims))])
        return state.add("Tile", [inner, repeats], f"{name}_sized")
    return None


def shape_of(state: Following, known: Known, wants: Wants, keep: Callable[[int], int | str | None]) -> str | None:
    """A shape in which the wanted axes have the wanted sizes; ``keep`` gives the others."""
    parts: list[int | str] = []
    for axis in range(len(known.dims or ())):
        part = state.wanted(wants[axis]) if axis in wants else keep(axis)
        if part is None:
            return None
        parts.append(part)
    return state.concatenated(parts)


# Nodes.


def _remade(state: Following, node: onnx.NodeProto, inputs: list[str | None]) -> str | None:
    if any(name is None for name in inputs):
        return None
    copy = state.copied(node, [name or "" for name in inputs])
    state.put(copy)
    return copy.output[0]


def _elementwise(
    state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int
) -> str | None:
    rank = len(known.dims or ())
    own: dict[int, dict[int, Want]] = {}
    for position, name in enumerate(node.input):
        dims = state.get(name).dims if name else None
        own[position] = {}
        for axis, want in wants.items():
            place = axis - rank + len(dims or ())
            if dims is not None and place >= 0 and dims[place].base != 1:
                own[position][place] = want
        if not own[position] and name and _holds(state, name, wants):
            return None
    inputs: list[str | None] = list(node.input)
    for position in sorted(own, key=lambda p: -len(own[p])):  # the widest first: others may be made of the same value
        name = node.input[position]
        if name:
            inputs[position] = (
                grow(state, name, own[position], depth) if own[position] else _regrown(state, name, depth)
            )
    return _remade(state, node, inputs)


def _reduce(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """The axes that are left of a reduction."""
    dims = state.get(node.input[0]).dims
    given = axes_of(node, [None, *(state.baked(name) if name else None for name in node.input[1:])])
    if dims is None or given is None or known.dims is None:
        return None
    gone = {axis % len(dims) for axis in given}
    if attribute_value(node, "keepdims", 1):
        own = dict(wants)
    else:
        kept = [axis for axis in range(len(dims)) if axis not in gone]
        own = {kept[axis]: want for axis, want in wants.items()}
    if gone & own.keys():
        return None
    return _remade(state, node, [_wider(state, node.input[0], own, depth), *node.input[1:]])


def diagonal(state: Following, node: onnx.NodeProto, data: str) -> str | None:
    """The diagonal of a Trilu whose data has other sizes: as it is, or counted from the last corner; None where it is neither.

    A triangle over a cache and what is new begins as far right as the cache is long.
    """
    old = node.input[1] if len(node.input) > 1 else ""
    baked = state.baked(old) if old else np.array(0)
    dims = state.get(data).dims
    if baked is None or dims is None or len(dims) < 2 or not (dims[-1].sizes and dims[-2].sizes):
        return None
    number, rows, columns = int(baked.reshape(-1)[0]), dims[-2], dims[-1]
    apart = [c - r for c, r in zip(columns.sizes, rows.sizes, strict=True)]
    if all(offset == apart[0] for offset in apart):
        near = abs(number) < max(rows.base - 2, 2) or number in (apart[0], apart[0] + 1)
        return old if near else None
    upper = attribute_value(node, "upper", 1)
    if not apart[0] or number not in ((apart[0] + 1, apart[0]) if upper else (apart[0], apart[0] - 1)):
        return old if abs(number) <= 1 else None
    offset = state.add("Sub", [state.size(data, len(dims) - 1), state.size(data, len(dims) - 2)], "offset")
    if number != apart[0]:
        offset = state.add("Add", [offset, state.constant([number - apart[0]])], "offset")
    return state.scalar(offset)


def _triangle(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    del known
    data = grow(state, node.input[0], wants, depth)
    number = diagonal(state, node, data) if data is not None else None
    return None if number is None else _remade(state, node, [data, number] if number else [data])


def _holds(state: Following, name: str, wants: Wants) -> bool:
    """Whether a value is one number that a wanted size has at the first point, or one less: a divisor."""
    array = state.baked(name)
    if array is None or array.size != 1 or array.dtype.kind not in "iuf":
        return False
    number = abs(float(array.reshape(-1)[0]))
    sizes = {float(size) for want in wants.values() for size in (want.sizes[0], want.sizes[0] - 1) if size > 1}
    return any(abs(number - size) < 1e-6 or abs(number * size - 1) < 1e-6 for size in sizes)


def _along(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """The first input has the axes of the result."""
    del known
    return _remade(state, node, [grow(state, node.input[0], wants, depth), *node.input[1:]])


def _eye_like(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """A square stays one: both axes are given the size."""
    dims = known.dims or ()
    want = next(iter(wants.values()))
    both = {0: wants.get(0, want), 1: wants.get(1, want)} if len(dims) == 2 and dims[0].base == dims[1].base else wants
    return _remade(state, node, [grow(state, node.input[0], both, depth)])


def _transpose(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    perm = attribute_value(node, "perm") or range(len(known.dims or ()))[::-1]
    return _remade(state, node, [grow(state, node.input[0], {perm[a]: w for a, w in wants.items()}, depth)])


def _moved_axes(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """Squeeze and Unsqueeze."""
    axes = axes_of(node, [None, *(state.baked(name) if name else None for name in node.input[1:])])
    inner = state.get(node.input[0]).dims
    if axes is None or inner is None:
        return None
    rank = len(known.dims or ()) if node.op_type == "Unsqueeze" else len(inner)
    gone = {axis % rank for axis in axes}
    kept = [axis for axis in range(rank) if axis not in gone]
    if node.op_type == "Unsqueeze":
        if gone & wants.keys():
            return None
        own = {kept.index(axis): want for axis, want in wants.items()}
    else:
        own = {kept[axis]: want for axis, want in wants.items()}
    return _remade(state, node, [grow(state, node.input[0], own, depth), *node.input[1:]])


def _reshape(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    source = state.get(node.input[0])
    if source.dims is None or known.dims is None or source.varies or not source.complete:
        return None
    points = state.points
    own: dict[int, Want] = {}
    for axis, want in wants.items():
        found = align(source.dims, [dim.base for dim in known.dims], None, points)
        if found is None:
            return None
        if len(found.sources[axis]) > 1:
            several = [place for place in found.sources[axis] if source.dims[place].base != 1]
            merged = state.merged_of(want, [source.dims[place].base for place in several])
            if merged is None:
                return None
            own.update((p, w) for p, w in zip(several, merged, strict=True) if any(s != w.sizes[0] for s in w.sizes))
            continue
        place = found.sources[axis][0]
        if source.dims[place].base != known.dims[axis].base:
            return None
        own[place] = want
    name = grow(state, node.input[0], own, depth)
    if name is None:
        return None
    copy = state.copied(node, [name, *node.input[1:]])
    follow_reshape(state, copy)
    state.put(copy)
    return copy.output[0]


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
    return _remade(state, node, [name, shape])


def _tile(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    dims, repeats = state.get(node.input[0]).dims, state.baked(node.input[1])
    if dims is None or repeats is None:
        return None
    own = {axis: want for axis, want in wants.items() if repeats[axis] == 1}
    if any(axis not in own and dims[axis].base != 1 for axis in wants):
        return None
    name = grow(state, node.input[0], own, depth) if own else node.input[0]
    new = {axis: want for axis, want in wants.items() if axis not in own}
    return _remade(state, node, [name, shape_of(state, known, new, lambda axis: int(repeats[axis]))])


def _filled(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    del depth

    def keep(axis: int) -> int | str | None:
        dim = (known.dims or ())[axis]
        if dim.sizes and not dim.varies:
            return dim.base
        return state.add("Gather", [node.input[0], state.constant([axis])], "size", axis=0)

    return _remade(state, node, [shape_of(state, known, wants, keep)])


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
    return _remade(state, node, [node.input[0], size, node.input[2]])


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
    parts: list[int | str] = [int(end) for end in ends]
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
        if start < 0 or int(steps[position]) != 1:
            return None
        size = state.wanted(want)
        parts[position] = size if start == 0 else state.add("Add", [size, state.constant([start])], "end")
        limited[axis] = want
    name = _wider(state, node.input[0], through, depth) if not limited else grow(state, node.input[0], through, depth)
    if name is None:
        return None
    ends_now = state.concatenated(parts)
    made = _remade(state, node, [name, node.input[1], ends_now, *node.input[3:]])
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
    made = _remade(state, node, [table, indices])
    numbers = state.get(indices).data if indices is not None else None
    rows = data.dims[axis].base
    if made is not None and of_places and numbers is not None and any(a.size and a.max() >= rows for a in numbers):
        state.find(
            "limit",
            node,
            f"looks up {node.input[0]!r}, which has {rows} rows: sizes of {state.cause} go up to {rows}",
            value=node.input[0],
            axis=axis,
        )
    return made


def _concat(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    axis = attribute_value(node, "axis", 0) % max(len(known.dims or ()), 1)
    if axis not in wants:
        return _remade(state, node, [grow(state, name, wants, depth) for name in node.input])
    parts = state.parts(wants[axis])
    dims = [(state.get(name).dims or ())[axis : axis + 1] for name in node.input]
    if [part.sizes[0] for part in parts] != [dim[0].base if dim else -1 for dim in dims]:
        return None
    own = zip(node.input, parts, strict=True)
    return _remade(state, node, [grow(state, name, {**wants, axis: part}, depth) for name, part in own])


def _matmul(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    rank = len(known.dims or ())
    inputs: list[str | None] = []
    for side, name in enumerate(node.input):
        dims = state.get(name).dims
        own = {}
        for axis, want in wants.items():
            place = axis - rank + len(dims or ())
            other = rank - 1 if side == 0 else rank - 2
            if dims is not None and len(dims) > 1 and place >= 0 and axis != other and dims[place].base != 1:
                own[place] = want
        inputs.append(grow(state, name, own, depth) if own else name)
    return _remade(state, node, inputs)


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
    return _remade(state, node, [indices, depth_name, *node.input[2:]])


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
    return _remade(state, node, [*node.input[:3], state.concatenated(parts)])


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
    return _remade(state, node, [theta, state.concatenated(parts)])


_RULES: dict[str, Rule] = {
    "AffineGrid": _affine_grid,
    **dict.fromkeys(BROADCASTING, _elementwise),
    **dict.fromkeys(("CumSum", "Dropout", "Identity", "CastLike", "LayerNormalization"), _along),
    **dict.fromkeys(REDUCTIONS, _reduce),
    "Concat": _concat,
    "ConstantOfShape": _filled,
    "Expand": _expand,
    "EyeLike": _eye_like,
    "Gather": _gather,
    "MatMul": _matmul,
    "OneHot": _one_hot,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Squeeze": _moved_axes,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _moved_axes,
}

"""Places that are looked up or written to: Gather, GatherElements, GatherND, ScatterND."""

from __future__ import annotations

import numpy as np
import onnx

from graphkit.edit.following.context import EXPORT, Following, Kind, Want, in_short
from graphkit.edit.following.growing import grow
from graphkit.edit.following.meshes import follow_mesh
from graphkit.edit.nodes import set_input
from graphkit.graph.values import attribute_value
from graphkit.shapes.points import product


def follow_gather(state: Following, node: onnx.NodeProto) -> None:
    """Indices that go over the whole of an axis that varies, and those of one sample among many."""
    if _flattened(state, node):
        return
    known, places = state.get(node.input[0]), _fixed(state, node.input[1])
    if not known.varies or known.dims is None or places is None:
        return
    axis = attribute_value(node, "axis", 0) % len(known.dims)
    dim = known.dims[axis]
    if not dim.varies:
        return
    want = Want(dim.sizes, node.input[0], axis)
    if places.ndim == 1 and places.size > 1:
        made = _order(state, places, want) if places.size == dim.base else _every(state, places, want)
        if made is None:
            made = _flat_windows(state, places, want)
        if made is not None:
            set_input(node, 1, made)
            text, done = (
                f"takes the fixed places {in_short(places)}",
                f"they follow axis {axis} of {node.input[0]!r} now",
            )
            state.find("follows", node, text, value=node.input[0], axis=axis, done=done)
            return
    if places.ndim == 2 and (made := _windows(state, places, Want(dim.sizes, node.input[0], axis))) is not None:
        set_input(node, 1, made)
        text, done = f"takes fixed windows {in_short(places)}", f"they go over all of axis {axis} now"
        state.find("follows", node, text, value=node.input[0], axis=axis, done=done)
    elif places.size > 1 and dim.base > 1 and places.max() * 2 >= dim.base:
        text = f"takes fixed places of axis {axis} of {node.input[0]!r}: {in_short(places)}"
        state.find("held", node, text, value=node.input[1], axis=axis, remedy=EXPORT)
    elif places.size == 1:
        _one_place(state, node, axis, int(places.reshape(-1)[0]))


def _one_place(state: Following, node: onnx.NodeProto, axis: int, place: int) -> None:
    """One fixed place of an axis that varies, where it is the last, or the one in the middle."""
    size = (state.get(node.input[0]).dims or ())[axis].base
    if size > 2 and place == size - 1:
        what = "the last"
    elif size > 3 and place in (size // 2, (size - 1) // 2):
        what = "the middle"
    else:
        return
    text = f"takes the place {place}, {what} of axis {axis} of {node.input[0]!r}: that stays as it is"
    state.find("held", node, text, value=node.input[1], axis=axis, remedy=EXPORT)


def _fixed(state: Following, name: str) -> np.ndarray | None:
    """Numbers that are the same at every size: small ones that are computed of constants, or a constant."""
    baked = state.baked(name)
    return baked if baked is not None else state.array(name)


def follow_places(state: Following, node: onnx.NodeProto) -> None:
    """Fixed places along an axis that varies, which are all places of it at the size in the file."""
    if node.op_type == "GatherND" and (_flattened(state, node) or _of_samples(state, node) or follow_mesh(state, node)):
        return
    known, places = state.get(node.input[0]), _fixed(state, node.input[1])
    if not known.varies or known.dims is None or places is None or not places.size:
        return
    elements = node.op_type == "GatherElements"
    skipped = attribute_value(node, "batch_dims", 0)
    own = attribute_value(node, "axis", 0) % len(known.dims)
    components = {own: places} if elements else {skipped + c: places[..., c] for c in range(places.shape[-1])}
    for axis, numbers in components.items():
        dim = known.dims[axis]
        taken = np.unique(np.where(numbers < 0, numbers + dim.base, numbers))
        if dim.varies and node.op_type == "GatherND" and places.shape == (dim.base, 1) and dim.base > 1:
            made = _order(state, numbers, Want(dim.sizes, node.input[0], axis))
            if made is not None:
                set_input(node, 1, state.unsqueezed(made, [1], "places"))
                text = f"takes the fixed places {in_short(numbers)}"
                done = f"they follow axis {axis} of {node.input[0]!r} now"
                state.find("follows", node, text, value=node.input[0], axis=axis, done=done)
                continue
        if dim.varies and (len(taken) == dim.base or (len(taken) > 1 and taken[-1] * 2 >= dim.base)):
            text = f"takes fixed places of axis {axis} of {node.input[0]!r}, of size {dim.base}: {in_short(numbers)}"
            state.find("held", node, text, value=node.input[1], axis=axis, remedy=EXPORT)


def _order(state: Following, places: np.ndarray, want: Want) -> str | None:
    """All places in order, backwards, or rolled by a fixed number."""
    if state.opset < 10:
        return None
    count = places.size
    ordered = np.arange(count)
    if np.array_equal(places, ordered):
        return grow(state, state.constant(places.astype(np.int64), "places"), {0: want})
    size = state.size(want.value, want.axis)

    def number(value: int) -> str:
        return state.constant(np.array(value, np.int64), "number")

    if np.array_equal(places, ordered[::-1]) and count > 2:
        return state.add("Sub", [state.add("Sub", [size, number(1)], "last"), state.counted(size)], "places")
    shift = int(places[0])
    if count > 3 and np.array_equal(places, (ordered + shift) % count):
        shift = shift if shift <= count // 2 else shift - count
        moved = state.add("Add", [state.counted(size), number(shift)], "places")
        return state.add("Mod", [moved, size], "places")
    return None


def _every(state: Following, places: np.ndarray, want: Want) -> str | None:
    """Every second place, or third, from the first ones on to the end."""
    step = int(places[1] - places[0])
    rising = state.opset > 10 and step > 1 and places.size > 2 and bool((np.diff(places) == step).all())
    if not rising or not 0 <= places[0] < step or places[-1] + step < want.sizes[0]:
        return None
    first, by = (state.constant(np.array(number, np.int64), "number") for number in (int(places[0]), step))
    return state.add("Range", [first, state.scalar(state.wanted(want)), by], "places")


def _flat_windows(state: Following, places: np.ndarray, want: Want) -> str | None:
    """As ``_windows``, one window behind the other."""
    ends = np.flatnonzero(np.diff(places) != 1)
    width = int(ends[0]) + 1 if ends.size else places.size
    if width < 2 or width == places.size or places.size % width:
        return None
    made = _windows(state, places.reshape(-1, width), want, only=0)
    return None if made is None else state.add("Reshape", [made, state.constant([-1])], "places")


def _windows(state: Following, places: np.ndarray, want: Want, only: int | None = None) -> str | None:
    """Windows of a fixed width that begin every so many places, as many as there is room for."""
    steps = [int(places[1, 0] - places[0, 0]), int(places[0, 1] - places[0, 0])] if min(places.shape) > 1 else [0, 0]
    rows, columns = (np.arange(count) for count in places.shape)
    if (
        state.opset < 9
        or places[0, 0]
        or min(steps) < 1
        or not np.array_equal(places, rows[:, None] * steps[0] + columns * steps[1])
    ):
        return None
    fitting = []
    for axis in (0, 1) if only is None else (only,):
        width = (places.shape[1 - axis] - 1) * steps[1 - axis] + 1
        if (want.sizes[0] - width) // steps[axis] + 1 == places.shape[axis] > 1:
            fitting.append((axis, width))
    if (
        len(fitting) > 1
    ):  # both fill the axis: what lies in a window is one place apart, or windows are more than its places
        apart = [entry for entry in fitting if steps[entry[0]] > 1 == steps[1 - entry[0]]]
        fitting = apart or [entry for entry in fitting if places.shape[entry[0]] > places.shape[1 - entry[0]]]
    if len(fitting) != 1:
        return None
    axis, width = fitting[0]
    room = state.add("Sub", [state.wanted(want), state.constant([width])], "room")
    count = state.add(
        "Add", [state.add("Div", [room, state.constant([steps[axis]])], "count"), state.constant([1])], "count"
    )
    begins = state.unsqueezed(state.counted(count), [1 - axis], "begins")
    begins = state.add("Mul", [begins, state.constant([steps[axis]])], "begins")
    inside = (np.arange(places.shape[1 - axis]) * steps[1 - axis]).astype(np.int64)
    return state.add("Add", [begins, state.constant(np.expand_dims(inside, axis), "inside")], "places")


def _flattened(state: Following, node: onnx.NodeProto) -> bool:
    """Places that were made for one sample, in rows that several samples were merged into: each is given its own rows."""
    known, places = state.get(node.input[0]), state.get(node.input[1])
    if known.dims is None or places.dims is None or not places.complete or state.opset < 9:
        return False
    if node.op_type == "GatherND":
        if attribute_value(node, "batch_dims", 0) or places.dims[-1].sizes != (1,) * state.points:
            return False
        axis = 0
    else:
        axis = attribute_value(node, "axis", 0) % max(len(known.dims), 1)
    factors = known.dims[axis].factors if axis < len(known.dims) else ()
    if len(factors) < 2 or factors[0][0] != 1 or factors[0] not in state.freed:
        return False
    place = next((a for a, dim in enumerate(places.dims) if dim.factors and dim.factors[0] == factors[0]), None)
    samples = state.inference.origins.get(factors[0])
    if places.constant or state.baked(node.input[1]) is not None:
        return samples is not None and _of_one_sample(state, node, axis, samples)
    if place is None or samples is None or state.counts_samples(node.input[1], factors[0]):
        return False
    count = state.size(*samples)
    rows = state.add("Div", [state.size(node.input[0], axis), count], "rows")
    begins = state.add("Mul", [state.counted(count), rows], "begins")
    rank = len(places.dims)
    begins = state.unsqueezed(begins, [a for a in range(rank + 1) if a != place], "begins")
    if places.elem != onnx.TensorProto.INT64:
        begins = state.add("Cast", [begins], "begins", to=places.elem)
    own = [*places.dims]
    target = [state.size(node.input[1], a) if dim.varies else dim.base for a, dim in enumerate(own)]
    opened = state.concatenated([*target[:place], count, state.constant([-1]), *target[place + 1 :]])
    apart = state.add("Reshape", [node.input[1], opened], "places")
    moved = state.add("Add", [apart, begins], "places")
    set_input(node, 1, state.add("Reshape", [moved, state.add("Shape", [node.input[1]], "shape")], "places"))
    text = f"looks up rows of one sample in {node.input[0]!r}, which has those of several"
    state.find("follows", node, text, value=node.input[0], axis=axis, done="each sample looks up its own now")
    return True


def _of_one_sample(state: Following, node: onnx.NodeProto, axis: int, samples: tuple[str, int]) -> bool:
    """Places that are the same at every size and lie in the rows of the only sample: each sample is given its own rows.

    Where they are computed (the number of a sample times its rows, plus a row), or are all rows in some order, that is what
    they are; a constant of some rows may mean the first sample.
    """
    dims = state.get(node.input[1]).dims or ()
    if node.op_type != "Gather" or len(dims) < 2 or dims[0].base != 1:
        return False
    count = state.size(*samples)
    rows = state.add("Div", [state.size(node.input[0], axis), count], "rows")
    begins = state.add("Mul", [state.counted(count), rows], "begins")
    begins = state.unsqueezed(begins, list(range(1, len(dims))), "begins")
    if (elem := state.get(node.input[1]).elem) != onnx.TensorProto.INT64:
        begins = state.add("Cast", [begins], "begins", to=elem)
    old, taken = node.input[1], _fixed(state, node.input[1])
    own_rows = (state.get(node.input[0]).dims or ())[axis].base
    whole = (
        taken is not None and np.unique(taken).size == own_rows
    )  # the sample in another order, and not the first one
    kind: Kind = "follows" if whole or state.tensor(old) is None else "choice"
    places = state.add("Add", [_all_rows(state, node, axis), begins], "places")
    set_input(node, 1, places)
    for reader in state.readers(old):
        if reader.op_type == "Shape":  # it says how the rows are laid out again
            set_input(reader, 0, places)
    text = f"looks up rows of one sample in {node.input[0]!r}, which has those of several"
    state.find(kind, node, text, value=node.input[0], axis=axis, done="each sample looks up its own now")
    return True


def _all_rows(state: Following, node: onnx.NodeProto, axis: int) -> str:
    """Places of one sample; where they are all its rows in order, as many as it has at every size."""
    places, dims = state.baked(node.input[1]), state.get(node.input[0]).dims or ()
    rows = dims[axis].factors[1:]
    sizes = product(rows, state.points)
    if places is None or all(size == sizes[0] for size in sizes) or places.size != sizes[0]:
        return node.input[1]
    along = [a for a, size in enumerate(places.shape) if size > 1]
    if len(along) != 1 or not np.array_equal(places.reshape(-1), np.arange(places.size)):
        return node.input[1]
    value, own = state.inference.origins.get(sizes, ("", 0))
    if not value and state.product_of(rows, make=False) is None:
        return node.input[1]
    return grow(state, node.input[1], {along[0]: Want(sizes, value, own, factors=rows)}) or node.input[1]


def follow_scatter(state: Following, node: onnx.NodeProto) -> None:
    """Updates that vary, into a value made of constants: places that follow, and a value that is as much larger."""
    follow_places(state, node)
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
    set_input(node, 0, made)
    state.find("follows", node, text, value=node.input[0], axis=min(wants), done=done)


def _scatter_batch(state: Following, node: onnx.NodeProto, depth: int, outer: int, wants: dict[int, Want]) -> None:
    """Places that were made for one sample are all 0 along its axis: they count the samples."""
    data, updates = state.get(node.input[0]).dims or (), state.get(node.input[2]).dims or ()
    for axis in range(min(depth, outer, len(data))):
        places = state.get(node.input[1]).data
        if not (updates[axis].varies and updates[axis].base == 1 == data[axis].base):
            continue
        if data[axis].varies and data[axis].sizes != updates[axis].sizes:
            continue
        if places is None or any(array[..., axis].any() for array in places):
            continue
        want = Want(updates[axis].sizes, node.input[2], axis)
        set_input(node, 1, _with_samples(state, node.input[1], want, axis, axis))
        if not data[axis].varies:
            wants[axis] = want


def _with_samples(state: Following, places: str, want: Want, axis: int, component: int) -> str:
    """Places with a component that counts along an axis."""
    dims = state.get(places).dims or ()
    count = state.unsqueezed(state.counted(state.wanted(want)), [a for a in range(len(dims)) if a != axis], "count")
    only = state.constant((np.arange(dims[-1].base) == component).astype(np.int64), "component")
    return state.add("Add", [places, state.add("Mul", [count, only], "steps")], "places")


def _of_samples(state: Following, node: onnx.NodeProto) -> bool:
    """Places that were made for one sample, whose component of samples is all 0: it counts them."""
    known, places, maker = state.get(node.input[0]), state.get(node.input[1]), state.maker(node.input[1])
    if known.dims is None or places.dims is None or maker is None or maker.op_type != "Concat":
        return False
    if attribute_value(node, "batch_dims", 0) or places.dims[-1].base != len(maker.input) or places.constant:
        return False
    for component, name in enumerate(maker.input):
        dim = known.dims[component] if component < len(known.dims) else None
        data = state.get(name).data
        if dim is None or dim.base != 1 or dim.sizes not in state.freed or data is None or any(a.any() for a in data):
            continue
        axis = next((a for a, own in enumerate(places.dims) if own.sizes == dim.sizes), None)
        if axis is None:
            continue
        want = Want(dim.sizes, node.input[0], component)
        set_input(node, 1, _with_samples(state, node.input[1], want, axis, component))
        text = f"looks up places of one sample in {node.input[0]!r}, which has several"
        done = "each sample looks up its own now"
        state.find("follows", node, text, value=node.input[0], axis=component, done=done)
        return True
    return False


def _rises(places: np.ndarray, axis: int, component: int) -> bool:
    """Whether a component of the places rises along an axis of them."""
    part = places[..., component]
    return part.shape[axis] > 1 and bool((np.diff(part, axis=axis) > 0).all())

"""A GatherND at fixed places that are a mesh: all places of an axis in order, and the only sample."""

from __future__ import annotations

import numpy as np
import onnx

from graphkit.edit.following.context import Following, Kind, in_short
from graphkit.edit.nodes import set_input
from graphkit.graph.values import attribute_value
from graphkit.shapes.points import Dim


def follow_mesh(state: Following, node: onnx.NodeProto) -> bool:
    """Make fixed places go over the whole of axes that vary, as in ``mask[samples, steps]``. Changes the node.

    A component of the places that counts along one axis of them, as far as the data has places, follows the data. One that is 0
    for the only sample counts the samples along the first axis of size 1; where not all places of a sample are taken, it may
    mean the first one, too.

    Returns:
        Whether every component of an axis that varies follows now.
    """
    known, places = state.get(node.input[0]), state.baked(node.input[1])
    if places is None:
        places = state.array(node.input[1])
    if not known.varies or known.dims is None or places is None or places.ndim < 2 or not places.size:
        return False
    depth = places.shape[-1]
    if attribute_value(node, "batch_dims", 0) or depth < 2 or depth > len(known.dims):
        return False
    along = _along(places, known.dims[:depth])
    if along is None or not along:
        return False
    single = any(places.shape[axis] == 1 for axis in along.values())
    partly = any(np.unique(places[..., c]).size != dim.base for c, dim in enumerate(known.dims[:depth]))
    set_input(node, 1, _mesh(state, node.input[0], places, along))
    kind: Kind = "choice" if single and partly else "follows"
    text, done = f"takes the fixed places {in_short(places)}", f"they go over all of {node.input[0]!r} now"
    state.find(kind, node, text, value=node.input[0], axis=min(along), done=done)
    return True


def _along(places: np.ndarray, dims: tuple[Dim, ...]) -> dict[int, int] | None:
    """Component that has to follow -> the axis of the places along which it counts; None where one does not count."""
    found: dict[int, int] = {}
    waiting: list[int] = []
    for component, dim in enumerate(dims):
        numbers = places[..., component]
        if not dim.varies:
            continue
        if dim.base == 1 and not numbers.any():
            waiting.append(component)
            continue
        axis = next((a for a, size in enumerate(numbers.shape) if size == dim.base and _counts(numbers, a)), None)
        if axis is None or axis in found.values():
            return None
        found[component] = axis
    for component in waiting:
        axis = next((a for a, size in enumerate(places.shape[:-1]) if size == 1 and a not in found.values()), None)
        if axis is None:
            return None
        found[component] = axis
    for component in range(len(dims)):
        others = [axis for axis in found.values() if found.get(component) != axis]
        if any(np.ptp(places[..., component], axis=axis).any() for axis in others):
            return None
    return found


def _counts(numbers: np.ndarray, axis: int) -> bool:
    """Whether numbers are 0, 1, 2, ... along an axis and the same along all others."""
    shape = [1] * numbers.ndim
    shape[axis] = -1
    return numbers.shape[axis] > 1 and bool((numbers == np.arange(numbers.shape[axis]).reshape(shape)).all())


def _mesh(state: Following, data: str, places: np.ndarray, along: dict[int, int]) -> str:
    """The places again, with components that count as far as the data goes."""
    outer = places.ndim - 1
    sizes = {axis: state.size(data, component) for component, axis in along.items()}
    shape = state.concatenated([sizes[axis] if axis in sizes else places.shape[axis] for axis in range(outer)])
    parts: list[str] = []
    for component in range(places.shape[-1]):
        if component in along:
            axis = along[component]
            count = state.counted(sizes[axis])
            part = state.unsqueezed(count, [a for a in range(outer) if a != axis], "count") if outer > 1 else count
        else:
            numbers = places[..., component].astype(np.int64)
            for axis in sizes:
                numbers = np.take(numbers, [0], axis)
            part = state.constant(np.ascontiguousarray(numbers), "places")
        parts.append(state.unsqueezed(state.add("Expand", [part, shape], "places"), [outer], "places"))
    return state.add("Concat", parts, "places", axis=outer)

"""Values that are made of constants, given another size along some axes: back to what fixes the size."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from graphkit.edit.following.context import Following, Want
from graphkit.edit.following.evident import Wants, evident, expanded
from graphkit.edit.following.window_masks import window_mask
from graphkit.semantics.kinds import REDUCTIONS
from graphkit.shapes.known import Known

DEEPEST = 100
"""Nodes behind each other that are made again."""


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


def wider(state: Following, name: str, wants: Wants, depth: int) -> str | None:
    """As ``grow``; a value that has another size along further axes elsewhere is taken from there.

    For what reads a whole axis, or its last place, and does not show in its result how long that is.
    """
    made = grow(state, name, wants, depth) if wants else name
    for place in reversed(state.places):
        axes, wider = place.widest.get(name, (frozenset(), ""))
        if wider and axes >= wants.keys():
            return wider
    return made if wants else regrown(state, name, depth)


def regrown(state: Following, name: str, depth: int) -> str:
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
        inputs.append(widest or (regrown(state, part, depth + 1) if part else part))
    if inputs == list(node.input):
        return name
    made = remade(state, node, list(inputs))
    dims = state.get(made).dims if made is not None else None
    if made is not None and dims is not None and [dim.sizes for dim in dims] == [dim.sizes for dim in known.dims]:
        state.place.grown[key] = made
    return state.place.grown[key] or name


def _made(state: Following, name: str, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    assert known.dims is not None
    spread = {axis: want for axis, want in wants.items() if known.dims[axis].base == 1}
    if spread:
        rest = {axis: want for axis, want in wants.items() if axis not in spread}
        inner = grow(state, name, rest, depth + 1) if rest else name
        return expanded(state, inner, known, spread) if inner is not None else None
    if (repeated := _repeated(state, name, known, wants, depth)) is not None:
        return repeated
    array = state.array(name) if state.tensor(name) is not None else state.baked(name)
    if array is not None and (mask := window_mask(state, array, wants)) is not None:
        return mask
    if (
        array is not None
        and not _condensed(state, name)
        and (made := evident(state, name, array, known, wants)) is not None
    ):
        return made
    if state.tensor(name) is not None:
        return None
    node = state.maker(name)
    rule = state.rules.get(node.op_type) if node is not None and node.domain in ("", "ai.onnx") else None
    if node is None or rule is None or not node.output or node.output[0] != name:
        return None
    return rule(state, node, known, wants, depth + 1)


def _condensed(state: Following, name: str) -> bool:
    """Whether one place or a sum stands for a whole axis in what a computed value is made of: its numbers hide the size."""
    for value, node in state.behind(name):
        if node is not None and node.op_type in (*REDUCTIONS, "Slice", "Gather") and node.input[0]:
            shapes = [state.get(part).shape_at(0) for part in (node.input[0], value)]
            if None in shapes or sum(s > 1 for s in shapes[0] or ()) > sum(s > 1 for s in shapes[1] or ()):
                return True
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


def remade(state: Following, node: onnx.NodeProto, inputs: list[str | None]) -> str | None:
    """A copy of a node with other inputs: its first output; None where an input is None."""
    if any(name is None for name in inputs):
        return None
    copy = state.copied(node, [name or "" for name in inputs])
    state.put(copy)
    return copy.output[0]

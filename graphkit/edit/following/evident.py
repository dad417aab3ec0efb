"""Constants whose making is evident, made again at other sizes: what is uniform, rises evenly, or depends on distances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
import onnx

from graphkit.edit.following import tables
from graphkit.edit.following.context import Following, Want
from graphkit.edit.following.rotary import Rotary, rotary
from graphkit.shapes.known import Known
from graphkit.shapes.points import fixed

Wants: TypeAlias = Mapping[int, Want]
"""Axis -> the size that it shall have."""


def expanded(state: Following, name: str, known: Known, wants: Wants) -> str:
    """A value whose axes of size 1 are repeated."""
    rank = len(known.dims or ())
    parts: list[int | str] = [state.wanted(wants[a]) if a in wants else 1 for a in range(rank)]
    shape = state.concatenated(parts)
    return state.add("Expand" if state.opset >= 8 else "Tile", [name, shape], f"{name}_sized")


def evident(state: Following, name: str, array: np.ndarray, known: Known, wants: dict[int, Want]) -> str | None:
    """What is uniform, rises evenly, or depends on the distance of two axes."""
    rest = dict(wants)
    for axis in wants:
        if tables.uniform(array, axis):
            array = np.take(array, [0], axis)
            del rest[axis]
    spread = {axis: want for axis, want in wants.items() if axis not in rest}
    if len(rest) == 1:
        made = _joined(state, name, array, *next(iter(rest.items()))) or _uneven(state, array, rest)
    else:
        made = _uneven(state, array, rest) if rest else state.constant(np.ascontiguousarray(array), f"{name}_one")
    if made is None:
        made = _by_slices(state, name, array, rest)
    if made is None:
        return None
    return expanded(state, made, known, spread) if spread else made


MOST_SLICES = 4
"""Parts of a table that were made apart and joined: coordinates, corners of boxes."""


def _by_slices(state: Following, name: str, array: np.ndarray, wants: dict[int, Want]) -> str | None:
    """A table that was joined of a few, each of which is evident."""
    for axis, count in enumerate(array.shape):
        if axis in wants or not 1 < count <= MOST_SLICES:
            continue
        pieces = np.split(array, count, axis)
        known = Known(dims=tuple(fixed(size, state.points) for size in pieces[0].shape))
        made: list[str] = []
        for piece in pieces:
            part = evident(state, name, piece, known, dict(wants))
            if part is None:
                break
            made.append(part)
        if len(made) == count:
            return state.add("Concat", made, f"{name}_sized", axis=axis)
    return None


def _joined(state: Following, name: str, array: np.ndarray, axis: int, want: Want) -> str | None:
    """A table of several pictures behind each other, or of the places of one: each as long as what it is read beside."""
    parts = state.parts(want)
    if len(parts) > 1 and sum(part.sizes[0] for part in parts) == array.shape[axis]:
        ends = np.cumsum([part.sizes[0] for part in parts])
        made = [
            _part(state, name, piece, axis, part)
            for piece, part in zip(np.split(array, ends[:-1], axis), parts, strict=True)
        ]
        return state.add("Concat", [part or "" for part in made], f"{name}_sized", axis=axis) if all(made) else None
    return _merged(state, array, axis, want)


def _part(state: Following, name: str, array: np.ndarray, axis: int, want: Want) -> str | None:
    known = Known(dims=tuple(fixed(size, state.points) for size in array.shape))
    if all(size == want.sizes[0] for size in want.sizes):
        return state.constant(np.ascontiguousarray(array), f"{name}_part")
    return evident(state, name, array, known, {axis: want})


def _merged(state: Following, array: np.ndarray, axis: int, want: Want) -> str | None:
    """Rows behind each other: they are a mesh of as many axes as were merged."""
    factors = [sizes[0] for sizes in want.factors if any(size != 1 for size in sizes)]
    own = state.merged_of(want, factors)
    if own is None or math.prod(factors) != array.shape[axis]:
        return None
    open_array = array.reshape(*array.shape[:axis], *factors, *array.shape[axis + 1 :])
    wants = {axis + place: w for place, w in enumerate(own) if any(size != w.sizes[0] for size in w.sizes)}
    known = Known(dims=tuple(fixed(size, state.points) for size in open_array.shape))
    made = evident(state, "places", open_array, known, wants)
    if made is None:
        return None
    target = [*array.shape[:axis], -1, *array.shape[axis + 1 :]]
    return state.add("Reshape", [made, state.constant(target)], "places")


def _uneven(state: Following, array: np.ndarray, wants: dict[int, Want]) -> str | None:
    if state.opset < 9:
        return None  # nothing counts before NonZero
    axes = sorted(wants)
    if len(axes) == 2:
        others = tuple(axis for axis in range(array.ndim) if axis not in axes)
        square = array.squeeze(others) if all(array.shape[axis] == 1 for axis in others) else None
        if square is not None and (found := tables.distances(square)) is not None:
            return _by_distance(state, array, found, wants, (axes[0], axes[1]))
        if square is not None and (rungs := tables.ladder(square)) is not None:
            return _rungs(state, array, rungs, wants)
        if (sloped := tables.slope(array, axes[0], axes[1])) is not None:
            return _sloped(state, array, sloped, wants)
    if len(axes) == 1:
        wide = [axis for axis, size in enumerate(array.shape) if size > 1]
        if len(wide) == 2 and array.shape[wide[0]] != array.shape[wide[1]]:
            found = tables.distances(array.reshape([array.shape[axis] for axis in wide]))
            if found is not None and (made := _by_distance(state, array, found, wants, (wide[0], wide[1]))) is not None:
                return made
        found_steps = tables.steps(array, axes[0])
        if found_steps is not None:
            return _stepped(state, array, found_steps, axes[0], wants[axes[0]])
        if (turned := rotary(array, axes[0])) is not None:
            return _turned(state, array, turned, axes[0], wants[axes[0]])
    mesh = tables.grid(array, axes)
    return None if mesh is None else _mesh(state, array, mesh, wants)


def _counted(state: Following, want: Want, dtype: np.dtype, rank: int, axis: int) -> str:
    """0, 1, 2, ... along an axis."""
    count = state.counted(state.wanted(want))
    if dtype != np.int64:
        count = state.add("Cast", [count], "count", to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    others = [a for a in range(rank) if a != axis]
    return state.unsqueezed(count, others, "count") if others else count


def _stepped(state: Following, array: np.ndarray, found: tables.Steps, axis: int, want: Want) -> str:
    dtype = array.dtype
    work = (
        dtype
        if (dtype.kind == "f" and dtype.itemsize >= 4) or found.anchor in ("start", "end")
        else np.dtype(np.float32)
    )
    count = _counted(state, want, work, array.ndim, axis)

    def number(value: float | np.ndarray) -> str:
        return state.constant(np.ascontiguousarray(np.asarray(value, work)), "step")

    if found.anchor in ("span", "cells", "parts", "end"):
        size = state.add("Cast", [state.wanted(want)], "size", to=onnx.helper.np_dtype_to_tensor_dtype(work))
    if found.anchor == "span":
        divisor = state.add("Sub", [size, number(1)], "steps")
        count = state.add("Div", [state.add("Mul", [count, number(found.step)], "span"), divisor], "span")
    elif found.anchor == "parts":
        count = state.add("Div", [state.add("Mul", [count, number(found.step)], "span"), size], "span")
    elif found.anchor == "cells":
        middle = state.add("Add", [count, number(0.5)], "middle")
        count = state.add("Div", [state.add("Mul", [middle, number(found.step)], "span"), size], "span")
    else:
        if found.anchor == "end":
            count = state.add("Sub", [count, state.add("Sub", [size, number(1)], "last")], "count")
        if not np.array_equal(found.step, 1):
            count = state.add("Mul", [count, number(found.step)], "steps")
    first = np.ascontiguousarray(found.first.astype(work))
    if found.first.size > 1 or float(found.first.reshape(-1)[0]):
        count = state.add("Add", [count, state.constant(first, "first")], "steps")
    if work != dtype:
        count = state.add("Cast", [count], "steps", to=onnx.helper.np_dtype_to_tensor_dtype(dtype))
    return count


def _by_distance(
    state: Following, array: np.ndarray, found: tables.Distances, wants: dict[int, Want], axes: tuple[int, int]
) -> str | None:
    if state.opset < 9:
        return None
    int64 = np.dtype(np.int64)

    def counted(axis: int) -> str:
        if axis in wants:
            return _counted(state, wants[axis], int64, array.ndim, axis)
        shape = [-1 if a == axis else 1 for a in range(array.ndim)]
        return state.constant(np.arange(array.shape[axis]).reshape(shape), "count")

    def size(axis: int) -> str:
        return state.wanted(wants[axis]) if axis in wants else state.constant([array.shape[axis]])

    row, column = axes
    distance = state.add("Sub", [counted(row), counted(column)], "distance")
    if found.from_end:
        distance = state.add("Add", [distance, state.add("Sub", [size(column), size(row)], "offset")], "distance")
    plain = array.dtype in (np.float32, np.int32, np.int64, np.uint8)
    values = [value if plain else value.astype(np.float32) for value in found.values]  # no runtime has every Where
    result = state.constant(values[-1], "value")
    for bound, value in zip(reversed(found.bounds), reversed(values[:-1]), strict=True):
        below = state.add("Less", [distance, state.constant(np.array(bound, np.int64), "bound")], "is_below")
        result = state.add("Where", [below, state.constant(value, "value"), result], "mask")
    elem = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    return result if plain else state.add("Cast", [result], "mask", to=elem)


def _rungs(state: Following, array: np.ndarray, found: tables.Ladder, wants: dict[int, Want]) -> str | None:
    """A number for each distance of row and column, from a line of them or by steps of one."""
    if state.opset < 9:
        return None
    int64 = np.dtype(np.int64)
    row, column = sorted(wants)
    distance = state.add(
        "Sub",
        [_counted(state, wants[axis], int64, array.ndim, axis) for axis in (row, column)],
        "distance",
    )
    if found.line is None:
        middle = state.constant(np.array(found.middle, np.int64), "middle")
        places = state.add("Add" if found.step > 0 else "Sub", [middle, distance], "places")
    else:
        most = len(found.line) // 2
        for op, bound in (("Less", -most), ("Greater", most)):
            end = state.constant(np.array(bound, np.int64), "bound")
            distance = state.add("Where", [state.add(op, [distance, end], "is_beyond"), end, distance], "distance")
        shifted = state.add("Add", [distance, state.constant(np.array(most, np.int64), "most")], "distance")
        places = state.add("Gather", [state.constant(found.line.astype(np.int64), "line"), shifted], "places", axis=0)
    if array.dtype == np.int64:
        return places
    return state.add("Cast", [places], "places", to=onnx.helper.np_dtype_to_tensor_dtype(array.dtype))


def _sloped(state: Following, array: np.ndarray, found: tuple[np.ndarray, bool], wants: dict[int, Want]) -> str:
    """step * |row - column|."""
    row, column = sorted(wants)
    rows = _counted(state, wants[row], array.dtype, array.ndim, row)
    columns = _counted(state, wants[column], array.dtype, array.ndim, column)
    distance = state.add("Sub", [rows, columns], "distance")
    if found[1]:
        distance = state.add("Abs", [distance], "distance")
    return state.add("Mul", [distance, state.constant(np.ascontiguousarray(found[0]), "slope")], "bias")


def _turned(state: Following, array: np.ndarray, found: Rotary, axis: int, want: Want) -> str:
    """cos(position * frequency)."""
    count = _counted(state, want, array.dtype, array.ndim, axis)
    angles = state.add("Mul", [count, state.constant(found.frequencies, "frequencies")], "angles")
    if found.is_cosine is None:
        return state.add(found.function, [angles], "rotary")
    cosine, sine = state.add("Cos", [angles], "cosines"), state.add("Sin", [angles], "sines")
    return state.add("Where", [state.constant(found.is_cosine, "is_cosine"), cosine, sine], "positions")


def _mesh(state: Following, array: np.ndarray, mesh: tables.Grid, wants: dict[int, Want]) -> str | None:
    """Coordinates along several axes; a step that is the size of another one of them follows that (y * width + x)."""
    total = state.constant(mesh.first, "first")
    for axis, step in mesh.steps.items():
        count = _counted(state, wants[axis], array.dtype, array.ndim, axis)
        number = int(np.abs(step.astype(np.float64)).max())
        wide = [a for a in wants if a != axis and array.shape[a] == number and number > 1]
        if wide and step.size == 1:
            size = state.wanted(wants[wide[0]])
            if array.dtype != np.int64:
                size = state.add("Cast", [size], "size", to=onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
            count = state.add("Mul", [count, size], "steps")
        elif number > 1 and step.size == 1:
            return None  # a stride that no size explains
        elif not bool((step == 1).all()):
            count = state.add("Mul", [count, state.constant(np.ascontiguousarray(step), "step")], "steps")
        total = state.add("Add", [total, count], "grid")
    return total

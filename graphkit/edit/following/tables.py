"""Constants whose making is evident: ranges, grids, masks that depend on the distance of row and column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from graphkit.tensor import Array


@dataclass(frozen=True)
class Steps:
    """Numbers that rise evenly along an axis.

    Attributes:
        first: The slice at the beginning of the axis.
        step: What each next slice has more: one number, or a slice of them.
        anchor: "start": the first stays; "end": the last does; "span": both do, and the step is what divides the span;
            "parts": the first stays, and the step is the part of a whole; "cells": the middle of each of so many cells.
    """

    first: Array
    step: float | Array
    anchor: str


@dataclass(frozen=True)
class Distances:
    """Numbers that depend on how far row and column are apart.

    Attributes:
        bounds: The distances (row - column) from which on the next number holds, rising.
        values: The numbers: of the distances below the first bound, between, and from the last on.
        from_end: Whether distances are those from the last row and column: that of the last corner is 0.
    """

    bounds: tuple[int, ...]
    values: tuple[Array, ...]
    from_end: bool = False


@dataclass(frozen=True)
class Ladder:
    """Whole numbers that depend on how far row and column are apart, one for each distance: places in a table of positions.

    Attributes:
        line: The numbers from the lowest distance (row - column) on, the first and last of which go on for ever; or
            None where they rise or fall by one with each distance.
        middle: The number at distance 0.
        step: 1 or -1 where there is no ``line``.
    """

    line: Array | None
    middle: int
    step: int = 0


@dataclass(frozen=True)
class Grid:
    """Whole numbers that rise evenly along each of several axes, each by steps of its own.

    Attributes:
        first: The corner, of size 1 along the axes.
        steps: Axis -> what each next slice has more, of size 1 along the axes.
    """

    first: Array
    steps: dict[int, Array]


def uniform(array: Array, axis: int) -> bool:
    """Whether every slice along an axis is the same."""
    first = np.take(array, [0], axis)
    return array.shape[axis] == 1 or bool((array == first).all())


def steps(array: Array, axis: int) -> Steps | None:
    """Numbers that rise evenly along an axis, from where it is evident; else None.

    An even step alone says nothing of other sizes: it counts where it is a whole number or the part of a whole span, and
    where the numbers begin, end, or are centred at a place that another size has too.
    """
    count = array.shape[axis]
    if count < 2 or array.dtype.kind not in "iuf" or array.dtype.itemsize < 2:
        return None
    return _rows(array, axis) or _even(array, axis)


def _even(array: Array, axis: int) -> Steps | None:
    """Numbers that all rise by the same step."""
    count = array.shape[axis]
    wide = array.astype(np.float64)
    differences = np.diff(wide, axis=axis)
    step = float(differences.reshape(-1)[0])
    scale = max(abs(step), float(np.abs(wide).max()) * 2.0**-20, 1e-12)
    if step == 0 or np.abs(differences - step).max() > 1e-5 * scale * (count if array.dtype.kind == "f" else 1):
        return None
    first, last = np.take(wide, [0], axis), np.take(wide, [count - 1], axis)
    begin, end = float(first.reshape(-1)[0]), float(last.reshape(-1)[0])
    if count == 2 and not (begin == 0 and step == 1):
        return None
    kept = np.take(array, [0], axis)
    if np.ptp(first) != 0:
        return Steps(kept, step, "start") if step == 1 and array.dtype.kind in "iu" else None
    near = 1e-6
    if abs(step - round(step)) < near and round(step):
        if begin in (0, step, 2 * step, step / 2, -step / 2, 1):
            return Steps(kept, float(round(step)), "start")
        return Steps(np.take(array, [count - 1], axis), float(round(step)), "end") if end in (0, 1) else None
    span = step * (count - 1)
    if (begin, abs(round(span, 5))) in ((0.0, 1.0), (-1.0, 2.0), (1.0, 2.0)):
        return Steps(kept, span, "span")
    cells = step * count
    if abs(abs(cells) - round(abs(cells))) < near * count and round(abs(cells)) in (1, 2):
        if begin in (0, -1):
            return Steps(kept, float(round(cells)), "parts")
        low = begin - step / 2
        if abs(low - round(low)) < 1e-5 and round(low) in (-1, 0, 1):
            return Steps(np.full_like(kept, round(low)), float(round(cells)), "cells")
    return None


def _rows(array: Array, axis: int) -> Steps | None:
    """Rows that all rise from 0, each by a step of its own (the slopes of ALiBi); else None."""
    count = array.shape[axis]
    if count < 3 or array.dtype.kind != "f" or np.take(array, [0], axis).any():
        return None
    step = np.take(array, [1], axis)
    spans = np.abs(step.astype(np.float64))
    if not np.ptp(spans) or any(np.isin(np.round(spans * n, 6), (1, 2)).all() for n in (count, count - 1)):
        return None
    shape = [1] * array.ndim
    shape[axis] = count
    made = np.arange(count, dtype=array.dtype).reshape(shape) * step
    return Steps(np.take(array, [0], axis), step, "start") if np.array_equal(made, array) else None


def distances(array: Array) -> Distances | None:
    """A matrix whose numbers depend on row - column alone and change once or twice; else None.

    In one that is not square they count from the first row and column, or from the last: a causal mask behind a cache.
    """
    if array.ndim == 2 and array.shape[0] != array.shape[1]:
        return _oblong(array)
    if array.ndim != 2 or array.shape[0] < 2:
        return None
    count = array.shape[0]
    if not np.array_equal(array[1:, 1:], array[:-1, :-1]):
        return None
    line = np.concatenate([array[0, :0:-1], array[:, 0]])  # distance 1 - count ... count - 1
    changes = [position for position in range(1, len(line)) if line[position] != line[position - 1]]
    bounds = tuple(position - (count - 1) for position in changes)
    if not bounds or len(bounds) > 2 or (len(bounds) == 2 and count < 3):
        return None
    if count > 3 and any(abs(bound) >= count - 2 for bound in bounds):
        return None
    values = (line[0], *(line[position] for position in changes))
    return Distances(bounds, tuple(np.array(value, array.dtype) for value in values))


def _oblong(array: Array) -> Distances | None:
    """A matrix with more columns than rows, or more rows, whose numbers change once: at a corner, or one off it."""
    rows, columns = array.shape
    if min(rows, columns) < 1 or not np.array_equal(array[1:, 1:], array[:-1, :-1]):
        return None
    line = np.concatenate([array[0, :0:-1], array[:, 0]])  # distance 1 - columns ... rows - 1
    changes = [position for position in range(1, len(line)) if line[position] != line[position - 1]]
    if len(changes) != 1:
        return None
    bound, corner = changes[0] - (columns - 1), rows - columns
    values = (np.array(line[0], array.dtype), np.array(line[changes[0]], array.dtype))
    if bound in (corner, corner + 1) and bound not in (0, 1):
        return Distances((bound - corner,), values, from_end=True)
    return Distances((bound,), values) if bound in (0, 1) and bound not in (corner, corner + 1) else None


def ladder(array: Array) -> Ladder | None:
    """A square of whole numbers that depend on row - column alone, where it is evident how they go on; else None.

    They go on where the first and the last stand for many distances (they were clamped), or where all rise or fall by one
    and begin at a number that is not that of the size.
    """
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] < 3 or array.dtype.kind != "i":
        return None
    if not np.array_equal(array[1:, 1:], array[:-1, :-1]):
        return None
    count, middle = len(array), int(array[0, 0])
    line = np.concatenate([array[0, :0:-1], array[:, 0]])
    rises = np.diff(line.astype(np.int64))
    if abs(int(rises[0])) == 1 and (rises == rises[0]).all():
        return Ladder(None, middle, int(rises[0])) if middle not in (count - 1, count) else None
    runs = np.diff(np.concatenate([[0], np.flatnonzero(rises) + 1, [len(line)]]))
    clamped = len(runs) > 2 and all(
        end >= 3 and end >= 2 * near for end, near in ((runs[0], runs[1]), (runs[-1], runs[-2]))
    )
    return Ladder(line, middle) if clamped else None


def slope(array: Array, row: int, column: int) -> tuple[Array, bool] | None:
    """(step, absolute) of numbers that are step * |row - column|, or step * (row - column), for each place of other axes.

    Args:
        array: The numbers.
        row: The axis of rows.
        column: The axis of columns, behind that of rows and as long.
    """
    count = array.shape[row]
    if count != array.shape[column] or count < 3 or array.dtype.kind not in "if":
        return None
    step = np.take(np.take(array, [1], row), [0], column)
    shape = [1] * array.ndim
    shape[row] = shape[column] = count
    distance = (np.arange(count)[:, None] - np.arange(count)[None, :]).reshape(shape)
    for absolute in (True, False):
        made = (step * (np.abs(distance) if absolute else distance)).astype(array.dtype)
        if step.any() and np.array_equal(made, array):
            return step, absolute
    return None


def grid(array: Array, axes: list[int]) -> Grid | None:
    """A mesh of whole numbers: coordinates, places in a flattened picture, pairs of both; else None."""
    if array.dtype.kind not in "iuf" or array.dtype.itemsize < 2 or any(array.shape[axis] < 2 for axis in axes):
        return None
    corner = array
    for axis in axes:
        corner = np.take(corner, [0], axis)
    made = corner.astype(np.float64)
    found: dict[int, Array] = {}
    for axis in axes:
        line = array
        for other in axes:
            line = np.take(line, [0, 1] if other == axis else [0], other)
        step = np.diff(line.astype(np.float64), axis=axis)
        shape = [1] * array.ndim
        shape[axis] = array.shape[axis]
        made = made + np.arange(array.shape[axis]).reshape(shape) * step
        found[axis] = step.astype(array.dtype)
        if (step != np.round(step)).any() or (array.shape[axis] == 2 and not np.isin(step, (0, 1)).all()):
            return None
    counting = np.any([np.broadcast_to(step != 0, corner.shape) for step in found.values()], axis=0)
    begins = corner.astype(np.float64)[counting]
    widest = max(float(np.abs(step.astype(np.float64)).max()) for step in found.values())
    centred = (
        widest > 1 and begins.size % 2 == 0 and begins.size and abs(float(begins.mean())) < 1e-6
    )  # boxes about places
    if not np.array_equal(made, array.astype(np.float64)):
        return None
    if begins.size and np.abs(begins).max() > 1 and not centred:
        return None
    return Grid(np.ascontiguousarray(corner), found)

"""Where the error of two arrays lies, for the HTML page: a histogram and a heat map, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.verify.compare.blocks import Blocks

if TYPE_CHECKING:
    from graphkit.tensor import Array

BINS = tuple(range(-12, 3))
"""Powers of ten between which errors are counted; below the first, and zero, is the first bin."""

HEAT = 48
"""Rows and columns of the heat map at most."""


@dataclass(frozen=True)
class ErrorPicture:
    """Where an error lies.

    Attributes:
        histogram: Number of elements whose absolute error is below each power of ten in BINS (the last: above all).
        heat: Largest absolute error by place, the array seen as rows and columns and thinned to 48 each; row by row.
        lost: Number of elements that are in neither, because one side is NaN, or infinite where the other is not.
    """

    histogram: tuple[int, ...]
    heat: tuple[tuple[float, ...], ...]
    lost: int = 0


def error_picture(actual: Any, expected: Any) -> ErrorPicture | None:
    """The error of two arrays as a histogram and a heat map; None where they cannot be subtracted.

    An array of one dimension is laid out in rows of a square.

    Cost: O(elements), in float64, block by block.
    """
    if not isinstance(actual, np.ndarray) or not isinstance(expected, np.ndarray) or actual.shape != expected.shape:
        return None
    if actual.dtype.kind in "OSUT" or not actual.size:
        return None
    side = math.ceil(math.sqrt(actual.size))
    heat = _Heat(*(actual.shape[-2:] if actual.ndim >= 2 else (side, side)))
    counts = np.zeros(len(BINS) + 1, np.int64)
    top = lost = 0
    for mine, other in zip(_rows(actual, side), _rows(expected, side), strict=True):
        blocks = Blocks(mine, other)
        for block in blocks:
            with np.errstate(divide="ignore"):
                places = np.digitize(np.log10(block.error).ravel(), BINS)
            counts += np.bincount(places, minlength=len(counts))
            row, column = blocks.place(block.box, 0)[-2:]
            heat.add(block.error, top + row, column)
        top += mine.shape[0]
        lost += blocks.special.wrong
    counts[0] -= lost  # they were counted as 0
    return ErrorPicture(tuple(int(c) for c in counts), tuple(tuple(float(e) for e in row) for row in heat.cells), lost)


def _rows(array: Array, side: int) -> list[Array]:
    """An array with rows and columns: itself, or what has one dimension in rows of a length, the last one shorter."""
    if array.ndim >= 2:
        return [array]
    flat = array.reshape(-1)
    whole = flat.size // side * side
    return [part.reshape(rows, -1) for part, rows in ((flat[:whole], whole // side), (flat[whole:], 1)) if part.size]


class _Heat:
    """The largest errors of an array by place, the axes before its last two laid upon each other.

    Attributes:
        cells: The largest error in each cell.
    """

    def __init__(self, height: int, width: int) -> None:
        self._rows, self._columns = _cells(height), _cells(width)
        self.cells = np.zeros((self._rows[-1] + 1, self._columns[-1] + 1))

    def add(self, error: Array, top: int, left: int) -> None:
        """Take in the errors of a block that begins at a row and a column."""
        plane = error.reshape(-1, *error.shape[-2:]).max(axis=0)
        rows = self._rows[top : top + plane.shape[0]]
        columns = self._columns[left : left + plane.shape[1]]
        first, begins = (np.flatnonzero(np.diff(cells, prepend=-1)) for cells in (rows, columns))
        largest = np.maximum.reduceat(np.maximum.reduceat(plane, first, axis=0), begins, axis=1)
        at = np.ix_(rows[first], columns[begins])
        self.cells[at] = np.maximum(self.cells[at], largest)


def _cells(size: int) -> Array:
    """The cell of each of ``size`` rows or columns, HEAT cells at most."""
    count = min(HEAT, size)
    return np.arange(size) * count // size

"""Tables of rotary positions: cosines or sines of position times frequency, the frequencies a falling geometric row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from graphkit.tensor import Array


@dataclass(frozen=True)
class Rotary:
    """A table that is cos(position * frequency) or sin(position * frequency).

    Attributes:
        function: "Cos" or "Sin".
        frequencies: A slice of the table at position 1, as angles.
        is_cosine: Where it is a cosine, for a table that holds both; None for one that holds one.
    """

    function: str
    frequencies: Array
    is_cosine: Array | None = None


def rotary(array: Array, axis: int) -> Rotary | None:
    """The frequencies of a table of rotary positions along an axis, from where they are evident; else None.

    The frequencies are those of RoFormer (Su et al. 2021, section 3.2.2), ``base ** (-k / half)`` for k below half, for a
    base of at most two digits and zeros; the table holds each once or twice. All numbers have to agree.

    Cost: O(table).
    """
    count = array.shape[axis]
    if array.dtype != np.float32 or count < 4 or sum(size > 1 for size in array.shape) > 2:
        return None
    table = np.moveaxis(array, axis, 0).reshape(count, -1).astype(np.float64)
    width = table.shape[1]
    if np.abs(table[0] - 1).max() == 0:
        function, angles = "Cos", np.arccos(np.clip(table[1], -1, 1))
    elif not table[0].any():
        function, angles = "Sin", np.arcsin(np.clip(table[1], -1, 1))
    elif np.isin(table[0], (0, 1)).all() and width % 2 == 0:
        return _both(array, axis, table)
    else:
        return None
    if width <= 2 and (found := _fits(table, function, 1, 2.0)) is not None:
        return Rotary(function, found.astype(np.float32).reshape(np.take(array, [0], axis).shape))
    for half in {width, width // 2} - {0, 1}:
        for k in range(1, min(half, 4)):
            near = np.abs(np.sort(np.unique(np.round(angles, 4)))[::-1])
            if len(near) <= k or near[k] < 0.003:
                continue
            base = float(near[k]) ** (-half / k)
            for digits in (1, 2):
                rounded = float(f"{base:.{digits - 1}e}")
                found = _fits(table, function, half, rounded)
                if found is not None:
                    return Rotary(function, found.astype(np.float32).reshape(np.take(array, [0], axis).shape))
    return None


def _both(array: Array, axis: int, table: Array) -> Rotary | None:
    """The positions of Vaswani et al. (2017, section 3.5): sines and cosines, in turn or one behind the other."""
    is_cosine = table[0] == 1
    shape = np.take(array, [0], axis).shape
    halves = {}
    for kind, chosen in (("Cos", is_cosine), ("Sin", ~is_cosine)):
        half = table[:, chosen].astype(np.float32)
        found = rotary(half, 0)
        if half.shape[1] * 2 != table.shape[1] or found is None or found.function != kind:
            return None
        halves[kind] = found.frequencies.reshape(-1)
    frequencies = np.zeros(table.shape[1], np.float32)
    frequencies[is_cosine], frequencies[~is_cosine] = halves["Cos"], halves["Sin"]
    return Rotary("Sin", frequencies.reshape(shape), is_cosine.reshape(shape))


def _fits(table: Array, function: str, half: int, base: float) -> Array | None:
    """The frequency of each column, where all columns have one of a base."""
    if base <= 1:
        return None
    row = base ** (-np.arange(half) / half)
    width = table.shape[1]
    orders = [row] if half == width else [np.concatenate([row, row]), np.repeat(row, 2)]
    positions = np.arange(table.shape[0])[:, None]
    for order in orders:
        if order.size != width:
            continue
        made = (np.cos if function == "Cos" else np.sin)(positions * order)
        if np.abs(made - table).max() < 2e-7 * (4 + table.shape[0]):
            return order
    return None

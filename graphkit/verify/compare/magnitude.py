"""The magnitude of an array, which absolute tolerances are counted in, and what of it is a mask."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.verify.compare.blocks import BLOCK, DEVICE_BLOCK, blocks, on_device, on_host, thinned, wide
from graphkit.verify.compare.tolerance import FEW, SMALLEST_SCALE

if TYPE_CHECKING:
    from graphkit.tensor import Array

SAMPLE = 1 << 16
"""Elements from which the magnitude of an array is taken at most; larger arrays are thinned out evenly."""

MASK = 100.0
"""A mask is this many times as large as the root mean square of everything that is smaller."""

ALIKE = 0.9
"""Numbers of a mask are no smaller than this share of its largest: the score that it was added to still shows in some."""

REPEATED = 8
"""Fewer large numbers than this are no mask."""


def scale_of(expected: Any) -> float:
    """The magnitude of an array: root mean square of what is neither zero nor masked; at least 0.01.

    Zeros are left out because a Relu makes many and takes no error away; masks, -1e9 or the like, because they would hide
    every other difference (``mask_level``). Outliers that are left are clipped at 100 times the median.

    Cost: O(65536); O(elements) where nearly all of them are masked.
    """
    return _scale(_unmasked(expected)[0])


def mask_level(expected: Any) -> float:
    """The magnitude from which on numbers of an array are a mask; infinite where it has none.

    A mask is 8 or more numbers, nearly alike, that are 100 times as large as the root mean square of all that are smaller,
    however many these are. There may be masks of several sizes.

    Cost: as ``scale_of``.
    """
    return _unmasked(expected)[1]


def _scale(magnitudes: Array) -> float:
    if not magnitudes.size:
        return SMALLEST_SCALE
    clipped = np.minimum(magnitudes, 100 * float(np.median(magnitudes)))
    return max(SMALLEST_SCALE, _root_mean_square(clipped))


def _unmasked(expected: Any) -> tuple[Array, float]:
    """(magnitudes of an array that are neither zero nor masked, or some of them; where masks begin)."""
    found = np.abs(wide(thinned(expected, SAMPLE)))
    found = found[np.isfinite(found) & (found > 0)]
    level = math.inf
    while found.size:
        top = float(found.max())
        rest = found[found < ALIKE * top]
        if rest.size < FEW and math.prod(expected.shape) > SAMPLE:
            rest = _below(expected, ALIKE * top)
        if not rest.size or found.size - rest.size < REPEATED or top <= MASK * _root_mean_square(rest):
            break
        found, level = rest, ALIKE * top
    return found, level


def _below(expected: Any, level: float) -> Array:
    """The magnitudes of an array between zero and a level, the first SAMPLE of them."""
    found: list[Array] = []
    for box in blocks(tuple(expected.shape), DEVICE_BLOCK if on_device(expected) else BLOCK):
        part = abs(wide(expected[box]))
        found.append(on_host(part[(part > 0) & (part < level)]))
        if sum(one.size for one in found) >= SAMPLE:
            break
    return np.concatenate(found)[:SAMPLE]


def _root_mean_square(magnitudes: Array) -> float:
    return float(np.sqrt(np.mean(np.square(magnitudes))))

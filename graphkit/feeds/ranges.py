"""The range of numbers that an input is drawn from, and how several demands on it become one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from graphkit.tensor import Array

MaskKind = Literal["", "keeps", "drops", "either"]
"""What a one in a mask does: it keeps its element, it drops it, or that is not known. "" is no mask."""


@dataclass(frozen=True)
class Range:
    """The numbers to draw for one input.

    Attributes:
        low: Lowest value, or None for no bound: a standard normal distribution is drawn then.
        high: Highest value (included), or None.
        step: Values are multiples of this; 0 for any.
        mask: Zeros and ones, what is kept first.
        empties: Whether the mask drops a whole row in some samples.
        leading: The first elements of a vector, where they are others (1 for the batch and channels of Resize scales);
            a symbolic dim stands for its size.
        length: Length of a vector whose size the graph fixes.
        below: Symbolic dims whose sizes the values stay below: the rows of a table that is an input itself.
        shift: The values and this together stay below them.
        order: "falling": the first value is the highest, and none is higher than the one before (lengths of padded
            sequences); "counting": one more each time (axes); "corners": the second half of each row is not below the
            first (two corners of a box).
    """

    low: float | None = None
    high: float | None = None
    step: float = 0.0
    mask: MaskKind = ""
    empties: bool = False
    leading: tuple[int | str, ...] = ()
    length: int | None = None
    below: tuple[str, ...] = ()
    shift: float = 0.0
    order: Literal["", "falling", "counting", "corners"] = ""

    def integers(self, dtype: np.dtype[Any]) -> tuple[int, int]:
        """(lowest, highest) for an integer dtype; where the graph says nothing 0 to 9, all numbers of an 8-bit type."""
        if self.low is None and self.high is None:
            return (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) if dtype.itemsize == 1 else (0, 9)
        low = 0 if self.low is None else math.ceil(self.low)
        high = low + 9 if self.high is None else math.floor(self.high)
        return low, max(low, high)

    def reals(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Random float64 numbers of a shape."""
        if self.low is None or self.high is None:
            return np.asarray(generator.standard_normal(shape))
        numbers = np.asarray(generator.uniform(self.low, self.high, shape))
        if self.order == "corners" and shape and shape[-1] % 2 == 0:
            numbers = np.sort(numbers.reshape(*shape[:-1], 2, -1), axis=-2).reshape(shape)
        return np.round(numbers / self.step) * self.step if self.step else numbers

    def resolved(self, size_of: Callable[[str], int]) -> Range:
        """The same with sizes in the place of symbols."""
        leading = tuple(size_of(item) if isinstance(item, str) else item for item in self.leading)
        if not self.below:
            return replace(self, leading=leading)
        low = self.low or 0.0
        ends = [size_of(symbol) - 1 - self.shift for symbol in self.below]
        high = min([*ends, math.inf if self.high is None else self.high])
        return replace(self, low=low, high=max(low, high), below=(), leading=leading)

    def behind(self, slope: float, offset: float) -> Range | None:
        """The range of x for which slope * x + offset lies in this one; None where nothing follows."""
        if (slope, offset) == (1, 0):
            return self
        if slope == 0 or (self.below and slope != 1):
            return None
        ends = [None if end is None else (end - offset) / slope for end in (self.low, self.high)]
        low, high = ends if slope > 0 else reversed(ends)
        return replace(self, low=low, high=high, shift=self.shift + offset)


POSITIVE = Range(0.1, 2.0)
PIXELS = Range(0.0, 1.0)
FACTORS = Range(1.5, 3.0, step=0.5)


def together(wanted: Iterable[Range]) -> Range:
    """One range for several demands: their intersection, or the narrowest where they exclude each other."""
    found = list(wanted)
    low = max((r.low for r in found if r.low is not None), default=None)
    high = min((r.high for r in found if r.high is not None), default=None)
    best = min(found, key=_width)
    if low is not None and high is not None and low > high:
        low, high = best.low, best.high
    lengths = [r.length for r in found if r.length is not None]
    symbolic = [r for r in found if r.below]
    return Range(
        low,
        high,
        step=max(r.step for r in found),
        leading=max((r.leading for r in found), key=len),
        length=lengths[0] if lengths else None,
        below=tuple(dict.fromkeys(symbol for r in symbolic for symbol in r.below)),
        shift=max((r.shift for r in symbolic), default=0.0),
        order=next((r.order for r in found if r.order), ""),
    )


def _width(wanted: Range) -> float:
    return (math.inf if wanted.high is None else wanted.high) - (-math.inf if wanted.low is None else wanted.low)

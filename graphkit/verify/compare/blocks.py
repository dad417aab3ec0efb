"""Two arrays block by block: float64 only within a block, so that large arrays need hardly more memory than small ones.

Numpy arrays and torch tensors on any device alike; only results leave the device.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphkit.torch_tensors import tensor_array

Box = tuple[Any, ...]
"""An index that cuts a block out of an array: slices, and an ellipsis for the axes that are whole."""

BLOCK = 1 << 16
"""Elements of a block on the host: what is computed of it stays in the processor's cache."""

WORKING_BYTES = 12 << 20
"""Bytes of memory that comparing two arrays on the host takes at most beside the arrays themselves (10.5 MB, measured)."""

DEVICE_BLOCK = 1 << 22
"""Elements of a block on a device, where every step has a cost of its own."""


def on_device(value: Any) -> bool:
    """Whether a value is a torch tensor, on whatever device."""
    return hasattr(value, "is_cuda")


def blocks(shape: Sequence[int], limit: int = BLOCK) -> Iterator[Box]:
    """Boxes that make up an array in the order of its elements, whole along the last axes, of ``limit`` elements at most."""
    inner = math.prod(shape)
    if inner <= limit:
        yield (...,)
        return
    axis = -1
    while inner > limit:
        axis += 1
        inner //= shape[axis]
    step = limit // inner
    for outer in np.ndindex(*shape[:axis]):
        for start in range(0, shape[axis], step):
            yield (*(slice(at, at + 1) for at in outer), slice(start, start + step), ...)


@dataclass(frozen=True)
class Block:
    """The same block of two arrays.

    Attributes:
        box: Where it lies.
        a: The one, in float64 (or complex128); 0 where one of the two is not finite.
        b: The other.
        error: ``|a - b|``.
        magnitude: ``|b|``.
    """

    box: Box
    a: Any
    b: Any
    error: Any
    magnitude: Any


class Blocks:
    """Two arrays of one shape as blocks.

    Attributes:
        actual: The one.
        expected: The other.
        shape: Their shape.
        count: Their number of elements.
        special: What is not finite, as far as the blocks have been gone through.
    """

    def __init__(self, actual: Any, expected: Any, *, equal_nan: bool = False) -> None:
        self.actual = actual
        self.expected = expected
        self.shape = tuple(actual.shape)
        self.count = math.prod(self.shape)
        self.special = Special(equal_nan=equal_nan)
        self._limit = DEVICE_BLOCK if on_device(actual) else BLOCK
        self._only: Block | None = None

    def boxes(self) -> Iterator[Box]:
        """Where the blocks lie."""
        return blocks(self.shape, self._limit)

    def __iter__(self) -> Iterator[Block]:
        """Every block; an array that is one block is converted once."""
        if self._only is not None:
            yield self._only
            return
        self.special = Special(equal_nan=self.special.equal_nan)
        for box in self.boxes():
            block = self._block(box)
            if self.count <= self._limit:
                self._only = block
            yield block

    def _block(self, box: Box) -> Block:
        a, b = wide(self.actual[box]), wide(self.expected[box])
        # A sum is finite unless an element is not, or it overflows: one pass.
        with np.errstate(invalid="ignore", over="ignore"):
            if not (cmath.isfinite(complex(a.sum())) and cmath.isfinite(complex(b.sum()))):
                lost, wrong = self.special.add(a, b)
                if self.special.first is None and bool(wrong.any()):
                    self.special.first = self.place(box, int(wrong.reshape(-1).argmax()))
                a[lost] = 0
                b[lost] = 0
        return Block(box, a, b, abs(a - b), abs(b))

    def place(self, box: Box, at: int) -> tuple[int, ...]:
        """The index of the ``at``-th element of a block."""
        starts = [part.start for part in box[:-1]]
        inside = np.unravel_index(at, tuple(self.actual[box].shape))
        return tuple(int(i) + (starts[axis] if axis < len(starts) else 0) for axis, i in enumerate(inside))


class Special:
    """Counts of what is not finite in two arrays.

    Attributes:
        equal_nan: NaN agrees with NaN.
        nan: NaNs of the one and of the other.
        infinite: Infinities of the one and of the other.
        nan_apart: Places where only one of the two has a NaN.
        infinite_apart: Places where the two differ, neither is NaN and one is infinite.
        first: The first place that is wrong.
    """

    def __init__(self, *, equal_nan: bool = False) -> None:
        self.equal_nan = equal_nan
        self.nan = (0, 0)
        self.infinite = (0, 0)
        self.nan_apart = 0
        self.infinite_apart = 0
        self.first: tuple[int, ...] | None = None

    def add(self, a: Any, b: Any) -> tuple[Any, Any]:
        """Count in a block; returns (where one of the two is not finite, where they do not agree because of that)."""
        nan_a, nan_b = a != a, b != b  # noqa: PLR0124 (only a NaN is not itself)
        infinite_a, infinite_b = abs(a) == math.inf, abs(b) == math.inf
        self.nan = (self.nan[0] + int(nan_a.sum()), self.nan[1] + int(nan_b.sum()))
        self.infinite = (self.infinite[0] + int(infinite_a.sum()), self.infinite[1] + int(infinite_b.sum()))
        self.nan_apart += int((nan_a != nan_b).sum())
        infinite = (infinite_a | infinite_b) & ~(nan_a | nan_b)
        apart = infinite & (a != b)
        self.infinite_apart += int(apart.sum())
        return infinite | nan_a | nan_b, apart | (nan_a != nan_b if self.equal_nan else nan_a | nan_b)

    @property
    def wrong(self) -> int:
        """Elements that do not agree because one of the two is not finite."""
        both = (sum(self.nan) - self.nan_apart) // 2
        return self.infinite_apart + self.nan_apart + (0 if self.equal_nan else both)

    def problem(self) -> str | None:
        """What is wrong with it, or None."""
        problems = []
        if not self.equal_nan and any(self.nan):
            problems.append(f"NaN: {self.nan[0]} elements, {self.nan[1]} in the reference")
            if not self.nan_apart:
                problems[-1] += (
                    ", in the same places: equal_nan lets them agree; where a mask leaves nothing of a row, feed another"
                )
        elif self.equal_nan and self.nan_apart:
            problems.append(f"NaN in other places: {self.nan_apart} elements")
        if self.infinite_apart:
            problems.append(f"infinite: {self.infinite[0]} elements, {self.infinite[1]} in the reference")
        return "; ".join(problems) or None


def wide(array: Any) -> Any:
    """A copy in float64, or in complex128."""
    if on_device(array):
        import torch

        return array.to(torch.complex128 if array.is_complex() else torch.float64, copy=True)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def thinned(array: Any, limit: int) -> Any:
    """Elements of an array, evenly spread, ``limit`` at most, as an array of one dimension on the host."""
    count = math.prod(array.shape)
    step = max(1, -(-count // limit))
    while count and math.gcd(step, count) > 1:  # a step that divides an axis would see the same columns in every row
        step += 1
    if on_device(array):
        return tensor_array(array.reshape(-1)[::step])
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
    return flat[::step]


def on_host(array: Any) -> Any:
    """An array, or a tensor's numbers as one."""
    return tensor_array(array) if on_device(array) else array


def as_integers(array: Any) -> tuple[Any, int]:
    """(the bits of floats as signed integers, how many bits each has)."""
    if on_device(array):
        import torch

        size = array.element_size()
        return array.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[size]), 8 * size
    size = array.dtype.itemsize
    return array.view(f"i{size}"), 8 * size

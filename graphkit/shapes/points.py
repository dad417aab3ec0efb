"""Sizes at several points: a dim as the numbers that it takes when the free axes take several sizes at once.

A point gives every symbol of a model a size; the first point is the model as it is. A dim is the tuple of its sizes at all
points, and the factors that it was merged from, outermost first. Numbers need no algebra: what an operator makes of a size
is computed at each point, whatever arithmetic it uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TypeAlias

Sizes: TypeAlias = tuple[int, ...]
"""A size at each point; the first is the size in the file."""


@dataclass(frozen=True)
class Dim:
    """One dim.

    Attributes:
        sizes: Its size at each point; empty where it is not known.
        factors: What it was merged from, outermost first; their product is ``sizes``.
        cuts: Positions in ``factors`` at which another axis began when they were merged.
    """

    sizes: Sizes
    factors: tuple[Sizes, ...]
    cuts: tuple[int, ...] = ()

    @property
    def known(self) -> bool:
        """Whether its sizes are known."""
        return bool(self.sizes)

    @property
    def base(self) -> int:
        """The size in the file, -1 where it is not known."""
        return self.sizes[0] if self.sizes else -1

    @cached_property
    def varies(self) -> bool:
        """Whether it has more than one size."""
        return bool(self.sizes) and self.sizes.count(self.sizes[0]) < len(self.sizes)


UNKNOWN = Dim((), ())
"""A dim of which nothing is known."""


def whole(sizes: Sizes) -> Dim:
    """A dim that was not merged from others."""
    return Dim(sizes, (sizes,))


def fixed(size: int, points: int) -> Dim:
    """A dim that does not vary."""
    return whole((size,) * points)


def product(parts: Iterable[Sizes], points: int) -> Sizes:
    """The product at each point; 1 for none."""
    result = [1] * points
    for sizes in parts:
        result = [a * b for a, b in zip(result, sizes, strict=True)]
    return tuple(result)


def merged(factors: Sequence[Sizes], points: int) -> Dim:
    """A dim of some factors; ones that never vary are left out."""
    kept = tuple(sizes for sizes in factors if any(size != 1 for size in sizes))
    return Dim(product(kept, points), kept or ((1,) * points,))


def _joined(items: Sequence[_Item], points: int) -> Dim:
    """The dim that items of one axis or of several make."""
    kept = [item for item in items if any(size != 1 for size in item.sizes)]
    came_from = [item.axis for item in kept] if len({item.axis for item in kept}) > 1 else [item.part for item in kept]
    cuts = tuple(place for place in range(1, len(kept)) if came_from[place] != came_from[place - 1])
    return replace(merged([item.sizes for item in kept], points), cuts=cuts)


@dataclass
class _Item:
    """A factor of the source; ``part`` says which axis of what was merged it came from."""

    sizes: Sizes
    axis: int
    part: tuple[int, int] = (0, 0)

    @property
    def varies(self) -> bool:
        return any(size != self.sizes[0] for size in self.sizes)


@dataclass(frozen=True)
class Alignment:
    """What a Reshape makes of its input's axes.

    Attributes:
        dims: The dims of the result.
        sources: For each of them the axes of the input that its elements come from.
        ambiguous: Pairs of axes of the result that one size was cut into: the first varies here, or could have.
    """

    dims: tuple[Dim, ...]
    sources: tuple[tuple[int, ...], ...]
    ambiguous: tuple[tuple[int, int], ...] = ()


def align(
    source: Sequence[Dim], target: Sequence[int], open_axis: int | None, points: int, *, inner: bool = False
) -> Alignment | None:
    """Which dims a Reshape makes at all points, from the shape that it makes at the first.

    Elements keep their order, so factors of the input and axes of the result belong together from the front. Where a size
    could go into two axes, it goes into the one that the file leaves open (-1), else into an axis of size 1 at its place,
    else stays with the axes that are merged there.

    Args:
        source: The dims of the input, all known.
        target: The sizes of the result at the first point.
        open_axis: The axis of the result that the file leaves open with a -1, or None.
        points: The number of points.
        inner: Of a size that is cut into several axes, an inner one varies and not the outermost.

    Returns:
        The dims, or None where the sizes cannot be told apart.

    Cost: O(rank).
    """
    return _aligned(tuple(source), tuple(target), open_axis, points, inner=inner)


@lru_cache(maxsize=1024)
def _aligned(
    source: tuple[Dim, ...], target: tuple[int, ...], open_axis: int | None, points: int, *, inner: bool
) -> Alignment | None:
    """As ``align``; layers that repeat are aligned once."""
    return _Aligner(source, target, open_axis, points, inner=inner).run()


class _Aligner:
    def __init__(
        self, source: Sequence[Dim], target: Sequence[int], open_axis: int | None, points: int, *, inner: bool
    ) -> None:
        self._inner = inner
        self._items = [
            _Item(sizes, axis, (axis, sum(cut <= place for cut in dim.cuts)))
            for axis, dim in enumerate(source)
            for place, sizes in enumerate(dim.factors if len(dim.factors) > 1 else (dim.sizes,))
        ]
        self._rank = len(source)
        self._target = list(target)
        self._open = open_axis
        self._points = points
        self._made: list[list[_Item]] = [[] for _ in target]
        self._ambiguous: list[tuple[int, int]] = []
        self._i = self._j = 0

    def run(self) -> Alignment | None:
        if any(item.sizes[0] == 0 for item in self._items) or 0 in self._target:
            return None
        if math.prod(item.sizes[0] for item in self._items) != math.prod(self._target):
            return None
        while self._i < len(self._items) or self._j < len(self._target):
            self._ones()
            if (self._i < len(self._items)) != (self._j < len(self._target)):
                return None
            if self._i < len(self._items) and not self._group():
                return None
        return Alignment(
            tuple(_joined(items, self._points) for items in self._made),
            tuple(tuple(dict.fromkeys(item.axis for item in items)) for items in self._made),
            tuple(self._ambiguous),
        )

    def _ones(self) -> None:
        """Place the factors of size 1 that come next, of which some may vary."""
        first = self._i
        while self._i < len(self._items) and self._items[self._i].sizes[0] == 1:
            self._i += 1
        ones = self._items[first : self._i]
        before = self._j
        while self._j < len(self._target) and self._target[self._j] == 1:
            self._j += 1
        places = list(range(before, self._j))
        moving = [item for item in ones if item.varies]
        if not moving:
            return
        if len(places) == len(ones):
            for place, item in zip(places, ones, strict=True):
                self._made[place].append(item)
        elif places:
            if self._open in places and len(places) < len(moving):
                places = [self._open]
            for position, item in enumerate(moving):
                self._made[places[min(position, len(places) - 1)]].append(item)
        else:
            self._made[self._neighbour(before, first)].extend(moving)

    def _neighbour(self, j: int, first: int) -> int:
        """The axis that takes factors of size 1, from one on, that have no axis of their own: the one before, or behind."""
        if j == 0 or j >= len(self._target):
            return 0 if j == 0 else j - 1
        if self._open in (j - 1, j):
            return j - 1 if self._open == j - 1 else j
        behind = self._items[self._i :]
        own = self._items[first]
        axis = math.prod(item.sizes[0] for item in behind if item.axis == own.axis)
        features = (
            math.prod(item.sizes[0] for item in behind) == self._target[j] > axis
        )  # [S, B * heads, E] -> [S * B, ...]
        near = (self._items[max(first - 1, 0)], behind[0] if behind else own)
        for one, other in ([item.axis == own.axis for item in near], [item.part == own.part for item in near]):
            if one != other and not (other and features):  # what was merged with one of them stays with it
                return j - 1 if one else j
        # The axis behind is cut in two: [S, B, E] -> [S, B * heads, E / heads]. Else both are merged: [S * B, E].
        axis = self._items[self._i].axis if self._i < len(self._items) else -1
        rest = math.prod(item.sizes[0] for item in self._items[self._i :] if item.axis == axis)
        return j if rest > self._target[j] else j - 1

    def _group(self) -> bool:
        """Place the factors that come next in the axes that have as many elements."""
        last_i, last_j = self._i + 1, self._j + 1
        left, right = self._items[self._i].sizes[0], self._target[self._j]
        while left != right:
            if left < right:
                if last_i >= len(self._items):
                    return False
                left *= self._items[last_i].sizes[0]
                last_i += 1
            else:
                if last_j >= len(self._target):
                    return False
                right *= self._target[last_j]
                last_j += 1
        items, targets = self._items[self._i : last_i], list(range(self._j, last_j))
        self._i, self._j = last_i, last_j
        if len(targets) == 1:
            self._made[targets[0]].extend(items)
            return True
        if not any(item.varies for item in items):
            for target in targets:
                self._made[target].append(_Item((self._target[target],) * self._points, items[0].axis))
            return True
        return self._spread(items, targets)

    def _spread(self, items: list[_Item], targets: list[int]) -> bool:
        """Several axes: factors are placed in order, and cut where an axis ends in the middle of one."""
        waiting = items[::-1]
        for position, target in enumerate(targets):
            room = self._target[target]
            if room == 1 and waiting and waiting[-1].sizes[0] == 1:
                self._made[target].append(waiting.pop())
            while room > 1 and waiting:
                item = waiting.pop()
                size = item.sizes[0]
                if size == 1:
                    self._made[target].append(item)
                elif room % size == 0:
                    self._made[target].append(item)
                    room //= size
                elif size % room == 0:
                    first, rest = self._cut(item, room, targets[position:])
                    self._made[target].append(first)
                    waiting.append(rest)
                    room = 1
                else:
                    return False
        for item in reversed(waiting):
            self._made[targets[-1]].append(item)
        return True

    def _cut(self, item: _Item, room: int, targets: list[int]) -> tuple[_Item, _Item]:
        """A factor in two, of which the first has a size at the first point."""
        size, points = item.sizes[0], self._points
        rest = size // room
        if not item.varies:
            return _Item((room,) * points, item.axis), _Item((rest,) * points, item.axis)
        behind = self._open in targets[1:]
        if self._open not in targets:
            self._ambiguous.append((targets[0], targets[1]))
            behind = self._inner
        one = room if behind else rest
        if any(s % one for s in item.sizes):
            behind = not behind
            one = room if behind else rest
        varying = tuple(s // one for s in item.sizes)
        constant = (one,) * points
        if behind:
            return _Item(constant, item.axis), _Item(varying, item.axis)
        return _Item(varying, item.axis), _Item(constant, item.axis)

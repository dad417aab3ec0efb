"""The search of bisect: two sides run a stretch at a time, compared value by value, nodes tried alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import SessionError
from graphkit.tensor import bits
from graphkit.verify.bisection import Failing, Row
from graphkit.verify.isolation import Isolation
from graphkit.verify.metrics import Metrics, measure
from graphkit.verify.sides import OnnxSide, Place, Side

if TYPE_CHECKING:
    from graphkit.tensor import Array
    from graphkit.verify.tolerance import Policy

WORKING_BYTES = 9 * 8
"""Bytes of float64 arrays that ``measure`` holds at once for each element of the value that it looks at (measured)."""

BATCH = 8
"""Nodes that are tried alone at once while the first one that is wrong is looked for."""

MOST_VALUES = 500
"""Values in a stretch at most: the runtime's time for a piece grows faster than its number of outputs."""


@dataclass
class Search:
    """One pass over both sides.

    Attributes:
        candidate: The side whose order is followed.
        reference: The other side.
        twins: Value of the candidate -> value of the reference.
        policy: The tolerances.
        memory: Bytes that may be held at once: the values of both sides, what comparing needs, weights in use.
        isolate: Try every node alone, on the reference's values.
        stop: Without ``isolate``, end with the stretch that holds the first difference.
        swapped: The side whose order is followed is the reference: what it gives is what is expected.
        small: Values that are held against themselves where they are smaller than any tolerance, as ``validate`` does
            with outputs; None for all. Other kernels may make other noise of an inner value that should be zero.
        rows: What was compared.
        stretches: Into how many stretches the graph was cut.
        complete: Whether every value was compared.
        tried: How often pieces were run alone.
        oversized: A value that takes more than the memory limit by itself, or None.
        stopped: Why the candidate could not run on, behind a value that diverges.
        failing: The node behind the first value that diverges, with the reference's values for its inputs.
    """

    candidate: Side
    reference: Side
    twins: dict[str, str]
    policy: Policy
    memory: int
    isolate: bool
    stop: bool = True
    swapped: bool = False
    small: frozenset[str] | None = frozenset()
    rows: list[Row] = field(default_factory=list)
    stretches: int = 0
    complete: bool = True
    tried: int = 0
    oversized: str | None = None
    stopped: str | None = None
    failing: Failing | None = None

    def run(self, progress: Callable[[int, int | None, str], None] | None = None) -> None:
        """Compare stretch after stretch."""
        places = [place for place in self.candidate.places() if place.value in self.twins]
        self.candidate.expect([place.value for place in places])
        self.reference.expect(self.twins[place.value] for place in places)
        alone = Isolation(self.candidate, self.twins) if isinstance(self.candidate, OnnxSide) else None
        borders = _Borders(alone, places)
        done = 0
        waiting = [*self._stretches(places)][::-1]
        while waiting:
            stretch = waiting.pop()
            try:
                mine = self.candidate.fetch([place.value for place in stretch])
            except SessionError as error:
                if len(stretch) > 1:  # one of its nodes cannot run: up to there the values can still be compared
                    waiting += [stretch[len(stretch) // 2 :], stretch[: len(stretch) // 2]]
                    continue
                if not any(goes_wrong(row) for row in self.rows):
                    raise
                self.stopped = error.message
                self.complete = False
                break
            self.stretches += 1
            rows = self._visited(stretch, mine, alone, borders)
            self.rows += rows
            done += len(stretch)
            borders.forget(done)
            if progress is not None:
                progress(done, len(places), "comparing values")
            if self.stop and not self.isolate and any(goes_wrong(row) for row in rows):
                self.complete = done == len(places)
                break
        self.tried = alone.runs if alone is not None else 0

    def _visited(
        self, stretch: Sequence[Place], mine: dict[str, Any], alone: Isolation | None, borders: _Borders
    ) -> list[Row]:
        """The rows of a stretch, nodes tried alone where that is wanted."""
        theirs = self.reference.fetch([self.twins[place.value] for place in stretch])
        twins = {place.value: theirs.pop(self.twins[place.value]) for place in stretch}
        rows, dtypes = self._compared(stretch, mine, twins)
        borders.add(twins, dtypes)
        del twins
        if alone is not None and (self.isolate or any(not row.match for row in rows)):
            rows = self._tried(alone, rows, borders)
        return rows

    def judge(self, value: str, actual: Any, expected: Any) -> Metrics:
        """How much a value of the side that is followed differs from the other side's."""
        if self.swapped:
            actual, expected = expected, actual
        return judge(actual, expected, self.policy, small=self.small is None or value in self.small)

    def _stretches(self, places: Sequence[Place]) -> Iterator[list[Place]]:
        """Values in order, as many at once as the memory limit takes; one at least."""
        own, other = self.candidate.sizes(), self.reference.sizes()
        weights = _Weights(self.candidate)
        copies = 3 if self.isolate else 2
        stretch: list[Place] = []
        held = largest = 0
        for place in places:
            size = own.get(place.value, 0)
            size = max(size, other.get(self.twins[place.value], size))
            working = size // 2 * WORKING_BYTES // 2
            needed = copies * size + 2 * weights.new(place.value)
            full = held + needed + max(largest, working) > self.memory or len(stretch) == MOST_VALUES
            if stretch and full:
                yield stretch
                stretch, held, largest = [], 0, 0
                weights.forget()
                needed = copies * size + 2 * weights.new(place.value)
            if needed + working > self.memory and self.oversized is None:
                self.oversized = place.value
            stretch.append(place)
            held += needed
            largest = max(largest, working)
        if stretch:
            yield stretch

    def _compared(
        self, stretch: Sequence[Place], mine: dict[str, Any], twins: Mapping[str, Any]
    ) -> tuple[list[Row], dict[str, Any]]:
        """(a row for each value, the candidate's dtype of each)."""
        rows, dtypes = [], {}
        for place in stretch:
            actual = mine.pop(place.value)
            metrics = self.judge(place.value, actual, twins[place.value])
            dtypes[place.value] = getattr(actual, "dtype", None)
            rows.append(
                Row(
                    value=place.value,
                    twin=self.twins[place.value],
                    node=place.node or place.value,
                    op_type=place.op_type,
                    module=place.module,
                    line=place.line,
                    match=metrics.match,
                    metrics=metrics,
                )
            )
        return rows, dtypes

    def _tried(self, alone: Isolation, rows: list[Row], borders: _Borders) -> list[Row]:
        """The rows with what their nodes do on the reference's values.

        Without ``isolate`` those that differ are tried, a few at a time, until one is found whose node is wrong by itself.
        """
        wanted = [row for row in rows if self.isolate or not row.match]
        batches = [wanted] if self.isolate else [wanted[at : at + BATCH] for at in range(0, len(wanted), BATCH)]
        found: dict[str, Row] = {}
        for batch in batches:
            made = alone.run([row.value for row in batch], borders.arrays)
            for row in batch:
                found[row.value] = self._judged_alone(row, alone, made.get(row.value), borders)
                if goes_wrong(found[row.value]) and not (self.failing is not None and self.failing.wrong):
                    self.failing = _failing(alone, row.value, borders, made.get(row.value), wrong=True)
                elif not row.match and self.failing is None:
                    self.failing = _failing(alone, row.value, borders, made.get(row.value), wrong=False)
            if not self.isolate and any(goes_wrong(found[row.value]) for row in batch):
                break
        return [found.get(row.value, row) for row in rows]

    def _judged_alone(self, row: Row, alone: Isolation, made: Any, borders: _Borders) -> Row:
        between = alone.named(alone.behind(row.value)[0])
        between = between if len(between) > 1 else ()
        expected = borders.originals.get(row.value)
        if made is None or expected is None:
            return replace(row, introduces=None, between=between)
        metrics = self.judge(row.value, made, expected)
        return replace(row, alone=metrics, introduces=not metrics.match, between=between)


def goes_wrong(row: Row) -> bool:
    """Whether a value differs for another reason than that rounding of the values before it has added up."""
    return not row.match and row.introduces is not False


class _Weights:
    """Bytes of the weights that a stretch reads: the runtime holds them, and for a moment twice, while it runs."""

    def __init__(self, side: Side) -> None:
        self._index = side.index if isinstance(side, OnnxSide) else None
        self._seen: set[str] = set()

    def new(self, value: str) -> int:
        """Bytes that the node behind a value adds to those of the stretch so far."""
        if self._index is None:
            return 0
        position = self._index.producer.get(value)
        names = set() if position is None else {n for n in self._index.reads(position) if n not in self._seen}
        self._seen |= names
        tensors = [self._index.initializers[name] for name in names if name in self._index.initializers]
        return sum(math.prod(tensor.dims) * bits(tensor.data_type) // 8 for tensor in tensors)

    def forget(self) -> None:
        """A new stretch begins."""
        self._seen.clear()


def _failing(alone: Isolation, value: str, borders: _Borders, made: Any, *, wrong: bool) -> Failing:
    read = sorted(alone.behind(value)[1])
    feeds = {name: np.asarray(borders.arrays[name]) for name in read}
    model, _ = alone.piece([value], {name: alone.to_feed(name, array) for name, array in feeds.items()})
    return Failing(model, feeds, borders.originals.get(value), made, wrong)


class _Borders:
    """The reference's values that nodes further on are still to be fed with.

    Attributes:
        arrays: Value of the candidate -> the reference's array, in the candidate's dtype.
        originals: The same in the reference's dtype, for the stretch at hand.
    """

    def __init__(self, alone: Isolation | None, places: Sequence[Place]) -> None:
        self.arrays: dict[str, Any] = {}
        self.originals: dict[str, Any] = {}
        self._last: dict[str, int] = {}
        if alone is None:
            return
        self.arrays.update(alone.side.feeds)
        for at, place in enumerate(places):
            for name in alone.behind(place.value)[1]:
                self._last[name] = at

    def add(self, twins: Mapping[str, Any], dtypes: Mapping[str, Any]) -> None:
        """Take over the reference's values of a stretch."""
        self.originals = dict(twins)
        for name, array in twins.items():
            if name in self._last and isinstance(array, np.ndarray) and dtypes.get(name) is not None:
                self.arrays[name] = array if array.dtype == dtypes[name] else array.astype(dtypes[name])

    def forget(self, done: int) -> None:
        """Drop what no node behind the first ``done`` values reads."""
        self.originals = {}
        self.arrays = {name: array for name, array in self.arrays.items() if self._last.get(name, -1) >= done}


def judge(actual: Any, expected: Any, policy: Policy, *, small: bool) -> Metrics:
    """``measure`` for inner values: equal arrays, which are most of them, are told at once; NaN agrees with NaN."""
    if isinstance(actual, np.ndarray) and isinstance(expected, np.ndarray) and _identical(actual, expected):
        dtype = str(actual.dtype)
        return Metrics(True, None, dtype, actual.shape, 0.0, 0.0, 0.0, 0.0, share_out=0.0, tolerance="identical")
    small = small and getattr(actual, "dtype", None) == getattr(expected, "dtype", None)
    return measure(actual, expected, policy, any_dtype=True, equal_nan=True, small=small)


def _identical(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.dtype.kind in "fiub" and bool(np.array_equal(a, b))


def introduced(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows whose node is wrong by itself."""
    return tuple(row for row in rows if row.introduces)

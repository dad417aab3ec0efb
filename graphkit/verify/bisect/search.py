"""The search of bisect: two sides run a stretch at a time, compared value by value, nodes tried alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import SessionError
from graphkit.verify.bisect.bisection import Failing, Row
from graphkit.verify.bisect.budget import BATCH, MOST_VALUES, Budget
from graphkit.verify.bisect.isolation import Isolation
from graphkit.verify.bisect.onnx_side import OnnxSide, as_fed
from graphkit.verify.bisect.side import Place, Side
from graphkit.verify.compare.blocks import Blocks, blocks
from graphkit.verify.compare.metrics import Metrics, dtype_name, measure, small_numbers_differ

if TYPE_CHECKING:
    from graphkit.progress import Progress
    from graphkit.tensor import Array
    from graphkit.verify.compare.tolerance import Policy


@dataclass
class Search:
    """One pass over both sides.

    Attributes:
        candidate: The side whose order is followed.
        reference: The other side.
        twins: Value of the candidate -> value of the reference.
        policy: The tolerances.
        memory: Bytes that the process may hold at once (``graphkit.verify.bisect.budget``).
        isolate: Try every node alone, on the reference's values.
        stop: Without ``isolate``, end with the stretch that holds the first difference.
        swapped: The side whose order is followed is the reference: what it gives is what is expected.
        alike: Both sides run on the same kernels.
        outputs: Values that are measured by their own magnitude where they are smaller than any tolerance, as ``validate`` does
            with them. Others are so only where that is more than rounding (``_more_than_rounding``).
        any_dtype: Outputs of another dtype are no difference by themselves; inner values never are.
        rows: What was compared.
        stretches: Into how many stretches the graph was cut.
        complete: Whether every value was compared.
        tried: How often pieces were run alone.
        notes: Why the memory limit could not be kept.
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
    alike: bool = False
    outputs: frozenset[str] = frozenset()
    any_dtype: bool = False
    rows: list[Row] = field(default_factory=list)
    stretches: int = 0
    complete: bool = True
    tried: int = 0
    notes: tuple[str, ...] = ()
    stopped: str | None = None
    failing: Failing | None = None
    _budget: Budget = field(init=False, repr=False)

    def run(self, progress: Progress | None = None) -> None:
        """Compare stretch after stretch."""
        places = [place for place in self.candidate.places() if place.value in self.twins]
        self.candidate.expect([place.value for place in places])
        self.reference.expect(self.twins[place.value] for place in places)
        alone = Isolation(self.candidate, self.twins) if isinstance(self.candidate, OnnxSide) else None
        borders = _Borders(alone, places)
        budget = self._budget = Budget(
            places, (self.candidate, self.reference), self.twins, self.memory, isolate=self.isolate
        )
        done, most = 0, MOST_VALUES
        while done < len(places):
            stretch = places[done : done + budget.count(done, most, self._kept_bytes())]
            try:
                mine = self.candidate.fetch([place.value for place in stretch])
            except SessionError as error:
                if len(stretch) > 1:  # one of its nodes cannot run: up to there the values can still be compared
                    most = len(stretch) // 2
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
            budget.give_back()
            if progress is not None:
                progress(done, len(places), "comparing values")
            if self.stop and not self.isolate and any(goes_wrong(row) for row in rows):
                self.complete = done == len(places)
                break
        self.tried = alone.runs if alone is not None else 0
        self.notes = tuple(budget.notes)

    def _kept_bytes(self) -> int:
        """Bytes of the arrays that are kept to reproduce the first difference."""
        if self.failing is None:
            return 0
        arrays = [*self.failing.feeds.values(), self.failing.expected, self.failing.made]
        return sum(getattr(array, "nbytes", 0) for array in arrays)

    def _visited(
        self,
        stretch: Sequence[Place],
        mine: dict[str, Any],
        alone: Isolation | None,
        borders: _Borders,
    ) -> list[Row]:
        """The rows of a stretch, nodes tried alone where that is wanted."""
        self._budget.give_back()
        theirs = self.reference.fetch([self.twins[place.value] for place in stretch])
        twins = {place.value: theirs.pop(self.twins[place.value]) for place in stretch}
        rows, dtypes = self._compared(stretch, mine, twins)
        borders.add(twins, dtypes)
        del twins
        self._budget.give_back()
        if alone is not None and (self.isolate or any(not row.match or row.doubt for row in rows)):
            rows = self._tried(alone, rows, borders)
        return rows

    def judge(self, value: str, actual: Any, expected: Any) -> tuple[Metrics, str]:
        """How much a value of the side that is followed differs from the other side's.

        Returns:
            (the answer, how much a value differs that is so small that the answer is yes whatever its numbers).
        """
        if self.swapped:
            actual, expected = expected, actual
        arrays = isinstance(actual, np.ndarray) and isinstance(expected, np.ndarray)
        if arrays and value in self.outputs and not self.any_dtype and dtype_name(actual) != dtype_name(expected):
            return measure(actual, expected, self.policy, equal_nan=True), ""
        found = judge(actual, expected, self.policy)
        if value in self.outputs or found.problem is None or found.share_out:
            return found, ""
        agreed = judge(actual, expected, self.policy, small=False)
        return (agreed, found.problem) if agreed.match else (found, "")

    def _compared(
        self, stretch: Sequence[Place], mine: dict[str, Any], twins: Mapping[str, Any]
    ) -> tuple[list[Row], dict[str, Any]]:
        """(a row for each value, the candidate's dtype of each)."""
        rows, dtypes = [], {}
        for place in stretch:
            actual = mine.pop(place.value)
            metrics, doubt = self.judge(place.value, actual, twins[place.value])
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
                    doubt=doubt,
                )
            )
        return rows, dtypes

    def _tried(self, alone: Isolation, rows: list[Row], borders: _Borders) -> list[Row]:
        """The rows with what their nodes do on the reference's values.

        Without ``isolate`` those that differ, or may, are tried, a few at a time, until one is found whose node is wrong by
        itself.
        """
        wanted = [row for row in rows if self.isolate or not row.match or row.doubt]
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
        metrics, doubt = self.judge(row.value, made, expected)
        wrong: bool | None = not metrics.match
        if doubt:
            wrong = self._more_than_rounding(row.value, alone, made, borders)
            if wrong:
                metrics = replace(metrics, match=False, problem=doubt)
        tried = replace(row, alone=metrics, introduces=bool(wrong), between=between)
        if not row.doubt or wrong is None:
            return tried
        shown = replace(row.metrics, match=False, problem=row.doubt) if wrong else row.metrics
        return replace(tried, match=not wrong, metrics=shown, doubt="")

    def _more_than_rounding(self, value: str, alone: Isolation, made: Array, borders: _Borders) -> bool | None:
        """Whether a node does something else on the reference's values than the reference, in a value of small numbers.

        The two may differ by as much as the node's result does when its inputs are wrong by the tolerance: what is left of
        large numbers that cancel each other is rounding, what comes of small weights is not. None where that is not known,
        though the same kernel makes the same rounding.
        """
        unknown = True if self.alike else None
        read = [borders.arrays[name] for name in alone.behind(value)[1]]
        if not self._budget.allows(4 * made.nbytes + 3 * sum(array.nbytes for array in read)):
            return unknown
        expected = borders.originals[value]
        blocks = Blocks(expected, made) if self.swapped else Blocks(made, expected)
        tolerance = self.policy.tolerance(dtype_name(made))
        certain = True
        for rounding, vague in alone.rounding(value, borders.arrays, made, self.policy):
            if rounding is None:
                return unknown
            if small_numbers_differ(blocks, tolerance, rounding) is not None:
                return True if certain else unknown
            certain = not vague
        return False


def goes_wrong(row: Row) -> bool:
    """Whether a value differs for another reason than that rounding of the values before it has added up."""
    return not row.match and row.introduces is not False


def _failing(alone: Isolation, value: str, borders: _Borders, made: Any, *, wrong: bool) -> Failing:
    read = sorted(alone.behind(value)[1])
    feeds = {name: np.asarray(borders.arrays[name]) for name in read}
    model, _ = alone.piece([value], {name: as_fed(name, array) for name, array in feeds.items()})
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


def judge(actual: Any, expected: Any, policy: Policy, *, small: bool = True) -> Metrics:
    """``measure`` for inner values: equal arrays, which are most of them, are told at once; NaN agrees with NaN."""
    if isinstance(actual, np.ndarray) and isinstance(expected, np.ndarray) and _identical(actual, expected):
        dtype = str(actual.dtype)
        return Metrics(True, None, dtype, actual.shape, 0.0, 0.0, 0.0, 0.0, share_out=0.0, tolerance="identical")
    small = small and getattr(actual, "dtype", None) == getattr(expected, "dtype", None)
    return measure(actual, expected, policy, any_dtype=True, equal_nan=True, small=small)


def _identical(a: Array, b: Array) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape or a.dtype.kind not in "fiub":
        return False
    return all(np.array_equal(a[box], b[box]) for box in blocks(a.shape))


def introduced(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows whose node is wrong by itself; of a node with several such outputs the first."""
    found: dict[tuple[str, str, tuple[str, ...]], Row] = {}
    for row in rows:
        if row.introduces:
            found.setdefault((row.node, row.op_type, row.between), row)
    return tuple(found.values())

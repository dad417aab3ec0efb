"""One round: every trial is run on the model before, then on the model after, and what came out is compared.

The models before of all rounds run first, one after the other, then the model after: each is loaded once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from graphkit.errors import FeedError, GraphkitError, MissingExtraError, SessionError
from graphkit.graph.names import label
from graphkit.graph.ports import output_ports
from graphkit.graph.walk import model_nodes
from graphkit.model import Model
from graphkit.semantics.kinds import draws
from graphkit.shapes.declared import declared, untrue
from graphkit.tensor import numpy_type
from graphkit.verify.compare.metrics import Metrics, badness, measure
from graphkit.verify.laws.agreement import Near, Total, as_finite, elements, joined, nans, passed, why_not
from graphkit.verify.laws.binding import Broken, Link, Unproved
from graphkit.verify.laws.case import Case
from graphkit.verify.laws.chain import ChainSide
from graphkit.verify.laws.first import first_difference
from graphkit.verify.laws.rounded import SHARE, SIGMOID_STEPS, Others, hangs_on_floats, is_sigmoid, narrowest
from graphkit.verify.laws.run_before import load_before
from graphkit.verify.laws.side import NoKernelError, Ran, Side
from graphkit.verify.laws.trials import Plan, Trial, needs

SAMPLES = 5
"""Runs at the usual sizes."""

QUICK = 0.05
"""Seconds in which runs beyond these are made, or left out."""

SLOW = 1.0
"""Seconds that runs of one side may take; then those are left out that others are like."""


class Round:
    """All trials of one pair of models: before is run on all of them, then after."""

    def __init__(self, case: Case, plan: Plan, links: Mapping[str, Link], before: Model, *, what: str = "") -> None:
        self._case = case
        self._binding = case.binding
        self._after = case.after
        self._seen = case.seen
        self._plan = plan
        self._links = links
        self._before = before
        self._what = what
        self._skipped: set[int] = set()
        self._totals: dict[str, Total] = {}
        self._others: dict[str, Others | None] = {}
        self._example: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
        self._run = case.models if self._binding.chain is not None else (before,)
        self._said = declared(self._after)
        self._told = declared(case.before)
        self._side: Side | ChainSide | None = None
        self._trials: Sequence[Trial] = ()
        self._expected: Sequence[Sequence[Ran]] = ()
        self._spared: tuple[set[str], set[str]] = set(), set()
        self._ports = output_ports(self._after.proto)
        self._averaged = self._binding.close is not None and self._binding.close.relative is not None
        self._policy = Near(self._binding.close, narrowest(self._run))

    def mixes(self) -> bool:
        """Whether a first axis is no batch: what comes out for a sample of before hangs on the others, as in a sequence."""
        feeds, size = self._plan.mixes
        if not feeds:
            return False
        try:
            runs = [self._before_side().run(each).values for each in feeds]
        except GraphkitError:
            return False
        for value in (outcome.value for outcome in self._binding.outputs.values()):
            whole = runs[0][value]
            if isinstance(whole, np.ndarray) and whole.shape[:1] == (size,):
                for ran, kept in zip(runs[1:], (0, -1), strict=True):
                    if not measure(ran[value][kept], whole[kept], Near(None), equal_nan=True).match:
                        return True
        return False

    def run_before(self, trials: Sequence[Trial]) -> bool:
        """Run the side before. Gives whether there is anything to compare with.

        Raises:
            Unproved: Why there is not, of the pair that is asked for.
        """
        expected, why = self._run_before(trials)
        if not any(expected):
            if self._what:
                return False
            self._case.failed = True
            raise Unproved(f"the model before does not run: {why}")
        spared = [
            bool(runs) or trial.kind != "base" or id(trial) in self._skipped
            for trial, runs in zip(trials, expected, strict=True)
        ]
        if self._case.reference and not all(spared):  # it may run on those feeds that do not reach what is wrong
            raise Unproved(f"the model before does not run on every feed: {why}")
        self._trials, self._expected = trials, expected
        self._spared = self._excused(trials, expected, self._told)
        return True

    def compare(self, side: Side) -> None:
        """Run the side after, and compare.

        Raises:
            Broken, Unproved: Why.
        """
        self._seen.evaluator = self._seen.evaluator or side.evaluator
        wider: list[str] = []
        failed = ""
        for trial, runs in zip(self._trials, self._expected, strict=True):
            if (trial.kind == "other" and len(wider) == 2) or id(trial) in self._skipped:
                continue
            if not runs and trial.kind != "other":
                continue
            problem = self._one(side, trial, runs)
            if problem is None and trial.kind == "other":
                wider.append(trial.what)
            failed = problem or failed
        self._check_totals()
        self._check_wider(self._trials, wider, failed)

    def _before_side(self) -> Side | ChainSide:
        """The side before, loaded once."""
        if self._side is None:
            wanted = [*needs(self._links), *(outcome.value for outcome in self._binding.compared.values())]
            reference = self._case.reference
            self._side = load_before(self._binding, self._before, wanted, self._told, reference=reference)
        return self._side

    def _run_before(self, trials: Sequence[Trial]) -> tuple[list[list[Ran]], str]:
        """Every trial's runs of before; none where it does not run at those sizes, and the last reason."""
        try:
            side = self._before_side()
        except GraphkitError as error:
            if not self._what:
                self._case.refused = not isinstance(error, NoKernelError | MissingExtraError)
                raise Unproved(f"the model before cannot be run: {error}") from error
            return [[] for _ in trials], str(error)
        made: list[list[Ran]] = []
        why = ""
        self._refuse_draws(side, trials)
        started = time.monotonic()
        for number, trial in enumerate(trials):
            most = SLOW if number < SAMPLES or self._averaged else QUICK
            if trial.spare and self._case.hurried and time.monotonic() - started > most:
                made.append([])
                self._skipped.add(id(trial))
                continue
            try:
                made.append([side.run(feeds) for feeds in trial.before])
            except (SessionError, FeedError) as error:
                made.append([])
                why = str(error)
        side.close()
        self._side = None
        return made, why

    def _refuse_draws(self, side: Side | ChainSide, trials: Sequence[Trial]) -> None:
        """Numbers that are others in each run say nothing.

        Raises:
            Unproved: An output hangs on a random draw.
        """
        drawing = [node for model in self._run for node in model_nodes(model.proto) if draws(node)]
        if not drawing:
            return
        try:
            once, again = (side.run(trials[0].before[0]).values for _ in range(2))
        except (SessionError, FeedError):
            return
        for outcome in self._binding.outputs.values():
            if not self._near("", once[outcome.value], again[outcome.value]).match:
                raise Unproved(
                    f"{label(drawing[0])!r} draws other numbers in each run, and {outcome.value!r} hangs on it"
                )

    def _excused(
        self, trials: Sequence[Trial], expected: Sequence[Sequence[Ran]], told: Mapping[str, list[int | str | None]]
    ) -> tuple[set[str], set[str]]:
        """Values whose declared shape was untrue before, and symbols that had two sizes in one run before."""
        before = self._case.before
        wrong: set[str] = set()
        symbols: set[str] = set()
        for trial, runs in zip(trials, expected, strict=True):
            if trial.kind == "base":
                for feeds, ran in zip(trial.before, runs, strict=False):
                    found = untrue(before, feeds, told, ran.shapes)
                    wrong.update(found)
                    symbols.update(symbol for one in found.values() for symbol in one.symbols)
        if self._binding.before is not None:  # another model ran: what before declares is no lie of it
            wrong = {name for name in wrong if told.get(name) == self._said.get(name)}
        return {name for name in self._said if self._binding.names.get(name, name) in wrong}, symbols

    def _one(self, side: Side, trial: Trial, runs: Sequence[Ran]) -> str | None:
        """One run of after beside those of before; gives why it does not run at another size of a freed axis.

        Raises:
            Broken: It differs, or does not run where before does.
            Unproved: onnx.reference stands in for kernels that the runtime does not have, and cannot run it.
        """
        values = runs[0].values if runs else {}
        feeds = self._plan.complete(trial, self._links, values) if runs or not needs(self._links) else None
        if feeds is None:
            return "what an input stands for is not known there"
        try:
            made = side.run(feeds)
        except (SessionError, FeedError) as error:
            if trial.kind == "other" and not runs:
                return str(error)
            if side.evaluator == "onnx.reference" and not self._case.reference:
                raise Unproved(
                    f"the runtime has no kernel for it, and where it runs instead it fails: {error}"
                ) from error
            raise Broken(f"it does not run where the model before does ({self._where(trial)}): {error}") from error
        wrong = untrue(self._after, feeds, self._said, made.shapes)
        spared, symbols = self._spared
        false = [
            one for name, one in wrong.items() if name not in spared and not (one.symbols and one.symbols <= symbols)
        ]
        if false:
            raise Broken(f"a declared shape is not true ({self._where(trial)}): {false[0].said}")
        for name, port in self._ports.items():
            dtype = numpy_type(port.data_type)
            if dtype is not None and isinstance(made.values[name], np.ndarray) and made.values[name].dtype != dtype:
                raise Broken(f"output {name!r} is declared as {port.text} and comes out as {made.values[name].dtype}")
        if runs:
            self._compare(trial, runs, made, feeds)
        return None

    def _compare(self, trial: Trial, runs: Sequence[Ran], made: Ran, feeds: Mapping[str, Any]) -> None:
        found = {}
        apart = self._binding.moved if trial.kind == "other" else frozenset()
        for name, outcome in self._binding.compared.items():
            if name in apart:
                continue
            parts = [ran.values[outcome.value] for ran in runs]
            if outcome.convert is not None:
                parts = [outcome.convert(part) for part in parts]
            expected = parts[0] if len(parts) == 1 else joined(parts, made.values[name])
            if expected is None and len(parts) > 1:
                continue
            found[name] = self._measured(name, made.values[name], expected)
        if not found:
            return
        if trial.kind == "base" and self._example is None:
            self._example = trial.before[0], feeds
        for name, metrics in found.items():
            known = self._seen.outputs.get(name)
            if known is None or badness(metrics) > badness(known):
                self._seen.outputs[name] = metrics
        bad = next((name for name, metrics in found.items() if not metrics.match), None)
        if bad is not None:
            self._look_for_the_first(trial.before[0] if trial.kind == "base" else None, feeds)
            what = "output" if bad in self._binding.outputs else "value"
            raise Broken(f"{what} {bad!r} differs ({self._where(trial)}): {why_not(found[bad])}")
        self._seen.runs += 1
        self._seen.sizes.append(trial.what)
        if trial.kind == "stacked":
            self._seen.also.append(f"{trial.what} equal as many runs of the original")

    def _look_for_the_first(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
        if before is not None:
            self._seen.first = first_difference(
                self._before, self._after, self._binding, before, after, self._near, reference=self._case.reference
            )

    def _held(self, value: Any) -> Any:
        """A value with float16's largest number in the place of finite ones that are beyond it, where that is the dtype."""
        close = self._binding.close
        if close is None or close.dtype != "float16" or not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            return value
        most = value.dtype.type(np.finfo(np.float16).max)
        return np.where(np.isfinite(value), np.clip(value, -most, most), value)

    def _near(self, name: str, actual: Any, expected: Any) -> Metrics:
        """An inner value beside that of before."""
        close = self._binding.close
        actual, expected = self._held(actual), self._held(expected)
        metrics = measure(actual, expected, self._policy, any_dtype=close is not None, equal_nan=True)
        if close is None or close.relative is None or metrics.match or not as_finite(actual, expected):
            return metrics
        total = self._totals.get(name, Total()).plus(actual, expected)
        return replace(metrics, match=total.relative <= close.relative)

    def _check_totals(self) -> None:
        """Relative L2 errors, and integers that rounding decided, over all runs.

        Raises:
            Broken: One is larger than the law allows.
        """
        bound = self._binding.close.relative if self._binding.close is not None else None
        for name, total in self._totals.items():
            said = f"relative L2 error {total.relative:.2g} over all feeds, of at most {bound:g}"
            self._seen.outputs[name] = passed(self._seen.outputs[name], said)
            if bound is not None and total.relative > bound:
                self._seen.outputs[name] = replace(self._seen.outputs[name], match=False)
                if self._example is not None:
                    self._look_for_the_first(*self._example)
                raise Broken(f"output {name!r} differs: {said}")
        for name, others in self._others.items():
            if others is not None and others.others:
                said = f"{others.others} of {others.elements} are others, at most {SHARE:.0%}: rounding decides them"
                self._seen.outputs[name] = replace(passed(self._seen.outputs[name], said), match=not others.too_many)
                if others.too_many:
                    raise Broken(f"output {name!r} differs: {said}")

    def _measured(self, name: str, actual: Any, expected: Any) -> Metrics:
        close = self._binding.close
        actual, expected = self._held(actual), self._held(expected)
        metrics = measure(actual, expected, self._policy, any_dtype=close is not None, equal_nan=True)
        if not metrics.match and (metrics.max_abs or math.inf) <= SIGMOID_STEPS and name in self._binding.outputs:
            coarse = is_sigmoid(self._before, self._binding.compared[name].value)
            metrics = measure(
                actual, expected, self._policy, any_dtype=close is not None, equal_nan=True, small=not coarse
            )
        if name in self._binding.outputs:  # what lies upstream of a change says nothing of the change
            self._seen.compared += elements(actual)
            self._seen.nan += nans(actual)
        if close is None or metrics.shape != np.shape(expected) or (metrics.match and close.relative is None):
            return metrics
        if np.asarray(actual).dtype.kind in "biu" and np.asarray(expected).dtype.kind in "biu":
            if name not in self._others:
                value = self._binding.compared[name].value
                self._others[name] = Others() if hangs_on_floats(self._before, value) else None
            others = self._others[name]
            if others is None or np.asarray(actual).dtype != np.asarray(expected).dtype:
                return metrics
            self._others[name] = others.plus(actual, expected)
            return passed(metrics)
        if close.relative is not None and as_finite(actual, expected):
            self._totals[name] = self._totals.get(name, Total()).plus(actual, expected)
            return passed(metrics)
        return metrics

    def _where(self, trial: Trial) -> str:
        return f"{self._what}, {trial.what}" if self._what else trial.what

    def _check_wider(self, trials: Sequence[Trial], wider: Sequence[str], failed: str) -> None:
        if not any(trial.kind == "other" for trial in trials):
            return
        if len(wider) < 2:
            raise Unproved(f"a freed axis runs at {'one other size' if wider else 'its old size'} only: {failed}")
        self._seen.also.append(f"runs with true declared shapes at {' and at '.join(wider)}")

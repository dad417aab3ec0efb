"""Whether a binding holds: both sides run on the same feeds, and every output, shape and name is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from graphkit.errors import FeedError, InvalidGraphError
from graphkit.graph.order import is_ordered_everywhere
from graphkit.graph.ports import input_ports, output_ports
from graphkit.model import Model
from graphkit.operation import in_order
from graphkit.verify.laws.agreement import elements
from graphkit.verify.laws.binding import Binding, Broken, Fed, Unproved
from graphkit.verify.laws.case import Case
from graphkit.verify.laws.contradictions import contradiction
from graphkit.verify.laws.loose import loosened
from graphkit.verify.laws.proof import Held
from graphkit.verify.laws.repaired import repaired
from graphkit.verify.laws.round import SAMPLES, Round
from graphkit.verify.laws.trials import STACKED, TIMES, Plan

SMALL = 1 << 12
"""Elements of all inputs up to which there are four times as many runs."""


@dataclass(frozen=True)
class Asked:
    """How a law is asked.

    Attributes:
        samples: Runs at the usual sizes; None: ``SAMPLES``, or fewer where they are slow.
        seed: Where the random numbers start.
        feeds: Input -> what to feed.
    """

    samples: int | None
    seed: int
    feeds: Mapping[str, Any]


def ask(binding: Binding, before: Model, after: Model, steps: Sequence[str], law: str, asked: Asked) -> Held:
    """Ask whether a binding holds between two models; in onnx.reference where the runtime does not run the one before."""
    judge = _Judge(binding, before, after, asked)
    first = _answer(judge, steps, law)
    if not (judge.case.refused or judge.case.failed):
        return first
    again = _answer(_Judge(binding, before, after, asked, reference=True), steps, law)
    if again.verdict != "unproved":
        return again
    held = repaired(binding, before, after, first) if judge.case.refused and binding.chain is None else first
    if held.verdict != "proved" and not is_ordered_everywhere(before.proto):
        with suppress(InvalidGraphError):  # in a cycle nothing is in order
            again = ask(binding, in_order(before), after, steps, law, asked)  # as the operation saw it
            return again if again.verdict == "proved" else held
    return held


def _answer(judge: _Judge, steps: Sequence[str], law: str) -> Held:
    try:
        judge.judge()
    except Broken as error:
        return judge.held("broken", steps, law, str(error))
    except Unproved as error:
        return judge.held("unproved", steps, law, str(error))
    return judge.held("proved", steps, law, "")


class _Judge:
    """Asks one binding.

    Attributes:
        case: What is asked, and what was seen so far.
    """

    def __init__(self, binding: Binding, before: Model, after: Model, asked: Asked, *, reference: bool = False) -> None:
        self.case = Case(binding, before, after, reference, hurried=asked.samples is None)
        self._binding = binding
        self._asked = asked
        base = binding.before or before
        if binding.prepare is not None:
            base = binding.prepare(base)
        self._base = loosened(base, binding.freed) if binding.freed else base

    def held(self, verdict: Any, steps: Sequence[str], law: str, why: str) -> Held:
        seen = self.case.seen
        return Held(
            verdict,
            tuple(steps),
            law,
            why,
            seen.first,
            seen.runs,
            tuple(dict.fromkeys(seen.sizes)),
            tuple(seen.also),
            seen.outputs,
            seen.evaluator,
        )

    def judge(self) -> None:
        """Ask everything.

        Raises:
            Broken, Unproved: Why.
        """
        if (why := contradiction(self.case.models, self.case.after)) is not None:
            raise Broken(why)
        self._check_interface()
        binding = self._binding
        if binding.held is not None and (why := binding.held(self._base, self.case.after, binding.names)) is not None:
            raise Broken(why)
        try:
            plan = Plan(self._binding, self._base, self.case.after, seed=self._asked.seed, given=self._asked.feeds)
            main = Round(self.case, plan, self._binding.inputs, self._base)
            plan.mixed = main.mixes()
            trials = list(plan.base(self._samples(next(plan.base(1)).feeds)))
            stacked = [trial for count in STACKED if (trial := plan.stacked(count)) is not None]
            wider = [plan.other(times, 200 + times) for times in TIMES] if plan.others else []
        except FeedError as error:
            raise Unproved(f"no feed can be made: {error}") from error
        main.run_before([*trials, *stacked, *wider])
        few = [plan.fed(trial) for trial in (trials[0], trials[-1])]
        others = {}
        for other in self._binding.others:
            links = {**self._binding.inputs, **other.inputs}
            beside = Round(self.case, plan, links, other.before(), what=other.what)
            if beside.run_before(few):
                others[other.what] = beside
        after = self.case.load_after()
        main.compare(after)
        for what, beside in others.items():
            beside.compare(after)
            self.case.seen.also.append(what)
        self._check_compared()

    def _samples(self, feeds: Mapping[str, Any]) -> int:
        """Runs at the usual sizes, of a model that takes feeds like these: many where they cost nothing, as a branch or an
        element may hang on one of them; more where the error over all of them counts.
        """
        close = self._binding.close
        averaged = close is not None and close.relative is not None
        small = sum(elements(value) for value in feeds.values()) <= SMALL
        return self._asked.samples or (4 * SAMPLES if averaged or small else SAMPLES)

    def _check_interface(self) -> None:
        mine, made = list(input_ports(self.case.after.proto)), list(output_ports(self.case.after.proto))
        wanted = list(self._binding.inputs)
        if missing := [name for name in wanted if name not in mine]:
            raise Broken(f"the input {missing[0]!r} is missing")
        if extra := [name for name in mine if name not in wanted]:
            raise Broken(f"there is an input {extra[0]!r} that no step made")
        fed = [name for name in wanted if isinstance(self._binding.inputs[name], Fed)]
        if self._binding.ordered and [name for name in mine if name in fed] != fed:
            raise Broken(f"the inputs come in another order: {', '.join(mine)} instead of {', '.join(wanted)}")
        self._check_types()
        if made != list(self._binding.outputs):
            raise Broken(f"the outputs are {', '.join(made)} and should be {', '.join(self._binding.outputs)}")

    def _check_types(self) -> None:
        """Each input takes what it took: its element type, its rank, and every size of an axis that was free."""
        mine, theirs = input_ports(self.case.after.proto), input_ports(self._base.proto)
        for name, link in self._binding.inputs.items():
            if not isinstance(link, Fed) or link.name not in theirs:
                continue
            now, was = mine[name], theirs[link.name]
            if now.data_type not in (link.types if link.types is not None else {was.data_type}):
                raise Broken(f"the input {name!r} is declared as {now.text} and was {was.text}")
            if link.convert is not None or now.dims is None or was.dims is None:
                continue
            if len(now.dims) != len(was.dims):
                raise Broken(f"the input {name!r} is declared as {now.text} and was {was.text}")
            for axis, (size, before) in enumerate(zip(now.dims, was.dims, strict=True)):
                free = not isinstance(before, int) and (link.name, axis) not in self._binding.fixed
                if isinstance(size, int) and free and self._binding.chain is None:
                    raise Broken(f"the input {name!r} takes the size {size} only along axis {axis}, and took any")

    def _check_compared(self) -> None:
        seen = self.case.seen
        if not seen.compared:
            raise Unproved("no value was compared: the outputs have no elements")
        if seen.nan == seen.compared:
            raise Unproved("nothing but NaN came out of both")

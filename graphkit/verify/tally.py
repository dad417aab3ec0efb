"""The samples of a comparison so far: what of each output is worst, and what there is to say about them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError
from graphkit.hint import Argument, Hint
from graphkit.verify.compare.described import described
from graphkit.verify.compare.error_picture import ErrorPicture, error_picture
from graphkit.verify.compare.metrics import Metrics, badness, measure
from graphkit.verify.compare.tolerance import Policy
from graphkit.verify.reference.output_order import agreeing_order, refuse_other_shapes
from graphkit.verify.reference.runner import Runner
from graphkit.verify.reference.torch_run import ForwardError
from graphkit.verify.report import Sample, explained
from graphkit.verify.saved import Results

if TYPE_CHECKING:
    from graphkit.graph.ports import Port


@dataclass(frozen=True)
class Case:
    """The feeds of one run.

    Attributes:
        sample: Counted within the combination.
        bind: What the combination fixes.
        feeds: Input -> array; inputs of the reference alone included.
        emptied: Random masks that leave nothing of some row.
    """

    sample: int
    bind: dict[str, Any]
    feeds: dict[str, Any]
    emptied: tuple[str, ...] = ()


class Tally:
    """The samples so far, and the worst one of each output."""

    def __init__(
        self,
        ports: Mapping[str, Port],
        reference: Runner,
        policy: Policy,
        *,
        any_dtype: bool,
        equal_nan: bool,
        kept: Results | None = None,
    ) -> None:
        self._kept = kept
        self.sizes: dict[str, set[int]] = {}
        self._ports = ports
        self.samples: list[Sample] = []
        self.worst: dict[str, Metrics] = {}
        self.worst_sample: dict[str, int] = {}
        self.pictures: dict[str, ErrorPicture] = {}
        self.doubts: list[str] = []
        self.wrong: Case | None = None
        self.differing: tuple[Mapping[str, Any], dict[str, Any], dict[str, Any]] = ({}, {}, {})
        self.notes: list[str] = []
        self._refused: list[tuple[Case, ForwardError]] = []
        self._ran: list[dict[str, Any]] = []
        self._reference = reference
        self._equal_nan = equal_nan
        self._measure = functools.partial(measure, policy=policy, any_dtype=any_dtype)

    def refuse(self, case: Case, error: ForwardError) -> None:
        """Take note of feeds with which the module raises."""
        self._refused.append((case, error))

    def say(self, notes: Iterable[str]) -> None:
        """Add notes, each once."""
        self.notes += [note for note in notes if note not in self.notes]

    def check_refused(self) -> None:
        """Say which random samples the module refused, where another one of the same sizes and given feeds ran.

        Raises:
            ForwardError: It refused all of them.
        """
        for case, error in self._refused:
            if case.bind not in self._ran:
                raise error
            bound = "".join(f", {name}={value}" for name, value in case.bind.items())
            self.notes.append(f"sample {case.sample}{bound} was left out, the others count: {error.message}")

    def doubt_emptied(self) -> None:
        """Say so where nothing differs but samples whose masks leave nothing of some row."""
        wrong = [sample for sample in self.samples if not sample.match]
        if wrong and all(sample.emptied for sample in wrong) and len(wrong) < len(self.samples):
            masks = ", ".join(map(repr, wrong[0].emptied))
            self.doubts.append(
                f"only samples whose mask {masks} leaves nothing of a row differ: the two sides make something else of such rows"
            )

    def add(self, case: Case, feeds: Mapping[str, Any], actual: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        """Compare the outputs of a sample.

        Raises:
            ComparisonError: In the first one: outputs bound by their place agree in another order.
        """
        equal_nan = self._equal_nan or bool(case.emptied)
        outputs = {name: self._measure(actual[name], value, equal_nan=equal_nan) for name, value in expected.items()}
        if not self.samples:
            refuse_other_shapes(outputs, expected)
            self._look_for_another_order(outputs, actual, expected)
        self._ran.append(case.bind)
        number = len(self.samples)
        for name, metrics in outputs.items():
            if name not in self.worst or badness(metrics) > badness(self.worst[name]):
                self.worst[name] = metrics
                self.worst_sample[name] = number
                picture = error_picture(*(_on_host(x) for x in (actual[name], expected[name])))
                if picture is not None:
                    self.pictures[name] = picture
        if self.wrong is None and not all(m.match for m in outputs.values()):
            self.wrong = case
            failing = [name for name, metrics in outputs.items() if not metrics.match]
            fed = {name: _on_host(value) for name, value in feeds.items()}
            mine, other = ({name: _on_host(side[name]) for name in failing} for side in (actual, expected))
            self.differing = fed, mine, other
        self._learn(feeds)
        shown = {name: described(value) for name, value in feeds.items()}
        match = all(metrics.match for metrics in outputs.values())
        self.samples.append(Sample(number, case.bind, shown, match, outputs, case.emptied))
        if match and not self._equal_nan and any(_has_nan(actual[name]) for name in outputs if case.emptied):
            masks = ", ".join(map(repr, case.emptied))
            self.say(
                [
                    f"where the mask {masks} leaves nothing of a row, both sides give NaN, in the same places: that agrees"
                ]
            )
        if self._kept is not None:
            self._kept.add(self.samples[-1], actual, expected)

    def _learn(self, feeds: Mapping[str, Any]) -> None:
        """Take note of the sizes of dims that may vary."""
        for name, value in feeds.items():
            for dim, size in zip(self._ports[name].dims or (), np.shape(value), strict=False):
                if isinstance(dim, str):
                    self.sizes.setdefault(dim, set()).add(size)

    def _look_for_another_order(
        self, outputs: Mapping[str, Metrics], actual: Mapping[str, Any], expected: Mapping[str, Any]
    ) -> None:
        """Outputs that all agree in another order: bound by their place they were bound wrongly; names are believed.

        Raises:
            ComparisonError: They were bound by their place.
        """
        failing = [name for name, metrics in outputs.items() if not metrics.match]
        order = agreeing_order(
            failing, lambda mine, other: self._measure(actual[mine], expected[other], equal_nan=self._equal_nan).match
        )
        if order is None:
            return
        bindings = explained(self._reference.binding)
        bound = {name: bindings[other] for name, other in order.items()}
        targets = {name: target.removeprefix("output ") for name, target in bound.items()}
        said = ", ".join(
            f"{name!r} agrees with {t if t.startswith('output ') else repr(t)}" for name, t in bound.items()
        )
        if not set(failing) <= set(self._reference.binding.by_position):
            self.doubts.append(f"the outputs would agree in another order: {said}")
            return
        raise ComparisonError(
            f"the outputs come in another order than in {self._reference.binding.reference}: {said}",
            hint=Hint("say which is which with ", Argument("map", targets)),
        )


def _has_nan(value: Any) -> bool:
    kind = str(getattr(value, "dtype", ""))
    return ("float" in kind or "complex" in kind) and bool((value != value).any())  # noqa: PLR0124 (only a NaN is not itself)


def _on_host(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "is_cuda") and str(value.dtype) != "torch.bfloat16" else value

"""What ``prove`` answers, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from graphkit.result import Result
from graphkit.verify.compare.metrics import Metrics

Verdict = Literal["proved", "broken", "unproved"]


@dataclass(frozen=True, repr=False)
class Held(Result):
    """Whether one law holds, of one step or of several in a row.

    Attributes:
        verdict: "proved", "broken", or "unproved": it could not be asked.
        steps: The operations, in order.
        law: Their laws, the same ones once.
        why: What breaks it, or why it could not be asked.
        first: Where it is broken: the first value of the edited model that differs, as far as values have names in both.
        runs: How many feeds values were compared on.
        sizes: The sizes of those feeds, each as ``x=2x3x32x32``.
        also: What else was tried: other values of a constant, other sizes of an axis, samples stacked in one batch.
        outputs: Output of the edited model -> the metrics of its worst run.
        evaluator: What ran both sides: "onnxruntime", or "onnx.reference" where the runtime has no kernel.
    """

    verdict: Verdict
    steps: tuple[str, ...]
    law: str
    why: str = ""
    first: str | None = None
    runs: int = 0
    sizes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    outputs: dict[str, Metrics] = field(default_factory=dict)
    evaluator: str = ""

    def __bool__(self) -> bool:
        return self.verdict == "proved"


@dataclass(frozen=True, repr=False)
class Replayed(Result):
    """Whether the history, replayed on the original, gives the edited model: its skeleton and its weights.

    Attributes:
        verdict: "proved", "broken", or "unproved": it could not be replayed, or was made by other versions.
        why: What differs first, or why it could not be replayed.
    """

    verdict: Verdict
    why: str = ""

    def __bool__(self) -> bool:
        return self.verdict == "proved"


@dataclass(frozen=True, repr=False)
class Proof(Result):
    """Whether an edited model is what its history says, and whether the laws of the steps hold. Made by ``graphkit.prove``.

    Attributes:
        verdict: "proved"; "broken" where the replay gives other bytes or a law does not hold; else "unproved".
        edited: The edited model's path or name.
        original: The original's.
        steps: The operations that were proved, in order.
        replayed: The first question, does the replay give these bytes? None where it was not asked.
        laws: The second, does the law hold? One entry for steps that are proved together, in order.
        tolerance: The loosest tolerance that was used, for people.
        seed: Where the random feeds start.
        notes: What the user should know.
        versions: Package -> version.
    """

    verdict: Verdict
    edited: str
    original: str
    steps: tuple[str, ...]
    replayed: Replayed | None
    laws: tuple[Held, ...]
    tolerance: str
    seed: int
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.verdict == "proved"


def worst(verdicts: list[Verdict]) -> Verdict:
    """Of several answers the one that counts."""
    return next((one for one in ("broken", "unproved") if one in verdicts), "proved")


def loosest(laws: Sequence[Held]) -> str:
    """The loosest tolerance among the outputs."""
    found = [metrics for law in laws for metrics in law.outputs.values()]
    loosest = max(found, key=lambda m: (m.rtol or 0.0, m.atol or 0.0), default=None)
    if loosest is None or loosest.rtol is None:
        return loosest.tolerance if loosest is not None else ""
    return f"rtol {loosest.rtol:.3g}, atol {loosest.atol:.3g} ({loosest.tolerance})"

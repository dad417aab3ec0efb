"""Where every value agrees node by node: does the candidate agree as a whole? Other samples, and the runtime's rewrites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from graphkit.errors import ComparisonError
from graphkit.graph.names import label
from graphkit.graph.walk import model_nodes
from graphkit.runtime.optimizer import rewritten
from graphkit.storage.load import as_model
from graphkit.tensor import stored_bytes
from graphkit.verify.validate import validate

if TYPE_CHECKING:
    from graphkit.model import ModelLike
    from graphkit.runtime.session import Optimization
    from graphkit.verify.bisect.bisection import Bisection
    from graphkit.verify.bisect.pair import Chosen
    from graphkit.verify.compare.tolerance import Policy
    from graphkit.verify.report import Report

SAMPLES = 3
"""Samples that are compared as a whole, as ``validate`` does by default."""

SHOWN = 5
"""Nodes that are named."""

MOST = 256 << 20
"""Bytes of weights up to which the rewritten model is looked at for the nodes that it fused."""

RISING: tuple[Optimization, ...] = ("none", "basic", "extended", "all")


@dataclass(frozen=True)
class Comparison:
    """How ``validate`` compares the model with the other side of a bisection.

    Attributes:
        against: The other model, or None.
        torch: The torch module, or None.
        chosen: On what both sides run.
        policy: The tolerances.
        any_dtype: Outputs of another dtype are no difference by themselves.
    """

    against: ModelLike | None
    torch: Any
    chosen: Chosen
    policy: Policy
    any_dtype: bool

    def report(self, model: ModelLike, samples: int, optimization: Optimization = "all") -> Report:
        """The outputs of so many samples, compared."""
        chosen = self.chosen
        return validate(
            model,
            against=self.against,
            torch=self.torch,
            device=chosen.device,
            bind=chosen.bind,
            feeds=chosen.feeds,
            map=chosen.map,
            seed=chosen.seed,
            tf32=chosen.tf32,
            rtol=self.policy.rtol,
            atol=self.policy.atol,
            any_dtype=self.any_dtype,
            equal_nan=True,
            allow_cpu_nodes=True,
            samples=samples,
            optimization=optimization,
        )


def compared_as_a_whole(
    result: Bisection,
    model: ModelLike,
    comparison: Comparison,
    sample: int | None,
    again: Callable[[int], Bisection],
) -> Bisection:
    """A bisection that found nothing, after the model was also run as a whole, as ``validate`` runs it.

    Args:
        result: The bisection.
        model: The model.
        comparison: What it is compared with, and how.
        sample: The sample that was bisected, or None where any may be taken.
        again: Bisects another sample.
    """
    try:
        report = comparison.report(model, SAMPLES if sample is None else sample + 1)
    except ComparisonError as error:
        return replace(result, notes=(*result.notes, f"the outputs of the whole were not compared: {error.message}"))
    chosen = report.samples if sample is None else report.samples[sample : sample + 1]
    wrong = next((one for one in chosen if not one.match), None)
    if wrong is None:
        return result
    if wrong.number != (sample or 0):
        other = again(wrong.number)
        note = f"sample {sample or 0} agrees, and the outputs of sample {wrong.number} do not: that one was compared"
        result = replace(other, notes=(note, *other.notes))
        if result.diverges:
            return result
    return replace(result, diverges=True, notes=(*result.notes, _why(model, comparison, wrong.number, report)))


def _why(model: ModelLike, comparison: Comparison, sample: int, report: Report) -> str:
    """Why outputs differ although no value does."""
    name, metrics = next((n, m) for n, m in report.samples[sample].outputs.items() if not m.match)
    error = metrics.problem or f"max abs error {metrics.max_abs:.3g}"
    level = next(level for level in RISING if level == "all" or not _agrees(model, comparison, sample, level))
    if level == "none":
        return f"every value that both have agrees, and the output {name!r} of the whole does not ({error})"
    said = f"every node is right as it stands; ONNX Runtime's optimizer changes the output {name!r} ({error})"
    return f"{said}, from the optimization level {level!r} on{_fused(model, level)}; it agrees at {RISING[RISING.index(level) - 1]!r}"


def _agrees(model: ModelLike, comparison: Comparison, sample: int, level: Optimization) -> bool:
    return comparison.report(model, sample + 1, level).samples[sample].match


def _fused(model: ModelLike, level: Optimization) -> str:
    """The nodes that the runtime's rewriting made and took away."""
    own = as_model(model)
    if sum(stored_bytes(tensor) for tensor in own.proto.graph.initializer) > MOST:
        return ""
    made = rewritten(own, level)
    before = {(node.op_type, tuple(node.output)) for node in model_nodes(own.proto)}
    after = {(node.op_type, tuple(node.output)) for node in model_nodes(made)}
    new = [f"{n.op_type} {label(n)!r}" for n in model_nodes(made) if (n.op_type, tuple(n.output)) not in before]
    gone = [
        f"{n.op_type} {label(n)!r}"
        for n in model_nodes(own.proto)
        if (n.op_type, tuple(n.output)) not in after and n.op_type != "Constant"
    ]
    parts = [f"it made {', '.join(new[:SHOWN])}"] if new else []
    parts += [f"took away {', '.join(gone[:SHOWN])}"] if gone else []
    return f" ({' and '.join(parts)})" if parts else " (it fused no node; it folded or shared constants)"

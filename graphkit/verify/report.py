"""What validate answers, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from graphkit.errors import MismatchError
from graphkit.result import Result
from graphkit.verify.compare.error_picture import ErrorPicture
from graphkit.verify.compare.metrics import Metrics
from graphkit.verify.reference.binding import Attribute, Binding, FedAlone, ForwardArgument, Returned, Source, Weight


@dataclass(frozen=True, repr=False)
class Sample(Result):
    """One run of candidate and reference on the same feeds.

    Attributes:
        number: Counted from 0.
        bind: What this sample fixes: symbolic dims, and feeds that were given in several values.
        feeds: Input of the candidate -> its type, and its value where that is short.
        match: Whether every output agrees.
        outputs: Output of the candidate -> metrics.
        emptied: Random masks that leave nothing of some row; NaN in the same places on both sides agrees there.
    """

    number: int
    bind: dict[str, Any]
    feeds: dict[str, str]
    match: bool
    outputs: dict[str, Metrics]
    emptied: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.match


@dataclass(frozen=True, repr=False)
class Report(Result):
    """Whether a candidate computes what a reference computes. Made by ``graphkit.validate``.

    Attributes:
        match: Whether every output of every sample agrees.
        candidate: The candidate's path or name.
        reference: The reference's.
        device: Where both ran: "cpu", "cuda" or "tensorrt".
        providers: The providers that loaded for the candidate.
        reference_providers: The same for the reference; ``torch`` for a torch module.
        tf32: Whether float32 products were allowed to use TF32, on both sides.
        seed: Where the random feeds start.
        outputs: Output of the candidate -> the metrics of its worst sample.
        worst_sample: Output -> the number of that sample.
        samples: Every sample.
        bindings: Input or output of the candidate -> what it is in the reference.
        notes: What the user should know.
        doubts: Where they differ, what may be the cause besides the candidate: how it was bound and what it was not fed.
        versions: Package -> version.
        pictures: Output -> where its error lies, in its worst sample.
    """

    match: bool
    candidate: str
    reference: str
    device: str
    providers: tuple[str, ...]
    reference_providers: tuple[str, ...]
    tf32: bool
    seed: int
    outputs: dict[str, Metrics]
    worst_sample: dict[str, int]
    samples: tuple[Sample, ...]
    bindings: dict[str, str]
    notes: tuple[str, ...]
    versions: dict[str, str]
    doubts: tuple[str, ...] = ()
    pictures: dict[str, ErrorPicture] = field(default_factory=dict, repr=False, metadata={"json": False})

    def __bool__(self) -> bool:
        return self.match

    def raise_for_mismatch(self) -> None:
        """Nothing where candidate and reference agree.

        Raises:
            MismatchError: They differ; the message says where most.
        """
        if self.match:
            return
        lines = []
        for name, metrics in self.outputs.items():
            if metrics.match:
                continue
            why = metrics.problem or (
                f"max abs error {metrics.max_abs:.3g} at {list(metrics.worst or ())}, "
                f"{100 * (metrics.share_out or 0):.3g} % of the elements out of tolerance "
                f"(rtol {metrics.rtol:.3g}, atol {metrics.atol:.3g})"
            )
            lines.append(f"output {name!r}, sample {self.worst_sample[name]}: {why}")
        raise MismatchError(
            f"{self.candidate} does not compute what {self.reference} does: " + "; ".join(lines),
            hint="; ".join(self.doubts) or None,
        )


def explained(binding: Binding) -> dict[str, str]:
    """Input or output of the candidate -> what it is in the reference, as people read it."""
    found = {name: _source(source) for name, source in binding.inputs.items()}
    for name, target in binding.outputs.items():
        of_torch = isinstance(target, int) or bool(binding.of(ForwardArgument))
        found[name] = f"output {target}" if isinstance(target, int) else f"output of {target}" if of_torch else target
    return found


def _source(source: Source) -> str:
    match source:
        case FedAlone():
            return "fed to the candidate only"
        case Attribute(path=path):
            return f"self.{path}"
        case Weight(name=name):
            return f"self.{name}"
        case Returned(path=path):
            return f"output of {path}"
        case _:
            return source.name

"""What runs a reference that a candidate is bound to: ``ModelRunner`` and ``TorchRunner`` do."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from graphkit.graph.ports import Port
    from graphkit.model import Model
    from graphkit.runtime.session import Optimization
    from graphkit.verify.reference.binding import Binding


@dataclass(frozen=True)
class Loading:
    """How a model is loaded into the runtime.

    Attributes:
        device: "cpu", "cuda", "tensorrt" or "auto".
        tf32: Whether float32 products may use TF32.
        allow_cpu_nodes: On a GPU, whether nodes may run on the CPU.
        optimization: Which of its rewrites the runtime applies.
    """

    device: str = "auto"
    tf32: bool = False
    allow_cpu_nodes: bool = False
    optimization: Optimization = "all"

    def options(self) -> dict[str, Any]:
        """The same as keywords of ``graphkit.session``."""
        return dict(vars(self))


@dataclass
class Exchange:
    """What one run of a reference gives for the candidate.

    Attributes:
        feeds: Input of the candidate -> value that the reference determines: a constant, an inner value.
        outputs: Output of the candidate -> what it should be.
    """

    feeds: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)


class Runner(Protocol):
    """Runs a reference.

    Attributes:
        binding: What each input and output of the candidate is in the reference.
    """

    binding: Binding

    def own_port(self, name: str) -> Port:
        """An input that the reference has and the candidate has not.

        Raises:
            NameNotFoundError: Neither has it.
        """

    def example(self, sample: int) -> dict[str, Any]:
        """Feeds that the reference itself proposes for a sample, by input of the candidate."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs it."""

    def opened(self) -> contextlib.AbstractContextManager[None]:
        """What has to be in force while it runs."""

    def remarks(self) -> list[str]:
        """What the runs so far showed of the reference that the user should know."""
        ...

    def unrepeatable(self, feeds: Mapping[str, Any], sample: int, candidate: Model) -> list[str]:
        """Why the reference and the candidate cannot agree, whatever the candidate computes; asked where they do not."""

    def run(self, feeds: Mapping[str, Any], sample: int) -> Exchange:
        """Run on feeds of the candidate.

        Raises:
            ComparisonError: The reference failed.
        """

"""What a candidate is compared with, as one interface: ``OnnxReference`` and ``TorchReference`` have it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from graphkit.graph.ports import Port
    from graphkit.model import Model


@dataclass
class Exchange:
    """What one run of a reference gives for the candidate.

    Attributes:
        feeds: Input of the candidate -> value that the reference determines: a constant, an inner value.
        outputs: Output of the candidate -> what it should be.
    """

    feeds: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)


class Ported(Protocol):
    """A model whose inputs and outputs are known: a Session, or less than one."""

    @property
    def model(self) -> Model:
        """The model."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def inputs(self) -> Mapping[str, Port]:
        """name -> Port."""

    @property
    def outputs(self) -> Mapping[str, Port]:
        """name -> Port."""


class Reference(Protocol):
    """A reference that knows how the candidate's inputs and outputs relate to it.

    Attributes:
        name: For messages and reports.
        bindings: Input or output of the candidate -> what it is in the reference.
        notes: What the user should know.
        drawn: Inputs of the candidate that are drawn at random or fed by the user.
        like: Input of the candidate -> the dims that the reference wants for it.
        by_position: Outputs of the candidate that were bound by nothing but their place.
        doubts: What may be the cause where the numbers differ.
    """

    name: str
    bindings: dict[str, str]
    notes: list[str]
    drawn: tuple[str, ...]
    like: dict[str, tuple[int | str | None, ...] | None]
    by_position: tuple[str, ...]
    doubts: list[str]

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

    def run(self, feeds: Mapping[str, Any], sample: int) -> Exchange:
        """Run on feeds of the candidate.

        Raises:
            ComparisonError: The reference failed.
        """

"""What bisect and layers compare: the two sides, and the interface they share."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphkit.feeds.random import RandomFeeds
from graphkit.graph.ports import Port, input_ports, output_ports
from graphkit.shapes.resize_patterns import check_resamplers
from graphkit.storage.load import as_valid_model
from graphkit.verify.bisect.bodies import Inner
from graphkit.verify.bisect.side import Side
from graphkit.verify.reference.draw import draw_feeds

if TYPE_CHECKING:
    from graphkit.model import Model, ModelLike
    from graphkit.tensor import Array
    from graphkit.verify.reference.runner import Runner


@dataclass(frozen=True)
class Interface:
    """What binding needs to know about a model that is not loaded into the runtime as a whole."""

    model: Model
    name: str
    inputs: dict[str, Port]
    outputs: dict[str, Port]


def interface(subject: ModelLike) -> Interface:
    """The inputs and outputs of a model that runs in pieces, which hide contradictions from the runtime.

    Raises:
        InvalidGraphError: The model contradicts itself.
    """
    model = as_valid_model(subject)
    proto = model.proto
    check_resamplers(proto)
    return Interface(model, model.path or proto.graph.name, input_ports(proto), output_ports(proto))


def is_torch(subject: Any) -> bool:
    """Whether something is a torch module, as ``validate`` takes one, and no model."""
    if isinstance(subject, str):
        return ":" in subject and "://" not in subject and not os.path.exists(subject)
    return isinstance(subject, tuple) or hasattr(subject, "named_modules") or hasattr(subject, "module")


@dataclass(frozen=True)
class Chosen:
    """On what bisect and layers run both sides.

    Attributes:
        bind: Symbolic dim of an input -> size.
        feeds: Input -> what to feed.
        map: Input or output of the candidate -> what it is in the reference.
        seed: Where random feeds start.
        sample: Which sample: ``validate`` draws several from one seed.
        device: Where both run.
        tf32: Whether float32 products may use TF32.
    """

    bind: Mapping[str, int]
    feeds: Mapping[str, Any]
    map: Mapping[str, str]
    seed: int
    sample: int
    device: str
    tf32: bool

    def drawn(self, own: Interface, runner: Runner) -> dict[str, Any]:
        """The feeds of the chosen sample."""
        random = RandomFeeds(own.model, seed=self.seed, like=runner.binding.like).bound(self.bind)
        return draw_feeds(own, runner, random, self.feeds, self.sample, bound=self.bind)


@dataclass
class Pair:
    """Two sides, what of them is the same, and what both were fed.

    Attributes:
        candidate: One side.
        reference: The other.
        twins: Value of the candidate -> value of the reference.
        feeds: What the candidate is fed.
        notes: What the user should know.
        outputs: Output of a submodule -> value, where modules were compared; several outputs may be one value.
        unrepeatable: Why the two sides cannot agree, whatever the candidate computes; asked where they do not.
        inside: Looks for the first value that diverges inside of the node that makes a value.
    """

    candidate: Side
    reference: Side
    twins: dict[str, str]
    feeds: dict[str, Array]
    notes: list[str]
    outputs: dict[str, str] = field(default_factory=dict)
    unrepeatable: Callable[[], list[str]] = list
    inside: Inner = lambda search, row: None  # noqa: ARG005 (nothing inside can be compared)

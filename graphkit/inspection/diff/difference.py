"""What ``diff`` gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from graphkit.result import Result

Aspect: TypeAlias = Literal["names", "metadata", "weights", "shapes", "structure"]
"""What a difference is about; all but ``structure`` can be ignored."""

IGNORABLE: tuple[Aspect, ...] = ("names", "metadata", "weights", "shapes")


@dataclass(frozen=True, repr=False)
class Movement(Result):
    """How far a weight moved.

    Attributes:
        elements: Its numbers.
        changed: How many of them are others; None where the two cannot be compared number by number.
        max_abs: Largest absolute difference of those that are finite on both sides; None as above, and for texts.
        relative: L2 norm of the difference over that of the values before; None where those are all zero.
        not_finite: Changed numbers that are NaN or infinite on one side, left out of the two above.
        before_sha256: sha256 of the bytes before, little-endian and packed as ``raw_data`` has them.
        after_sha256: sha256 of the bytes after.
    """

    elements: int
    changed: int | None
    max_abs: float | None
    relative: float | None
    not_finite: int
    before_sha256: str
    after_sha256: str


@dataclass(frozen=True, repr=False)
class Change(Result):
    """One difference.

    Attributes:
        kind: "input", "output", "node", "weight", "value", "shape" (a declared type between nodes), "function", "opset",
            "metadata", "model" (IR version, producer, doc, ...), "graph".
        name: Address of what it is about, in the model after; in the one before where it was removed.
            ``If_0.then_branch/y`` is in a body, ``function:DOMAIN::NAME/y`` in a function.
        aspect: "names", "metadata", "weights", "shapes" or "structure".
        former: Its address in the model before, where that is another.
        before: What it was, as text; None where it was not there.
        after: What it is, as text; None where it is gone.
        details: What changed, one phrase each.
        module: The torch module it is in; None where the file does not say.
        movement: Of a weight: how far it moved.
        steps: The steps of the history that made it, as ``2 insert``; () where that is not known.
        place: Of a node that was added or removed: the body or function that holds it, as in ``name``; "" is the main graph.
    """

    kind: str
    name: str
    aspect: Aspect
    former: str | None = None
    before: str | None = None
    after: str | None = None
    details: tuple[str, ...] = ()
    module: str | None = None
    movement: Movement | None = None
    steps: tuple[str, ...] = ()
    place: str = ""


@dataclass(frozen=True, repr=False)
class StepChanges(Result):
    """What one step of the history made.

    Attributes:
        step: Its number and operation: ``2 insert``.
        said: The number of differences of each kind, in words.
    """

    step: str
    said: str


@dataclass(frozen=True, repr=False)
class Difference(Result):
    """How a model differs from another. ``bool`` says whether they are equal, but for what was to be ignored.

    Attributes:
        before: Path or name of the first model.
        after: Path or name of the second.
        equal: Whether nothing differs but what was to be ignored.
        verdict: "equal", "equal but for names" (or metadata, weights, shapes), or "different".
        added: What only the second has.
        removed: What only the first has.
        renamed: What both have, under other names.
        moved: What both have, in another place: nodes and interface in another order, nodes in another module.
        changed: What both have and what is not the same.
        ignored: Aspect -> number of differences that were to be ignored; those are in no list.
        steps: What each step of the second's history made, where the first is the model it goes on from.
        notes: What the reader should know.
    """

    before: str
    after: str
    equal: bool
    verdict: str
    added: tuple[Change, ...]
    removed: tuple[Change, ...]
    renamed: tuple[Change, ...]
    moved: tuple[Change, ...]
    changed: tuple[Change, ...]
    ignored: dict[str, int]
    steps: tuple[StepChanges, ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.equal

    @property
    def lists(self) -> dict[str, tuple[Change, ...]]:
        """The five lists by name."""
        return {name: getattr(self, name) for name in LISTS}


LISTS = ("added", "removed", "renamed", "moved", "changed")


@dataclass
class Found:
    """The differences while they are looked for.

    Attributes:
        lists: List -> differences.
    """

    lists: dict[str, list[Change]] = field(default_factory=lambda: {name: [] for name in LISTS})

    def add(self, to: str, change: Change) -> None:
        """Put a difference into a list."""
        self.lists[to].append(change)

"""What probe reports: one attempt, and what is to blame where it failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphkit.result import Result

if TYPE_CHECKING:
    pass


Shapes = Mapping[str, Sequence[int]]
"""Input name -> shape."""


@dataclass(frozen=True, repr=False)
class Blame(Result):
    """An axis that made the runtime refuse.

    Attributes:
        input: The graph input.
        axis: Its axis, or None where the rank is wrong.
        got: The size (or rank) that was fed.
        expected: The size (or rank) that the model has fixed; None where no declaration fixes it and a node failed.
    """

    input: str
    axis: int | None
    got: int
    expected: int | None

    def __str__(self) -> str:
        if self.axis is None:
            return f"input {self.input!r} has {self.expected} axes, not {self.got}"
        wanted = "" if self.expected is None else f" and is fixed to {self.expected}"
        return f"axis {self.axis} of input {self.input!r} is {self.got}{wanted}"


@dataclass(frozen=True, repr=False)
class Attempt(Result):
    """One set of input shapes, tried.

    Attributes:
        shapes: The shapes that were asked for.
        accepted: Whether the model ran.
        outputs: Output name -> shape that came out.
        blame: The axes that made it fail.
        node: The node that failed, where the inputs themselves were accepted.
        problem: The runtime's reason, in one line.
        remedy: The edit that mends it, which was tried on the model in memory; or why there is none.
    """

    shapes: dict[str, tuple[int, ...]]
    accepted: bool
    outputs: dict[str, tuple[int, ...]]
    blame: tuple[Blame, ...] = ()
    node: str | None = None
    problem: str | None = None
    remedy: str | None = None

    def __bool__(self) -> bool:
        return self.accepted

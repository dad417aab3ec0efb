"""One side of a bisection, and a place in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Place:
    """A value and what makes it.

    Attributes:
        value: Its name on its side: an ONNX value, a torch.fx node, a module path.
        node: The name of the node that makes it, or of its first output; None on the torch side.
        op_type: The operator, or the class of a module.
        module: The path of the torch module it belongs to, or None.
        line: The line of the user's source that made it, or None.
    """

    value: str
    node: str | None
    op_type: str
    module: str | None = None
    line: str | None = None


class Side(Protocol):
    """Something whose inner values can be looked at, in order."""

    @property
    def name(self) -> str:
        """For messages and reports."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs it."""

    @property
    def runs(self) -> int:
        """How often it was run so far."""

    def places(self) -> list[Place]:
        """Its values in the order in which they are made."""

    def sizes(self) -> dict[str, int]:
        """Value -> bytes, as far as it is known."""

    def held(self) -> dict[str, tuple[int, int]]:
        """Value -> bytes that are held when it is made: (values still to be read, those of them that are not fetched)."""

    def expect(self, names: Iterable[str]) -> None:
        """Say which values will be fetched, before the first fetch."""

    def fetch(self, names: Sequence[str]) -> dict[str, Any]:
        """Some values, further on than those fetched before."""

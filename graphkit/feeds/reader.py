"""A node that reads numbers of a graph input, as the rules on what it accepts see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import onnx

from graphkit.feeds.ranges import Range
from graphkit.semantics.intervals import Interval

Dims: TypeAlias = "list[int | str | None] | None"


@dataclass(frozen=True)
class Reader:
    """A node that reads numbers of a graph input.

    Attributes:
        node: The node.
        place: Which of its inputs they are.
        whole: Whether the node reads the graph input itself: its length is the node's business then, too.
        dims_of: The dims of a value as far as they are known.
        interval_of: The interval of a value.
    """

    node: onnx.NodeProto
    place: int
    whole: bool
    dims_of: Callable[[str], Dims]
    interval_of: Callable[[str], Interval]

    def dims(self, place: int) -> Dims:
        """The dims of another input of the node."""
        name = self.node.input[place] if place < len(self.node.input) else ""
        return self.dims_of(name) if name else None

    def number(self, place: int) -> float | None:
        """The value of another input of the node, where it is one number."""
        low, high = self.interval_of(self.node.input[place]) if place < len(self.node.input) else (0.0, 1.0)
        return low if low == high else None

    def vector(self, wanted: Range, length: int | None) -> Range:
        """A range that is also a length, where the node reads the graph input itself."""
        return replace(wanted, length=length) if self.whole else wanted


Want: TypeAlias = Range | Callable[[Reader], Range | None]
"""The range that a node wants at one of its inputs, or how it is found; None for any numbers."""

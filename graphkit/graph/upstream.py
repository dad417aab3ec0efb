"""What values are computed from, and what is computed from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import onnx


class Producers(Protocol):
    """Who makes a value, and what a node reads: a ``GraphIndex``, or a ``Site``."""

    @property
    def producer(self) -> Mapping[str, int]:
        """Value -> position of the node that makes it."""

    def reads(self, position: int) -> list[str]:
        """What the node at a position needs, its bodies included."""


class Consumers(Protocol):
    """Who reads a value, and what a node makes: a ``GraphIndex``."""

    @property
    def nodes(self) -> Sequence[onnx.NodeProto]:
        """The nodes."""

    @property
    def consumers(self) -> Mapping[str, Sequence[int]]:
        """Value -> positions of the nodes that read it."""


@dataclass(frozen=True)
class Reached:
    """What a walk came to, nearest first.

    Attributes:
        nodes: Position -> nothing, for the nodes that were entered.
        values: Value -> position of the node by which it was first met; None for a value that the walk started at.
        early: Going upstream, values read by a node that stands before the one that makes them, or by that one itself;
            those at which the walk stopped left out.
    """

    nodes: dict[int, None]
    values: dict[str, int | None]
    early: tuple[str, ...] = ()


def upstream(
    index: Producers,
    start: Iterable[str],
    *,
    stop: Callable[[str], bool] | None = None,
    enter: Callable[[int], bool] | None = None,
) -> Reached:
    """The nodes and values that some values are computed from.

    Args:
        index: The graph. Values that bodies capture count as read.
        start: The values. The nodes that make them are entered whatever ``stop`` says.
        stop: Whether a value that is read is taken as given; it is among the values, the node behind it is not reached
            by it.
        enter: Whether to walk through a node.

    Cost: O(what is reached).
    """
    values: dict[str, int | None] = dict.fromkeys(start)
    nodes: dict[int, None] = {}
    early: list[str] = []
    producer_of, reads = index.producer.get, index.reads
    waiting = list(values)
    for name in waiting:  # which grows meanwhile
        position = producer_of(name)
        if position is None or position in nodes or (enter is not None and not enter(position)):
            continue
        nodes[position] = None
        for read in reads(position):
            if read not in values:
                values[read] = position
                if stop is not None and stop(read):
                    continue
                waiting.append(read)
            if producer_of(read, -1) >= position and (stop is None or not stop(read)):
                early.append(read)
    return Reached(nodes, values, tuple(early))


def downstream(index: Consumers, start: Iterable[str], *, enter: Callable[[int], bool] | None = None) -> Reached:
    """The nodes and values that are computed from some values, in whatever order the nodes stand.

    Args:
        index: The graph. A node whose bodies capture a value reads it.
        start: The values.
        enter: Whether to walk through a node.

    Cost: O(what is reached); the first walk over an index also makes its table of readers, O(graph).
    """
    values: dict[str, int | None] = dict.fromkeys(start)
    nodes: dict[int, None] = {}
    readers_of = index.consumers.get
    waiting = list(values)
    for name in waiting:  # which grows meanwhile
        for position in readers_of(name, ()):
            if position in nodes or (enter is not None and not enter(position)):
                continue
            nodes[position] = None
            for made in index.nodes[position].output:
                if made and made not in values:
                    values[made] = position
                    waiting.append(made)
    return Reached(nodes, values)

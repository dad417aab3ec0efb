"""A node's name where a value's is meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import onnx

from graphkit.errors import NameNotFoundError

VALUES = frozenset("value input output constant weight initializer".split())
"""Words for what has the name of a value."""

SHOWN = 8


def node_hint(graph: onnx.GraphProto, name: str) -> str | None:
    """That a name is that of a node of a graph, and what it makes; None where no node has it. Cost: O(nodes)."""
    found = [node for node in graph.node if node.name == name]
    if not found:
        return None
    made = [output for node in found for output in node.output if output]
    said = ", ".join(map(repr, made[:SHOWN])) or "nothing"
    return (
        f"it is the name of a node, {found[0].op_type}, which makes {said}"
        if len(found) == 1
        else f"it is the name of {len(found)} nodes, which make {said}"
    )


def first_node_hint(graphs: Iterable[onnx.GraphProto], name: str) -> str | None:
    """``node_hint`` of the first of several graphs that has such a node."""
    return next(filter(None, (node_hint(graph, name) for graph in graphs)), None)


@contextmanager
def nodes_told(graph: onnx.GraphProto) -> Iterator[None]:
    """Let an error that a graph has no value of some name say so where it is the name of a node.

    Cost: nothing where there is no error.
    """
    try:
        yield
    except NameNotFoundError as error:
        words = error.kind.split()
        if VALUES.intersection(words) and "node" not in words and "node" not in (error.hint or ""):
            hint = node_hint(graph, error.name)
            error.hint = hint or error.hint
        raise

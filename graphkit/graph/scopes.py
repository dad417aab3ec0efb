"""Scopes: the main graph and the bodies in it, each with its index and the graph around it.

ONNX resolves a name from the inside out and forbids shadowing (docs/IR.md, "Nodes"), so the innermost scope that
defines a name is the one that is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import onnx

from graphkit.graph import values
from graphkit.graph.index import GraphIndex
from graphkit.graph.walk import bodies
from graphkit.tensor import decode

if TYPE_CHECKING:
    from graphkit.tensor import Array


class Scope:
    """One graph or body, and the way out of it.

    Attributes:
        index: The index of the graph.
        outer: The scope around it, None for the main graph.
        owner: The node of the outer scope that holds the body, None for the main graph.
    """

    def __init__(self, graph: onnx.GraphProto, outer: Scope | None = None, owner: onnx.NodeProto | None = None) -> None:
        self.index = GraphIndex(graph)
        self.outer = outer
        self.owner = owner

    @property
    def graph(self) -> onnx.GraphProto:
        """The graph itself."""
        return self.index.graph

    @property
    def main(self) -> Scope:
        """The outermost scope."""
        scope = self
        while scope.outer is not None:
            scope = scope.outer
        return scope

    def home(self, name: str) -> Scope | None:
        """The innermost scope, from here outwards, that defines a value; None where nobody does."""
        scope: Scope | None = self
        while scope is not None and not scope.index.has(name):
            scope = scope.outer
        return scope

    def maker(self, name: str) -> tuple[Scope, onnx.NodeProto] | None:
        """The node that makes a value seen from here, with its scope; None for inputs and weights."""
        home = self.home(name)
        position = home.index.producer.get(name) if home is not None else None
        if home is None or position is None:
            return None
        return home, home.index.nodes[position]

    def type_of(self, name: str) -> onnx.TypeProto | None:
        """The type that the file gives a value seen from here, or None."""
        home = self.home(name)
        return values.value_type(home.index, name) if home is not None else None

    def dims_of(self, name: str) -> list[int | str | None] | None:
        """The dims of a tensor seen from here, as ``values.dims`` gives them; None for an unknown rank."""
        known = self.type_of(name)
        return values.dims(known) if known is not None else None

    def constant(self, name: str) -> onnx.TensorProto | None:
        """The tensor of a value that is constant, seen from here: like ``values.constant``, across scopes."""
        while (home := self.home(name)) is not None:
            position = home.index.producer.get(name)
            if position is None:
                return values.constant(home.index, name)
            node = home.index.nodes[position]
            if node.op_type != "Identity" or node.domain not in ("", "ai.onnx"):
                return values.constant(home.index, name)
            name = node.input[0]
            self = home  # noqa: PLW0642 (an Identity's input is looked up where the Identity stands)
        return None

    def constant_array(self, name: str) -> Array | None:
        """The values of a constant that the skeleton holds itself; None where it is none or is a reference.

        Skeletons hold every tensor below 4 KiB themselves, so axes, sizes and scales are always found.
        """
        tensor = self.constant(name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return decode(tensor, None)


def scopes(graph: onnx.GraphProto) -> Iterator[Scope]:
    """The scope of a graph and of every body in it, outer before inner, in the order of ``walk.graphs``.

    Cost: O(nodes), and one index a scope.
    """
    waiting = [Scope(graph)]
    while waiting:
        scope = waiting.pop()
        yield scope
        inner = [Scope(body, scope, node) for node in scope.index.nodes if node.attribute for body in bodies(node)]
        waiting.extend(reversed(inner))

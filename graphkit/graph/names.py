"""Names: what to call a node, and fresh ones, such as no value and no node of a model has, in any scope."""

from __future__ import annotations

from itertools import chain

import onnx

from graphkit.graph import walk
from graphkit.graph.columns import Columns


def label(node: onnx.NodeProto) -> str:
    """What to call a node: its name; where it has none its first output, and where it makes nothing its operator."""
    return node.name or next(filter(None, node.output), node.op_type)


def title(node: onnx.NodeProto) -> str:
    """A node's operator and its label: ``Resize 'up'``."""
    return f"{node.op_type} {label(node)!r}"


class Names:
    """The value and node names in use in some graphs and in their bodies, and new ones that collide with none.

    A fresh name is neither a value's nor a node's: ONNX allows both to use one name, people cannot tell them apart.

    Attributes:
        values: Names of values: defined, declared, or read.
        nodes: Names of nodes.

    Cost: O(graph) once, then O(1) a name.
    """

    def __init__(self, *graphs: onnx.GraphProto, columns: Columns | None = None) -> None:
        """``columns`` are those of the first graph, where they were read already."""
        self.values: set[str] = set()
        self.nodes: set[str] = set()
        self._counts: dict[str, int] = {}
        for graph in graphs:
            columns = columns or Columns(list(graph.node))
            self._take(graph, columns)
            for body in walk.nested_in(columns):
                self._take(body, Columns(list(body.node)))
            columns = None
        self.values.discard("")
        self.nodes.discard("")
        self.taken = self.values | self.nodes

    def _take(self, scope: onnx.GraphProto, columns: Columns) -> None:
        self.values.update(walk.given_names(scope))
        self.values.update([value.name for value in chain(scope.output, scope.value_info)])
        self.values.update(chain.from_iterable(columns.outputs))
        self.values.update(chain.from_iterable(columns.inputs))
        self.nodes.update([node.name for node in columns.nodes])

    def __contains__(self, name: str) -> bool:
        return name in self.taken

    def fresh(self, wish: str) -> str:
        """The wish itself where it is free, else ``wish_1``, ``wish_2``, ...; it is taken from now on."""
        name, count = wish, self._counts.get(wish, 0)
        while name in self.taken:
            count += 1
            name = f"{wish}_{count}"
        self._counts[wish] = count
        self.taken.add(name)
        return name

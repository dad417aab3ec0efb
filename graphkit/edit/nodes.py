"""The nodes of a graph as a list that can be written back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx

from graphkit.graph.names import Names

if TYPE_CHECKING:
    from graphkit.tensor import Array


def set_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Make these the nodes of a graph, in this order; they may be its own. Changes the graph. Cost: O(nodes)."""
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)


def sort_nodes(holder: onnx.GraphProto | onnx.FunctionProto, keys: Sequence[int]) -> None:
    """Put the nodes of a graph or function in the order of their keys, one a node; equal ones stay as they are. Changes it.

    Cost: O(n log n), without copying a node.
    """
    following = iter(keys)
    holder.node.sort(key=lambda _: next(following))  # Python asks for the keys first, one by one


def delete_nodes(holder: onnx.GraphProto | onnx.FunctionProto, positions: Collection[int]) -> None:
    """Take nodes out of a graph or function. Changes it. Cost: O(nodes), however many go."""
    count = len(holder.node)
    sort_nodes(holder, [position in positions for position in range(count)])
    del holder.node[count - len(positions) :]


def set_inputs(node: onnx.NodeProto, names: Sequence[str]) -> None:
    """Make these the inputs of a node. Changes the node."""
    del node.input[:]
    node.input.extend(names)


def set_input(node: onnx.NodeProto, position: int, name: str) -> None:
    """Make this the input at a position; those before it that the node does not have are left out. Changes the node."""
    inputs = [*node.input, *[""] * (position + 1 - len(node.input))]
    inputs[position] = name
    set_inputs(node, inputs)


class NodeWriter:
    """Makes nodes with names that nothing else has, and puts them on lists of the caller's choice.

    Attributes:
        constants: The values of the Constant nodes that it made.
    """

    def __init__(self, names: Names) -> None:
        self._names = names
        self.constants: dict[str, Array] = {}

    def add(self, place: list[onnx.NodeProto], op: str, inputs: Sequence[str], wish: str, **attributes: Any) -> str:
        """Put a node with one output on a list; returns the output's name, which is as wished for where that is free."""
        output = self._names.fresh(wish)
        name = self._names.fresh(f"{output}_node")
        place.append(onnx.helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def fresh(self, wish: str) -> str:
        """A name that nothing has; it is taken from now on."""
        return self._names.fresh(wish)

    def constant(self, place: list[onnx.NodeProto], array: Array, wish: str) -> str:
        """Put a Constant node on a list: an initializer would have to be a graph input too before IR version 4."""
        name = self.add(place, "Constant", [], wish, value=onnx.numpy_helper.from_array(array))
        self.constants[name] = array
        return name


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Give an attribute another value; None takes it away."""
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    if value is not None:
        kept.append(onnx.helper.make_attribute(name, value))
    copies = [onnx.AttributeProto.FromString(attribute.SerializeToString()) for attribute in kept]
    del node.attribute[:]
    node.attribute.extend(copies)


def insert_before(graph: onnx.GraphProto, before: Mapping[str, Sequence[onnx.NodeProto]]) -> None:
    """Put nodes before others, which are named by their first output. Changes the graph. Cost: O(nodes)."""
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.extend(before.get(node.output[0], ()) if node.output else ())
        nodes.append(node)
    set_nodes(graph, nodes)

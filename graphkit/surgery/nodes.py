"""The nodes of a graph as a list that can be written back."""

from __future__ import annotations

from collections.abc import Sequence

import onnx


def set_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Make these the nodes of a graph, in this order; they may be its own. Changes the graph. Cost: O(nodes)."""
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)


def set_inputs(node: onnx.NodeProto, names: Sequence[str]) -> None:
    """Make these the inputs of a node. Changes the node."""
    del node.input[:]
    node.input.extend(names)

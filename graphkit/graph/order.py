"""Topological order: ONNX wants every node behind the nodes whose values it reads (docs/IR.md, "Graphs")."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from graphkit.errors import InvalidGraphError
from graphkit.graph.columns import Columns
from graphkit.graph.names import label
from graphkit.graph.walk import captures, graphs, nested, reads_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx


def is_ordered(nodes: Sequence[onnx.NodeProto]) -> bool:
    """Whether every node stands behind those it reads from. ONNX Runtime takes graphs where this is not so.

    Cost: O(nodes and edges).
    """
    columns = Columns(list(nodes))
    last_first = reversed(list(enumerate(columns.outputs)))
    made = {name: position for position, names in last_first for name in names}
    made.pop("", None)
    place = made.get
    return not any(place(name, -1) >= position for position, names in enumerate(reads_of(columns)) for name in names)


def sort_nodes(graph: onnx.GraphProto | onnx.FunctionProto) -> None:
    """Put the nodes of a graph or function into an order as ``topological_order`` gives it, where they are in none. Changes it.

    Raises:
        InvalidGraphError: The nodes read from each other in a cycle.

    Cost: O(nodes and edges), where they are sorted already.
    """
    nodes = list(graph.node)
    if not is_ordered(nodes):
        order = topological_order(nodes)
        del graph.node[:]
        graph.node.extend(nodes[position] for position in order)


def is_ordered_everywhere(model: onnx.ModelProto) -> bool:
    """``is_ordered`` for the main graph, every body and every function, in one pass: nothing is made that was read before."""
    holders: list[onnx.GraphProto | onnx.FunctionProto] = [*graphs(model.graph), *model.functions]
    holders += [body for function in model.functions for body in nested(function.node)]
    for holder in holders:
        read: set[str] = set()
        for node in holder.node:
            read.update(node.input)
            if node.attribute:
                read.update(captures(node))
            if not read.isdisjoint(node.output) and any(name in read for name in node.output if name):
                return False
    return True


def sort_everywhere(model: onnx.ModelProto) -> None:
    """``sort_nodes`` for the main graph, every body and every function. Changes the model.

    Raises:
        InvalidGraphError: Nodes read from each other in a cycle.
    """
    for graph in graphs(model.graph):
        sort_nodes(graph)
    for function in model.functions:
        sort_nodes(function)
        for body in nested(function.node):
            sort_nodes(body)


def topological_order(nodes: Sequence[onnx.NodeProto]) -> list[int]:
    """The positions of nodes in an order in which each comes behind those it reads from; sorted ones stay as they are.

    What a node's bodies read from outside counts. Values that no node makes (inputs, initializers) do not matter.

    Raises:
        InvalidGraphError: The nodes read from each other in a cycle; the message names it.

    Cost: O(n log n) in nodes and edges.
    """
    columns = Columns(nodes)
    producer = {name: position for position, names in enumerate(columns.outputs) for name in names if name}
    sources = [{producer[name] for name in names if name in producer} for names in reads_of(columns)]
    readers: list[list[int]] = [[] for _ in nodes]
    for position, before in enumerate(sources):
        for source in before:
            readers[source].append(position)
    waiting = [len(before) for before in sources]
    ready = [position for position, count in enumerate(waiting) if not count]
    order = []
    while ready:
        position = heapq.heappop(ready)
        order.append(position)
        for reader in readers[position]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        raise _cycle(nodes, sources, [position for position, count in enumerate(waiting) if count])
    return order


def _cycle(nodes: Sequence[onnx.NodeProto], sources: list[set[int]], stuck: list[int]) -> InvalidGraphError:
    """The error for nodes of which some (``stuck``) lie on a cycle or behind one."""
    left = set(stuck)
    path: dict[int, None] = {}
    position = stuck[0]
    while position not in path:
        path[position] = None
        position = min(sources[position] & left)
    walk = list(path)
    cycle = walk[walk.index(position) :][::-1]
    names = [nodes[p].name or f"{nodes[p].op_type} of {label(nodes[p])!r}" for p in cycle]
    shown = " -> ".join([*names[:6], *(["..."] if len(names) > 6 else []), names[0]])
    return InvalidGraphError(f"the nodes read from each other in a cycle: {shown}", names=names)

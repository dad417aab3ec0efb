"""Remove what an edit left without a reader."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import onnx

from graphkit.edit.nodes import delete_nodes
from graphkit.graph import walk
from graphkit.graph.columns import inputs_of, outputs_of


def prune(model: onnx.ModelProto, names: Iterable[str]) -> list[str]:
    """Remove the nodes and constants behind some values, as far as nothing reads them any more. Changes the model.

    Only what led to the values goes; what was dead before stays, and so does what training graphs name. Graph inputs stay
    too: they are the caller's to remove.

    Returns:
        The graph inputs of the main graph that lost their last reader.

    Scope: main graph and bodies.
    Cost: O(graph).
    """
    waiting = [name for name in names if name]
    if not waiting or _read_of(model.graph, waiting).issuperset(waiting):
        return []
    readers = reader_counts(model.graph)
    for name in walk.training_names(model):
        readers[name] = readers.get(name, 0) + 1
    makers = {name: node for node in walk.nodes(model.graph) for name in node.output[:] if name}
    dead: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in dead or readers.get(name, 0) > 0:
            continue
        node = makers.get(name)
        if node is None:
            dead.add(name)
        elif all(readers.get(output, 0) == 0 for output in node.output if output):
            dead.update(output for output in node.output if output)
            for read in dict.fromkeys(walk.reads(node)):
                readers[read] -= list(node.input).count(read) or 1
                waiting.append(read)
    for graph in walk.graphs(model.graph):
        if not dead.isdisjoint(walk.defined_names(graph)):
            _remove(graph, dead)
    return [value.name for value in model.graph.input if value.name in dead]


def _read_of(graph: onnx.GraphProto, names: Iterable[str]) -> set[str]:
    """Those of some values that nodes still read, or that are outputs of a graph."""
    asked = set(names)
    found: set[str] = set()
    for scope in walk.graphs(graph):
        found.update(asked.intersection([output.name for output in scope.output]))
        found.update(asked.intersection(chain.from_iterable(inputs_of(scope.node))))
    return found


def reader_counts(graph: onnx.GraphProto) -> Counter[str]:
    """How often each value is read: by nodes, in bodies too, and as an output of any graph. Cost: O(graph)."""
    count = Counter[str]()
    for scope in walk.graphs(graph):
        count.update(chain.from_iterable(inputs_of(scope.node)))
        count.update([output.name for output in scope.output])
    return count


def _remove(graph: onnx.GraphProto, dead: set[str]) -> None:
    inputs = {value.name for value in graph.input}
    made = outputs_of(graph.node)
    delete_nodes(graph, {position for position, names in enumerate(made) if not dead.isdisjoint(names)})
    keep(graph.initializer, lambda tensor: tensor.name not in dead or tensor.name in inputs)
    keep(graph.sparse_initializer, lambda sparse: sparse.values.name not in dead or sparse.values.name in inputs)
    keep(graph.value_info, lambda value: value.name not in dead or value.name in inputs)


def keep(entries: Any, wanted: Callable[[Any], bool]) -> None:
    """Take out of a repeated field what is not wanted. Changes it. Cost: O(entries), and again for each that goes."""
    for position in range(len(entries) - 1, -1, -1):
        if not wanted(entries[position]):
            del entries[position]

"""rename: give values and nodes other names, wherever they are written."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from graphkit.edit.renaming import rename_declarations, rename_in_node
from graphkit.errors import NameTakenError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.model import Model
from graphkit.operation import Edit, operation


@operation(law="same", valid=False)
def rename(model: Model, *, values: Mapping[str, str] | None = None, nodes: Mapping[str, str] | None = None) -> Edit:
    """Give values (inputs, outputs, initializers and what is between) and nodes other names.

    Every place that names a value follows: consumers, bodies that capture it, value_info, quantization annotations,
    training algorithms and their bindings, sharding specs.

    Args:
        model: A path, a ModelProto or a Model; it is not changed.
        values: old name -> new name. Two values may swap their names.
        nodes: old name -> new name, for nodes of the main graph.

    Raises:
        NameNotFoundError: No value or node has an old name, or several nodes have it.
        NameTakenError: Another value (in any scope) has a value's new name already, or another node has a node's, or
            two get the same.
        ValueError: A new name is empty, or there is none.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing; returns a new model over the same bytes.
    Scope: Values and nodes of the main graph; what bodies capture follows. Names inside of bodies stay.
    Cost: O(graph); weights are not read.
    """
    values, nodes = dict(values or {}), dict(nodes or {})
    if not values and not nodes:
        raise ValueError("rename needs at least one old and new name")
    proto = model.copy_proto()
    index = GraphIndex(proto.graph)
    for name in values:
        index.require(name)
    positions = {index.node_named(old): new for old, new in nodes.items()}
    names = [Names(graph) for graph in (proto.graph, *(training.algorithm for training in proto.training_info))]
    _check_new_names("value", values, set().union(*(n.values for n in names)))
    _check_new_names("node", nodes, set().union(*(n.nodes for n in names)))
    for position, new in positions.items():
        index.nodes[position].name = new
    if values:
        _rename_values(proto.graph, values)
        for training in proto.training_info:
            _rename_in_training(training, values)
    return Edit(proto)


def _check_new_names(kind: str, table: Mapping[str, str], taken: set[str]) -> None:
    taken = taken - table.keys()
    for old, new in table.items():
        if not new:
            raise ValueError(f"the new name of {old!r} is empty")
        if new in taken:
            raise NameTakenError(
                f"{old!r} cannot become {new!r}: a {kind} of the model has that name already", name=new
            )
        taken.add(new)


def _rename_values(graph: onnx.GraphProto, table: Mapping[str, str]) -> None:
    """In a graph and in what its bodies see of it."""
    waiting = [(graph, table)]
    while waiting:
        scope, visible = waiting.pop()
        rename_declarations(scope, visible)
        for node in scope.node:
            rename_in_node(node, visible)
            for body in walk.bodies(node):
                seen = {old: visible[old] for old in visible.keys() - walk.defined_names(body)}
                if seen:
                    waiting.append((body, seen))


def _rename_in_training(training: onnx.TrainingInfoProto, table: Mapping[str, str]) -> None:
    """The algorithm is one graph with the main graph and sees its names; so do the bindings (onnx.in.proto)."""
    seen = {old: table[old] for old in table.keys() - walk.defined_names(training.algorithm)}
    if walk.free_names(training.algorithm):
        _rename_values(training.algorithm, seen)
    for entry in training.initialization_binding:
        entry.key = seen.get(entry.key, entry.key)
    for entry in training.update_binding:
        entry.key = seen.get(entry.key, entry.key)
        entry.value = seen.get(entry.value, entry.value)

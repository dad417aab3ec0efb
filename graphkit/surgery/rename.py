"""rename: give values and nodes other names, wherever they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from graphkit.errors import NameTakenError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.model import Model, ModelLike
from graphkit.storage.load import as_model


def rename(
    model: ModelLike, *, values: Mapping[str, str] | None = None, nodes: Mapping[str, str] | None = None
) -> Model:
    """Give values (inputs, outputs, initializers and what is between) and nodes other names.

    Every place that names a value follows: consumers, bodies that capture it, value_info, quantization annotations,
    training bindings, sharding specs.

    Args:
        model: A path, a ModelProto or a Model; it is not changed.
        values: old name -> new name. Two values may swap their names.
        nodes: old name -> new name, for nodes of the main graph.

    Raises:
        NameNotFoundError: No value or node has an old name, or several nodes have it.
        NameTakenError: Another value or node has a new name already, or two get the same.
        ValueError: A new name is empty.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing; returns a new model over the same bytes.
    Scope: Values and nodes of the main graph; what bodies capture follows. Names inside of bodies stay.
    Cost: O(graph); weights are not read.
    """
    source = as_model(model)
    values, nodes = dict(values or {}), dict(nodes or {})
    proto = source.copy_proto()
    index = GraphIndex(proto.graph)
    for name in values:
        index.require(name)
    positions = {index.node_named(old): new for old, new in nodes.items()}
    _check_new_names(proto.graph, {**values, **nodes})
    for position, new in positions.items():
        index.nodes[position].name = new
    if values:
        _rename_values(proto.graph, values)
        _rename_bindings(proto, values)
    arguments = {key: table for key, table in (("values", values), ("nodes", nodes)) if table}
    return source.edited(proto, "rename", arguments)


def _check_new_names(graph: onnx.GraphProto, table: Mapping[str, str]) -> None:
    taken = Names(graph).taken - table.keys()
    for old, new in table.items():
        if not new:
            raise ValueError(f"the new name of {old!r} is empty")
        if new in taken:
            raise NameTakenError(f"{old!r} cannot become {new!r}: the graph has that name already", name=new)
        taken.add(new)


def _rename_values(graph: onnx.GraphProto, table: Mapping[str, str]) -> None:
    for infos in (graph.input, graph.output, graph.value_info, graph.initializer):
        for info in infos:
            if info.name in table:
                info.name = table[info.name]
    for sparse in graph.sparse_initializer:
        if sparse.values.name in table:
            sparse.values.name = table[sparse.values.name]
    for annotation in graph.quantization_annotation:
        annotation.tensor_name = table.get(annotation.tensor_name, annotation.tensor_name)
        _rename_entries(annotation.quant_parameter_tensor_names, table)
    _rename_in_nodes(graph, table)


def _rename_in_nodes(graph: onnx.GraphProto, table: Mapping[str, str]) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name in table:
                    names[place] = table[name]
        for configuration in node.device_configurations:
            for spec in configuration.sharding_spec:
                spec.tensor_name = table.get(spec.tensor_name, spec.tensor_name)
        for body in walk.bodies(node):
            own = walk.defined_names(body)
            visible = {old: new for old, new in table.items() if old not in own}
            if visible:
                _rename_values(body, visible)


def _rename_bindings(proto: onnx.ModelProto, table: Mapping[str, str]) -> None:
    for training in proto.training_info:
        for entries in (training.initialization_binding, training.update_binding):
            for entry in entries:
                entry.key = table.get(entry.key, entry.key)
                entry.value = table.get(entry.value, entry.value)


def _rename_entries(entries: Iterable[onnx.StringStringEntryProto], table: Mapping[str, str]) -> None:
    for entry in entries:
        entry.value = table.get(entry.value, entry.value)

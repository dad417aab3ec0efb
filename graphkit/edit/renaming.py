"""Every place that writes a value's name, and another name in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from graphkit.graph import walk


def rename_everywhere(nodes: Iterable[onnx.NodeProto], table: Mapping[str, str]) -> None:
    """In nodes and in their bodies at any depth, whoever defines a name there. Changes the nodes. Cost: O(nodes)."""
    for node in nodes:
        rename_in_node(node, table)
        for body in walk.nested([node]) if node.attribute else ():
            rename_declarations(body, table)
            for inner in body.node:
                rename_in_node(inner, table)


def rename_in_tree(graph: onnx.GraphProto, table: Mapping[str, str]) -> None:
    """In a graph and in all its bodies, whoever defines a name there. Changes the graph. Cost: O(nodes)."""
    rename_declarations(graph, table)
    rename_everywhere(graph.node, table)


def rename_declarations(graph: onnx.GraphProto, table: Mapping[str, str]) -> None:
    """In what a graph itself declares: inputs, outputs, value_info, weights, annotations. Changes the graph."""
    for infos in (graph.input, graph.output, graph.value_info, graph.initializer):
        for info in infos:
            if info.name in table:
                info.name = table[info.name]
    for sparse in graph.sparse_initializer:
        if sparse.values.name in table:
            sparse.values.name = table[sparse.values.name]
    for annotation in graph.quantization_annotation:
        if annotation.tensor_name in table:
            annotation.tensor_name = table[annotation.tensor_name]
        for entry in annotation.quant_parameter_tensor_names:
            if entry.value in table:
                entry.value = table[entry.value]


def rename_in_node(node: onnx.NodeProto, table: Mapping[str, str]) -> None:
    """In what a node itself names: inputs, outputs, sharding, attributes that name values; not in its bodies. Changes the
    node.
    """
    for names in (node.input, node.output):
        for place, name in enumerate(names):
            if name in table:
                names[place] = table[name]
    for configuration in node.device_configurations:
        for spec in configuration.sharding_spec:
            if spec.tensor_name in table:
                spec.tensor_name = table[spec.tensor_name]
    for attribute in walk.naming_attributes(node):
        attribute.strings[:] = [table.get(name.decode(), name.decode()).encode() for name in attribute.strings]
        if attribute.s:
            attribute.s = table.get(attribute.s.decode(), attribute.s.decode()).encode()


def values_prefix(function: onnx.FunctionProto) -> str:
    """What the main graph's value_info has in front of a function's values, where they are declared before IR version 10."""
    return f"{function.domain}::{function.name}/"


def rename_function(model: onnx.ModelProto, function: onnx.FunctionProto, name: str) -> None:
    """Give a function another name, and what declares its values too; who calls it is left alone. Changes the model."""
    before = values_prefix(function)
    function.name = name
    for info in model.graph.value_info:
        if info.name.startswith(before):
            info.name = values_prefix(function) + info.name[len(before) :]

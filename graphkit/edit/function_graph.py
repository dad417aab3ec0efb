"""A function as a main graph, for edits that work on graphs, and back: its weights are Constant nodes again.

A function has no types of its own: what its inputs are differs from call to call, so nothing is declared of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from graphkit.edit.nodes import set_nodes
from graphkit.graph import order, walk
from graphkit.graph.opset import canonical
from graphkit.graph.values import is_constant_node


def refers(node: onnx.NodeProto) -> bool:
    """Whether a node takes an attribute from the call of the function that it is in."""
    return any(attribute.ref_attr_name for attribute in node.attribute)


def as_model(model: onnx.ModelProto, function: onnx.FunctionProto) -> onnx.ModelProto:
    """A function as a model of its own: its nodes are copies, its inputs and outputs have no types, calls stay calls.

    Cost: O(nodes of the function).
    """
    whole = onnx.ModelProto(ir_version=model.ir_version, opset_import=function.opset_import)
    whole.graph.name = function.name
    whole.graph.input.extend(onnx.ValueInfoProto(name=name) for name in function.input)
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in function.output)
    whole.graph.node.extend(function.node)
    return whole


def take_back(model: onnx.ModelProto, function: onnx.FunctionProto, whole: onnx.ModelProto) -> None:
    """Make the graph of ``as_model``, which was changed, the function's body again. Changes the function and the model.

    Constant nodes that were there stay as they are, new constants are Constant nodes, and nodes stand where they stood.

    Cost: O(nodes of the function).
    """
    graph = whole.graph
    place = {name: position for position, node in enumerate(function.node) for name in node.output if name}
    entries = list(_entries(function, graph, place))
    last = -1
    keys: list[int] = []
    for node in entries:
        last = next((place[name] for name in node.output if name in place), last)
        keys.append(last)
    nodes = [entries[number] for number in sorted(range(len(entries)), key=keys.__getitem__)]
    if not order.is_ordered(nodes):
        nodes = [nodes[position] for position in order.topological_order(nodes)]
    holder = onnx.GraphProto()
    set_nodes(holder, nodes)
    del function.node[:]
    function.node.extend(holder.node)
    made = {name for node in nodes for name in node.output} | {*function.input}
    for position in range(len(function.value_info) - 1, -1, -1):
        if function.value_info[position].name not in made:
            del function.value_info[position]
    _import(model, function, whole)


def _entries(function: onnx.FunctionProto, graph: onnx.GraphProto, place: dict[str, int]) -> Iterator[onnx.NodeProto]:
    """The nodes, constants first."""
    for tensor in graph.initializer:
        was = function.node[place[tensor.name]] if tensor.name in place else None
        if was is not None and is_constant_node(was):
            yield was
        else:
            value = onnx.TensorProto()
            value.CopyFrom(tensor)
            value.ClearField("name")
            yield onnx.helper.make_node("Constant", [], [tensor.name], value=value)
    yield from graph.node


def _import(model: onnx.ModelProto, function: onnx.FunctionProto, whole: onnx.ModelProto) -> None:
    """Import what new nodes need."""
    known = {canonical(entry.domain) for entry in function.opset_import}
    imported = {canonical(entry.domain) for entry in model.opset_import}
    for entry in whole.opset_import:
        if canonical(entry.domain) not in known:
            function.opset_import.add().CopyFrom(entry)
            if canonical(entry.domain) not in imported:
                model.opset_import.add().CopyFrom(entry)


def refers_anywhere(graph: onnx.GraphProto) -> bool:
    """Whether a node of a function's graph, or of a body in it, takes an attribute from the call."""
    return any(refers(node) for node in walk.nodes(graph) if node.attribute)

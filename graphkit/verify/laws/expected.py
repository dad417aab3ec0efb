"""What a step should have made of the model before it, written down plainly: the change that was asked for and nothing else.

Nothing is made nice here: no name is kept, no type is declared, no node goes that nobody needs any more. A body is a call
of a function, a node that goes is an Identity in its place, so that what runs is as simple as what the step says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from graphkit.edit.attributes import attribute_for, replace_attribute
from graphkit.edit.body import FUNCTIONS_SINCE_IR, Body, fit, read_body
from graphkit.edit.inserting import chosen_readers, read_inside
from graphkit.edit.model_fields import import_domain
from graphkit.edit.new_values import array_of, dtype_of, fitted, loaded, weight_at
from graphkit.edit.readers import read_instead
from graphkit.edit.weights_out import fill, strip
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses, Found, Site
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.graph.opset import opset_of
from graphkit.graph.order import sort_nodes
from graphkit.graph.upstream import upstream
from graphkit.graph.values import dims, tensor_type
from graphkit.model import Model
from graphkit.verify.laws.loose import loosened

DOMAIN = "graphkit.expected"
"""The domain of the function that a body is."""


def inserted(before: Model, arguments: Mapping[str, Any]) -> Model:
    """A call of the body behind each value, and its readers on the call's result.

    Further outputs of the body are outputs of the graph, behind the old ones, where the value is one.
    """
    proto = before.copy_proto()
    body = read_body(arguments.get("function"), arguments.get("body_model"), opset_of(proto))
    fit(body, proto)
    addresses = Addresses(proto)
    found = addresses.values(arguments["at"], regex=bool(arguments.get("regex")), made=True)
    chosen = chosen_readers(addresses, found, arguments.get("readers"))
    _add_function(proto, body)
    names = Names(proto.graph, *(onnx.GraphProto(node=function.node) for function in proto.functions))
    calls = []
    for group in [found] if len(body.inputs) > 1 else [[each] for each in found]:
        site = group[0].site
        _retype_inputs(proto, body, group)
        wires = [_wired(each, names, None if chosen is None else chosen.get(id(site), set())) for each in group]
        if chosen is not None:
            for each, (_, result) in zip(group, wires, strict=True):
                read_inside(addresses.sites, site, {each.name: result}, chosen)
        gives = [give for _, give in wires]
        for formal in body.outputs[len(group) :]:
            gives.append(names.fresh(formal))
            if site is addresses.main and gives[0] == group[0].name:
                proto.graph.output.add(name=gives[-1])
        calls.append((site, onnx.helper.make_node("Body", [read for read, _ in wires], gives, domain=DOMAIN)))
    for site, call in calls:
        site.holder.node.append(call)
    return _finished(before, proto, addresses)


def _add_function(proto: onnx.ModelProto, body: Body) -> None:
    """The body as a function of the model. Changes the model."""
    graph = body.model.graph
    make = onnx.helper.make_node
    nodes = [make("Constant", [], [tensor.name], value=tensor) for tensor in graph.initializer]
    nodes += [make("Constant", [], [held.values.name], sparse_value=held) for held in graph.sparse_initializer]
    names = Names(graph)
    outputs = [names.fresh(f"{name}_out") for name in body.outputs]
    nodes += graph.node
    nodes += [make("Identity", [name], [out]) for name, out in zip(body.outputs, outputs, strict=True)]
    proto.opset_import.add(domain=DOMAIN, version=1)
    proto.ir_version = max(proto.ir_version, FUNCTIONS_SINCE_IR)
    proto.functions.append(onnx.helper.make_function(DOMAIN, "Body", body.inputs, outputs, nodes, proto.opset_import))
    for function in proto.functions:
        if DOMAIN not in {entry.domain for entry in function.opset_import}:
            function.opset_import.add(domain=DOMAIN, version=1)


def _retype_inputs(proto: onnx.ModelProto, body: Body, group: Sequence[Found]) -> None:
    """Inputs of the graph have the types that the body declares for its own. Changes the model."""
    for each, formal in zip(group, body.inputs, strict=True):
        declared = body.declared(formal)
        for value in proto.graph.input:
            if declared is not None and each.site.graph is proto.graph and value.name == each.name:
                own = dims(value.type)
                value.type.CopyFrom(declared)
                if declared.HasField("tensor_type") and dims(declared) is None:
                    value.type.CopyFrom(tensor_type(declared.tensor_type.elem_type, own))


def _wired(each: Found, names: Names, chosen: set[int | str] | None) -> tuple[str, str]:
    """(what the call reads, what it makes) at a value; its readers are given the result. Changes the site."""
    site, name = each.site, each.name
    readers = None if chosen is None else {reader for reader in chosen if isinstance(reader, int)}
    if name not in site.outputs or (chosen is not None and name not in chosen):
        result = names.fresh(f"{name}_result")
        read_instead(site.nodes, {name: result}, only=readers)
        return name, result
    behind = names.fresh(f"{name}_given")
    if readers is not None:
        read_instead(site.nodes, {name: behind}, skipped=readers)
    maker = site.nodes[site.producer[name]]
    maker.output[:] = [behind if output == name else output for output in maker.output]
    return behind, name


def removed(before: Model, arguments: Mapping[str, Any]) -> Model:
    """An Identity in the place of each node; inputs that are nobody's operand, and outputs that are none."""
    proto = before.copy_proto()
    nodes, inputs, outputs = (arguments.get(what) or () for what in ("nodes", "inputs", "outputs"))
    addresses = Addresses(proto)
    for each in addresses.nodes(nodes, regex=bool(arguments.get("regex"))):
        node = each.node
        if node.input and node.input[0]:
            node.CopyFrom(onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]], name=node.name))
    for node in walk.nodes(proto.graph):
        node.input[:] = ["" if name in inputs else name for name in node.input]
        while node.input and not node.input[-1]:
            node.input.pop()
    for entries, names in (
        (proto.graph.input, inputs),
        (proto.graph.initializer, inputs),
        (proto.graph.output, outputs),
    ):
        for place in range(len(entries) - 1, -1, -1):
            if entries[place].name in names:
                del entries[place]
    index = GraphIndex(proto.graph)
    needed = upstream(index, [value.name for value in proto.graph.output]).nodes
    for place in range(len(proto.graph.node) - 1, -1, -1):
        if place not in needed:  # it would run on whatever it is fed
            del proto.graph.node[place]
    return _finished(before, proto, addresses)


def with_parts(before: Model, arguments: Mapping[str, Any]) -> Model:
    """Attributes, operands, weights and imports as they were to be set."""
    proto = before.copy_proto()
    addresses = Addresses(proto)
    opset = opset_of(proto)
    for address, value in (arguments.get("attributes") or {}).items():
        owner, _, name = address.rpartition(":")
        node = addresses.node(owner).node
        replace_attribute(node, attribute_for(node, name, value, opset, proto.functions))
    for address in _listed(arguments.get("clear")):
        owner, _, name = address.rpartition(":")
        if owner:
            node = addresses.node(owner).node
            kept = [attribute for attribute in node.attribute if attribute.name != name]
            del node.attribute[:]
            node.attribute.extend(kept)
    for address, value in (arguments.get("operands") or {}).items():
        _set_operand(before.proto, addresses, address, value)
    for name, value in (arguments.get("tensors") or {}).items():
        tensor = weight_at(addresses.value(name, "weight"))
        array = fitted(name, tensor, loaded(name, value))
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(array), tensor.name))
    for domain, version in (arguments.get("opset_import") or {}).items():
        import_domain(proto, domain, version)
    if arguments.get("strip_weights") and arguments.get("fill_weights"):
        strip(proto)
    if arguments.get("fill_weights"):
        fill(proto, arguments["fill_weights"])
    return _finished(before, proto, addresses)


def _listed(given: Any) -> list[str]:
    return [given] if isinstance(given, str) else list(given or ())


def _set_operand(old: onnx.ModelProto, addresses: Addresses, address: str, value: Any) -> None:
    owner, _, place = address.rpartition(":")
    found = addresses.node(owner)
    node, at = found.node, int(place)
    node.input.extend([""] * (at + 1 - len(node.input)))
    name = value
    if not isinstance(value, str) or not (value == "" or _visible(found.site, value)):
        array = array_of(value, dtype_of(old, found.site, node.input[at]))
        name = Names(addresses.main.graph or onnx.GraphProto()).fresh(f"{address}_operand")
        made = onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array))
        found.site.holder.node.append(made)
    node.input[at] = name
    while node.input and not node.input[-1]:
        node.input.pop()


def _visible(site: Site | None, name: str) -> bool:
    while site is not None:
        if site.has(name):
            return True
        site = site.outer
    return False


def _finished(before: Model, proto: onnx.ModelProto, addresses: Addresses) -> Model:
    """The model, its nodes in order, that declares no type but those of its inputs."""
    for site in reversed(addresses.sites):  # bodies before those who hold them, which are written again
        sort_nodes(site.holder)
    loose = loosened(Model(proto, before.sources, path=before.path), ())
    for graph in walk.graphs(loose.proto.graph):
        for value in graph.output:
            if value.type.HasField("tensor_type"):
                value.ClearField("type")
    for function in loose.proto.functions:
        del function.value_info[:]
    return loose

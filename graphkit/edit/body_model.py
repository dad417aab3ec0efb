"""A body of If, Loop or Scan as a model of its own: what it captures comes along, or is fed."""

from __future__ import annotations

import onnx

from graphkit.graph import walk
from graphkit.graph.addresses import Addresses, Site
from graphkit.graph.values import is_constant_node
from graphkit.shapes.inference import inferred


def body_model(proto: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """A body as a main graph, with the model's functions and fields.

    Its inputs are those of the body, then the values that it captures; constants that it captures come along.

    Args:
        proto: The whole.
        prefix: What stands before the names of the body in their addresses.

    Cost: O(graph), and one shape inference; weights are not read.
    """
    site = next(site for site in Addresses(proto).sites if site.prefix == prefix)
    typed = next(site for site in Addresses(inferred(proto)).sites if site.prefix == prefix)
    return alone(proto, site, typed)


def alone(proto: onnx.ModelProto, site: Site, typed: Site) -> onnx.ModelProto:
    """``body_model`` of a place that is known, and of the same place in the model with inferred types.

    Cost: O(body).
    """
    assert site.graph is not None
    whole = onnx.ModelProto()
    for field, value in proto.ListFields():
        if field.name in ("graph", "training_info"):
            continue
        if field.is_repeated:
            getattr(whole, field.name).extend(value)
        else:
            setattr(whole, field.name, value)
    graph = whole.graph
    graph.CopyFrom(site.graph)
    for value in (*graph.input, *graph.output):
        if not value.HasField("type") and (known := _type(typed, value.name)) is not None:
            value.type.CopyFrom(known)
    captured = walk.free_names(site.graph)
    constants: list[onnx.NodeProto] = []
    for name in captured:
        if not _take_constant(site, name, graph, constants):
            known = _type(typed, name)
            graph.input.append(onnx.ValueInfoProto(name=name, type=known))
    if constants:
        nodes = [*constants, *graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
    return whole


def _around(site: Site) -> list[Site]:
    found = []
    outer = site.outer
    while outer is not None:
        found.append(outer)
        outer = outer.outer
    return found


def _type(site: Site, name: str) -> onnx.TypeProto | None:
    """The type that a body or a graph around it declares for a value."""
    return next((one.types[name] for one in (site, *_around(site)) if name in one.types), None)


def _take_constant(site: Site, name: str, graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> bool:
    """Copy a constant of a graph around a body into it; False where the value is none."""
    for outer in _around(site):
        if not outer.has(name):
            continue
        position = outer.producer.get(name)
        if position is not None:
            if is_constant_node(outer.nodes[position]):
                nodes.append(outer.nodes[position])
                return True
            return False
        if name in outer.inputs or outer.graph is None:
            return False
        for tensor in outer.graph.initializer:
            if tensor.name == name:
                graph.initializer.add().CopyFrom(tensor)
        for sparse in outer.graph.sparse_initializer:
            if sparse.values.name == name:
                graph.sparse_initializer.add().CopyFrom(sparse)
        return True
    return False

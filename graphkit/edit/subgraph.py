"""Pieces of a graph as models of their own: some nodes, what they read as inputs, what is wanted of them as outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx

from graphkit.graph.index import GraphIndex
from graphkit.graph.values import is_constant_node
from graphkit.model import Model


def piece(
    model: Model,
    index: GraphIndex,
    positions: Iterable[int],
    inputs: Mapping[str, onnx.TypeProto],
    outputs: Sequence[str],
    renamed: Mapping[str, str] | None = None,
) -> Model:
    """Some nodes of a main graph as a model.

    Args:
        model: The whole.
        index: Its main graph.
        positions: The nodes, in an order in which they can run.
        inputs: Value -> type: what is fed.
        outputs: Values to give, by their new names where they are renamed.
        renamed: Value -> the name that the node which makes it is to give it; readers keep reading the old name.

    Returns:
        The piece. Constants that its nodes read come along, functions too.

    Cost: O(nodes of the piece); weights are not read.
    """
    proto = onnx.ModelProto(ir_version=model.proto.ir_version, opset_import=model.proto.opset_import)
    proto.functions.extend(model.proto.functions)
    graph = proto.graph
    graph.name = model.proto.graph.name or "piece"
    chosen = list(positions)
    _add_constants(graph, index, chosen, inputs)
    new_names = renamed or {}
    for position in chosen:
        node = graph.node.add()
        node.CopyFrom(index.nodes[position])
        for at, name in enumerate(node.output):
            if name in new_names:
                node.output[at] = new_names[name]
    for name, type_proto in inputs.items():
        graph.input.add(name=name).type.CopyFrom(type_proto)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    return Model(proto, model.sources, path=model.path)


def _add_constants(
    graph: onnx.GraphProto, index: GraphIndex, positions: Sequence[int], inputs: Mapping[str, onnx.TypeProto]
) -> None:
    """The initializers that nodes read, and the Constant nodes that are not among them."""
    own = set(positions)
    done: set[str] = set(inputs)
    for position in positions:
        for name in index.reads(position):
            if name in done:
                continue
            done.add(name)
            if (tensor := index.initializers.get(name)) is not None:
                graph.initializer.add().CopyFrom(tensor)
            elif (sparse := index.sparse_initializers.get(name)) is not None:
                graph.sparse_initializer.add().CopyFrom(sparse)
            elif (
                (maker := index.producer.get(name)) is not None
                and maker not in own
                and is_constant_node(index.nodes[maker])
            ):
                graph.node.add().CopyFrom(index.nodes[maker])

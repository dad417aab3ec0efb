"""What values are computed from, whatever the names of nodes and inner values are and in whatever order nodes stand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx

from graphkit.graph import walk
from graphkit.graph.order import topological_order
from graphkit.graph.ports import input_ports
from graphkit.model import Model

CHUNK = 1 << 24
"""Bytes of a weight that are digested at a time."""


def unchanged(before: Model, after: Model) -> set[str]:
    """Values of the main graph whose name and whole computation stand in both models, which share their files.

    Cost: O(graph); weights that lie in a file are the same where they lie at the same place.
    """
    old, new = computations(before, read=False), computations(after, read=False)
    return {name for name, how in new.items() if old.get(name) == how}


def computations(model: Model, inputs: Mapping[str, str] | None = None, *, read: bool = True) -> dict[str, bytes]:
    """Value of the main graph -> a digest of all that it is computed from: operators, attributes, weights, inputs.

    Args:
        model: The model.
        inputs: Input -> what to take for its name.
        read: Digest the bytes of weights that lie in files; else the place where they lie.

    Raises:
        InvalidGraphError: Nodes read from each other in a cycle.
        WeightsError: Bytes are not at hand.

    Cost: O(graph), and O(weights) with ``read``.
    """
    proto = model.proto
    work = _Digests(model, read=read)
    known: dict[str, bytes] = {}
    for name in input_ports(proto):
        known[name] = _digest(b"input", (inputs or {}).get(name, name).encode())
    return work.graph(proto.graph, known)


class _Digests:
    """Digests of one model's values."""

    def __init__(self, model: Model, *, read: bool) -> None:
        self._model = model
        self._read = read
        opsets = sorted((entry.domain, entry.version) for entry in model.proto.opset_import)
        self._base = repr(opsets).encode()
        self._base = _digest(self._base, *sorted(map(self._function, model.proto.functions)))

    def _function(self, function: onnx.FunctionProto) -> bytes:
        known = {name: _digest(b"formal", str(place).encode()) for place, name in enumerate(function.input)}
        self._nodes(function.node, known)
        opsets = sorted((entry.domain, entry.version) for entry in function.opset_import)
        said = repr((walk.function_key(function), list(function.attribute), opsets)).encode()
        defaults = [_plain(attribute) for attribute in function.attribute_proto]
        return _digest(said, *defaults, *(known.get(name, b"") for name in function.output))

    def graph(self, graph: onnx.GraphProto, known: dict[str, bytes]) -> dict[str, bytes]:
        """What ``known`` says of the values around a graph and of its inputs, with those of the graph. Changes it."""
        for tensor in graph.initializer:
            known[tensor.name] = _digest(b"weight", known.get(tensor.name, b""), self._weight(tensor))
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            parts = [self._weight(tensor) for tensor in (sparse.values, sparse.indices)]
            known[name] = _digest(b"sparse", known.get(name, b""), repr(list(sparse.dims)).encode(), *parts)
        self._nodes(graph.node, known)
        return known

    def _nodes(self, nodes: Sequence[onnx.NodeProto], known: dict[str, bytes]) -> None:
        for position in topological_order(nodes):
            node = nodes[position]
            how = self._node(node, known)
            known.update({name: _digest(how, str(at).encode()) for at, name in enumerate(node.output) if name})

    def _node(self, node: onnx.NodeProto, known: dict[str, bytes]) -> bytes:
        read = [known.get(name, name.encode()) for name in node.input]
        parts = [self._attribute(attribute, known) for attribute in sorted(node.attribute, key=lambda one: one.name)]
        return _digest(self._base, repr(walk.call_key(node)).encode(), *read, b"attributes", *parts)

    def _attribute(self, attribute: onnx.AttributeProto, known: dict[str, bytes]) -> bytes:
        bodies = [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
        if not bodies:
            return _plain(attribute)
        return _digest(attribute.name.encode(), *(self._body(body, known) for body in bodies))

    def _body(self, body: onnx.GraphProto, around: Mapping[str, bytes]) -> bytes:
        known = dict(around)
        for place, value in enumerate(body.input):
            known[value.name] = _digest(b"taken", str(place).encode(), value.type.SerializeToString(deterministic=True))
        made = self.graph(body, known)
        return _digest(*(made.get(value.name, b"") for value in body.output))

    def _weight(self, tensor: onnx.TensorProto) -> bytes:
        said = repr((tensor.data_type, list(tensor.dims))).encode()
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            bare = onnx.TensorProto()
            bare.CopyFrom(tensor)
            for field in ("name", "doc_string", "metadata_props", "raw_data"):
                bare.ClearField(field)
            return _digest(said, _chunked([tensor.raw_data]) + bare.SerializeToString(deterministic=True))
        source, offset, length = self._model.locate(tensor)
        if not self._read:
            return _digest(said, repr((source.name, offset, length)).encode())
        ends = range(offset, offset + length, CHUNK)
        data = _chunked(source.read(at, min(CHUNK, offset + length - at)) for at in ends)
        bare = onnx.TensorProto(data_type=tensor.data_type, dims=tensor.dims)
        return _digest(said, data + bare.SerializeToString(deterministic=True))


def _chunked(pieces: Iterable[Any]) -> bytes:
    made = hashlib.sha256()
    for piece in pieces:
        made.update(piece)
    return made.digest()


def _plain(attribute: onnx.AttributeProto) -> bytes:
    bare = onnx.AttributeProto()
    bare.CopyFrom(attribute)
    bare.ClearField("doc_string")
    return bare.SerializeToString(deterministic=True)


def _digest(*parts: bytes) -> bytes:
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.digest()

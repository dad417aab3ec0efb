"""Which values of an edited model are computed as they were: by the same nodes, of the same weights and inputs."""

from __future__ import annotations

import hashlib

import onnx

from graphkit.graph import walk
from graphkit.graph.ports import input_ports
from graphkit.model import Model


def unchanged(before: Model, after: Model) -> set[str]:
    """Values of the main graph whose name and whole computation stand in both models.

    Cost: O(graph); weights that lie in a file are the same where they lie at the same place.
    """
    old, new = _computations(before), _computations(after)
    return {name for name, how in new.items() if old.get(name) == how}


def _computations(model: Model) -> dict[str, bytes]:
    """Value -> a digest of all that it is computed from."""
    proto = model.proto
    opsets = sorted((entry.domain, entry.version) for entry in proto.opset_import)
    functions = sorted(function.SerializeToString(deterministic=True) for function in proto.functions)
    base = hashlib.sha256(repr((opsets, functions)).encode()).digest()
    found = {name: _digest(base, b"input", name.encode()) for name in input_ports(proto)}
    for tensor in proto.graph.initializer:
        found[tensor.name] = _digest(base, b"weight", found.get(tensor.name, b""), _bytes_of(model, tensor))
    for sparse in proto.graph.sparse_initializer:
        found[sparse.values.name] = _digest(base, b"sparse", sparse.SerializeToString(deterministic=True))
    for node in proto.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("name")
        copy.ClearField("doc_string")
        copy.ClearField("metadata_props")
        read = [found.get(name, name.encode()) for name in walk.reads(node)]
        how = _digest(base, copy.SerializeToString(deterministic=True), *read)
        found.update({name: _digest(how, str(at).encode()) for at, name in enumerate(node.output) if name})
    return found


def _bytes_of(model: Model, tensor: onnx.TensorProto) -> bytes:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return tensor.SerializeToString(deterministic=True)
    source, offset, length = model.locate(tensor)
    return repr((source.name, offset, length, tensor.data_type, list(tensor.dims))).encode()


def _digest(*parts: bytes) -> bytes:
    made = hashlib.sha256()
    for part in parts:
        made.update(len(part).to_bytes(8, "little"))
        made.update(part)
    return made.digest()

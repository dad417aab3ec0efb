"""What the nodes of each torch module read of the weights, told from the skeleton."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import onnx

from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.tensor import stored_bytes

NO_PARAMETER = frozenset((onnx.TensorProto.INT64, onnx.TensorProto.BOOL, onnx.TensorProto.STRING))
"""Types of sizes, axes, indices, masks and texts."""


class Held(NamedTuple):
    """What some nodes hold.

    Attributes:
        bytes: Bytes of every tensor that they read or have in an attribute or a body.
        parameters: Elements of those that are weights: initializers of one axis or more, of another type than int64, bool
            and string, which are sizes, axes, indices and masks.
    """

    bytes: int
    parameters: int


def module_weights(index: GraphIndex, modules: Mapping[str, Sequence[int]]) -> dict[str, Held]:
    """What the nodes of each module hold; a weight that several of its nodes read counts once.

    A weight that goes through nodes without a path first (a Transpose that an optimizer left) counts where it arrives.

    Args:
        index: The graph.
        modules: Path -> positions of its nodes, as ``graphkit.graph.module_paths.modules`` gives them.

    Scope: the main graph; a node counts with its bodies, a call of a function without the function.
    Cost: O(nodes x depth of modules); weights are not read.
    """
    held = list(_held(index, {position for positions in modules.values() for position in positions}))
    found = {}
    for path, positions in modules.items():
        tensors = {key: one for position in positions for key, one in held[position].items()}
        found[path] = Held(sum(one.bytes for one in tensors.values()), sum(one.parameters for one in tensors.values()))
    return found


def _held(index: GraphIndex, placed: set[int]) -> Iterator[dict[object, Held]]:
    """For each node the tensors that it holds, each under a key of its own."""
    initializers: dict[str, Held] = {tensor.name: _weight(tensor) for tensor in index.graph.initializer}
    for sparse in index.graph.sparse_initializer:
        values = _weight(sparse.values)
        initializers[sparse.values.name] = Held(values.bytes + stored_bytes(sparse.indices), values.parameters)
    passed: dict[str, dict[object, Held]] = {}
    for position, node in enumerate(index.nodes):
        tensors: dict[object, Held] = {}
        constant = True
        for name in walk.reads(node):
            if name in initializers:
                tensors[name] = initializers[name]
            elif name in passed:
                tensors.update(passed[name])
            else:
                constant = False
        for number, tensor in enumerate(_own(node)):
            tensors[position, number] = tensor
        if constant and position not in placed:
            passed.update((name, tensors) for name in node.output if name)
        yield tensors


def _own(node: onnx.NodeProto) -> Iterator[Held]:
    """The tensors in a node's attributes and bodies."""
    for attribute in node.attribute:
        yield from (_constant(tensor) for tensor in walk.attribute_tensors(attribute))
    for body in walk.nested([node]):
        yield from (_weight(tensor) for tensor in body.initializer)
        for inner in body.node:
            for attribute in inner.attribute:
                yield from (_constant(tensor) for tensor in walk.attribute_tensors(attribute))


def _weight(tensor: onnx.TensorProto) -> Held:
    parameter = bool(tensor.dims) and tensor.data_type not in NO_PARAMETER
    return Held(stored_bytes(tensor), math.prod(tensor.dims) if parameter else 0)


def _constant(tensor: onnx.TensorProto) -> Held:
    return Held(stored_bytes(tensor), 0)

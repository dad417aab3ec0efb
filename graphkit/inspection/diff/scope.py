"""One place with nodes (the main graph, a body, a function) as ``diff`` reads it, and hashes of what its nodes compute.

The hashes know no names: what a node computes from (``up``) and what is made of its outputs (``down``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import onnx

from graphkit.errors import InvalidGraphError
from graphkit.graph import walk
from graphkit.graph.order import topological_order

if TYPE_CHECKING:
    from graphkit.graph.addresses import Holder

Key = tuple[str, str, str]
Print = Callable[[onnx.TensorProto], Any]
"""What tells tensors apart at a glance: type and dims, with or without some of the bytes."""

_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_HELD = (
    onnx.AttributeProto.TENSOR,
    onnx.AttributeProto.TENSORS,
    onnx.AttributeProto.SPARSE_TENSOR,
    onnx.AttributeProto.SPARSE_TENSORS,
)


class Scope:
    """A place with nodes. It must not change while it is in use.

    Attributes:
        holder: The graph or function.
        nodes: Its nodes.
        calls: Function of this model -> the function of the other model that it is, where that has another name.
    """

    def __init__(self, holder: Holder, calls: Mapping[Key, Key] | None = None) -> None:
        self.holder = holder
        self.nodes: list[onnx.NodeProto] = list(holder.node)
        self.calls = calls or {}

    @cached_property
    def inputs(self) -> list[str]:
        """Names of the inputs."""
        return [entry if isinstance(entry, str) else entry.name for entry in self.holder.input]

    @cached_property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return [entry if isinstance(entry, str) else entry.name for entry in self.holder.output]

    @cached_property
    def weights(self) -> dict[str, onnx.TensorProto | onnx.SparseTensorProto]:
        """Initializers by name."""
        if not isinstance(self.holder, onnx.GraphProto):
            return {}
        found: dict[str, Any] = {tensor.name: tensor for tensor in self.holder.initializer}
        found.update((sparse.values.name, sparse) for sparse in self.holder.sparse_initializer)
        return found

    @property
    def weight_names(self) -> list[str]:
        """Names of the initializers, in the file's order."""
        if not isinstance(self.holder, onnx.GraphProto):
            return []
        sparse = [held.values.name for held in self.holder.sparse_initializer]
        return [held.name for held in self.holder.initializer] + sparse

    @cached_property
    def producer(self) -> dict[str, tuple[int, int]]:
        """Value -> (position of the node that makes it, which of its outputs it is)."""
        return {name: (at, k) for at, node in enumerate(self.nodes) for k, name in enumerate(node.output) if name}

    @cached_property
    def reads(self) -> list[tuple[str, ...]]:
        """What each node reads: its inputs, omitted ones as "", and then what its bodies take from outside."""
        found = []
        for node in self.nodes:
            own = tuple(node.input)
            if any(attribute.type in _GRAPHS for attribute in node.attribute):
                own += tuple(name for name in walk.captures(node) if name not in own)
            found.append(own)
        return found

    @cached_property
    def readers(self) -> dict[str, list[tuple[int, int]]]:
        """Value -> (position of a node that reads it, at which place), ..."""
        found: dict[str, list[tuple[int, int]]] = {}
        for at, names in enumerate(self.reads):
            for port, name in enumerate(names):
                if name:
                    found.setdefault(name, []).append((at, port))
        return found

    def operator(self, at: int) -> Key:
        """(domain, operator, overload) of a node, a function under its name in the other model."""
        key = walk.call_key(self.nodes[at])
        return self.calls.get(key, key)

    def hashes(self, printed: Print, leaves: Mapping[str, Any], paired: Mapping[int, int]) -> list[dict[int, int]]:
        """Hashes of the nodes that have no partner yet: of each alone, of what it computes, of what is made of it, by position.

        Args:
            printed: What tells tensors apart.
            leaves: Inputs, outer values, and outputs as ``out:NAME`` -> what stands for them in both models.
            paired: Position of a node that has a partner -> what stands for it in both models.

        Cost: O(nodes without a partner and their edges).
        """
        places = [at for at in range(len(self.nodes)) if at not in paired]
        local = {at: hash((self.operator(at), _attributes(self.nodes[at], printed))) for at in places}
        weights: dict[str, Any] = {}
        for at in places:
            for name in self.reads[at]:
                if name in self.weights and name not in weights:
                    weights[name] = _weight(self.weights[name], printed)
        try:
            order = [places[k] for k in topological_order([self.nodes[at] for at in places])]
        except InvalidGraphError:  # a cycle; names have to do
            order = places
        up: dict[int, int] = {}
        for at in order:
            found = []
            for name in self.reads[at]:
                made = self.producer.get(name)
                if made is None:
                    found.append(weights.get(name) or leaves.get(name))
                else:
                    found.append(
                        ("pair", paired[made[0]], made[1]) if made[0] in paired else (up.get(made[0]), made[1])
                    )
            up[at] = hash((local[at], tuple(found)))
        return [local, up, self._down(order, local, weights, leaves, paired)]

    def _down(
        self,
        order: Sequence[int],
        local: Mapping[int, int],
        weights: Mapping[str, Any],
        leaves: Mapping[str, Any],
        paired: Mapping[int, int],
    ) -> dict[int, int]:
        down: dict[int, int] = {}
        for at in reversed(order):
            makes = []
            for name in self.nodes[at].output:
                uses = [
                    (1, paired[reader], port) if reader in paired else (0, down.get(reader, 0), port)
                    for reader, port in self.readers.get(name, ())
                ]
                makes.append((tuple(sorted(uses)), leaves.get(f"out:{name}")))
            down[at] = hash((local[at], tuple(weights.get(name) for name in self.reads[at]), tuple(makes)))
        return down


def _weight(tensor: onnx.TensorProto | onnx.SparseTensorProto, printed: Print) -> Any:
    if isinstance(tensor, onnx.SparseTensorProto):
        return (tuple(tensor.dims), printed(tensor.values), printed(tensor.indices))
    return printed(tensor)


def _attributes(node: onnx.NodeProto, printed: Print) -> frozenset[Any]:
    found: list[Any] = []
    for attribute in node.attribute:
        if attribute.type in _GRAPHS:
            bodies = [attribute.g, *attribute.graphs]
            found.append((attribute.name, tuple(inner.op_type for body in bodies for inner in walk.nodes(body))))
        elif attribute.type in _HELD:
            found.append((attribute.name, tuple(printed(tensor) for tensor in walk.attribute_tensors(attribute))))
        else:
            found.append((attribute.name, attribute.SerializeToString(deterministic=True)))
    return frozenset(found)

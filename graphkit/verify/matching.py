"""Which value of one graph is which value of another: by name, and after rewriting by structure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from graphkit.graph import values
from graphkit.runtime.pieces import is_constant_node

if TYPE_CHECKING:
    import onnx

    from graphkit.graph.index import GraphIndex
    from graphkit.model import Model


def match_values(
    candidate: Model, own: GraphIndex, reference: Model, other: GraphIndex, seeds: Mapping[str, str]
) -> dict[str, str]:
    """Value of the candidate -> the same value of the reference, for values that nodes make.

    Equal names are the same value, unless most of them are made by other operators: then names were given anew and mean
    nothing. What is left is matched by structure: forwards, where an operator with the same attributes reads the same
    values and constants; backwards, where the same operator makes the same value, its inputs are the same; and forwards
    once more without looking at attributes and at what is in the constants.

    Args:
        candidate: One model, and
        own: its main graph.
        reference: The other, and
        other: its main graph.
        seeds: Inputs and outputs of the candidate -> those of the reference.

    Cost: O(nodes); of each constant 2 KiB are read.
    """
    pairs = _Pairs(own, other, dict(seeds))
    pairs.by_name()
    if len(pairs.found) < len(own.producer):
        strict = (_Keys(candidate, own, strict=True), _Keys(reference, other, strict=True))
        pairs.forwards(*strict)
        pairs.backwards()
        pairs.forwards(_Keys(candidate, own, strict=False), _Keys(reference, other, strict=False))
        pairs.backwards()
    return {c: r for c, r in pairs.found.items() if c in own.producer and r in other.producer}


class _Pairs:
    """Values found to be the same."""

    def __init__(self, own: GraphIndex, other: GraphIndex, seeds: dict[str, str]) -> None:
        self.own = own
        self.other = other
        self.found = seeds
        self.taken = set(seeds.values())

    def add(self, value: str, twin: str) -> None:
        if value not in self.found and twin not in self.taken:
            self.found[value] = twin
            self.taken.add(twin)

    def by_name(self) -> None:
        same = [name for name in self.own.producer if name in self.other.producer]
        alike = sum(self._op(self.own, name) == self._op(self.other, name) for name in same)
        if 2 * alike >= len(same):
            for name in same:
                self.add(name, name)

    def forwards(self, own: _Keys, other: _Keys) -> None:
        """Pair nodes that read the same things, in graph order; the first of several that look alike goes first."""
        waiting: dict[tuple[object, ...], list[onnx.NodeProto]] = {}
        for node in other.index.nodes:
            if any(name and name not in self.taken for name in node.output):
                waiting.setdefault(other.key(node, None), []).append(node)
        for node in own.index.nodes:
            if not any(name and name not in self.found for name in node.output):
                continue
            alike = waiting.get(own.key(node, self.found))
            if alike:
                for value, twin in zip(node.output, alike.pop(0).output, strict=False):
                    if value and twin:
                        self.add(value, twin)

    def backwards(self) -> None:
        """Pair what two nodes of one kind read, where they make the same value."""
        for node in reversed(self.own.nodes):
            for value in node.output:
                twin = self.other.producer.get(self.found.get(value, ""))
                if twin is None:
                    continue
                other = self.other.nodes[twin]
                if other.op_type == node.op_type and len(other.input) == len(node.input):
                    for mine, its in zip(node.input, other.input, strict=True):
                        if mine and its and self._op(self.own, mine) == self._op(self.other, its) is not None:
                            self.add(mine, its)

    @staticmethod
    def _op(index: GraphIndex, name: str) -> str | None:
        position = index.producer.get(name)
        return None if position is None else index.nodes[position].op_type


class _Keys:
    """What a node is, apart from names: its operator, its attributes, what it reads."""

    def __init__(self, model: Model, index: GraphIndex, *, strict: bool) -> None:
        self.model = model
        self.index = index
        self.strict = strict
        self._constants: dict[str, object] = {}

    def key(self, node: onnx.NodeProto, names: Mapping[str, str] | None) -> tuple[object, ...]:
        """The key of a node; ``names`` translates what it reads into the names of the other graph."""
        read = tuple(self._read(name, names) for name in node.input)
        return (node.domain, node.op_type, len(node.output), _attributes(node) if self.strict else 0, read)

    def _read(self, name: str, names: Mapping[str, str] | None) -> object:
        if not name:
            return ""
        if names is not None and name in names:
            return names[name]
        constant = self._constant(name)
        if constant is not None:
            return constant
        return name if names is None else ("unmatched", name)

    def _constant(self, name: str) -> object:
        if name not in self._constants:
            tensor = values.constant(self.index, name)
            self._constants[name] = None if tensor is None else self._digest(tensor)
        return self._constants[name]

    def _digest(self, tensor: onnx.TensorProto) -> object:
        kind = (tensor.data_type, tuple(tensor.dims))
        if not self.strict:
            return kind
        data = self.model.payload(tensor)
        if data is None:
            data = memoryview(self.model.array_of(tensor).tobytes())
        ends = bytes(data[:1024]) + bytes(data[-1024:])
        return (*kind, hashlib.blake2b(ends, digest_size=8).digest())


def _attributes(node: onnx.NodeProto) -> bytes:
    """The attributes of a node in one short text, whatever their order; bodies are left out, their names mean nothing."""
    parts = sorted(
        a.SerializeToString(deterministic=True) for a in node.attribute if not a.HasField("g") and not a.graphs
    )
    return hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()


def unmatched(index: GraphIndex, pairs: Mapping[str, str]) -> Iterator[str]:
    """Values that nodes make and that have no twin; constants left out."""
    for node in index.nodes:
        if not is_constant_node(node):
            yield from (name for name in node.output if name and name not in pairs)

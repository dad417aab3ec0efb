"""Which value of one graph is which value of another: by name, and after rewriting by structure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import onnx

from graphkit.graph import values
from graphkit.graph.upstream import downstream
from graphkit.graph.values import is_constant_node

if TYPE_CHECKING:
    from graphkit.graph.index import GraphIndex
    from graphkit.model import Model


def match_values(
    candidate: Model, own: GraphIndex, reference: Model, other: GraphIndex, seeds: Mapping[str, str]
) -> dict[str, str]:
    """Value of the candidate -> the same value of the reference, for values that nodes make.

    Structure is looked at first: an operator with the same attributes that reads the same values and constants makes the
    same value. Where most of what is found this way has other names on the two sides, names were given anew and mean
    nothing. Else equal names are the same value, unless the nodes around it contradict (``_Pairs.by_name``): tools that
    fuse nodes give their result the name of either.

    What is left is matched by structure: forwards; backwards, where the same operator makes the same value, its inputs
    are the same; and forwards once more without looking at attributes and at what is in the constants, because there the
    fault may lie.

    Args:
        candidate: One model, and
        own: its main graph.
        reference: The other, and
        other: its main graph.
        seeds: Inputs and outputs of the candidate -> those of the reference.

    Cost: O(nodes); of each constant 2 KiB are read.
    """
    strict = (_Keys(candidate, own, strict=True), _Keys(reference, other, strict=True))
    certain = _Pairs(own, other, dict(seeds))
    certain.forwards(*strict)
    pairs = _Pairs(own, other, dict(seeds))
    if certain.names_mean_something(seeds):
        pairs.by_name()
    if len(pairs.found) < len(own.producer):
        loose = (_Keys(candidate, own, strict=False), _Keys(reference, other, strict=False))
        pairs.forwards(*strict)
        pairs.backwards(*strict)
        pairs.forwards(*loose)
        pairs.backwards(*strict)
    return {c: r for c, r in pairs.found.items() if c in own.producer and r in other.producer}


class _Pairs:
    """Values found to be the same."""

    def __init__(self, own: GraphIndex, other: GraphIndex, seeds: dict[str, str]) -> None:
        self.own = own
        self.other = other
        self._plain = {id(index): _passed_through(index) for index in (own, other)}
        self.found = seeds
        self.taken = set(seeds.values())

    def add(self, value: str, twin: str) -> None:
        if value not in self.found and twin not in self.taken:
            self.found[value] = twin
            self.taken.add(twin)

    def names_mean_something(self, seeds: Mapping[str, str]) -> bool:
        """Whether values that are the same by structure have the same name; where there are none, operators decide."""
        known = [name for name in self.found if name not in seeds and name in self.other.producer]
        if known:
            return 2 * sum(self.found[name] == name for name in known) >= len(known)
        same = [name for name in self.own.producer if name in self.other.producer]
        return 2 * sum(_op(self.own, name) == _op(self.other, name) for name in same) >= len(same)

    def by_name(self) -> None:
        """Pair values of the same name, where the nodes around them do not contradict.

        A fault changes what one node does, so that what it reads and who reads it stay. Where a value is made from
        something else and goes to something else, or goes to other nodes than before, a tool has fused nodes and has used
        the name for another value.
        """
        for name in self.own.producer:
            if name in self.other.producer and self._agree(name):
                self.add(name, name)

    def _agree(self, name: str) -> bool:
        mine, its = self._maker(self.own, name), self._maker(self.other, name)
        reads = self._reads(self.own, mine) & self._reads(self.other, its)
        reads_alike = bool(reads) or not (self._reads(self.own, mine) or self._reads(self.other, its))
        readers, others = self._readers(self.own, name), self._readers(self.other, name)
        if not readers or not others:
            return reads_alike or mine.op_type == its.op_type
        made_alike = reads_alike or mine.op_type == its.op_type
        mine_by, its_by = ({o: n.op_type for n in nodes for o in n.output if o} for nodes in (readers, others))
        if common := mine_by.keys() & its_by.keys():
            return made_alike or any(mine_by[name] == its_by[name] for name in common)
        alike = {(n.op_type, _attributes(n)) for n in readers} & {(n.op_type, _attributes(n)) for n in others}
        return bool(alike) and made_alike

    @staticmethod
    def _maker(index: GraphIndex, name: str) -> onnx.NodeProto:
        return index.nodes[index.producer[name]]

    def _readers(self, index: GraphIndex, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a value, also behind nodes that only write it otherwise."""
        plain = self._plain[id(index)]
        same = downstream(index, [name], enter=lambda place: not plain.keys().isdisjoint(index.nodes[place].output[:1]))
        places = [place for value in same.values for place in index.consumers.get(value, ()) if place not in same.nodes]
        return [index.nodes[place] for place in places]

    def _reads(self, index: GraphIndex, node: onnx.NodeProto) -> set[str]:
        """The values that a node reads, constants left out, by their names in the reference."""
        names, plain = self.found if index is self.own else {}, self._plain[id(index)]
        read = {plain.get(name, name) for name in node.input if name}
        return {names.get(n, n) for n in read if values.constant(index, n) is None}

    def forwards(self, own: _Keys, other: _Keys) -> None:
        """Pair nodes that read the same things, in graph order.

        Of several that look alike that of the same name is the one, else the first. Without attributes and constants
        nodes look alike that are not, so those that read the two have to look alike as well.
        """
        waiting: dict[tuple[object, ...], list[onnx.NodeProto]] = {}
        for node in other.index.nodes:
            if any(name and name not in self.taken for name in node.output) and not is_constant_node(node):
                waiting.setdefault(other.key(node, None), []).append(node)
        for node in own.index.nodes:
            if is_constant_node(node) or not any(name and name not in self.found for name in node.output):
                continue
            alike = waiting.get(own.key(node, self.found), [])
            places = [at for at, twin in enumerate(alike) if own.strict or self._read_alike(node, twin)]
            if places:
                at = next((at for at in places if alike[at].output[0] == node.output[0]), places[0])
                for value, twin in zip(node.output, alike.pop(at).output, strict=False):
                    if value and twin:
                        self.add(value, twin)

    def _read_alike(self, node: onnx.NodeProto, twin: onnx.NodeProto) -> bool:
        mine = {reader.op_type for name in node.output for reader in self._readers(self.own, name)}
        its = {reader.op_type for name in twin.output for reader in self._readers(self.other, name)}
        return bool(mine & its) or not mine or not its

    def backwards(self, own: _Keys, other: _Keys) -> None:
        """Pair what two nodes read, where they make the same value and do the same with the same constants."""
        for node in reversed(self.own.nodes):
            for value in node.output:
                position = self.other.producer.get(self.found.get(value, ""))
                if position is None:
                    continue
                twin = self.other.nodes[position]
                if own.call(node) == other.call(twin):
                    for mine, its in zip(node.input, twin.input, strict=True):
                        if mine and its and _op(self.own, mine) == _op(self.other, its) is not None:
                            self.add(mine, its)


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
        self._plain = _passed_through(index)

    def key(self, node: onnx.NodeProto, names: Mapping[str, str] | None) -> tuple[object, ...]:
        """The key of a node; ``names`` translates what it reads into the names of the other graph.

        Nodes that only write a value otherwise are looked through, because tools drop and add them.
        """
        read = tuple(self._read(name, names) for name in node.input)
        return (node.domain, node.op_type, len(node.output), _attributes(node) if self.strict else 0, read)

    def call(self, node: onnx.NodeProto) -> tuple[object, ...]:
        """The key of a node without the values that it reads, only the constants."""
        read = tuple(self._constant(name) if name else "" for name in node.input)
        return (node.domain, node.op_type, _attributes(node), read)

    def _read(self, name: str, names: Mapping[str, str] | None) -> object:
        if not name:
            return ""
        plain = self._plain.get(name, name)
        if names is not None and (twin := names.get(plain) or names.get(name)):
            return twin
        constant = self._constant(plain)
        if constant is not None:
            return constant
        return plain if names is None else ("unmatched", plain)

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


def _passed_through(index: GraphIndex) -> dict[str, str]:
    """What nodes give that only write a value otherwise -> the value: Identity, quantization and casts of floats.

    A tool that quantizes or lowers precision puts them between the nodes of a model, whose values stay what they are up to
    rounding. What is dequantized or cast of a constant is that constant.
    """
    found: dict[str, str] = {}
    for node in index.nodes:
        if _only_writes(index, node):
            found[node.output[0]] = found.get(node.input[0], node.input[0])
    return found


def _only_writes(index: GraphIndex, node: onnx.NodeProto) -> bool:
    if node.op_type == "Identity" and not node.domain:
        return True
    if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.domain in ("", "com.microsoft"):
        made = index.producer.get(node.input[0])
        quantized = made is not None and index.nodes[made].op_type in ("QuantizeLinear", "DynamicQuantizeLinear")
        return node.op_type == "QuantizeLinear" or quantized or values.constant(index, node.input[0]) is not None
    return node.op_type == "Cast" and not node.domain and values.attribute_value(node, "to", 0) in FLOATS


FLOATS = frozenset(
    (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
)


def _attributes(node: onnx.NodeProto) -> bytes:
    """The attributes of a node in one short text, whatever their order; bodies are left out, their names mean nothing."""
    parts = sorted(
        a.SerializeToString(deterministic=True) for a in node.attribute if not a.HasField("g") and not a.graphs
    )
    return hashlib.blake2b(b"\0".join(parts), digest_size=8).digest()

"""Several models that run one after the other: one side of a proof, and what stands for them as a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from graphkit.errors import GraphkitError
from graphkit.graph.index import GraphIndex
from graphkit.graph.ports import input_ports
from graphkit.graph.symbols import names_in, substituted, tensor_types
from graphkit.model import Model
from graphkit.verify.laws.side import Ran, load

DOMAIN = "graphkit.parts"
"""The domain of the node that stands for a model of a chain."""


@dataclass(frozen=True)
class Chain:
    """Models, and what feeds them. A value of one of them is called ``MODEL:VALUE``.

    Attributes:
        parts: Name -> model.
        order: Their names in the order in which they run.
        wires: Input -> the value, or the input of another model, that it is fed.
        inputs: Input of the whole -> the input of a part that it is.
        outputs: The outputs of the whole.
    """

    parts: Mapping[str, Model]
    order: Sequence[str]
    wires: Mapping[str, str]
    inputs: Mapping[str, str]
    outputs: Sequence[str]

    def source(self, value: str) -> str:
        """What feeds an input in the end: a value of another part, or an input of the whole."""
        seen: set[str] = set()
        while value in self.wires and value not in seen:
            seen.add(value)
            value = self.wires[value]
        return value

    def standing(self) -> Model:
        """A model with the inputs and outputs of the whole, and a node for each part that makes all of its values."""
        proto = onnx.ModelProto(ir_version=onnx.IR_VERSION)
        proto.opset_import.add(domain=DOMAIN, version=1)
        graph = proto.graph
        graph.name = "chain"
        whole = {said: name for name, said in self.inputs.items()}
        for name, said in self.inputs.items():
            owner, value = owned(said, self.parts)
            part = self.parts[owner].proto.graph
            index = GraphIndex(part)
            graph.input.append(self._typed(index.inputs[value], owner, name))
            if value in index.initializers:
                default = onnx.numpy_helper.from_array(self.parts[owner].array(value), name)
                graph.initializer.append(default)
        for owner in self.order:
            part = self.parts[owner].proto.graph
            read = [self.source(f"{owner}:{name}") for name in input_ports(self.parts[owner].proto)]
            made = [name for node in part.node for name in node.output if name]
            outputs = [f"{owner}:{name}" for name in dict.fromkeys([*made, *(value.name for value in part.output)])]
            reads = [whole.get(name, name) for name in read]
            graph.node.append(onnx.helper.make_node("Part", reads, outputs, name=owner, domain=DOMAIN))
            typed = {value.name: value for value in (*part.value_info, *part.output)}
            for own, info in typed.items():
                held = graph.output if f"{owner}:{own}" in self.outputs else graph.value_info
                held.append(self._typed(info, owner, f"{owner}:{own}"))
        return Model(proto)

    def _typed(self, value: onnx.ValueInfoProto, owner: str, name: str) -> onnx.ValueInfoProto:
        """A value under another name, whose symbols are those of its part alone."""
        found = onnx.ValueInfoProto()
        found.CopyFrom(value)
        found.name = name
        number = list(self.order).index(owner)
        for tensor in tensor_types(found.type):
            for dim in tensor.shape.dim:
                if dim.dim_param:
                    own = {symbol: f"{symbol}_of_{number}" for symbol in names_in(dim.dim_param)}
                    dim.dim_param = str(substituted(dim.dim_param, own))
        return found

    def names(self, merged: onnx.ModelProto, outputs: Mapping[str, str]) -> dict[str, str]:
        """Value of the merged model -> the value of a part that it seems to be, by its name."""
        known = {owner: GraphIndex(part.proto.graph) for owner, part in self.parts.items()}
        found: dict[str, str] = {}
        for name in (name for node in merged.graph.node for name in node.output if name):
            for owner in self.order:
                bare = name.removeprefix(f"{owner}/")
                if bare != name and bare in known[owner].producer:
                    found[name] = f"{owner}:{bare}"
            for owner in self.order:
                if name in known[owner].producer:
                    found.setdefault(name, f"{owner}:{name}")
        return {**found, **outputs}


def owned(text: str, parts: Mapping[str, Any]) -> tuple[str, str]:
    """The model and the value of ``MODEL:NAME``, where both may hold colons."""
    for name in sorted(parts, key=len, reverse=True):
        if text.startswith(f"{name}:"):
            return name, text[len(name) + 1 :]
    raise GraphkitError(f"the history connects {text!r}, and no model is called so")


class ChainSide:
    """A chain, loaded.

    Attributes:
        evaluator: "onnxruntime" or "onnx.reference".
    """

    def __init__(self, chain: Chain, wanted: Iterable[str], probed: Iterable[str], *, reference: bool) -> None:
        """Load every model.

        Args:
            chain: The models.
            wanted: Values that ``run`` gives, each as ``MODEL:VALUE``.
            probed: Values whose shapes it gives.
            reference: Run in onnx.reference.

        Raises:
            SessionError, MissingExtraError, InvalidGraphError: As ``load``.
        """
        self._chain = chain
        self._wanted = list(dict.fromkeys(wanted))
        needed, shaped = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
        fed = [source for source in map(chain.source, chain.wires) if source not in chain.inputs.values()]
        for values, table in ((dict.fromkeys([*self._wanted, *fed]), needed), (probed, shaped)):
            for text in values:
                if any(text.startswith(f"{name}:") for name in chain.parts):
                    owner, value = owned(text, chain.parts)
                    table[owner].append(value)
        self._sides = {
            name: load(chain.parts[name], needed[name], shaped[name], reference=reference)
            for name in chain.order
            if needed[name] or shaped[name]
        }
        kinds = {side.evaluator for side in self._sides.values()}
        self.evaluator = "onnx.reference" if "onnx.reference" in kinds else "onnxruntime"

    def run(self, feeds: Mapping[str, Any]) -> Ran:
        """Run every model once, in order.

        Raises:
            SessionError, FeedError: One failed.
        """
        chain = self._chain
        known: dict[str, Any] = {said: feeds[name] for name, said in chain.inputs.items() if name in feeds}
        shapes: dict[str, tuple[int, ...]] = {}
        for name in self._sides:
            given = {}
            for entry in input_ports(chain.parts[name].proto):
                source = chain.source(f"{name}:{entry}")
                if source in known:
                    given[entry] = known[source]
            ran = self._sides[name].run(given)
            known.update({f"{name}:{value}": found for value, found in ran.values.items()})
            shapes.update({f"{name}:{value}": shape for value, shape in ran.shapes.items()})
        return Ran({name: known[name] for name in self._wanted}, shapes)

    def close(self) -> None:
        """The memory of the weights may go."""
        for side in self._sides.values():
            side.close()

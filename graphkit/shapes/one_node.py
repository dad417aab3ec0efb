"""The types of what single nodes make, from those of what they read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import onnx

from graphkit.graph import values
from graphkit.graph.addresses import Site
from graphkit.graph.index import GraphIndex
from graphkit.graph.values import is_typed, tensor_type
from graphkit.shapes.inference import inferred, objection
from graphkit.shapes.types_of import types_of
from graphkit.tensor import stored_bytes

SMALL = 4096
"""Bytes up to which a constant is handed to inference: sizes and axes decide shapes."""

_Known: TypeAlias = "onnx.TypeProto | onnx.TensorProto | None"


class OneNode:
    """Says what nodes make, be they as they are in a model or with other attributes and operands.

    Cost: O(graph) once; one run of inference over one node for each kind of node and types.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        opset: int,
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, onnx.TensorProto] | None = None,
    ) -> None:
        """``nodes`` are those of the main graph that will be asked about, as the model has them; ``constants`` are read
        by nodes as they will be, and the model does not have them.
        """
        self._constants = constants or {}
        self._model = model
        self._opset = opset
        self._index = GraphIndex(model.graph)
        names = dict.fromkeys(name for node in nodes for name in node.input if name and self._index.has(name))
        self._same: dict[bytes, onnx.TypeProto] = {}
        self._types: dict[str, onnx.TypeProto] = {}
        self._learn(names)
        self._results: dict[tuple[object, ...], tuple[object, list[bytes]]] = {}

    def _learn(self, names: Iterable[str]) -> None:
        """Look types up; equal ones become one object, which is compared by its id."""
        for name, known in types_of(self._model, self._index, names).items():
            self._types[name] = self._same.setdefault(known.SerializeToString(deterministic=True), known)

    def results(self, node: onnx.NodeProto, site: Site) -> list[bytes]:
        """The types of a node's outputs, serialised to compare; b"" for one that is not known."""
        names = list(dict.fromkeys(name for name in node.input if name))
        known = [self._known_of(name, site) for name in names]
        if None in known:
            return [b""] * len(node.output)
        places = tuple(names.index(name) if name else -1 for name in node.input)
        attributes = tuple(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
        key = (node.op_type, node.domain, node.overload, attributes, places, len(node.output), tuple(map(id, known)))
        if key not in self._results:  # what is known is kept, so that its id stays its own
            self._results[key] = (known, self._inferred(node, places, known))
        return self._results[key][1]

    def takes(self, node: onnx.NodeProto, site: Site) -> bool:
        """Whether a node takes the types of what it reads; not, where one of them is not known."""
        names = list(dict.fromkeys(name for name in node.input if name))
        known = [self._known_of(name, site) for name in names]
        places = [names.index(name) if name else -1 for name in node.input]
        return None not in known and not objection(self._alone(node, places, known))

    def _inferred(self, node: onnx.NodeProto, places: Sequence[int], known: Sequence[_Known]) -> list[bytes]:
        trial = self._alone(node, places, known)
        found = {value.name: value.type for value in inferred(trial).graph.output if is_typed(value.type)}
        outputs = trial.graph.node[0].output
        return [found[name].SerializeToString(deterministic=True) if name in found else b"" for name in outputs]

    def _alone(self, node: onnx.NodeProto, places: Sequence[int], known: Sequence[_Known]) -> onnx.ModelProto:
        """A model of one node."""
        trial = onnx.ModelProto(ir_version=10, opset_import=self._model.opset_import, functions=self._model.functions)
        if not trial.opset_import:
            trial.opset_import.add(domain="", version=self._opset)
        trial.graph.name = "node"
        for number, each in enumerate(known):
            if isinstance(each, onnx.TensorProto):
                trial.graph.initializer.add().CopyFrom(each)
                trial.graph.initializer[-1].name = f"i{number}"
            elif each is not None:
                trial.graph.input.add(name=f"i{number}").type.CopyFrom(each)
        alike = trial.graph.node.add()
        alike.CopyFrom(node)
        alike.input[:] = [f"i{place}" if place >= 0 else "" for place in places]
        alike.output[:] = [f"o{number}" if name else "" for number, name in enumerate(node.output)]
        trial.graph.output.extend(onnx.ValueInfoProto(name=name) for name in alike.output if name)
        return trial

    def _known_of(self, name: str, site: Site) -> _Known:
        """What is known of what a node reads: a small constant, its type, or None."""
        if name in self._constants:
            new = self._constants[name]
            return new if stored_bytes(new) <= SMALL else tensor_type(new.data_type, list(new.dims))
        if site.outer is not None or site.function is not None:
            known = site.types.get(name)
            return known if known is not None and is_typed(known) else None
        tensor = values.constant(self._index, name)
        if tensor is not None and tensor.data_location != onnx.TensorProto.EXTERNAL and stored_bytes(tensor) <= SMALL:
            return tensor
        if name not in self._types and self._index.has(name):
            self._learn([name])
        known = self._types.get(name)
        return known if known is not None and is_typed(known) else None

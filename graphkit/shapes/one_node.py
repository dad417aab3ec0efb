"""The types of what single nodes make, from those of what they read."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from graphkit.graph import values
from graphkit.graph.addresses import Site
from graphkit.graph.index import GraphIndex
from graphkit.graph.values import is_typed
from graphkit.shapes.inference import inferred
from graphkit.shapes.types_of import types_of
from graphkit.tensor import stored_bytes

SMALL = 4096
"""Bytes up to which a constant is handed to inference: sizes and axes decide shapes."""


class OneNode:
    """Says what nodes make, be they as they are in a model or with other attributes and operands.

    Cost: O(graph) once; one run of inference over one node for each kind of node and types.
    """

    def __init__(self, model: onnx.ModelProto, opset: int, nodes: Sequence[onnx.NodeProto]) -> None:
        """``nodes`` are those of the main graph that will be asked about, as the model has them."""
        self._model = model
        self._opset = opset
        self._index = GraphIndex(model.graph)
        names = dict.fromkeys(name for node in nodes for name in node.input if name and self._index.has(name))
        self._types = types_of(model, self._index, names)
        self._known: dict[bytes, list[bytes]] = {}

    def results(self, node: onnx.NodeProto, site: Site) -> list[bytes]:
        """The types of a node's outputs, serialised to compare; b"" for one that is not known."""
        trial = onnx.ModelProto(ir_version=10)
        trial.graph.name = "node"
        names = list(dict.fromkeys(name for name in node.input if name))
        for number, name in enumerate(names):
            if not self._give(trial, name, f"i{number}", site):
                return [b""] * len(node.output)
        alike = trial.graph.node.add()
        alike.CopyFrom(node)
        alike.name = ""
        alike.input[:] = [f"i{names.index(name)}" if name else "" for name in node.input]
        alike.output[:] = [f"o{number}" if name else "" for number, name in enumerate(node.output)]
        trial.graph.output.extend(onnx.ValueInfoProto(name=name) for name in alike.output if name)
        key = trial.SerializeToString(deterministic=True)
        if key not in self._known:
            trial.opset_import.extend(self._model.opset_import)
            if not trial.opset_import:
                trial.opset_import.add(domain="", version=self._opset)
            trial.functions.extend(self._model.functions)
            found = {value.name: value.type for value in inferred(trial).graph.output if is_typed(value.type)}
            self._known[key] = [
                found[name].SerializeToString(deterministic=True) if name in found else b"" for name in alike.output
            ]
        return self._known[key]

    def _give(self, trial: onnx.ModelProto, name: str, alias: str, site: Site) -> bool:
        """Declare what a node reads; whether it is known."""
        if site.outer is None and site.function is None:
            known = self._types.get(name)
            if known is None and self._index.has(name):
                known = types_of(self._model, self._index, [name]).get(name)
            tensor = values.constant(self._index, name)
        else:
            known, tensor = site.types.get(name), None
        if tensor is not None and tensor.data_location != onnx.TensorProto.EXTERNAL and stored_bytes(tensor) <= SMALL:
            trial.graph.initializer.add().CopyFrom(tensor)
            trial.graph.initializer[-1].name = alias
        elif known is not None and is_typed(known):
            trial.graph.input.add(name=alias).type.CopyFrom(known)
        else:
            return False
        return True

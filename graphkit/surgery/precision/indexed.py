"""ONNX Runtime's quantizer with indexes: for each weight and value it goes through all of them, which is quadratic."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import onnx

_LOCK = threading.Lock()
"""Held while names of the quantizer's modules stand for others."""


@contextlib.contextmanager
def indexed() -> Iterator[None]:
    """Let quantizers find weights by name, and the readers of values, in an index, as long as this lasts.

    What they find is what they would have found: only ``find_by_name`` of a model's weights, and some methods of the model
    that a quantizer makes for itself, are answered in another way (onnxruntime/quantization/onnx_model.py, quant_utils.py).
    """
    from onnxruntime.quantization import base_quantizer, onnx_model, qdq_quantizer
    from onnxruntime.quantization.operators import conv, matmul

    indexes: dict[int, _Weights] = {}
    plain_find = onnx_model.find_by_name

    def find(name: str, items: Any) -> Any:
        weights = indexes.get(id(items))
        return plain_find(name, items) if weights is None else weights.get(name)

    places: list[tuple[Any, str, Any]] = [
        *((module, "find_by_name", find) for module in (base_quantizer, onnx_model, qdq_quantizer, conv, matmul)),
        (base_quantizer, "ONNXModel", _model_with_indexes(base_quantizer.ONNXModel, indexes)),
    ]
    with _LOCK:
        before = [getattr(module, name) for module, name, _ in places]
        for module, name, new in places:
            setattr(module, name, new)
        try:
            yield
        finally:
            for (module, name, _), old in zip(places, before, strict=True):
                setattr(module, name, old)


def _model_with_indexes(plain: Any, indexes: dict[int, _Weights]) -> Any:
    """The class of the quantizer's model, with indexes that it keeps in step."""

    class Model(plain):  # type: ignore[misc]  # the package has no types
        def __init__(self, model: onnx.ModelProto) -> None:
            super().__init__(model)
            self._weights, self._readers = _Weights(model.graph.initializer), _Readers(model.graph.node)
            indexes[id(self._weights.items)] = self._weights

        def initializer(self) -> Any:
            return self._weights.items

        def add_initializer(self, tensor: onnx.TensorProto) -> None:
            if self._weights.get(tensor.name) is None:
                self._check_init(tensor)
                self._weights.items.append(tensor)

        def get_initializer(self, name: str) -> onnx.TensorProto | None:
            return self._weights.get(name)

        def add_node(self, node: onnx.NodeProto) -> None:
            super().add_node(node)
            self._readers.add(self.model.graph.node[-1])

        def input_name_to_nodes(self) -> dict[str, list[onnx.NodeProto]]:
            return self._readers.of

        def replace_input_of_all_nodes(self, old: str, new: str) -> None:
            self._readers.replace(old, new, None)

        def replace_input_of_nodes(self, old: str, new: str, names: Collection[str]) -> None:
            self._readers.replace(old, new, names)

        def replace_node_input(self, node: onnx.NodeProto, old: str, new: str) -> None:
            plain.replace_node_input(node, old, new)
            self._readers.of.setdefault(new, []).append(node)

    return Model


class _Weights:
    """The weights of a model by name; whoever appends or removes some without asking is noticed by their number."""

    def __init__(self, items: Any) -> None:
        self.items = items
        self._by_name: dict[str, onnx.TensorProto] = {}
        self._count = 0

    def get(self, name: str) -> onnx.TensorProto | None:
        """The first weight of a name."""
        if self._count > len(self.items):
            self._by_name, self._count = {}, 0
        if self._count < len(self.items):
            for tensor in self.items[self._count :]:
                self._by_name.setdefault(tensor.name, tensor)
            self._count = len(self.items)
        return self._by_name.get(name)


class _Readers:
    """The nodes that read each value, one entry for each place."""

    def __init__(self, nodes: Iterable[onnx.NodeProto]) -> None:
        self.of: dict[str, list[onnx.NodeProto]] = {}
        for node in nodes:
            self.add(node)

    def add(self, node: onnx.NodeProto) -> None:
        """Note what a node reads."""
        for name in node.input:
            if name:
                self.of.setdefault(name, []).append(node)

    def replace(self, old: str, new: str, names: Collection[str] | None) -> None:
        """Let the nodes of these names, or all, read another value."""
        kept = []
        for node in self.of.pop(old, []):
            if names is not None and node.name not in names:
                kept.append(node)
                continue
            for place, name in enumerate(node.input):
                if name == old:
                    node.input[place] = new
            self.of.setdefault(new, []).append(node)
        if kept:
            self.of[old] = kept

"""Weights of two models side by side: which came, which went, which moved and how far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import onnx

from graphkit.graph.written import sparse_text, tensor_text, tensor_type_text
from graphkit.inspection.diff.difference import Change, Found
from graphkit.inspection.diff.documentation import documentation
from graphkit.inspection.diff.weights import movement, same_values
from graphkit.tensor import is_stripped

if TYPE_CHECKING:
    from graphkit.model import Model

Held: TypeAlias = "onnx.TensorProto | onnx.SparseTensorProto"


class Tensors:
    """What compares weights, and writes what it finds.

    Attributes:
        before: The model before.
        after: The model after.
        found: Where differences go.
        read: Whether weights may be read.
    """

    def __init__(self, before: Model, after: Model, found: Found, *, read: bool) -> None:
        self.before = before
        self.after = after
        self.found = found
        self.read = read

    def gone(self, address: str, tensor: Held) -> None:
        """A weight that only the model before has."""
        text = self._text(self.before, tensor)
        self.found.add("removed", Change("weight", address, "structure", before=text))

    def new(self, address: str, tensor: Held) -> None:
        """A weight that only the model after has."""
        text = self._text(self.after, tensor)
        self.found.add("added", Change("weight", address, "structure", after=text))

    def compare(self, address: str, former: str | None, one: Held, two: Held) -> None:
        """A weight that both have."""
        texts = self._text(self.before, one), self._text(self.after, two)
        if _outline(one) != _outline(two):
            moved = self._movement(one, two)
            change = Change("weight", address, "structure", former, *texts, movement=moved)
            self.found.add("changed", change)
        elif not self.same(one, two):
            stripped = [is_stripped(part) for part in (*_parts(one), *_parts(two))]
            said = ("its values were taken out or put back",) if any(stripped) else ()
            moved = self._movement(one, two)
            self.found.add("changed", Change("weight", address, "weights", former, *texts, said, movement=moved))
        notes = [text for a, b in zip(_parts(one), _parts(two), strict=False) for text in documentation(a, b)]
        if notes:
            self.found.add("changed", Change("weight", address, "metadata", former, details=tuple(notes)))

    def same(self, one: Held, two: Held) -> bool:
        """Whether two weights of one type and shape hold the same; without reading, every one does."""
        if not self.read:
            return True
        pairs = zip(_parts(one), _parts(two), strict=False)
        return all(same_values(self.before, a, self.after, b) for a, b in pairs)

    def _movement(self, one: Held, two: Held) -> Any:
        if not self.read or isinstance(one, onnx.SparseTensorProto) or isinstance(two, onnx.SparseTensorProto):
            return None
        return movement(self.before, one, self.after, two)

    def _text(self, model: Model, tensor: Held) -> str:
        reader = model.array_of if self.read else None
        if isinstance(tensor, onnx.SparseTensorProto):
            return sparse_text(tensor, reader)
        return tensor_text(tensor, reader) if self.read else tensor_type_text(tensor)


def _parts(tensor: Held) -> tuple[onnx.TensorProto, ...]:
    return (tensor.values, tensor.indices) if isinstance(tensor, onnx.SparseTensorProto) else (tensor,)


def _outline(tensor: Held) -> Any:
    parts = [(part.data_type, tuple(part.dims)) for part in _parts(tensor)]
    return (*parts, tuple(tensor.dims))

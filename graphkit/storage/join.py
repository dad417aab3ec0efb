"""Putting payloads back: from a serialised skeleton to the pieces of a file, bytes and ranges of bytes."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import onnx

from graphkit.model import Source
from graphkit.storage.wire import (
    ATTRIBUTE,
    FIELD_TYPES,
    GRAPH,
    LENGTH,
    MODEL,
    NESTED,
    RAW_DATA,
    SPARSE,
    TENSOR,
    Piece,
    Range,
    parse_field,
    parse_tensor,
    piece_length,
    tag,
    varint,
)
from graphkit.tensor import DEFAULT_KEY, data_range

_EXTERNAL_MARK = b"location"
"""Stands in every external tensor: the key of one of its entries."""


SHORT = 128
"""Bytes from which on protobuf writes a length as more than one byte."""


class Role(Enum):
    """What a tensor is in its model: an initializer of the main graph, one of a body (or of a training graph), the value
    of an attribute, or half of a sparse tensor.
    """

    INITIALIZER = auto()
    BODY_INITIALIZER = auto()
    ATTRIBUTE = auto()
    SPARSE = auto()


Place = Callable[[onnx.TensorProto, Role], tuple[bytes, list[Piece], bytes] | None]
"""Says how a tensor is written. It returns the serialised tensor as (bytes before the payload, payload pieces, bytes
after it), or None to leave it as it is."""


class Joiner:
    """One pass over a serialised skeleton that writes each tensor as ``place`` says."""

    def __init__(self, skeleton: bytes, place: Place, inline_from: int | None) -> None:
        self.data = skeleton
        self.place = place
        self.inline_from = inline_from
        self._mark = -1

    def pieces(self) -> tuple[list[Piece], int]:
        """The pieces of the model and their length together, in bytes."""
        return self._message(MODEL, 0, len(self.data), Role.INITIALIZER)

    def _has_tensor(self, start: int, end: int) -> bool:
        """Whether a field may hold a tensor for ``place``: an external one, or one long enough to be moved out."""
        if self.inline_from is not None and end - start >= self.inline_from:
            return True
        return self._marked(start) < end

    def _marked(self, start: int) -> int:
        """Where the next mark of an external tensor stands; the end of the data where none follows."""
        if self._mark < start and self._mark != len(self.data):
            self._mark = self.data.find(_EXTERNAL_MARK, start)
            if self._mark < 0:
                self._mark = len(self.data)
        return self._mark

    def _skip_short(self, position: int, end: int) -> int:
        """The position after the run of fields of less than 128 bytes without a mark that begins here: most nodes are such
        fields, and nothing as short is moved out.
        """
        data = self.data
        last = min(end, self._marked(position)) - SHORT - 2
        if self.inline_from is not None and self.inline_from < SHORT:
            return position
        while position < last and data[position] & 0x87 == LENGTH and data[position] > 7 and data[position + 1] < SHORT:
            position += 2 + data[position + 1]
        return position

    def _message(self, kind: int, start: int, end: int, role: Role) -> tuple[list[Piece], int]:
        """The pieces of a message, and their length; a tensor that stands in it itself has this role."""
        if not self._has_tensor(start, end):
            return [self.data[start:end]], end - start
        data, nested = self.data, NESTED[kind]
        pieces: list[Piece] = []
        total = 0
        position = kept = start
        while position < end:
            position = self._skip_short(position, end)
            field, wire, length, after = parse_field(data, position)
            if wire == LENGTH and field in nested and self._has_tensor(after - length, after):
                placed = self._child(nested[field], after - length, after, _role(kind, field, role))
                if placed is not None:
                    child, size = placed
                    head = data[kept:position] + tag(field, LENGTH) + varint(size)
                    pieces.append(head)
                    pieces += child
                    total += len(head) + size
                    kept = after
            position = after
        pieces.append(data[kept:end])
        return pieces, total + end - kept

    def _child(self, kind: int, start: int, end: int, role: Role) -> tuple[list[Piece], int] | None:
        if kind != TENSOR:
            return self._message(kind, start, end, role)
        placed = self.place(parse_tensor(self.data[start:end], start), role)
        if placed is None:
            return None
        before, payload, after = placed
        size = len(before) + len(after) + sum(piece_length(p) for p in payload)
        return [before, *payload, after], size


def _role(kind: int, field: int, role: Role) -> Role:
    """The role of tensors in a field of a message whose own tensors have a role."""
    inner = NESTED[kind][field]
    if inner == GRAPH:
        return Role.INITIALIZER if kind == MODEL else Role.BODY_INITIALIZER
    if inner == ATTRIBUTE:
        return Role.ATTRIBUTE
    return Role.SPARSE if inner == SPARSE else role


def embedded(stub: onnx.TensorProto, source: Source, offset: int, length: int) -> tuple[bytes, list[Piece], bytes]:
    """A referenced tensor written with its bytes in place, in the field they came from (``raw_data`` by default)."""
    field = data_range(stub).field or RAW_DATA
    if stub.data_type not in (FIELD_TYPES[field] or (stub.data_type,)):
        field = RAW_DATA  # the data type was edited
    own = onnx.TensorProto()
    own.CopyFrom(stub)
    own.ClearField("external_data")
    own.ClearField("data_location")
    if any(entry.key == DEFAULT_KEY for entry in stub.external_data):
        own.data_location = onnx.TensorProto.DEFAULT
    data = own.SerializeToString()
    position = split_at = 0
    while position < len(data):
        number, _, _, position = parse_field(data, position)
        if number < field:
            split_at = position
    head = data[:split_at] + tag(field, LENGTH) + varint(length)
    return head, [Range(source, offset, length)], data[split_at:]

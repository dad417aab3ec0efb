"""The protobuf wire format of a serialised ONNX model: taking large payloads out of it, and putting them back.

``split`` reads a serialised ModelProto from front to back, jumps over every large tensor payload, and returns the rest:
the skeleton, in which the jumped tensors are external-data references. ``join`` is the inverse: it turns a serialised
skeleton into a list of pieces, bytes and byte ranges, which together are the file.

Wire format: protobuf's "Encoding" page. Field numbers: onnx/onnx.in.proto.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import onnx

from graphkit.errors import FormatError, TensorError
from graphkit.model import Source
from graphkit.tensor import DataRange, data_range, expected_bytes, refer, type_name

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, FUNCTION, TRAINING = range(8)

NESTED: dict[int, dict[int, int]] = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
    FUNCTION: {7: NODE, 11: ATTRIBUTE},
    TRAINING: {1: GRAPH, 2: GRAPH},
    TENSOR: {},
}
"""message kind -> field number -> kind of the messages in it that may hold a tensor at some depth."""

RAW_DATA, FLOAT_DATA, DOUBLE_DATA = 9, 4, 10
_T = onnx.TensorProto
_PAYLOAD_TYPES = {FLOAT_DATA: (_T.FLOAT, _T.COMPLEX64), DOUBLE_DATA: (_T.DOUBLE, _T.COMPLEX128)}
"""Typed fields whose packed bytes are the little-endian bytes of ``raw_data``, and for which data types."""

MAX_DEPTH = 100
"""protobuf's own limit on nested messages; a body takes three of them."""

_EXTERNAL_MARK = b"location"
"""Stands in every external tensor: the key of one of its entries."""


class Range(NamedTuple):
    """Bytes that lie in a source, to be copied into a file."""

    source: Source
    offset: int
    length: int


Piece = bytes | Range


class Reader:
    """Sequential reading with jumps: what is not jumped over is read once, in few reads.

    The buffer always begins at ``base``. Reads start small after a jump and double while reading goes on, so that a file
    of many tensors costs one small read a tensor, and a long run of nodes few large ones.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.size = source.size
        self.first_read = self.next_read = source.first_read
        self.base = 0
        self.buffer = bytearray()

    def need(self, end: int) -> None:
        """Have the bytes from ``base`` to ``end`` in the buffer, or to the end of the source."""
        have = self.base + len(self.buffer)
        if end <= have or have >= self.size:
            return
        want = min(max(end - have, self.next_read), self.size - have)
        self.buffer += self.source.read(have, want)
        self.next_read = min(self.next_read * 2, 1 << 22)

    def take(self, start: int, end: int) -> bytes:
        """Bytes [start, end); the buffer forgets everything before ``end``."""
        self.need(end)
        data = bytes(self.buffer[start - self.base : end - self.base])
        self.forget(end)
        return data

    def forget(self, position: int) -> None:
        """Nothing before this position is needed any more."""
        have = self.base + len(self.buffer)
        if position >= have:
            self.buffer = bytearray()
            self.next_read = self.first_read
        else:
            del self.buffer[: position - self.base]
        self.base = position


class Splitter:
    """One pass over a serialised model that leaves large payloads where they are."""

    def __init__(self, source: Source, location: str) -> None:
        self.reader = Reader(source)
        self.location = location
        self.threshold = source.threshold

    def skeleton(self) -> bytes:
        """The serialised skeleton.

        Raises:
            FormatError: The bytes are no sequence of protobuf fields; the offset says where.
            TensorError: A large tensor's bytes contradict its dims.
        """
        return bytes(self._message(MODEL, 0, self.reader.size, 0))

    def _message(self, kind: int, start: int, end: int, depth: int) -> bytearray:
        if depth > MAX_DEPTH:
            raise self._error(start, f"messages are nested deeper than {MAX_DEPTH}, protobuf's limit")
        nested = NESTED[kind]
        threshold = self.threshold
        out = bytearray()
        position = kept = start
        while position < end:
            position = self._skip_short(position, end)
            if position == end:
                break
            field, wire, value, after = self._field(position, end)
            if wire == LENGTH and value >= threshold and field in nested:
                out += self._keep(kept, position)
                inner = nested[field]
                if inner == TENSOR:
                    child = self._tensor(after - value, after)
                else:
                    child = self._message(inner, after - value, after, depth + 1)
                out += tag(field, LENGTH) + varint(len(child))
                out += child
                kept = after
            position = after
        out += self._keep(kept, end)
        return out

    def _skip_short(self, position: int, end: int) -> int:
        """The position after the run of fields of less than 128 bytes that begins here: most nodes are such fields.

        It ends where ``_field`` has to look: at other fields, and near the end of the buffer or of the message.
        """
        reader = self.reader
        buffer = reader.buffer
        at = position - reader.base
        last = min(len(buffer), end - reader.base) - 130
        while at < last and buffer[at] & 0x87 == LENGTH and buffer[at] > 7 and buffer[at + 1] < 128:
            at += 2 + buffer[at + 1]
        return at + reader.base

    def _keep(self, start: int, end: int) -> bytes:
        if start == end:
            return b""
        return self.reader.take(start, end)

    def _field(self, position: int, end: int) -> tuple[int, int, int, int]:
        """(field number, wire type, length or 0, position after the field) of the field at a position."""
        reader = self.reader
        if position + 20 > reader.base + len(reader.buffer):
            reader.need(min(position + 20, reader.size))
        buffer, at, limit = reader.buffer, position - reader.base, end - reader.base
        try:
            key = buffer[at]
            at += 1
            if key > 127:
                key, at = _read_varint(buffer, at - 1)
            wire = key & 7
            length = 0
            if wire == LENGTH:
                length = buffer[at]
                at += 1
                if length > 127:
                    length, at = _read_varint(buffer, at - 1)
                at += length
            elif wire == VARINT:
                _, at = _read_varint(buffer, at)
            elif wire == FIXED32:
                at += 4
            elif wire == FIXED64:
                at += 8
            else:
                raise self._error(position, f"wire type {wire} does not occur in ONNX")
        except IndexError:
            raise self._error(position, "the file ends in the middle of a field") from None
        if at > limit or not key >> 3:
            raise self._error(position, f"a field of {length} bytes does not fit into what encloses it")
        return key >> 3, wire, length, at + reader.base

    def _tensor(self, start: int, end: int) -> bytearray:
        """A TensorProto: its own bytes, or a reference where exactly one payload is large."""
        payloads: list[tuple[int, int, int]] = []
        small = bytearray()
        whole = start
        position = kept = start
        # A payload is jumped over only when the fields before it say what it is (they do in every serialiser's order);
        # fields after it are small.
        while position < end:
            field, wire, length, after = self._field(position, end)
            if wire == LENGTH and length >= self.threshold and field in (RAW_DATA, FLOAT_DATA, DOUBLE_DATA):
                small += self.reader.take(kept, position)
                payloads.append((field, after - length, length))
                self.reader.forget(after)
                kept = after
            position = after
        small += self.reader.take(kept, end)
        if not payloads:
            return small
        stub = parse_tensor(bytes(small), start)
        if len(payloads) == 1 and self._referable(stub, *payloads[0]):
            field, offset, length = payloads[0]
            self._check_length(stub, length, offset)
            refer(stub, DataRange(self.location, offset, length, None if field == RAW_DATA else field))
            return bytearray(stub.SerializeToString())
        return bytearray(self.reader.source.read(whole, end - whole))

    def _referable(self, stub: onnx.TensorProto, field: int, offset: int, length: int) -> bool:
        if stub.data_location == _T.EXTERNAL or stub.external_data:
            raise self._error(offset, f"tensor {stub.name[:80]!r} has both external data and {length} bytes of its own")
        if field == RAW_DATA:
            return not stub.raw_data
        return stub.data_type in _PAYLOAD_TYPES[field] and not stub.float_data and not stub.double_data

    def _check_length(self, stub: onnx.TensorProto, length: int, offset: int) -> None:
        expected = expected_bytes(stub)
        if expected is not None and expected != length:
            raise TensorError(
                f"tensor {stub.name[:80]!r} at byte {offset}: {length} bytes of data, but a "
                f"{type_name(stub.data_type)}{list(stub.dims)[:8]} takes {expected}",
                name=stub.name,
            )

    def _error(self, position: int, message: str) -> FormatError:
        return FormatError(
            f"{self.reader.source.name} is not a valid ONNX model: at byte {position}, {message}",
            path=self.reader.source.name,
            offset=position,
        )


Place = Callable[[onnx.TensorProto, int], tuple[bytes, list[Piece], bytes] | None]
"""Says how a tensor is written. It gets the tensor and the kind of message that holds it
(ATTRIBUTE, or GRAPH for initializers); it returns the serialised tensor as
(bytes before the payload, payload pieces, bytes after it), or None to leave it as it is."""


class Joiner:
    """One pass over a serialised skeleton that writes each tensor as ``place`` says."""

    def __init__(self, skeleton: bytes, place: Place, inline_from: int | None) -> None:
        self.data = skeleton
        self.place = place
        self.inline_from = inline_from
        self._mark = -1

    def pieces(self) -> tuple[list[Piece], int]:
        """The pieces of the model and their length together, in bytes."""
        return self._message(MODEL, 0, len(self.data), GRAPH)

    def _has_tensor(self, start: int, end: int) -> bool:
        """Whether a field may hold a tensor for ``place``: an external one, or one long enough to be moved out."""
        if self.inline_from is not None and end - start >= self.inline_from:
            return True
        if self._mark < start and self._mark != len(self.data):
            self._mark = self.data.find(_EXTERNAL_MARK, start)
            if self._mark < 0:
                self._mark = len(self.data)
        return self._mark < end

    def _message(self, kind: int, start: int, end: int, holder: int) -> tuple[list[Piece], int]:
        if not self._has_tensor(start, end):
            return [self.data[start:end]], end - start
        data, nested = self.data, NESTED[kind]
        pieces: list[Piece] = []
        total = 0
        position = kept = start
        while position < end:
            field, wire, length, after = parse_field(data, position)
            if wire == LENGTH and field in nested and self._has_tensor(after - length, after):
                placed = self._child(
                    nested[field], after - length, after, ATTRIBUTE if ATTRIBUTE in (kind, holder) else GRAPH
                )
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

    def _child(self, kind: int, start: int, end: int, holder: int) -> tuple[list[Piece], int] | None:
        if kind != TENSOR:
            return self._message(kind, start, end, holder)
        placed = self.place(parse_tensor(self.data[start:end], start), holder)
        if placed is None:
            return None
        before, payload, after = placed
        size = len(before) + len(after) + sum(piece_length(p) for p in payload)
        return [before, *payload, after], size


def embedded(stub: onnx.TensorProto, source: Source, offset: int, length: int) -> tuple[bytes, list[Piece], bytes]:
    """A referenced tensor written with its bytes in place, in the field they came from (``raw_data`` by default)."""
    field = data_range(stub).field or RAW_DATA
    own = onnx.TensorProto()
    own.CopyFrom(stub)
    own.ClearField("external_data")
    own.ClearField("data_location")
    data = own.SerializeToString()
    position = split_at = 0
    while position < len(data):
        number, _, _, position = parse_field(data, position)
        if number < field:
            split_at = position
    head = data[:split_at] + tag(field, LENGTH) + varint(length)
    return head, [Range(source, offset, length)], data[split_at:]


def piece_length(piece: Piece) -> int:
    """Bytes that a piece takes in the file."""
    return piece.length if isinstance(piece, Range) else len(piece)


def parse_tensor(data: bytes, offset: int) -> onnx.TensorProto:
    """A TensorProto from its bytes.

    Raises:
        FormatError: The bytes are no TensorProto.
    """
    from google.protobuf.message import DecodeError

    try:
        return onnx.TensorProto.FromString(data)
    except DecodeError as error:
        raise FormatError(f"the tensor at byte {offset} is damaged: {error}", offset=offset) from error


def parse_field(data: bytes, position: int) -> tuple[int, int, int, int]:
    """(field number, wire type, length or 0, position after) of a field in bytes that protobuf itself wrote."""
    key, position = _read_varint(data, position)
    wire = key & 7
    if wire == LENGTH:
        length, position = _read_varint(data, position)
        return key >> 3, wire, length, position + length
    if wire == VARINT:
        _, position = _read_varint(data, position)
        return key >> 3, wire, 0, position
    return key >> 3, wire, 0, position + (4 if wire == FIXED32 else 8)


def _read_varint(data: bytes | bytearray, position: int) -> tuple[int, int]:
    byte = data[position]
    position += 1
    if byte < 128:
        return byte, position
    value, shift = byte & 127, 7
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
        if shift > 63:
            raise IndexError("varint longer than 10 bytes")


def varint(value: int) -> bytes:
    """A whole number, 0 or more, as a protobuf varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def tag(field: int, wire: int) -> bytes:
    """The key that stands before a field."""
    return varint(field << 3 | wire)

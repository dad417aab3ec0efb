"""Taking large payloads out of a serialised model.

``Splitter`` reads a serialised ModelProto from front to back, jumps over every large tensor payload, and returns the
rest: the skeleton, in which the jumped tensors are external-data references.
"""

from __future__ import annotations

import hashlib

import onnx

from graphkit.errors import FormatError, TensorError
from graphkit.graph.faults import Report, refuse
from graphkit.model import Source
from graphkit.storage.wire import (
    FIELD_TYPES,
    FIXED32,
    FIXED64,
    LENGTH,
    MAX_NAME,
    MODEL,
    NAMES,
    NESTED,
    RAW_DATA,
    TENSOR,
    VARINT,
    parse_tensor,
    read_varint,
    tag,
    varint,
)
from graphkit.tensor import DEFAULT_KEY, PAYLOAD_FIELDS, DataRange, expected_bytes, refer, type_name

MAX_DEPTH = 100
"""protobuf's own limit on nested messages; a body takes three of them."""


MOST_INLINE = 64 << 20
"""Bytes up to which a tensor's values may come in several pieces, which only a parser can put together, in memory."""

MOST_KEPT = 1 << 31
"""What protobuf can parse."""


class Reader:
    """Sequential reading with jumps: what is not jumped over is read once, in few reads.

    The buffer always begins at ``base``. The first read after a jump is twice what was used after the jump before it, and
    reads double while reading goes on: a file of many tensors costs one small read a tensor, a long run of nodes few
    large ones.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.size = source.size
        self.next_read = max(source.first_read, 16 << 10)
        self.landed = 0
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
        if position > have:
            self.buffer = bytearray()
            self.next_read = min(max(2 * (self.base - self.landed), self.source.first_read), 64 << 10)
            self.landed = position
        else:
            del self.buffer[: position - self.base]
        self.base = position


class Splitter:
    """One pass over a serialised model that leaves large payloads where they are."""

    def __init__(self, source: Source, location: str, report: Report = refuse) -> None:
        self.report = report
        self.reader = Reader(source)
        self.location = location
        self.threshold = source.threshold
        self.kept = 0
        self.hash = hashlib.sha256()

    def skeleton(self) -> bytes:
        """The serialised skeleton.

        Raises:
            FormatError: The bytes are no sequence of protobuf fields; the offset says where.
            TensorError: A large tensor's bytes contradict its dims.
        """
        return bytes(self._message(MODEL, 0, self.reader.size, 0))

    @property
    def digest(self) -> str:
        """sha256 of what ``skeleton`` kept and of where the rest lies, in hex: the same under any name of the file."""
        return self.hash.hexdigest()

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
            if wire == LENGTH and value >= threshold and field not in nested:
                self._admit(kind, field, position, value)
            elif wire == LENGTH and value >= threshold:
                out += self._keep(kept, position)
                inner = nested[field]
                if inner == TENSOR:
                    child = self._tensor(after - value, after)
                else:
                    child = self._message(inner, after - value, after, depth + 1)
                self.hash.update(tag(field, LENGTH))
                out += tag(field, LENGTH) + varint(len(child))
                out += child
                kept = after
            position = after
        out += self._keep(kept, end)
        return out

    def _admit(self, kind: int, field: int, position: int, length: int) -> None:
        """Let a long field that is no payload be part of the skeleton, before its bytes are read."""
        if length > MAX_NAME and field in NAMES.get(kind, ()):
            raise self._error(position, f"a name has {length} bytes; names of more than {MAX_NAME} are refused")
        self.kept += length
        if self.kept > MOST_KEPT:
            raise self._error(position, "what is no large tensor has more than 2 GiB")

    def _skip_short(self, position: int, end: int) -> int:
        """The position after the run of fields of less than 128 bytes that begins here: most nodes are such fields, and
        every threshold is above that.

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
        data = self.reader.take(start, end)
        self.hash.update(data)
        return data

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
                key, at = read_varint(buffer, at - 1)
            wire = key & 7
            length = 0
            if wire == LENGTH:
                length = buffer[at]
                at += 1
                if length > 127:
                    length, at = read_varint(buffer, at - 1)
                at += length
            elif wire == VARINT:
                _, at = read_varint(buffer, at)
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
        position = kept = start
        while position < end:
            field, wire, length, after = self._field(position, end)
            if wire == LENGTH and length >= self.threshold and field not in FIELD_TYPES:
                self._admit(TENSOR, field, position, length)
            elif wire == LENGTH and length >= self.threshold:
                small += self.reader.take(kept, position)
                payloads.append((field, after - length, length))
                self.reader.forget(after)
                kept = after
            position = after
        small += self.reader.take(kept, end)
        self.hash.update(small)
        for field, offset, length in payloads:
            self.hash.update(f"{field} {offset} {length}".encode())
        if not payloads:
            return small
        stub = parse_tensor(bytes(small), start)
        if stub.data_location == onnx.TensorProto.EXTERNAL:
            _, offset, length = payloads[0]
            both = f"tensor {stub.name[:80]!r} has both external data and {length} bytes of its own"
            self.report("tensor", self._error(offset, both))
            return small
        if len(payloads) > 1 or not _referable(stub, payloads[0][0]):
            if end - start > MOST_INLINE:
                raise self._error(start, f"tensor {stub.name[:80]!r} has its {end - start} bytes in several pieces")
            return bytearray(self.reader.source.read(start, end - start))
        field, offset, length = payloads[0]
        self._check_length(stub, length, offset)
        said = stub.HasField("data_location")
        refer(stub, DataRange(self.location, offset, length, None if field == RAW_DATA else field))
        if said:
            stub.external_data.add(key=DEFAULT_KEY, value="1")
        return bytearray(stub.SerializeToString())

    def _check_length(self, stub: onnx.TensorProto, length: int, offset: int) -> None:
        expected = expected_bytes(stub)
        if expected is not None and expected != length:
            wanted = f"{type_name(stub.data_type)}{list(stub.dims)[:8]}"
            self.report(
                "tensor",
                TensorError(
                    f"tensor {stub.name[:80]!r} at byte {offset}: {length} bytes of data, but a {wanted} takes {expected}",
                    name=stub.name,
                ),
            )

    def _error(self, position: int, message: str) -> FormatError:
        return FormatError(
            f"{self.reader.source.name} is not a valid ONNX model: at byte {position}, {message}",
            path=self.reader.source.name,
            offset=position,
        )


def _referable(stub: onnx.TensorProto, field: int) -> bool:
    """Whether a tensor without its one large payload is all that is left to keep in the skeleton.

    Not where smaller values stand beside the payload (protobuf joins or overrides them), nor where a reference would
    take the place of left-over external-data entries.
    """
    if stub.external_data or any(stub.HasField(f) if f == "raw_data" else getattr(stub, f) for f in PAYLOAD_FIELDS):
        return False
    types = FIELD_TYPES[field]
    return types is None or stub.data_type in types


class Checker(Splitter):
    """Looks into every message: for finding the place where a parser that does not say so met damage."""

    def __init__(self, source: Source) -> None:
        super().__init__(source, "")
        self.threshold = 0

    def _skip_short(self, position: int, _end: int) -> int:
        self.reader.forget(position)
        return position

    def _keep(self, _start: int, end: int) -> bytes:
        self.reader.forget(end)
        return b""

    def _tensor(self, start: int, end: int) -> bytearray:
        return self._message(TENSOR, start, end, 0)

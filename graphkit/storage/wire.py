"""The protobuf wire format of a serialised ONNX model: which fields hold messages, names and payloads; reading fields.

Wire format: protobuf's "Encoding" page. Field numbers: onnx/onnx.in.proto.
"""

from __future__ import annotations

from typing import NamedTuple

import onnx

from graphkit.errors import FormatError
from graphkit.model import Source

VARINT, FIXED64, LENGTH, GROUP, GROUP_END, FIXED32 = range(6)

MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, FUNCTION, TRAINING, VALUE = range(9)

NESTED: dict[int, dict[int, int]] = {
    MODEL: {7: GRAPH, 20: TRAINING, 25: FUNCTION},
    GRAPH: {1: NODE, 5: TENSOR, 11: VALUE, 12: VALUE, 13: VALUE, 15: SPARSE},
    NODE: {5: ATTRIBUTE},
    ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
    SPARSE: {1: TENSOR, 2: TENSOR},
    FUNCTION: {7: NODE, 11: ATTRIBUTE, 12: VALUE},
    TRAINING: {1: GRAPH, 2: GRAPH},
    TENSOR: {},
    VALUE: {},
}
"""message kind -> field number -> kind of the messages in it that may hold a tensor at some depth, or a name."""

NAMES: dict[int, tuple[int, ...]] = {
    GRAPH: (2,),
    NODE: (1, 2, 3, 4, 7, 8),
    ATTRIBUTE: (1, 21),
    TENSOR: (8,),
    FUNCTION: (1, 4, 5, 6, 10, 13),
    VALUE: (1,),
}
"""message kind -> fields that are names: of values, nodes, operators, domains, ..."""

MAX_NAME = 1 << 20
"""Bytes. No tool writes a longer name; it would go into every message and every index."""

RAW_DATA, FLOAT_DATA, DOUBLE_DATA = 9, 4, 10
_T = onnx.TensorProto
FIELD_TYPES: dict[int, tuple[int, ...] | None] = {
    RAW_DATA: None,
    FLOAT_DATA: (_T.FLOAT, _T.COMPLEX64),
    DOUBLE_DATA: (_T.DOUBLE, _T.COMPLEX128),
}
"""Fields whose bytes are the little-endian values of a tensor, and for which data types (None: for all)."""


class Range(NamedTuple):
    """Bytes that lie in a source, to be copied into a file."""

    source: Source
    offset: int
    length: int


Piece = bytes | Range


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
    key, position = read_varint(data, position)
    wire = key & 7
    if wire == LENGTH:
        length, position = read_varint(data, position)
        return key >> 3, wire, length, position + length
    if wire == VARINT:
        _, position = read_varint(data, position)
    elif wire == GROUP:  # only among fields that ONNX does not know
        inner = GROUP
        while inner != GROUP_END:
            _, inner, _, position = parse_field(data, position)
    elif wire != GROUP_END:
        position += 4 if wire == FIXED32 else 8
    return key >> 3, wire, 0, position


def read_varint(data: bytes | bytearray, position: int) -> tuple[int, int]:
    """(value, position after it) of a varint.

    Raises:
        IndexError: The data ends in it, or it is longer than 10 bytes.
    """
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

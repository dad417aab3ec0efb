"""Parts of a model as a reader sees them: attributes, nodes and tensors as text, small ones with their numbers."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from typing import Any

import onnx

from graphkit.errors import GraphkitError
from graphkit.graph.values import format_type
from graphkit.plural import counted
from graphkit.tensor import decode, is_stripped, type_name

SMALL = 16
"""Elements up to which a constant's numbers are shown where it stands."""

Read = Callable[[onnx.TensorProto], Any]
"""Gives a tensor's array: ``Model.array_of``."""


def operator_name(node: onnx.NodeProto) -> str:
    """``Conv``, or ``domain::Operator`` outside of the default domain, with ``:overload`` behind it where there is one."""
    name = f"{node.op_type}:{node.overload}" if node.overload else str(node.op_type)
    return name if node.domain in ("", "ai.onnx") else f"{node.domain}::{name}"


def attribute_text(attribute: onnx.AttributeProto, read: Read | None = None) -> str:
    """An attribute's value as text. A tensor is told by its type, and by its numbers where it has ``SMALL`` or fewer; graphs by their size.

    Args:
        attribute: The attribute.
        read: What reads the bytes of tensors that lie elsewhere; without it only those in the skeleton are shown.
    """
    if attribute.ref_attr_name:
        return f"@{attribute.ref_attr_name}"
    if attribute.type not in onnx.AttributeProto.AttributeType.values():
        return f"attribute of the unknown type {attribute.type}"
    kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
    if kind == "TENSOR":
        return tensor_text(attribute.t, read)
    if kind == "SPARSE_TENSOR":
        return sparse_text(attribute.sparse_tensor, read)
    write = _ATTRIBUTES.get(kind)
    return write(attribute) if write else kind.lower()


def _quoted(text: bytes) -> str:
    return repr(text.decode("utf-8", "backslashreplace"))


_ATTRIBUTES: dict[str, Callable[[onnx.AttributeProto], str]] = {
    "INT": lambda a: str(a.i),
    "FLOAT": lambda a: single(a.f),
    "STRING": lambda a: _quoted(a.s),
    "INTS": lambda a: _listed(map(str, a.ints)),
    "FLOATS": lambda a: _listed(map(single, a.floats)),
    "STRINGS": lambda a: _listed(map(_quoted, a.strings)),
    "GRAPH": lambda a: f"graph of {counted(len(a.g.node), 'node')}",
    "GRAPHS": lambda a: f"{len(a.graphs)} graphs",
    "TYPE_PROTO": lambda a: format_type(a.tp),
}


def _listed(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


def tensor_type_text(tensor: onnx.TensorProto) -> str:
    """``float32[64,3,9,9]``."""
    return f"{type_name(tensor.data_type)}[{','.join(map(str, tensor.dims))}]"


def tensor_text(tensor: onnx.TensorProto, read: Read | None = None) -> str:
    """``float32[4] [1, 1, 3, 3]``: the type, and the numbers where there are ``SMALL`` or fewer and they can be read."""
    said = tensor_type_text(tensor)
    numbers = small_values(tensor, read)
    return said if numbers is None else f"{said} {numbers}"


def small_values(tensor: onnx.TensorProto, read: Read | None = None) -> str | None:
    """The numbers of a tensor of ``SMALL`` elements or fewer, nested as its axes are; None where it is larger or its bytes are not at hand."""
    if not 0 < math.prod(tensor.dims) <= SMALL or is_stripped(tensor):
        return None
    if tensor.data_location == onnx.TensorProto.EXTERNAL and read is None:
        return None
    try:
        array = read(tensor) if read is not None else decode(tensor, None)
    except GraphkitError:
        return None  # said where the weights are wanted; this only shows what is there
    return values_text(array)


def values_text(array: Any) -> str:
    """The numbers of an array, nested as its axes are: floats in as few digits as tell them from others of their type."""
    return _nested(array.tolist(), _shortest if array.dtype.char == "d" else single)


def single(value: float) -> str:
    """A float32 number in as few digits as tell it from the others: 0.1, and not 0.10000000149."""
    for digits in range(6, 9):
        text = f"{value:.{digits}g}"
        if struct.pack("<f", float(text)) == struct.pack("<f", value):
            return text
    return f"{value:.9g}"


def _shortest(value: float) -> str:
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)


def _nested(value: Any, number: Callable[[float], str]) -> str:
    """Values as people write them: ``[1, 0.5, nan]``, with ``number`` for floats."""
    if isinstance(value, list):
        return _listed(_nested(item, number) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number(value)
    if isinstance(value, bytes):
        return _quoted(value)
    return repr(value) if isinstance(value, str) else str(value)


def sparse_text(sparse: onnx.SparseTensorProto, read: Read | None = None) -> str:
    """``sparse(float32[3,3]) with 2 values``, with the values and where they stand if there are ``SMALL`` or fewer."""
    said = f"sparse({type_name(sparse.values.data_type)}[{','.join(map(str, sparse.dims))}])"
    values, indices = small_values(sparse.values, read), small_values(sparse.indices, read)
    if values is None or indices is None:
        return f"{said} with {math.prod(sparse.values.dims)} values"
    return f"{said} {values} at {indices}"


def node_text(node: onnx.NodeProto, read: Read | None = None) -> str:
    """A node in one line: ``Conv 'conv'(x, w, b) {pads=[1, 1]} -> c``."""
    called = f" {node.name!r}" if node.name else ""
    attributes = ", ".join(f"{one.name}={attribute_text(one, read)}" for one in node.attribute)
    reads = ", ".join(name or '""' for name in node.input)
    makes = ", ".join(name or '""' for name in node.output)
    return f"{operator_name(node)}{called}({reads})" + (f" {{{attributes}}}" if attributes else "") + f" -> {makes}"

"""Attributes of nodes as text: short ones by their values, tensors by their type, graphs by their size."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx

from graphkit.graph.values import format_type
from graphkit.tensor import type_name


def attribute_text(attribute: onnx.AttributeProto) -> str:
    """An attribute's value as text. Tensors are told by their type, graphs by their size."""
    if attribute.ref_attr_name:
        return f"@{attribute.ref_attr_name}"
    if attribute.type not in onnx.AttributeProto.AttributeType.values():
        return f"attribute of the unknown type {attribute.type}"
    kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
    write = _ATTRIBUTES.get(kind)
    return write(attribute) if write else kind.lower()


def _quoted(text: bytes) -> str:
    return repr(text.decode("utf-8", "backslashreplace"))


_ATTRIBUTES: dict[str, Callable[[onnx.AttributeProto], str]] = {
    "INT": lambda a: str(a.i),
    "FLOAT": lambda a: f"{a.f:g}",
    "STRING": lambda a: _quoted(a.s),
    "INTS": lambda a: _listed(map(str, a.ints)),
    "FLOATS": lambda a: _listed(f"{number:g}" for number in a.floats),
    "STRINGS": lambda a: _listed(map(_quoted, a.strings)),
    "TENSOR": lambda a: tensor_text(a.t),
    "GRAPH": lambda a: f"graph of {len(a.g.node)} nodes",
    "GRAPHS": lambda a: f"{len(a.graphs)} graphs",
    "TYPE_PROTO": lambda a: format_type(a.tp),
}


def _listed(items: Iterable[str]) -> str:
    return f"[{', '.join(items)}]"


def tensor_text(tensor: onnx.TensorProto) -> str:
    """A tensor's type and dims: ``float32[64,3]``."""
    return f"{type_name(tensor.data_type)}[{','.join(map(str, tensor.dims))}]"

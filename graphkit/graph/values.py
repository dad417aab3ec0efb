"""What a value is: its declared type, its constant in every spelling, and types as users write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.graph.index import GraphIndex
from graphkit.tensor import type_name


def value_type(index: GraphIndex, name: str) -> onnx.TypeProto | None:
    """The type that the file gives a value, or None. Initializers have the type of their tensor.

    An empty TypeProto, and a tensor type without an element type, count as no type.
    """
    for table in (index.inputs, index.outputs, index.value_info):
        info = table.get(name)
        if info is not None and is_typed(info.type):
            return info.type
    if (tensor := index.initializers.get(name)) is not None:
        return tensor_type(tensor.data_type, list(tensor.dims))
    if (sparse := index.sparse_initializers.get(name)) is not None:
        return tensor_type(sparse.values.data_type, list(sparse.dims))
    return None


def is_typed(type_proto: onnx.TypeProto) -> bool:
    """Whether a TypeProto says what kind of value it is and, for tensors, of which element type."""
    kind = type_proto.WhichOneof("value")
    if kind is None:
        return False
    if kind in ("tensor_type", "sparse_tensor_type"):
        return bool(getattr(type_proto, kind).elem_type)
    if kind in ("sequence_type", "optional_type"):
        return is_typed(getattr(type_proto, kind).elem_type)
    return True


def has_shape(type_proto: onnx.TypeProto) -> bool:
    """Whether a type gives as much of a shape as its kind can: for tensors the ``shape`` field (maybe with unknown
    dims), for sequences and optionals that of their element.
    """
    kind = type_proto.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        return bool(getattr(type_proto, kind).HasField("shape"))
    if kind in ("sequence_type", "optional_type"):
        return has_shape(getattr(type_proto, kind).elem_type)
    return kind is not None


def tensor_type(data_type: int, dims: Sequence[int | str | None] | None) -> onnx.TypeProto:
    """A tensor TypeProto. A dim is a size, a symbol, or None for unknown; ``dims`` None is an unknown rank."""
    return onnx.helper.make_tensor_type_proto(data_type, dims)


def constant(index: GraphIndex, name: str) -> onnx.TensorProto | None:
    """The tensor of a value that is constant in this graph, or None.

    Finds an initializer that no caller can override, a Constant node in each dense spelling (value, value_float(s),
    value_int(s), value_string(s); Constant-13), and Identity of one of these. Sparse constants are not expanded.
    The tensor may be a reference: read it with ``Model.array_of``.
    """
    passed = set()
    while (position := index.producer.get(name)) is not None:
        node = index.nodes[position]
        if node.domain not in ("", "ai.onnx"):
            return None
        if node.op_type == "Constant":
            return constant_tensor(node)
        if node.op_type != "Identity" or not node.input or position in passed:
            return None
        passed.add(position)
        name = node.input[0]
    if name in index.inputs:
        return None
    return index.initializers.get(name)


def constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor of a Constant node, or None where it is sparse or set by a function's attribute (ref_attr_name)."""
    name = node.output[0]
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            return None
        match attribute.name:
            case "value":
                return attribute.t
            case "value_float":
                return onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [], [attribute.f])
            case "value_floats":
                return onnx.helper.make_tensor(name, onnx.TensorProto.FLOAT, [len(attribute.floats)], attribute.floats)
            case "value_int":
                return onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [], [attribute.i])
            case "value_ints":
                return onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [len(attribute.ints)], attribute.ints)
            case "value_string":
                return onnx.TensorProto(name=name, data_type=onnx.TensorProto.STRING, string_data=[attribute.s])
            case "value_strings":
                strings = attribute.strings
                return onnx.TensorProto(
                    name=name, data_type=onnx.TensorProto.STRING, dims=[len(strings)], string_data=strings
                )
    return None


def attribute_value(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of an attribute, a text as ``str``; the default where it is absent, or given by a function's caller."""
    for attribute in node.attribute:
        if attribute.name == name and not attribute.ref_attr_name:
            value = onnx.helper.get_attribute_value(attribute)
            return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return default


def dims(type_proto: onnx.TypeProto) -> list[int | str | None] | None:
    """A tensor type's dims: size, symbol, or None for unknown; None for an unknown rank or no tensor."""
    kind = type_proto.WhichOneof("value")
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return None
    tensor = getattr(type_proto, kind)
    if not tensor.HasField("shape"):
        return None
    return [dim(d) for d in tensor.shape.dim]


def dim(proto: onnx.TensorShapeProto.Dimension) -> int | str | None:
    """One dim: its size, its symbol, or None where nothing is given (or an empty symbol, or a negative size, which ONNX
    Runtime takes for an unknown one).
    """
    if proto.HasField("dim_value"):
        return proto.dim_value if proto.dim_value >= 0 else None
    return proto.dim_param or None


def format_type(type_proto: onnx.TypeProto | None) -> str:
    """A type as users write it: ``float32[1,3,n]``, ``float32[?]`` for unknown dims, ``float32`` for an unknown rank,
    ``seq(int64[n])``, ``optional(...)``, ``map(int64,...)``, ``unknown``.
    """
    kind = type_proto.WhichOneof("value") if type_proto is not None else None
    if type_proto is None or kind is None:
        return "unknown"
    if kind in ("tensor_type", "sparse_tensor_type"):
        elem = type_name(getattr(type_proto, kind).elem_type)
        known = dims(type_proto)
        shape = "" if known is None else "[" + ",".join("?" if d is None else str(d) for d in known) + "]"
        return f"sparse({elem}{shape})" if kind == "sparse_tensor_type" else elem + shape
    if kind == "sequence_type":
        return f"seq({format_type(type_proto.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"optional({format_type(type_proto.optional_type.elem_type)})"
    if kind == "map_type":
        held = type_proto.map_type
        return f"map({type_name(held.key_type)},{format_type(held.value_type)})"
    return str(kind).removesuffix("_type")


_TENSOR = re.compile(r"(?P<elem>[A-Za-z]\w*)\s*(?:\[(?P<dims>[^\[\]]*)\])?")
_WRAPPED = re.compile(r"(?P<kind>seq|optional|sparse|map)\s*\((?P<inner>.*)\)")


def parse_type(text: str) -> onnx.TypeProto:
    """The inverse of ``format_type``.

    Raises:
        ValueError: The text is no type.
    """
    text = text.strip()
    if wrapped := _WRAPPED.fullmatch(text):
        return _parse_wrapped(text, wrapped["kind"], wrapped["inner"])
    match = _TENSOR.fullmatch(text)
    if match is None:
        raise _no_type(text)
    shape = match["dims"]
    parts = None if shape is None else [_parse_dim(text, d) for d in _split(shape)]
    return tensor_type(data_type_named(match["elem"]), parts)


def _no_type(text: str) -> ArgumentValueError:
    return ArgumentValueError(f"{text!r} is no type; write one like float32[1,3,n], int64[?], seq(float32[n])")


def _parse_wrapped(text: str, kind: str, inner: str) -> onnx.TypeProto:
    if kind == "map":
        key, _, held = inner.partition(",")
        return onnx.helper.make_map_type_proto(data_type_named(key.strip()), parse_type(held))
    element = parse_type(inner)
    if kind == "seq":
        return onnx.helper.make_sequence_type_proto(element)
    if kind == "optional":
        return onnx.helper.make_optional_type_proto(element)
    if element.WhichOneof("value") != "tensor_type":
        raise _no_type(text)
    return onnx.helper.make_sparse_tensor_type_proto(element.tensor_type.elem_type, dims(element))


def _split(shape: str) -> list[str]:
    """The dims of a shape: the text between commas that stand in no parentheses ("Max(1, n)" is one dim)."""
    parts, depth = [""], 0
    for character in shape:
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts] if shape.strip() else []


def _parse_dim(text: str, part: str) -> int | str | None:
    if not part or re.fullmatch(r"-\d+", part):
        raise ArgumentValueError(
            f"{text!r} has the dim {part!r}: write a size, a symbol such as n, or ? for an unknown dim"
        )
    if part == "?":
        return None
    return int(part) if part.isdecimal() else part


def data_type_named(name: str) -> int:
    """The TensorProto data type of a name such as "float32", "float", "int64", "bfloat16".

    Raises:
        ValueError: There is no such data type.
    """
    proto_name = {"float32": "FLOAT", "float64": "DOUBLE"}.get(name.lower(), name.upper())
    if proto_name not in onnx.TensorProto.DataType.keys() or proto_name == "UNDEFINED":  # noqa: SIM118 (an enum wrapper, no dict)
        raise ArgumentValueError(
            f"{name!r} is no ONNX data type; the usual ones are float32, float16, int64, int32, bool, uint8"
        )
    return int(onnx.TensorProto.DataType.Value(proto_name))


def is_constant_node(node: onnx.NodeProto) -> bool:
    """Whether a node is a Constant of ONNX."""
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx")

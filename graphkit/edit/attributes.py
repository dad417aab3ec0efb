"""Attributes of nodes, typed as the operator's definition says."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
import onnx

from graphkit.errors import EditError, FormatError, similar
from graphkit.graph import walk
from graphkit.graph.names import title
from graphkit.graph.values import data_type_named
from graphkit.semantics.schemas import schema_of

A = onnx.AttributeProto


def attribute_for(
    node: onnx.NodeProto, name: str, value: Any, opset: int, functions: Iterable[onnx.FunctionProto] = ()
) -> onnx.AttributeProto:
    """An attribute of a node, of the type that its operator wants.

    Args:
        node: The node.
        name: The attribute.
        value: A number, a text, a list of them, an array or TensorProto for a tensor, a GraphProto; or a text that says
            one of these. For ``to`` and other attributes that hold an element type also its name, ``float16``.
        opset: The version of ai.onnx that the node is written in.
        functions: The model's functions, which the node may call.

    Raises:
        EditError: The operator has no such attribute, or one of another type.
    """
    kind = _kind_of(node, name, opset, functions)
    if kind is None:
        kind = _kind_of_value(value)
    try:
        made = onnx.helper.make_attribute(name, _converted(name, value, kind), attr_type=kind)
    except (ValueError, TypeError, OverflowError, FormatError) as error:
        raise EditError(
            f"the attribute {name!r} of {title(node)} is of type {A.AttributeType.Name(kind)}, and {_cut(value)} is none"
        ) from error
    return made


def replace_attribute(node: onnx.NodeProto, attribute: onnx.AttributeProto) -> None:
    """Give a node an attribute, in the place of one of that name. Changes the node."""
    for held in node.attribute:
        if held.name == attribute.name:
            held.CopyFrom(attribute)
            return
    node.attribute.add().CopyFrom(attribute)


def clear_attribute(node: onnx.NodeProto, name: str, opset: int) -> None:
    """Take an attribute from a node, so that its default counts. Changes the node.

    Raises:
        EditError: It has none of that name, or the operator cannot do without it.
    """
    places = [place for place, attribute in enumerate(node.attribute) if attribute.name == name]
    if not places:
        has = ", ".join(attribute.name for attribute in node.attribute)
        raise EditError(f"{title(node)} has no attribute {name!r}", hint=f"it has {has}" if has else None)
    schema = schema_of(node.op_type, opset) if node.domain in ("", "ai.onnx") else None
    if schema is not None and name in schema.attributes and schema.attributes[name].required:
        raise EditError(f"{title(node)} cannot do without its attribute {name!r}")
    del node.attribute[places[0]]


def _kind_of(node: onnx.NodeProto, name: str, opset: int, functions: Iterable[onnx.FunctionProto]) -> int | None:
    """The type that the operator wants; that of the attribute as it is where nothing is known of the operator.

    Raises:
        EditError: The operator has no such attribute.
    """
    held = next((attribute.type for attribute in node.attribute if attribute.name == name), None)
    known: list[str] | None = None
    key = walk.call_key(node)
    for function in functions:
        if walk.function_key(function) == key:
            kinds = {attribute.name: attribute.type for attribute in function.attribute_proto}
            known = [*function.attribute, *kinds]
            held = kinds.get(name, held)
    if known is None and node.domain in ("", "ai.onnx"):
        kinds_of = _defined(node.op_type, opset)
        if kinds_of is not None:
            known = sorted(kinds_of)
            if name in kinds_of:
                return kinds_of[name]
    if known is not None and name not in known:
        close = similar(name, known)
        hint = (
            "did you mean " + " or ".join(map(repr, close)) + "?" if close else f"it has {', '.join(known) or 'none'}"
        )
        raise EditError(f"{node.op_type} of opset {opset} has no attribute {name!r} ({title(node)})", hint=hint)
    return held


@cache
def _defined(op: str, opset: int) -> dict[str, int] | None:
    """Attribute -> type, as ONNX defines an operator; None for one that it does not know."""
    schema = schema_of(op, opset)
    if schema is None:
        return None
    kinds = {name: str(rule.type).rpartition(".")[2] for name, rule in schema.attributes.items()}
    return {name: int(A.AttributeType.Value(kind)) for name, kind in kinds.items()}


_SINGLE = {A.INT: A.INTS, A.FLOAT: A.FLOATS, A.STRING: A.STRINGS}


def _kind_of_value(value: Any) -> int:
    """What a value that no definition types most naturally is."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return A.STRING
    first = value[0] if isinstance(value, list | tuple) and value else value
    kind = A.STRING if isinstance(first, str | bytes) else A.INT if isinstance(first, int) else A.FLOAT
    if isinstance(value, np.ndarray | onnx.TensorProto):
        return A.TENSOR
    return _SINGLE[kind] if isinstance(value, list | tuple) else kind


def _converted(name: str, value: Any, kind: int) -> Any:
    """A value as ``onnx.helper.make_attribute`` takes it for a type.

    Raises:
        ValueError, TypeError: It is none.
    """
    if kind == A.STRING:
        if not isinstance(value, str | bytes):
            raise TypeError
        return value
    if kind in (A.GRAPH, A.TYPE_PROTO, A.SPARSE_TENSOR, A.GRAPHS, A.TENSORS):
        return value
    if kind == A.INT and isinstance(value, str) and name in ("to", "dtype", "saturate_dtype", "output_dtype"):
        try:
            return data_type_named(value)
        except ValueError:
            pass
    if isinstance(value, str):
        value = _literal(value)
    if kind == A.TENSOR:
        return value if isinstance(value, onnx.TensorProto) else onnx.numpy_helper.from_array(np.asarray(value))
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if kind in (A.INT, A.FLOAT):
        return _number(value, whole=kind == A.INT)
    items = list(value) if isinstance(value, list | tuple) else [value]
    if kind == A.STRINGS:
        if not all(isinstance(item, str | bytes) for item in items):
            raise TypeError
        return items
    return [_number(item, whole=kind == A.INTS) for item in items]


def _literal(text: str) -> Any:
    """A number, a list, or texts separated by commas."""
    plain = {"true": 1, "false": 0}.get(text.strip().lower())
    if plain is not None:
        return plain
    if text.strip() == "":
        return []
    try:
        found = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.split(",")
    return list(found) if isinstance(found, tuple) else found


def _number(value: Any, *, whole: bool) -> int | float:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, int | float):
        raise TypeError
    if not whole:
        return float(value)
    if int(value) != value:
        raise ValueError
    return int(value)


def _cut(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."

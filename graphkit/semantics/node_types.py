"""Whether what a node reads is of the types that its operator takes, by the operator's schema."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import onnx

from graphkit.graph.names import title
from graphkit.tensor import type_name

Schema = onnx.defs.OpSchema
_VARIADIC = Schema.FormalParameterOption.Variadic


def type_fault(
    node: onnx.NodeProto, schema: Schema, type_of: Callable[[str], onnx.TypeProto | None]
) -> tuple[str, str] | None:
    """The first input of a node whose type its operator does not take, as (value, what is wrong), or None.

    An input of a type that is not known passes.

    Args:
        node: The node.
        schema: Its operator's definition at the model's opset.
        type_of: Name of a value -> its type.

    Source: the type constraints of the schema. Cost: some microseconds.
    """
    formals = _formals(schema.domain, schema.name, schema.since_version)
    bound: dict[str, tuple[str, str]] = {}
    for place, name in enumerate(node.input):
        formal = formals[min(place, len(formals) - 1)] if formals else None
        if formal is None or not name or (place >= len(formals) and not formal.variadic):
            continue
        known = type_of(name)
        spelt = _spelt(known) if known is not None else None
        if spelt is None:
            continue
        if formal.types and spelt not in formal.types:
            return name, f"{title(node)} does not take {_short(spelt)} as {formal.name!r} (value {name!r})"
        if formal.variable:
            before = bound.setdefault(formal.variable, (spelt, name))
            if before[0] != spelt:
                return name, (
                    f"{title(node)} wants inputs of one type, and {before[1]!r} is {_short(before[0])}, "
                    f"{name!r} is {_short(spelt)}"
                )
    return None


class _Formal(NamedTuple):
    """An input of an operator: its name, the types that it may have, the type variable that it shares with others."""

    name: str
    types: frozenset[str]
    variable: str
    variadic: bool


@cache
def _formals(domain: str, name: str, since: int) -> list[_Formal]:
    schema = onnx.defs.get_schema(name, since, domain)
    allowed = {rule.type_param_str: frozenset(rule.allowed_type_strs) for rule in schema.type_constraints}
    return [
        _Formal(
            formal.name,
            allowed.get(formal.type_str, frozenset((formal.type_str,))),
            formal.type_str if formal.type_str in allowed and formal.is_homogeneous else "",
            formal.option == _VARIADIC,
        )
        for formal in schema.inputs
    ]


def _spelt(known: onnx.TypeProto) -> str | None:
    """A type as schemas spell it, ``tensor(float)``, ``seq(tensor(int64))``; None where it is not whole."""
    kind = known.WhichOneof("value")
    if kind in ("tensor_type", "sparse_tensor_type"):
        number = getattr(known, kind).elem_type
        if number not in onnx.TensorProto.DataType.values() or not number:
            return None
        name = onnx.TensorProto.DataType.Name(number).lower()
        return f"{'tensor' if kind == 'tensor_type' else 'sparse_tensor'}({name})"
    if kind in ("sequence_type", "optional_type"):
        inner = _spelt(getattr(known, kind).elem_type)
        return None if inner is None else f"{'seq' if kind == 'sequence_type' else 'optional'}({inner})"
    if kind == "map_type":
        inner = _spelt(known.map_type.value_type)
        key = type_name(known.map_type.key_type)
        return None if inner is None else f"map({key}, {inner.removeprefix('tensor(').removesuffix(')')})"
    return None


def _short(spelt: str) -> str:
    inner = spelt.removeprefix("tensor(").removesuffix(")") if spelt.startswith("tensor(") else spelt
    return {"float": "float32", "double": "float64"}.get(inner, inner)

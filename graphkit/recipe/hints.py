"""What a type hint of an operation says as JSON schema."""

from __future__ import annotations

import collections.abc
import inspect
import os
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from google.protobuf.message import Message

from graphkit.model import Model
from graphkit.operation import Operation

Schema = dict[str, Any]
"""The part of JSON schema that is used: type, enum, items, properties, additionalProperties, required, anyOf."""

_KNOWN: dict[str, Any] = {"ModelLike": str}
"""Hints that are read as another type: a model is named by its path."""


class _Names(dict[str, Any]):
    """The names that a hint may use; one that only type checkers import stands for anything."""

    def __init__(self, function: Any) -> None:
        super().__init__({**vars(typing), **function.__globals__, **_KNOWN})

    def __missing__(self, name: str) -> Any:
        builtin = vars(types).get(name) or __builtins__.get(name)  # type: ignore[attr-defined]  # a dict in modules
        return Any if builtin is None else builtin


def argument_schemas(operation: Operation) -> tuple[dict[str, Schema], list[str]]:
    """Argument -> schema, and the arguments that have no default."""
    function = inspect.unwrap(operation.function)
    hints = get_type_hints(function, localns=_Names(function))
    return schemas_of(operation.signature, hints)


def schemas_of(signature: inspect.Signature, hints: Mapping[str, Any]) -> tuple[dict[str, Schema], list[str]]:
    """The same, for any signature."""
    found, required = {}, []
    for name, parameter in signature.parameters.items():
        found[name] = schema_of(hints.get(name, Any))
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
        elif parameter.default is not None and isinstance(parameter.default, bool | int | float | str):
            found[name] = {**found[name], "default": parameter.default}
    return found, required


def schema_of(hint: Any) -> Schema:
    """The schema of a type; {} where anything goes. TOML has no null: None is to leave an argument out."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _any_of([schema_of(one) for one in arguments if one is not type(None)])
    if origin is Literal:
        return {"enum": list(arguments)}
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        return {"type": "array", "items": schema_of(arguments[0])}
    simple: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
    if hint in simple:
        return {"type": simple[hint]}
    if isinstance(hint, type) and issubclass(hint, Message | Model | os.PathLike):
        return {"type": "string"}
    return {}


def _any_of(schemas: list[Schema]) -> Schema:
    if {} in schemas:
        return {}
    distinct = [schema for at, schema in enumerate(schemas) if schema not in schemas[:at]]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}

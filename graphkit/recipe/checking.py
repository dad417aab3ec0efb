"""Whether a document is what a schema says; every fault is reported, with its path."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from graphkit.errors import similar
from graphkit.recipe.hints import Schema
from graphkit.recipe.positions import Path

Tell = Callable[[Path, str], None]
"""Told about each fault: where, and what is wrong."""

_WORDS = {
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "string": "a text",
    "array": "a list",
    "object": "a table",
}


def check(value: Any, schema: Schema, path: Path, tell: Tell) -> None:
    """Report everything in which a value is not what a schema says. What no TOML holds (an array, a message of ONNX, a
    value that nobody knows yet) is left to the operation.
    """
    if not isinstance(value, bool | int | float | str | list | tuple | Mapping):
        return
    if "anyOf" in schema:
        fitting = [one for one in schema["anyOf"] if _has_kind(value, one)]
        if fitting:
            check(value, fitting[0], path, tell)
        else:
            tell(path, f"{described(schema)} is wanted, not {_shown(value)}")
    elif "enum" in schema:
        if value not in schema["enum"]:
            hint = suggestion(str(value), map(str, schema["enum"]))
            tell(path, f"{described(schema)} is wanted, not {_shown(value)}{hint}")
    elif not _has_kind(value, schema):
        tell(path, f"{described(schema)} is wanted, not {_shown(value)}")
    elif "minimum" in schema and isinstance(value, int | float) and not value >= schema["minimum"]:
        tell(path, f"{schema['minimum']} or more is wanted, not {_shown(value)}")
    elif schema.get("type") == "array" and isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check(item, schema.get("items", {}), (*path, index), tell)
    elif schema.get("type") == "object" and isinstance(value, Mapping):
        _check_table(value, schema, path, tell)


def _check_table(table: Mapping[str, Any], schema: Schema, path: Path, tell: Tell) -> None:
    known: dict[str, Schema] = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    if len(table) < schema.get("minProperties", 0):
        tell(path, f"nothing is named here{listed(known)}")
    pattern = schema.get("propertyNames", {}).get("pattern", "")
    for key, value in table.items():
        if not re.search(pattern, key):
            tell((*path, key), f"{key!r} names no axis: write NAME:AXIS, such as 'image:0'")
        if key in known:
            check(value, known[key], (*path, key), tell)
        elif others is False:
            tell((*path, key), f"there is no key {key!r} here{suggestion(key, known) or listed(known)}")
        elif isinstance(others, Mapping):
            check(value, dict(others), (*path, key), tell)
    for key in schema.get("required", ()):
        if key not in table:
            tell(path, f"{key!r} is missing")


def suggestion(name: str, known: Any) -> str:
    """``: did you mean ...?``, or nothing where no known name looks like it."""
    alike = similar(name, dict.fromkeys(known))
    return f": did you mean {' or '.join(map(repr, alike))}?" if alike else ""


def listed(known: Any) -> str:
    """``: there are ...``."""
    names = list(dict.fromkeys(known))
    return f": there are {', '.join(names)}" if names else ""


def described(schema: Schema) -> str:
    """What a schema wants, in words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(described(one) for one in schema["anyOf"]))
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, schema["enum"]))
    kind = schema.get("type")
    if kind == "array" and (item := schema.get("items", {}).get("type")):
        return {"string": "a list of texts", "integer": "a list of integers"}.get(item, "a list")
    return _WORDS.get(str(kind), "a value")


def _has_kind(value: Any, schema: Schema) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    kinds: dict[str, Any] = {
        "boolean": bool,
        "integer": int,
        "number": (int, float),
        "string": str,
        "array": (list, tuple),
        "object": Mapping,
    }
    kind = schema.get("type")
    if kind is None:
        return True
    return isinstance(value, kinds[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

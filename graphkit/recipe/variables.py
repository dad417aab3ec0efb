"""Variables of a recipe: ``"${size}"`` keeps the type of the value, inside of a text it becomes text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from graphkit.errors import TextError
from graphkit.reading.literal import literal

_USE = re.compile(r"\$\{([^{}]*)\}")

Lookup = Callable[[str], Any]
"""Name -> value; None where it has none yet."""

KINDS: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "string": str,
    "boolean": bool,
    "list": list,
}


def filled(value: Any, find: Lookup) -> Any:
    """A value with its variables filled in. A text that holds one without a value yet becomes None."""
    if isinstance(value, str):
        return _text(value, find)
    if isinstance(value, list):
        return [filled(item, find) for item in value]
    if isinstance(value, Mapping):
        if set(value) == {"$text"}:
            return value
        return {str(filled(key, find)) if "${" in str(key) else key: filled(item, find) for key, item in value.items()}
    return value


def _text(text: str, find: Lookup) -> Any:
    whole = _USE.fullmatch(text)
    if whole is not None:
        return find(whole[1])
    values = {name: find(name) for name in _USE.findall(text)}
    if None in values.values():
        return None
    return _USE.sub(lambda match: _spelt(values[match[1]]), text)


def _spelt(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def kind_of(value: Any) -> str | None:
    """The kind of a value; None for tables."""
    if isinstance(value, bool):
        return "boolean"
    return next((name for name, types in KINDS.items() if name != "boolean" and isinstance(value, types)), None)


def fits(value: Any, kind: str) -> bool:
    """Whether a value is of a kind."""
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def read_value(name: str, text: str, kind: str | None) -> Any:
    """A variable's value from the command line, in the kind that the recipe gives it.

    Raises:
        TextError: The text is none of that kind.
    """
    if kind is None or kind == "string":
        return text
    try:
        value = literal(text)
    except ValueError:
        value = None
    if kind == "list" and value is None:
        return [part.strip() for part in text.split(",")]
    value = [value] if kind == "list" and not isinstance(value, list) else value
    if value is None or not fits(value, kind):
        wanted = ": true or false" if kind == "boolean" else ""
        raise TextError(f"the variable {name!r} is of the type {kind}, and {text!r} is none{wanted}")
    return value

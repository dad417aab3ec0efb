"""Hints as the command line spells them: options instead of keyword arguments, each word quoted for the shell."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from graphkit import Hint

T = TypeVar("T")

OPTIONS = {
    "feeds": "--feed",
    "inputs": "--input",
    "outputs": "--output",
    "nodes": "--node",
    "attributes": "--attribute",
    "input_types": "--input-type",
    "check_inputs": "--check-input",
    "keep_nodes": "--keep-node",
    "keep_ops": "--keep-op",
    "tensors": "--tensor",
    "form": "--as",
    "values": "--set",
    "names": "--value",
    "profiles": "--trt-profile",
}
"""Keyword of the library -> option, where the option is not the keyword with dashes."""

RENAMED = {
    "rename": {"values": "--value"},
    "torch_lowering": {"name": "--torch"},
    "check_operators": {"module": "--check", "args": ""},
}
"""Operation -> keyword -> option, where one operation's option is another one; "" where there is none."""

COMMANDS = {
    "set_parts": "set",
    "operator": "ops",
    "torch_lowering": "ops",
    "check_operators": "ops",
    "load_factory": "export",
    "find_baked": "export --check-baked",
    "save_recipe": "history",
}
"""Function -> command, where they are not called the same."""

OFF = {"optimize": "--no-optimize"}
"""Keyword -> the option that turns it off."""


def spelt(text: str | Hint) -> str:
    """A text of the library as a user of the command line reads it."""
    spell = getattr(text, "spelt", None)
    return str(text) if spell is None else str(spell(lambda part: argument(*part), lambda part: command(*part)))


def told(result: T) -> T:
    """A result with its hints as a user of the command line reads them. Cost: O(what it holds)."""
    return cast("T", _told(result))


def _told(held: Any) -> Any:
    """What is held itself where no hint is in it."""
    if isinstance(held, str):
        return spelt(held)
    if isinstance(held, Mapping):
        parts = {name: _told(value) for name, value in held.items()}
        return parts if any(parts[name] is not value for name, value in held.items()) else held
    if isinstance(held, (tuple, list)) and not hasattr(held, "_fields"):
        items = [_told(item) for item in held]
        return type(held)(items) if any(new is not item for new, item in zip(items, held, strict=True)) else held
    if dataclasses.is_dataclass(held) and not isinstance(held, type):
        fields = {field.name: getattr(held, field.name) for field in dataclasses.fields(held) if field.init}
        changed = {name: new for name, value in fields.items() if (new := _told(value)) is not value}
        return dataclasses.replace(held, **changed) if changed else held
    return held


def argument(name: str, value: Any, operation: str = "") -> str:
    """One argument as an option, once for each of its values."""
    if value is False and name in OFF:
        return OFF[name]
    option = RENAMED.get(operation, {}).get(name, OPTIONS.get(name, "--" + name.replace("_", "-")))
    if value is True or not option:
        return option
    if isinstance(value, Mapping):
        words = [f"{key}={item}" for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        words = [str(item) for item in value]
    else:
        words = [str(value)]
    return " ".join(f"{option} {shlex.quote(word)}" for word in words)


def command(operation: str, arguments: tuple[tuple[str, Any], ...], subject: tuple[str, str]) -> str:
    """A call as a command."""
    words = [
        "graphkit",
        COMMANDS.get(operation, operation),
        subject[1],
        *(argument(name, value, operation) for name, value in arguments),
    ]
    return " ".join(filter(None, words))

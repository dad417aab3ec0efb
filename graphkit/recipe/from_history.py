"""A model's history as a recipe: on the original it gives the same bytes, and written portably it fits a re-export."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping
from typing import Any

from graphkit.errors import GraphkitError, GraphkitWarning, ModelFileError
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import Model, ModelLike
from graphkit.operation import arrays_of, bound_step, operation_of
from graphkit.recipe.places import portable
from graphkit.recipe.reading import array_file
from graphkit.step import Find, Step
from graphkit.storage.commit import write_file
from graphkit.storage.load import as_model

MAKERS = ("export", "merge")
"""Steps that make a model of something else; a recipe begins behind them."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def save_recipe(
    model: ModelLike,
    path: str | os.PathLike[str],
    *,
    portable: bool = False,
    original: ModelLike | None = None,
) -> tuple[str, ...]:
    """Write a model's history as a recipe.

    Args:
        model: A model with a history.
        path: The TOML file to write. Large arrays that steps were given go into files beside it.
        portable: Write names of values and nodes as places: by position, operator type and torch module. So the recipe
            fits a re-export, in which they have other names. The original is needed for that.
        original: The model that the recipe shall begin with: that of the history, or one that has had its first steps, such
            as the file of an export. None: the file beside ``model`` that the history names.

    Returns:
        The files that were written.

    Raises:
        GraphkitError: There is no history, a step cannot be replayed, or the history does not begin with the original.
        NameNotFoundError: A step is no operation of this graphkit.
        ModelFileError: The original is not found.
        SaveError: The file cannot be written.

    Changes: ``path`` and the files beside it.
    Cost: O(history); with ``portable`` that of the steps. Weights are read where a step was given large arrays.

    Example:
        >>> import graphkit as gk
        >>> edited = gk.rename("model.onnx", values={"image": "picture"})
        >>> gk.save_recipe(edited, "recipe.toml")
        ('recipe.toml',)
    """
    target = os.fspath(path)
    source = as_model(model)
    if not source.history:
        raise GraphkitError("the model has no history")
    begun = None if original is None and not portable else _begun(source, original)
    steps = source.history[_made(source) if begun is None else len(begun.history) :]
    if not steps:
        raise GraphkitError("nothing was done to the model since it was made")
    for step in steps:
        if step.obstacle:
            raise GraphkitError(f"the step {step.operation!r} cannot be replayed: {step.obstacle}")
        bound_step(step, step.arguments)
    find = arrays_of(source)
    arguments: list[Mapping[str, Any]] = [step.arguments for step in steps]
    if portable and begun is not None:
        arguments = _portable(begun, steps, find)
    files: dict[str, bytes] = {}
    for digest, length in _digests([dict(one) for one in arguments]):
        data = find(digest, length)
        if data is None:
            raise GraphkitError(
                f"the {length} bytes with the sha256 {digest[:16]}... that a step was given are not at hand"
            )
        files[array_file(target, digest)] = data
    files[target] = _text(source, steps, arguments).encode()
    for name, data in files.items():
        write_file(name, data)
    return tuple(files)


def _portable(model: Model, steps: tuple[Step, ...], find: Find) -> list[Mapping[str, Any]]:
    """The arguments of each step, with places for the names of the model that it was done on."""
    found: list[Mapping[str, Any]] = []
    for step in steps:
        found.append(portable(model, step.arguments))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GraphkitWarning)
            model = operation_of(step.operation).function(model, **step.decoded(find))
    return found


def _made(source: Model) -> int:
    """How many steps made the model that a recipe can begin with: an export, a merge."""
    return 1 if source.history[0].operation in MAKERS else 0


def _begun(source: Model, original: ModelLike | None) -> Model:
    """The model that a recipe begins with: that of the history, or one that has had its first steps."""
    model = _beside(source) if original is None else as_model(original)
    had, known, identity = model.history, source.original, model.identity
    other = known is not None and identity is not None and identity.digest != known.digest
    if [step[:2] for step in had] != [step[:2] for step in source.history[: len(had)]] or (not had and other):
        raise GraphkitError(f"the history does not begin with {model.path or 'the original that was given'}")
    return model


def _beside(source: Model) -> Model:
    known = source.original
    if known is None or known.file is None or source.path is None:
        raise ModelFileError(
            "the history does not name the file that it begins with",
            hint=Hint("say where it is: ", Argument("original", Blank("FILE"))),
        )
    path = os.path.join(os.path.dirname(source.path), known.file)
    if not os.path.exists(path):
        raise ModelFileError(
            f"the original, {known.file!r}, is not beside {source.path}",
            path=path,
            hint=Hint("say where it is: ", Argument("original", Blank("FILE"))),
        )
    return as_model(path)


def _digests(value: Any) -> list[tuple[str, int]]:
    """(sha256, bytes) of the arrays that are known by their digest only."""
    if isinstance(value, list):
        return [pair for item in value for pair in _digests(item)]
    if not isinstance(value, dict):
        return []
    tensor = value.get("$tensor")
    if isinstance(tensor, dict) and "sha256" in tensor:
        return [(tensor["sha256"], tensor["bytes"])]
    return [pair for item in value.values() for pair in _digests(item)]


def _text(model: Model, steps: tuple[Step, ...], arguments: list[Mapping[str, Any]]) -> str:
    known = model.original
    lines = [f"# What was done to {known.file if known is not None and known.file else 'a model'}."]
    for step, given in zip(steps, arguments, strict=True):
        lines += ["", "[[step]]", f"do = {toml('set' if step.operation == 'set_parts' else step.operation)}"]
        lines += [f"{_key(name)} = {toml(value)}" for name, value in given.items()]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """A value of JSON as TOML, on one line."""
    if value is None:
        return '{ "$none" = true }'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'{{ "$text" = {_quoted(value)} }}' if "${" in value else _quoted(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    assert isinstance(value, Mapping)
    if any("${" in key for key in value):
        return toml({"$pairs": [[key, item] for key, item in value.items()]})
    return "{ " + ", ".join(f"{_key(key)} = {toml(item)}" for key, item in value.items()) + " }" if value else "{}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Recipes: steps and expectations, in a TOML file or in Python, and the models that they make."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from graphkit.errors import ModelFileError, NameNotFoundError, RecipeError, TextError
from graphkit.model import Model, ModelLike
from graphkit.operation import Operation
from graphkit.recipe.positions import Path, Place, read_toml
from graphkit.recipe.reading import Entry, Reader, Source, Step, in_order
from graphkit.recipe.running import Applied, run
from graphkit.recipe.variables import read_value
from graphkit.step import encoded
from graphkit.storage.system import regular_only
from graphkit.surgery.split import Split

Call = Mapping[str, Any] | functools.partial[Any]
"""A step in Python: a table as the file has it, or ``functools.partial(gk.rename, values={...})``."""


_NOWHERE: dict[Path, Place] = {}
"""The places of a recipe that was made in Python, which may be empty."""


class Recipe:
    """Steps that make a model of a model, with expectations between them.

    In TOML::

        [vars]
        size = 224            # used as "${size}", which keeps its type

        [[step]]
        do = "rename"
        values = { "input.1" = "image" }

        [[step]]
        expect = { inputs = ["image"], runs = true, same_as = "original" }

    In Python, the same::

        gk.Recipe([functools.partial(gk.rename, values={"input.1": "image"}), {"expect": {"runs": True}}])

    A name of a value or node may be a place, which holds on a re-export too: ``@input[0]``, ``@output[-1]``,
    ``@node(Conv)[2]`` (the third Conv), ``@value(Conv, layer1.0)[0]`` (what the first Conv of a torch module makes),
    ``@operand(Conv)[2:1]`` (what the third Conv reads at place 1). Files that a step names lie beside the recipe or in the
    current folder. A step may say ``when = { has_op = "Conv", opset = ">=17", producer = "pytorch" }`` and
    ``optional = true``; ``include`` takes the steps of another recipe. ``gk.recipe_schema()`` has the whole grammar.

    Attributes:
        path: The file that it was read from, or None.
    """

    def __init__(self, steps: Iterable[Call], *, variables: Mapping[str, Any] | None = None) -> None:
        """Make a recipe of a list of calls.

        Args:
            steps: Tables as the file has them, or calls of operations without their model.
            variables: Variables and their defaults.

        Raises:
            RecipeError: Faults in it, all of them.
        """
        tables = [_table(step) for step in steps]
        self._begin({"vars": dict(variables or {}), "step": tables}, _NOWHERE, None)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read a recipe from a TOML file, and those that it includes.

        Raises:
            ModelFileError: The file cannot be read.
            RecipeError: Wrong keys, types and names, all of them, each with file, line and column.
        """
        name = os.fspath(path)
        made = cls(())
        made._begin(*read_toml(read_text(name), name), name)
        return made

    @classmethod
    def read(cls, text: str) -> Recipe:
        """Read a recipe from TOML text; paths in it are from the current folder.

        Raises:
            RecipeError: As ``load``.
        """
        made = cls(())
        made._begin(*read_toml(text, "recipe"), None)
        return made

    def _begin(self, document: dict[str, Any], places: dict[Path, Place], path: str | None) -> None:
        self.path = path
        self._document = document
        self._source = Source(path or "recipe", path, places)
        if not self.steps() and places is not _NOWHERE:
            raise RecipeError([f"{self._source.name}: there is no [[step]]"], path=path)

    def __repr__(self) -> str:
        return f"<Recipe {self.path or 'made in memory'}: {len(self.steps())} steps>"

    def _read(self) -> tuple[Reader, list[Entry]]:
        reader = Reader()
        scope = reader.scope(self._document, self._source)
        return reader, reader.entries(self._document, self._source, scope)

    def steps(self, given: Mapping[str, Any] | None = None) -> list[Step]:
        """The steps, those of included recipes too, with variables filled in.

        Args:
            given: Variable -> value. None: nothing is given yet, and a variable may lack a value.

        Raises:
            RecipeError: Faults in the recipe, or in what was given; all of them.
        """
        reader, entries = self._read()
        found = reader.steps(entries, given)
        if reader.faults:
            raise RecipeError(in_order(reader.faults), path=self.path)
        return found

    @property
    def variables(self) -> dict[str, Any]:
        """Variable -> default; None where it has none."""
        reader, _ = self._read()
        return {name: default for scope in reversed(reader.scopes) for name, (default, _) in scope.declared.items()}

    def given(self, texts: Mapping[str, str]) -> dict[str, Any]:
        """Values of variables from texts, in the types that the recipe gives them.

        Raises:
            NameNotFoundError: The recipe has no such variable.
            TextError: Texts are no values of their types; all of them are named.
        """
        reader, _ = self._read()
        kinds = {name: kind for scope in reversed(reader.scopes) for name, (_, kind) in scope.declared.items()}
        for name in texts:
            if name not in kinds:
                raise unknown_variable(name, kinds)
        found, wrong = {}, []
        for name, text in texts.items():
            try:
                found[name] = read_value(name, text, kinds[name])
            except TextError as error:
                wrong.append(error.message)
        if wrong:
            raise TextError("; ".join(wrong))
        return found

    def digest(self, given: Mapping[str, Any] | None = None) -> str:
        """sha256 of what the recipe does: its steps with variables filled in, and the bytes of the files that they name."""
        steps = self.steps(given or {})
        whole = hashlib.sha256(json.dumps(encoded([step.told() for step in steps]), sort_keys=True).encode())
        for path in sorted({path for step in steps for path in step.files()}):
            with open(path, "rb", opener=regular_only) as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
        return whole.hexdigest()

    def apply(
        self, model: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike], /, **variables: Any
    ) -> Model | Split:
        """Do the steps, one after the other, in memory.

        Args:
            model: A path, a ModelProto or a Model; several, or name -> model, where the recipe begins with ``merge``.
            variables: Variable -> value.

        Returns:
            The model; or a Split, where the recipe ends with ``split``.

        Raises:
            ExpectationError: What the recipe expects does not hold.
            NothingFoundError: A step that is not optional finds nothing to do.
            RecipeError: An unknown variable, one without a value or of another type.
            GraphkitError: What an operation raises.

        Changes: nothing.
        Cost: that of the steps; the model is loaded once.
        Law: that of each step.

        Example:
            >>> recipe = gk.Recipe([{"do": "rename", "values": {"x": "image"}}, {"expect": {"inputs": ["image"]}}])
            >>> [value.name for value in recipe.apply("model.onnx").inputs]
            ['image']
        """
        return self.run(model, **variables).result

    def run(self, model: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike], /, **variables: Any) -> Applied:
        """``apply``, with what each step did. Arguments and errors as ``apply`` has them."""
        return run(self.steps(variables), model)


def unknown_variable(name: str, known: Iterable[str]) -> NameNotFoundError:
    """The error for a variable that a recipe does not have."""
    error = NameNotFoundError("variable", name, known)
    error.message = f"the recipe has no variable {name!r}"
    return error


def read_text(path: str) -> str:
    """A text file.

    Raises:
        ModelFileError: It cannot be read, or is no text.
    """
    try:
        with open(path, encoding="utf-8-sig", opener=regular_only) as file:
            return file.read()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ModelFileError(f"the recipe {path!r} cannot be read: {why}", path=path) from error


def _table(step: Call) -> dict[str, Any]:
    if not isinstance(step, functools.partial):
        return dict(step)
    operation = getattr(step.func, "operation", None)
    if not isinstance(operation, Operation):
        if step.args:
            raise TypeError("a call of a recipe gives its arguments by name")
        return {"do": getattr(step.func, "__name__", ""), **step.keywords}
    arguments = operation.signature.bind_partial(*step.args, **step.keywords).arguments
    return {"do": "set" if operation.name == "set_parts" else operation.name, **arguments}

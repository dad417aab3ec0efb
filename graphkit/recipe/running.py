"""Doing a recipe's steps on a model, in memory: one load, any number of steps, and what each of them did."""

from __future__ import annotations

import inspect
import os
import time
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import onnx

from graphkit.arguments import ArgumentTypeError, ArgumentValueError, bound
from graphkit.errors import (
    ExpectationError,
    GraphkitError,
    GraphkitWarning,
    NameNotFoundError,
    NothingFoundError,
    RecipeError,
)
from graphkit.graph.names import label
from graphkit.model import Model, ModelLike
from graphkit.operation import operation_of
from graphkit.plural import counted
from graphkit.progress import tell
from graphkit.recipe.expectations import Asked, failed, unmet
from graphkit.recipe.places import resolved
from graphkit.recipe.proving import proof_of
from graphkit.recipe.reading import Step
from graphkit.result import Result
from graphkit.storage.load import as_model
from graphkit.surgery.merge import merge
from graphkit.surgery.split import Split, split
from graphkit.verify.laws.proof import Proof

FILES = ("body_model", "restore_weights", "function", "rules", "feeds")
"""Arguments whose texts may be files beside the recipe."""


@dataclass(frozen=True, repr=False)
class Did(Result):
    """What one step of a recipe did.

    Attributes:
        number: The step's number, from 1.
        place: Where it stands: ``file:line:column``.
        what: The operation, or "expect".
        state: "done"; "left out" where its conditions do not hold; "nothing to do" where it is optional.
        touched: What changed, in a few words each.
        notes: What the operation found.
        seconds: How long it took.
    """

    number: int
    place: str
    what: str
    state: Literal["done", "left out", "nothing to do"]
    touched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, repr=False)
class Applied(Result):
    """What a recipe made of a model.

    Attributes:
        steps: What each step did, in order.
        model: The model; before it was split, where it was.
        original: The model that the recipe began with; None where it was made of several.
        split: The stages, where the recipe ends with ``split``.
        merged: Name -> model, of the models that it was made of.
    """

    steps: tuple[Did, ...]
    model: Model = field(metadata={"json": False})
    original: Model | None = field(default=None, metadata={"json": False})
    split: Split | None = field(default=None, metadata={"json": False})
    merged: Mapping[str, Model] = field(default_factory=dict, metadata={"json": False})

    @property
    def result(self) -> Model | Split:
        """The stages, or else the model."""
        return self.model if self.split is None else self.split

    @property
    def changed(self) -> bool:
        """Whether a step changed the model; where none did, and it was not split, there is nothing to prove."""
        return self.original is None or len(self.model.history) > len(self.original.history)

    def prove(self) -> Proof | None:
        """The proof of all steps against what the recipe was given; None where none of them changed anything.

        Raises:
            GraphkitError: As ``graphkit.prove``.
        """
        return proof_of(self.model, self.original, self.merged, self.split)


def run(steps: Sequence[Step], models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike]) -> Applied:
    """Do steps on a model, or on several where the first of them merges.

    Raises:
        ExpectationError, NothingFoundError, GraphkitError: As ``Recipe.apply``.
    """
    merging = next((step for step in steps if step.do is not None), None)
    if merging is not None and merging.do != "merge":
        merging = None
    several = isinstance(models, Mapping) or (isinstance(models, Sequence) and not isinstance(models, str))
    if several and merging is None:
        raise GraphkitError("the recipe takes one model", hint='several are for one that begins with do = "merge"')
    loaded = _loaded(models)
    original = None if merging is not None else next(iter(loaded.values()))
    work = _Work(None if merging is not None else original, original, loaded)
    for number, step in enumerate(steps):
        tell(number, len(steps), step.do or "expect")
        work.do(step)
    assert work.model is not None
    return Applied(tuple(work.did), work.model, original, work.split, work.merged)


def _place(error: GraphkitError, step: Step) -> None:
    """Let an error say which step it is about."""
    if not error.message.startswith(step.place):
        error.message = f"{step.place}: {step.do or 'expect'}: {error.message}"


def _interface(model: Model | None) -> dict[str, str]:
    return {} if model is None else {value.name: value.name for value in (*model.inputs, *model.outputs)}


def _loaded(models: Any) -> dict[str, Model]:
    """Name -> model; a single one is called by its file's stem."""
    if isinstance(models, Mapping):
        return {name: as_model(model) for name, model in models.items()}
    many = list(models) if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    found: dict[str, Model] = {}
    for number, one in enumerate(many):
        model = as_model(one)
        stem = os.path.splitext(os.path.basename(model.path))[0] if model.path else f"model{number or ''}"
        name = os.path.basename(model.path) if model.path and stem in found else stem
        if name in found:
            raise GraphkitError(f"two models are called {name!r}", hint="give them as {name: model}")
        found[name] = model
    if not found:
        raise GraphkitError("there is no model")
    return found


class _Work:
    """A model on its way through the steps."""

    def __init__(self, model: Model | None, original: Model | None, given: Mapping[str, Model]) -> None:
        self.model = model
        self.original = original
        self.given = given
        self.split: Split | None = None
        self.merged: Mapping[str, Model] = {}
        self.did: list[Did] = []
        self._names = _interface(original)
        self._open: dict[int, bool] = {}

    def do(self, step: Step) -> None:
        """Do one step, or leave it out."""
        if self.model is None and step.do != "merge":
            raise RecipeError([f"{step.place}: nothing can be asked before the models are merged"])
        began = time.perf_counter()
        what = step.do or "expect"
        if why := self._closed(step):
            self.did.append(Did(step.number, step.place, what, "left out", (), tuple(why)))
            return
        if step.expect is not None:
            assert self.model is not None
            try:
                wrong = failed(self.model, step.expect, Asked(self.original, step.folder, self._names, self.merged))
            except GraphkitError as error:
                _place(error, step)
                raise
            if wrong:
                raise ExpectationError(wrong, step=step.number, place=step.place)
            touched = tuple(f"{key} = {_shown(value)} holds" for key, value in step.expect.items())
            self.did.append(Did(step.number, step.place, what, "done", touched, (), time.perf_counter() - began))
            return
        try:
            touched, notes = self._call(step)
        except (NothingFoundError, NameNotFoundError) as error:
            if not step.optional:
                _place(error, step)
                raise
            self.did.append(Did(step.number, step.place, what, "nothing to do", (), (error.message,)))
            return
        except (ArgumentValueError, ArgumentTypeError) as error:
            raise RecipeError([f"{step.place}: {what}: {error}"]) from error
        except GraphkitError as error:
            _place(error, step)
            raise
        self.did.append(Did(step.number, step.place, what, "done", touched, notes, time.perf_counter() - began))

    def _closed(self, step: Step) -> list[str]:
        """Why a step is left out."""
        for number, when in step.gates.items():
            if number not in self._open:
                assert self.model is not None
                self._open[number] = not unmet(self.model, when)
            if not self._open[number]:
                return ["what the included recipe asks for does not hold"]
        return unmet(self.model, step.when) if self.model is not None and step.when else []

    def _call(self, step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
        arguments = {name: _located(name, value, step.folder) for name, value in step.arguments.items()}
        if step.do == "merge":
            return self._merge(arguments, step)
        before = self.model
        assert before is not None
        arguments = resolved(before, arguments)
        if step.do == "split":
            call = bound(inspect.signature(split), before, **arguments)
            self.split = split(*call.args, **call.kwargs)
            stages = tuple(f"{s.file}: {counted(s.nodes, 'node')}, {', '.join(s.outputs)}" for s in self.split.stages)
            return stages, ()
        assert step.do is not None
        operation = operation_of("set_parts" if step.do == "set" else step.do)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", GraphkitWarning)
            after = operation.function(before, **arguments)
        for warning in caught:
            if not issubclass(warning.category, GraphkitWarning):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        touched = changes(before.without_record().proto, after.proto)
        notes = after.history[-1].notes
        if not touched and after.sources == before.sources:
            said = f": {'; '.join(notes)}" if notes else ""
            raise NothingFoundError(
                f"{step.place}: {step.do} finds nothing to do in this model{said}",
                hint="say optional = true in the step where that is right",
            )
        self._follow(before, after, renamed=operation.name == "rename")
        self.model = after
        return touched, notes

    def _follow(self, before: Model, after: Model, *, renamed: bool) -> None:
        """Keep what the original calls the inputs and outputs: a rename keeps their places, all else their names."""
        new = [value.name for value in (*after.inputs, *after.outputs)]
        old = [value.name for value in (*before.inputs, *before.outputs)] if renamed else new
        self._names = {now: self._names[was] for was, now in zip(old, new, strict=True) if was in self._names}

    def _merge(self, arguments: dict[str, Any], step: Step) -> tuple[tuple[str, ...], tuple[str, ...]]:
        models = dict(self.given)
        for name, path in arguments.pop("models", {}).items():
            if name in models:
                raise RecipeError([f"{step.place}: two models are called {name!r}"])
            models[name] = as_model(os.path.join(step.folder, path))
        if len(models) < 2:
            raise GraphkitError(
                "merge needs at least two models", hint="give several, or name them: models = {B = ...}"
            )
        call = bound(inspect.signature(merge), models, **arguments)
        self.model, self.merged = merge(*call.args, **call.kwargs), models
        return (f"{', '.join(models)} became one model",), self.model.history[-1].notes


def _located(name: str, value: Any, folder: str) -> Any:
    """Files that lie beside the recipe, by their path; everything else as it is."""
    if isinstance(value, Mapping):
        return {key: _located(name, item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_located(name, item, folder) for item in value]
    if not isinstance(value, str) or not folder:
        return value
    mark = "@" if value.startswith("@") else ""
    if not mark and name not in FILES:
        return value
    path = os.path.join(folder, value[len(mark) :])
    return (
        mark + path
        if len(path) < 1000 and os.path.exists(path.partition(".npz:")[0] + ".npz" * (".npz:" in path))
        else value
    )


def changes(before: onnx.ModelProto, after: onnx.ModelProto) -> tuple[str, ...]:
    """What an operation touched, in a few words each; nothing where the skeletons are equal.

    Cost: O(graph).
    """
    if before == after:
        return ()
    found = []
    for kind in ("input", "output"):
        old = [value.name for value in getattr(before.graph, kind)]
        new = [value.name for value in getattr(after.graph, kind)]
        if old != new:
            found.append(f"{kind}s {', '.join(old)} become {', '.join(new)}")
        elif list(getattr(before.graph, kind)) != list(getattr(after.graph, kind)):
            found.append(f"types of {kind}s change")
    old_nodes = Counter(node.SerializeToString(deterministic=True) for node in before.graph.node)
    new_nodes = Counter(node.SerializeToString(deterministic=True) for node in after.graph.node)
    gone, come = (_named_nodes(nodes) for nodes in (old_nodes - new_nodes, new_nodes - old_nodes))
    for sign, nodes in (("-", gone - come), ("+", come - gone), ("changed ", gone & come)):
        if nodes:
            more = " and others" if len(nodes) > 4 else ""
            found.append(f"{sign}{counted(nodes.total(), 'node')}: {', '.join(list(nodes)[:4])}{more}")
    old_weights = {t.name for t in before.graph.initializer}
    new_weights = {t.name for t in after.graph.initializer}
    for sign, names in (("-", old_weights - new_weights), ("+", new_weights - old_weights)):
        if names:
            found.append(f"{sign}{counted(len(names), 'weight')}: {', '.join(sorted(names)[:4])}")
    return tuple(found or ["declarations, values or metadata change"])


def _named_nodes(nodes: Counter[bytes]) -> Counter[str]:
    """Nodes by operator and name: one that is there before and after, with other inputs or attributes, is changed."""
    found: Counter[str] = Counter()
    for data, count in nodes.items():
        node = onnx.NodeProto.FromString(data)
        found[f"{node.op_type} {label(node)}"] += count
    return found


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

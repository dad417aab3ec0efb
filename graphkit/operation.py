"""What an operation is: a function ``Model -> Model`` that is defined once, written down, checked and can be done again.

An operation is a function of ``surgery/`` that takes a Model and gives an ``Edit``. ``@operation`` makes the public function
of it: any model-like is taken, the call is bound to the signature and written into a ``Step`` without loss, and the result
passes the gate before it is a Model. So a model's history is a recipe, and ``replay`` runs it again.

How to add one: ``surgery/NAME.py`` with the function NAME, and its test. The function's signature, hints and docstring are
its definition: the options of the command, the recipe's schema and the help are derived from them or held to them by tests.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias, TypeVar, cast, get_args

import numpy as np
import onnx

from graphkit.arguments import ArgumentTypeError, ArgumentValueError, bound, kind_of, require, text_told
from graphkit.errors import EditError, GraphkitError, GraphkitWarning, InvalidGraphError, NameNotFoundError, TensorError
from graphkit.graph import walk
from graphkit.graph.misnamed import nodes_told
from graphkit.graph.order import is_ordered_everywhere, sort_everywhere
from graphkit.model import Model, ModelLike, Source
from graphkit.semantics.valid import require_valid
from graphkit.step import OTHER_WEIGHTS, Find, Opaque, Step, bytes_in, encoded
from graphkit.storage.load import as_model

P = ParamSpec("P")

Law: TypeAlias = Literal[
    "same", "bound", "stacked", "part", "joined", "close", "cached", "repaired", "replaced", "meant"
]
"""What must hold between the model before an operation and the model after it; ``verify/laws`` says how each is proved."""

ROOMS = ("graphkit.surgery", "graphkit.bridge")
"""Where operations live: the operation NAME is the function NAME of the module NAME of one of these, or of the module
NAME in the folder NAME."""


@dataclass(frozen=True)
class Edit:
    """What an operation made of a model.

    Attributes:
        proto: The new skeleton; the operation's own, which nobody else changes.
        notes: What was found and what the user should know, one sentence each.
        warnings: Notes that warn as well: something the user has to act on.
        arguments: Arguments as they were understood, in place of those that were given: a function's text for its path.
        sources: location -> bytes, where the operation brought some; None leaves those of the model.
        obstacle: Why the step cannot be replayed, where it cannot.
    """

    proto: onnx.ModelProto
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, Source] | None = None
    obstacle: str = ""


@dataclass(frozen=True)
class Operation:
    """The definition of an operation, as ``operation_of`` finds it.

    Attributes:
        name: Of the function, the file, the command and the recipe's step.
        law: What must hold between before and after.
        function: The public function, ``(model, ...) -> Model``.
        signature: Its signature without the model.
    """

    name: str
    law: Law
    function: Callable[..., Model]
    signature: inspect.Signature

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (self.function.__doc__ or "").partition("\n")[0]


def operation(
    *, law: Law, valid: bool = True
) -> Callable[[Callable[Concatenate[Model, P], Edit]], Callable[Concatenate[ModelLike, P], Model]]:
    """Make a function ``(Model, ...) -> Edit`` a public operation ``(ModelLike, ...) -> Model``.

    Args:
        law: What must hold between the model before and the model after.
        valid: Refuse a model that contradicts itself before the function sees it. False for operations that look at a
            part of it only, or that mend it.
    """
    assert law in get_args(Law)

    def decorate(function: Callable[Concatenate[Model, P], Edit]) -> Callable[Concatenate[ModelLike, P], Model]:
        whole = inspect.signature(function)
        first = next(iter(whole.parameters))
        listed = frozenset(name for name, value in whole.parameters.items() if _is_list(str(value.annotation)))
        kinds = {name: kind for name, value in whole.parameters.items() if (kind := kind_of(str(value.annotation)))}

        @functools.wraps(function)
        def public(model: ModelLike, *args: P.args, **kwargs: P.kwargs) -> Model:
            before = as_model(model)
            if valid and not before.checked:
                require_valid(before.proto)
            ordered = before.checked or is_ordered_everywhere(before.proto)
            before = before.without_record() if ordered or not valid else in_order(before.without_record())
            call = bound(whole, before, *map(_kept, args), **{name: _kept(value) for name, value in kwargs.items()})
            call.arguments.update({name: names(call.arguments[name]) for name in listed if name in call.arguments})
            for name, kind in kinds.items():
                if call.arguments.get(name, whole.parameters[name].default) is not whole.parameters[name].default:
                    require(name, call.arguments[name], kind)
            with nodes_told(before.proto.graph), text_told(call.arguments):
                edit = function(*call.args, **call.kwargs)
            given = {name: value for name, value in call.arguments.items() if name != first}
            step = _step(function.__name__, whole, given, edit)
            after = passed(before.after(step, edit.proto, edit.sources), before, ordered=ordered)
            for text in edit.warnings:
                warnings.warn(text, GraphkitWarning, stacklevel=2)
            return after

        parameters = [p.replace(annotation="ModelLike") if p.name == first else p for p in whole.parameters.values()]
        signature = whole.replace(parameters=parameters, return_annotation="Model")
        public.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it
        public.__annotations__ = {**function.__annotations__, first: "ModelLike", "return": "Model"}
        public.operation = Operation(  # type: ignore[attr-defined]  # operation_of reads it
            function.__name__, law, public, signature.replace(parameters=parameters[1:])
        )
        return cast("Callable[Concatenate[ModelLike, P], Model]", public)

    return decorate


def in_order(model: Model) -> Model:
    """The model with its nodes sorted: runtimes take a graph that is not, and ONNX and most passes do not."""
    proto = model.copy_proto()
    sort_everywhere(proto)
    return Model(proto, model.sources, path=model.path, original=model.original, steps=model.history)


Given = TypeVar("Given")


def names(given: Given | str) -> Given | list[str]:
    """Names as they were given; one name is a list of one."""
    return [given] if isinstance(given, str) else given


def _is_list(annotation: str) -> bool:
    """Whether a list of names is meant, and nothing else: one name that is given is a list of one."""
    return re.fullmatch(r"(Sequence|Iterable|Collection)\[str\]( \| None)?", annotation) is not None


def _kept(value: Any) -> Any:
    """An argument that can be read twice: once by the operation, once for the history."""
    return list(value) if isinstance(value, Iterator) else value


def _step(name: str, signature: inspect.Signature, given: Mapping[str, Any], edit: Edit) -> Step:
    """The call, written down: what was given and is no default."""
    written: dict[str, Any] = {}
    obstacle = edit.obstacle
    said = {**given, **edit.arguments}
    for key, value in ((name, said[name]) for name in signature.parameters if name in said):
        if _is_default(value, signature.parameters[key].default):
            continue
        try:
            written[key] = encoded(_plain(value))
        except Opaque as error:
            obstacle = obstacle or f"the argument {key!r} cannot be written down: {error}"
    return Step(name, written, (*edit.notes, *(w for w in edit.warnings if w not in edit.notes)), obstacle)


def _plain(value: Any) -> Any:
    """A collection without an order of its own, or of a kind of its own, as a list or dict."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | np.ndarray | list | tuple):
        return value if hasattr(value, "DESCRIPTOR") or hasattr(value, "__array__") else list(value)
    return value


def _is_default(value: Any, default: Any) -> bool:
    return value is default or (
        type(value) is type(default) and isinstance(value, bool | int | float | str | tuple) and value == default
    )


def passed(after: Model, before: Model, *, ordered: bool = True) -> Model:
    """The gate: what an operation made of a valid model is a valid model, with sorted nodes, before anybody sees it.

    Args:
        after: The new model; its nodes are sorted where they need not be.
        before: What it was made of.
        ordered: Whether the nodes of that were sorted, so that those of the new one are.

    Raises:
        InvalidGraphError, TensorError: It contradicts itself, and the model before did not.
    """
    try:
        require_valid(after.proto)
        if not ordered:
            sort_everywhere(after.proto)
    except (InvalidGraphError, TensorError):
        if _is_valid(before):
            raise
        return after
    after.checked = True
    return after


def _is_valid(model: Model) -> bool:
    try:
        require_valid(model.proto)
    except (InvalidGraphError, TensorError):
        return False
    return True


def operation_of(name: str) -> Operation:
    """The operation of a name.

    Raises:
        NameNotFoundError: There is none.
    """
    if name.isidentifier():
        for room in ROOMS:
            for module in (f"{room}.{name}", f"{room}.{name}.{name}"):
                try:
                    found = importlib.util.find_spec(module)
                except ModuleNotFoundError:
                    continue
                if found is not None:
                    held = getattr(getattr(importlib.import_module(module), name, None), "operation", None)
                    if isinstance(held, Operation):
                        return held
    raise NameNotFoundError("operation", name, operations())


@functools.cache
def operations() -> tuple[str, ...]:
    """The names of all operations, sorted. Imports every room of operations."""
    import pkgutil

    found = []
    for room in ROOMS:
        for entry in pkgutil.iter_modules(importlib.import_module(room).__path__):
            module = f"{room}.{entry.name}" + (f".{entry.name}" if entry.ispkg else "")
            if isinstance(
                getattr(getattr(importlib.import_module(module), entry.name, None), "operation", None), Operation
            ):
                found.append(entry.name)
    return tuple(sorted(found))


def replay(edited: ModelLike, original: ModelLike, *, arrays: Find | None = None) -> Model:
    """Do what a model's history says, on the model that it began with. The result saves to the same bytes.

    Args:
        edited: A model with a history.
        original: The model that the history begins with, or any model on the way: steps that it has had are not repeated.
        arrays: Where the bytes of large arrays are that the steps were given, beside those that ``edited`` and the model
            before a step hold.

    Raises:
        FormatError: The history is damaged or of another format.
        GraphkitError: The model has no history, or not one that goes on from ``original``'s; a step cannot be replayed or
            was given bytes that are not at hand.
        NameNotFoundError: A step is no operation of this graphkit.

    Cost: that of the steps; tensors of ``edited`` are read where a step was given large arrays.

    Example:
        >>> import graphkit as gk
        >>> edited = gk.rename("model.onnx", values={"image": "picture"})
        >>> again = gk.replay(edited, "model.onnx")
        >>> [value.name for value in again.inputs][:2]
        ['picture', 'x']
    """
    done = [as_model(original)]
    done += (after for _, _, after in replayed(edited, done[0], arrays=arrays))
    return done[-1]


def replayed(
    edited: ModelLike, original: ModelLike, *, arrays: Find | None = None, donor: Model | None = None
) -> Iterator[tuple[Step, dict[str, Any], Model]]:
    """``replay`` step by step: each step that the original has not had, its decoded arguments, and the model after it.

    Args:
        edited: As ``replay`` takes it.
        original: The same.
        arrays: The same.
        donor: The model that weights are restored from, where a step did that: the history does not hold it.

    Raises:
        FormatError, GraphkitError, NameNotFoundError: As ``replay``.
    """
    source, result = as_model(edited), as_model(original)
    steps, had = source.history, result.history
    if not steps:
        raise GraphkitError("the model has no history to replay")
    if [s[:2] for s in had] != [s[:2] for s in steps[: len(had)]]:
        raise GraphkitError("the history of the original is not where that of the edited model begins")
    held = arrays_of(source)
    for step in steps[len(had) :]:
        given = donor is not None and restores(step)
        arguments = (step._replace(obstacle="") if given else step).decoded(_first_of(arrays, held, _lazy(result)))
        arguments |= {"restore_weights": donor} if given else {}
        call = bound_step(step, arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GraphkitWarning)
            try:
                result = operation_of(step.operation).function(result, *call.args, **call.kwargs)
            except EditError as error:
                if not given:
                    raise
                raise GraphkitError(f"{OTHER_WEIGHTS}, and not from the original: {error.message}") from error
            except (ArgumentTypeError, ArgumentValueError) as error:
                raise GraphkitError(f"the step {step.operation!r} cannot be done as it is written: {error}") from error
        yield step, arguments, result


def restores(step: Step) -> bool:
    """Whether a step took weights from another model, which the history does not hold."""
    return step.operation == "set_parts" and step.obstacle == OTHER_WEIGHTS


def bound_step(step: Step, arguments: Mapping[str, Any]) -> inspect.BoundArguments:
    """The arguments of a step, bound to the operation's signature.

    Raises:
        NameNotFoundError: There is no such operation.
        GraphkitError: It takes no such arguments.
    """
    try:
        return operation_of(step.operation).signature.bind_partial(**arguments)
    except TypeError as error:
        raise GraphkitError(f"the step {step.operation!r} has arguments that it does not take: {error}") from error


def _first_of(*places: Find | None) -> Find:
    """Bytes from the first place that has them."""

    def find(digest: str, length: int) -> bytes | None:
        found = (place(digest, length) for place in places if place is not None)
        return next((data for data in found if data is not None), None)

    return find


def _lazy(model: Model) -> Find:
    """``arrays_of`` a model, which is only looked at when it is asked: an edit leaves most arrays as they were."""
    made: list[Find] = []

    def find(digest: str, length: int) -> bytes | None:
        if not made:
            made.append(arrays_of(model))
        return made[0](digest, length)

    return find


def arrays_of(model: Model) -> Find:
    """Where the bytes are of large arrays that steps were given: among the tensors of the edited model."""
    return bytes_in(_stored(model))


def _stored(model: Model) -> Iterator[tuple[int, Callable[[], bytes | memoryview]]]:
    """Every tensor's bytes, as ``bytes_in`` wants them."""
    for tensor in walk.tensors(model.proto):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            if tensor.raw_data:
                yield len(tensor.raw_data), functools.partial(_raw, tensor)
        elif tensor.external_data:
            yield model.locate(tensor)[2], functools.partial(_payload, model, tensor)


def _raw(tensor: onnx.TensorProto) -> bytes:
    return tensor.raw_data


def _payload(model: Model, tensor: onnx.TensorProto) -> memoryview:
    data = model.payload(tensor)
    assert data is not None
    return data

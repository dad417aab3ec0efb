"""merge: several models become one, outputs of some wired to inputs of others."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.joining import Joined, as_parts
from graphkit.edit.new_types import require_fit
from graphkit.errors import EditError, NameNotFoundError, NameTakenError
from graphkit.graph.opset import opset_of
from graphkit.graph.values import dims, format_type
from graphkit.hint import Either, Hint
from graphkit.model import Model, ModelLike
from graphkit.operation import passed
from graphkit.reading.names import read_pair, unquoted
from graphkit.step import Original, Step, encoded
from graphkit.storage.load import as_valid_model
from graphkit.surgery.opset import opset


def merge(
    models: Mapping[str, ModelLike] | Sequence[ModelLike],
    *,
    connect: Mapping[str, str | Iterable[str]] | Iterable[str] | None = None,
    prefix: bool = False,
) -> Model:
    """Join models into one: outputs that are connected feed inputs of other models.

    A connection is written ``{"A:out": "B:in"}``, with a list where one output feeds several inputs, or as the text
    ``"A:out=B:in"``; ``{"A:in": "B:in"}`` makes one input of two. Models are called by their keys, or by the stem of their file's name (by the whole name where
    two stems are equal).

    The outputs that are connected leave the interface; all other inputs and outputs keep their names, unless two models
    have the same: then the later one's gets the model's name in front (``B/scores``), as do all other names that collide.
    Symbolic dims of connected values become one; others that two models share get the model's name too, because they are
    two sizes. Models in an older opset or IR version are raised to the newest; functions, metadata and doc strings come
    along.

    Args:
        models: Name -> model, or models in order, each a path, a ModelProto or a Model.
        connect: Output -> input or inputs; input -> inputs that are to be the same. Or these as texts.
        prefix: Put the model's name before every name, whether it collides or not; the interface keeps its names.

    Returns:
        The merged model, over the bytes of all of them. It has no original to replay from.

    Raises:
        ValueError: Fewer than two models, or one without a name.
        TextError: A text is no connection.
        NameTakenError: Two models have one name, or a prefixed name is in use.
        NameNotFoundError: A connection names an output or an input that is not there.
        EditError: A connection names a model that is not there, types do not fit, at the connection or behind it, an input is fed twice, the models feed each other in a cycle, both have a training
            graph, a custom domain is imported in two versions, or one's opset is newer than the installed onnx.
        InvalidGraphError, ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: nothing; returns a new model. The notes say what was connected and renamed.
    Scope: main graphs, with their bodies, functions and metadata.
    Cost: O(graphs); weights are not read, and are saved by byte ranges, beyond 2 GiB too.
    Law: joined: the merged model equals the models run one after the other.

    Example:
        >>> import graphkit as gk
        >>> front = gk.extract("model.onnx", inputs=["image"], outputs=["a"])
        >>> back = gk.extract("model.onnx", inputs=["a", "x"], outputs=["relu_3"])
        >>> merged = gk.merge({"front": front, "back": back}, connect={"front:a": "back:a"})
        >>> [value.name for value in merged.inputs], [value.name for value in merged.outputs]
        (['image', 'x'], ['relu_3'])
    """
    named = {name: as_valid_model(model) for name, model in _named(models).items()}
    if len(named) < 2:
        raise ArgumentValueError("merge needs at least two models")
    table = _table(named, connect or {})
    wires = _wires(named, table)
    newest = max(opset_of(model.proto, 0) for model in named.values())
    raised = [name for name, model in named.items() if 0 < opset_of(model.proto, 0) < newest]
    known = onnx.defs.onnx_opset_version()
    if raised and newest > known:
        raise EditError(
            f"{', '.join(map(repr, raised))} would have to be raised to opset {newest}, and the installed onnx knows opsets to {known}",
            hint="write the newest model in an opset that all know first",
        )
    level = {name: opset(model, to=newest) if name in raised else model for name, model in named.items()}
    joined = Joined(as_parts(level), prefix=prefix)
    for wire in wires:
        joined.connect(*wire)
    proto, sources, notes = joined.finish()
    if wires:
        shown = ", ".join(f"{model}:{value} with {other}:{entry}" for model, value, other, entry, _ in wires[:3])
        require_fit([model.proto for model in level.values()], proto, f"connecting {shown}")
    notes = [f"{name} was raised to opset {newest}" for name in raised] + notes
    said = {**_arguments(named, table, prefix=prefix), "interface": joined.interface()}
    step = Step("merge", said, tuple(notes), "it was made of several models")
    first = next(iter(named.values()))
    return passed(Model(proto, sources, path=None, steps=(step,)), first, ordered=False)


def _named(models: Mapping[str, ModelLike] | Sequence[ModelLike]) -> dict[str, ModelLike]:
    if isinstance(models, Mapping):
        given = dict(models)
    else:
        paths = [_path(model) for model in models]
        stems = [os.path.splitext(os.path.basename(path))[0] if path else "" for path in paths]
        names = [
            os.path.basename(path) if path and stems.count(stem) > 1 else stem
            for path, stem in zip(paths, stems, strict=True)
        ]
        if "" in names:
            raise ArgumentValueError("a model without a file has no name: give the models as {name: model}")
        for name in names:
            if names.count(name) > 1:
                raise NameTakenError(
                    f"two models are called {name!r}",
                    name=name,
                    hint=Hint(
                        Either(
                            "give them names: {'first': ..., 'second': ...}",
                            f"a model is named by its file: copy one under another name, such as cp {shlex.quote(name)} second.onnx",
                        )
                    ),
                )
        given = dict(zip(names, models, strict=True))
    if any(not name for name in given):
        raise ArgumentValueError("a model needs a name")
    return given


def _path(model: ModelLike) -> str | None:
    if isinstance(model, Model):
        return model.path
    return os.fspath(model) if isinstance(model, str | os.PathLike) else None


def _table(
    models: Mapping[str, Model], connect: Mapping[str, str | Iterable[str]] | Iterable[str]
) -> dict[str, list[str]]:
    """Value -> the inputs that it feeds."""
    if isinstance(connect, Mapping):
        return {source: [targets] if isinstance(targets, str) else list(targets) for source, targets in connect.items()}
    known = [
        f"{name}:{value.name}"
        for name, model in models.items()
        for value in (*model.proto.graph.input, *model.proto.graph.output)
    ]
    found: dict[str, list[str]] = {}
    for text in [connect] if isinstance(connect, str) else connect:
        source, target = read_pair(text, known, of="value", form="A:OUTPUT=B:INPUT")
        found.setdefault(source, []).append(unquoted(target))
    return found


@dataclass(frozen=True)
class _Port:
    model: str
    name: str
    output: bool
    type: onnx.TypeProto = field(compare=False)

    @property
    def text(self) -> str:
        return f"{self.model}:{self.name}"


def _wires(
    models: Mapping[str, Model], connect: Mapping[str, str | Iterable[str]]
) -> list[tuple[str, str, str, str, bool]]:
    """(model, value, model, input, whether the first is an output), checked."""
    found: list[tuple[str, str, str, str, bool]] = []
    fed: dict[_Port, str] = {}
    for source, targets in connect.items():
        start = _port(models, source, output=None)
        for text in targets:
            end = _port(models, text, output=False)
            if start == end:
                raise EditError(f"{text!r} cannot be connected to itself")
            if end in fed:
                raise EditError(f"the input {end.text!r} is fed twice: by {fed[end]!r} and by {source!r}")
            fed[end] = source
            _check_types(start, end)
            found.append((start.model, start.name, end.model, end.name, start.output))
    return found


def _port(models: Mapping[str, Model], text: str, *, output: bool | None) -> _Port:
    """What ``MODEL:NAME`` means, where both may hold colons."""
    ports: list[_Port] = []
    for model in (name for name in models if text.startswith(f"{name}:")):
        name = text[len(model) + 1 :]
        held = [(v, True) for v in models[model].outputs] + [(v, False) for v in models[model].proto.graph.input]
        ports += [_Port(model, v.name, out, v.type) for v, out in held if v.name == name and output in (None, out)]
    if len(ports) > 1:
        ports = [port for port in ports if port.output] or ports
    if ports:
        return ports[0]
    owner = next((name for name in sorted(models, key=len, reverse=True) if text.startswith(f"{name}:")), None)
    if owner is None:
        said = text.partition(":")[0]
        raise EditError(
            f"no model is called {said!r}: they are {', '.join(map(repr, models))}",
            hint=f"write {next(iter(models))}:NAME",
        )
    graph = models[owner].proto.graph
    held_there = [value.name for value in ((*graph.output, *graph.input) if output is None else graph.input)]
    kind = "output or input" if output is None else "input"
    raise NameNotFoundError(kind, text, [f"{owner}:{name}" for name in held_there])


def _check_types(start: _Port, end: _Port) -> None:
    mine, theirs = dims(start.type), dims(end.type)
    ranks = mine is None or theirs is None or len(mine) == len(theirs)
    sizes = (
        mine is None
        or theirs is None
        or all(not (isinstance(a, int) and isinstance(b, int)) or a == b for a, b in zip(mine, theirs, strict=False))
    )
    kinds = [port.type.WhichOneof("value") for port in (start, end)]
    elements = [port.type.tensor_type.elem_type for port in (start, end)]
    if (
        not (ranks and sizes)
        or (None not in kinds and kinds[0] != kinds[1])
        or (0 not in elements and elements[0] != elements[1])
    ):
        raise EditError(
            f"{start.text!r} is {format_type(start.type)} and {end.text!r} wants {format_type(end.type)}",
            hint="retype, layout or dims can bring one to the other first",
        )


def _arguments(models: Mapping[str, Model], connect: Mapping[str, list[str]], *, prefix: bool) -> dict[str, object]:
    said: dict[str, object] = {"models": {name: _identity(model) for name, model in models.items()}}
    if connect:
        said["connect"] = encoded(connect)
    if prefix:
        said["prefix"] = True
    return said


def _identity(model: Model) -> dict[str, str | None]:
    known = model.identity or Original.of(model.proto, model.path)
    return {"file": known.file, "sha256": known.digest}

"""What ``view`` highlights: nodes and values, a cut, a torch module, a step of the history, a bisection, a placement."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import onnx

from graphkit.errors import GraphkitError, NameNotFoundError, TextError
from graphkit.graph import cut
from graphkit.graph.index import GraphIndex
from graphkit.graph.module_paths import folded_hint, modules
from graphkit.graph.names import label
from graphkit.graph.walk import model_nodes
from graphkit.hint import Either, Hint
from graphkit.inspection.diff.difference import Difference
from graphkit.model import Model
from graphkit.operation import replay
from graphkit.plural import counted
from graphkit.report.printable import shown
from graphkit.report.to_json import to_json
from graphkit.report.view.drawing import Drawing, Place
from graphkit.report.view.marks import boxes_of
from graphkit.runtime.placement import named
from graphkit.runtime.session import Session, session
from graphkit.storage.load import load
from graphkit.storage.system import regular_only
from graphkit.surgery.split import Split
from graphkit.surgery.suggest import Cut
from graphkit.verify.bisect.bisection import Bisection
from graphkit.verify.bisect.layers import Layers
from graphkit.verify.bisect.reduction import Reduction
from graphkit.verify.laws.proof import Proof
from graphkit.verify.report import Report

_WRITTEN = Hint(
    "write it with `",
    Either(
        "graphkit.to_json(graphkit.bisect(candidate, against=model))",
        "graphkit bisect CANDIDATE --against MODEL --json",
    ),
    "`",
)

Highlight: TypeAlias = (
    str | Cut | Bisection | Difference | Layers | Proof | Reduction | Report | Session | Split | Mapping[str, str]
)
"""What can be highlighted: a text as the command line takes it, a result of graphkit, or node -> label."""

FORMS = "NAME, cut:INPUTS->OUTPUTS, module:PATH, step:N, bisect:FILE or placement:DEVICE"


def highlights(wanted: Iterable[Highlight], model: Model, drawing: Drawing) -> list[dict[str, Any]]:
    """Each thing as ``{label, note, places}``; one that names several sorts of nodes is several.

    Raises:
        TextError: A text of no known form.
        NameNotFoundError: No such node, value, module or step.
        GraphkitError: A file that holds no bisection; as ``session`` for a placement.
    """
    found: list[dict[str, Any]] = []
    for one in wanted:
        if isinstance(one, str):
            found += _from_text(one, model, drawing)
        elif isinstance(one, Cut):
            found += _cut(one.inputs, one.outputs, drawing)
        elif isinstance(one, Bisection):
            found += _bisection(json.loads(to_json(one)), drawing)
        elif isinstance(one, Difference):
            found += _difference(one, drawing)
        elif isinstance(one, Session):
            found += _placement(one, drawing)
        elif isinstance(one, Report | Layers):
            found += _compared(one, drawing)
        elif isinstance(one, Proof):
            found += _proved(one, drawing)
        elif isinstance(one, Split):
            for stage in one.stages:
                found += _cut(list(stage.inputs), stage.outputs, drawing, stage.file)
        elif isinstance(one, Reduction):
            found += _cut(one.inputs, one.outputs, drawing) if one.fails else []
        else:
            found += _labelled(one, drawing)
    return found


def _entry(name: str, places: Iterable[Place], note: str = "") -> dict[str, Any]:
    return {"label": shown(name), "note": shown(note), "places": [list(place) for place in dict.fromkeys(places)]}


def _from_text(text: str, model: Model, drawing: Drawing) -> list[dict[str, Any]]:
    """A text of the command line; a node or value of that very name comes first."""
    kind, _, what = text.partition(":")
    if boxes_of(drawing, text):
        return [_entry(text, boxes_of(drawing, text))]
    if kind == "cut" and "->" in what:
        inputs, outputs = _ends(text, what)
        return _cut(inputs, outputs, drawing)
    if kind == "module" and what:
        return [_module(what, drawing)]
    if kind == "step":
        return _step(what, model, drawing)
    if kind == "bisect" and what:
        return _bisection(_read_bisection(what), drawing)
    if kind == "placement":
        return _placement(_loaded(model, what or "auto"), drawing)
    (name,) = _names(text) if text.startswith('"') else [text]
    return [_entry(name, _required(drawing, name))]


def _required(drawing: Drawing, name: str) -> list[Place]:
    places = boxes_of(drawing, name)
    if not places:
        known = {**drawing.places, **drawing.makers, **drawing.readers}
        raise NameNotFoundError("node or value", name, known)
    return places


def _ends(text: str, what: str) -> tuple[list[str], list[str]]:
    """``A,B->C``; names may be quoted as JSON strings."""
    inputs, at = _split_names(what)
    if what[at : at + 2] != "->":
        raise TextError(f"{text!r} is no cut; write cut:INPUT,INPUT->OUTPUT, with names that hold ',' or '->' quoted")
    return inputs, _names(what[at + 2 :])


def _names(text: str) -> list[str]:
    names, at = _split_names(text)
    if at != len(text):
        raise TextError(f"{text!r} is no list of names; write NAME,NAME and quote a name that holds ',' or '->'")
    return names


def _split_names(text: str) -> tuple[list[str], int]:
    """The names that a text begins with, and where they end: at "->" or at its end."""
    names: list[str] = []
    at = 0
    while at < len(text) and not text.startswith("->", at):
        if text[at] == ",":
            at += 1
        elif text[at] == '"':
            try:
                name, at = json.JSONDecoder().raw_decode(text, at)
            except ValueError as error:
                raise TextError(f"{text!r}: a quoted name is a JSON string: {error}") from error
            names.append(str(name))
        else:
            end = min(place for place in (text.find(",", at), text.find("->", at), len(text)) if place >= 0)
            names.append(text[at:end])
            at = end
    return names, at


def _cut(inputs: Sequence[str], outputs: Sequence[str], drawing: Drawing, title: str = "") -> list[dict[str, Any]]:
    """What lies between inputs and outputs, and what is still open."""
    index = GraphIndex(drawing.model.proto.graph)
    ends = list(outputs) or [value.name for value in index.graph.output]
    for name in (*inputs, *ends):
        index.require(name)
    region = cut.trace(index, ends, list(inputs))
    title = title or f"cut {', '.join(inputs)} -> {', '.join(ends)}"
    missing = f"needs {', '.join(region.open_inputs)} too" if inputs and region.open_inputs else ""
    return [_entry(title, ((0, position) for position in region.nodes), missing)]


def _module(path: str, drawing: Drawing) -> dict[str, Any]:
    graph = drawing.model.proto.graph
    known = modules(graph)
    if path not in known:
        raise NameNotFoundError("module", path, known, hint=folded_hint(graph, path))
    return _entry(f"module {path}", ((0, position) for position in known[path]))


def _step(number: str, model: Model, drawing: Drawing) -> list[dict[str, Any]]:
    """What a step of the history added and changed; where the original is not there, what the step names."""
    steps = model.history
    if not steps:
        raise GraphkitError("the model has no history, so there is no step to highlight")
    at = int(number) if number.isdecimal() and len(number) < 9 else (len(steps) if not number else 0)
    if not 1 <= at <= len(steps):
        raise NameNotFoundError("step", number, [str(place) for place in range(1, len(steps) + 1)])
    step = steps[at - 1]
    title = f"step {at}, {step.operation}"
    try:
        before, after = _around(model, at)
    except (GraphkitError, OSError) as error:
        said = {name for name in _texts(step.arguments) if boxes_of(drawing, name)}
        note = f"what the step names; it could not be replayed: {error}"
        return [_entry(title, (place for name in sorted(said) for place in boxes_of(drawing, name)), note)]
    old = {label(node): node.SerializeToString(deterministic=True) for node in model_nodes(before)}
    new = {label(node): node.SerializeToString(deterministic=True) for node in model_nodes(after)}
    added = [name for name in new if name not in old]
    changed = [name for name, held in new.items() if name in old and old[name] != held]
    removed = len(old.keys() - new.keys())
    note = f"{removed} node{'' if removed == 1 else 's'} removed" if removed else ""
    entries = [(f"{title}: added", added), (f"{title}: changed", changed)]
    return [_entry(said, _all_boxes(drawing, names), note) for said, names in entries]


def _around(model: Model, at: int) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The models before and after a step, replayed from the original in the model's folder."""
    original = model.original
    if original is None or original.file is None or model.path is None:
        raise GraphkitError("the history does not say which file it began with")
    base = load(os.path.join(os.path.dirname(model.path), original.file))
    if base.identity is None or base.identity.digest != original.digest:
        raise GraphkitError(f"{original.file} is not the file that the history began with")

    def made(count: int) -> Model:
        if not count:
            return base
        return replay(Model(model.proto, model.sources, original=original, steps=model.history[:count]), base)

    before = made(at - 1)
    return before.proto, model.proto if at == len(model.history) else made(at).proto


def _texts(value: Any) -> Iterator[str]:
    """Every text in the arguments of a step, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, held in value.items():
            yield name
            yield from _texts(held)
    elif isinstance(value, list | tuple):
        for held in value:
            yield from _texts(held)


def _read_bisection(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8", opener=regular_only) as file:
            found = json.load(file)
    except OSError as error:
        raise GraphkitError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise GraphkitError(f"{path} is no JSON: {error}", hint=_WRITTEN) from error
    if not isinstance(found, dict) or not {"first", "rows"} <= found.keys():
        raise GraphkitError(f"{path} holds no bisection", hint=_WRITTEN)
    return found


def _bisection(found: Mapping[str, Any], drawing: Drawing) -> list[dict[str, Any]]:
    """What agrees, what differs, what is wrong by itself, and the first difference; the last named one is drawn on top."""
    rows = [row for row in found["rows"] if isinstance(row, dict)]
    agreeing = [str(row.get("node")) for row in rows if row.get("match")]
    differing = [str(row.get("node")) for row in rows if not row.get("match")]
    wrong = [str(row.get("node")) for row in rows if row.get("introduces")]
    entries = [("agrees", agreeing), ("differs", differing), ("introduces error", wrong)]
    first = found["first"]
    if isinstance(first, dict):
        entries.append((f"first difference: {first.get('value')}", [str(first.get("node"))]))
    return [_entry(title, _all_boxes(drawing, names)) for title, names in entries if names]


def _compared(found: Report | Layers, drawing: Drawing) -> list[dict[str, Any]]:
    """The values that agree, and those that differ."""
    if isinstance(found, Report):
        compared = [(name, metrics.match) for name, metrics in found.outputs.items()]
    else:
        compared = [(row.value, row.match) for row in found.rows if row.value is not None and row.match is not None]
    named = {
        "agrees": [name for name, match in compared if match],
        "differs": [n for n, match in compared if not match],
    }
    return [_entry(title, _all_boxes(drawing, names)) for title, names in named.items() if names]


def _proved(found: Proof, drawing: Drawing) -> list[dict[str, Any]]:
    """The first value that differs, of each law that is broken."""
    firsts = [held.first for held in found.laws if held.first is not None]
    return [_entry(f"first difference: {name}", boxes_of(drawing, name)) for name in firsts]


def _difference(found: Difference, drawing: Drawing) -> list[dict[str, Any]]:
    """What the second model has that is new, renamed, moved or not the same."""
    lists = {name: changes for name, changes in found.lists.items() if name != "removed"}
    entries = {
        name: [place for c in changes for place in _at_address(drawing, c.name)] for name, changes in lists.items()
    }
    return [_entry(name, places) for name, places in entries.items() if places]


def _at_address(drawing: Drawing, address: str) -> list[Place]:
    """The boxes of ``name``, ``node.body/name`` or ``function:domain::name/name``; a name itself may have slashes."""
    name = address
    while not (places := boxes_of(drawing, name)) and "/" in name:
        name = name.partition("/")[2]
    return places


def _loaded(model: Model, device: str) -> Session:
    if device not in ("auto", "cpu", "cuda", "tensorrt"):
        raise TextError(
            f"placement:{device} names no device; write placement:cpu, placement:cuda or placement:tensorrt"
        )
    chosen: Any = device
    return session(named(model), device=chosen, optimization="none", allow_cpu_nodes=True)


def _placement(loaded: Session, drawing: Drawing) -> list[dict[str, Any]]:
    """The nodes of each provider. The runtime may have merged nodes, which are not found then."""
    positions = {node.name: position for position, node in enumerate(loaded.model.proto.graph.node) if node.name}
    found: dict[str, list[Place]] = {}
    lost = 0
    for placed in loaded.placed:
        position = positions.get(placed.node)
        if position is None or position >= len(drawing.model.proto.graph.node):
            lost += 1
        else:
            found.setdefault(placed.provider, []).append((0, position))
    note = f"{counted(lost, 'node')} of the runtime not in the file: merged, or made by it" if lost else ""
    return [_entry(provider, places, note) for provider, places in sorted(found.items())]


def _labelled(labels: Mapping[str, str], drawing: Drawing) -> list[dict[str, Any]]:
    sorts: dict[str, list[Place]] = {}
    for name, said in labels.items():
        sorts.setdefault(str(said), []).extend(_required(drawing, name))
    return [_entry(said, places) for said, places in sorts.items()]


def _all_boxes(drawing: Drawing, names: Iterable[str]) -> Iterator[Place]:
    return (place for name in names for place in boxes_of(drawing, name))

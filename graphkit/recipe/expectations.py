"""What a recipe asks of a model: without running it (``when`` and ``expect``), and by running it (``expect``)."""

from __future__ import annotations

import operator
import os
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from graphkit.errors import ComparisonError, GraphkitError, TextError
from graphkit.graph import walk
from graphkit.graph.values import dims, format_type
from graphkit.model import Model
from graphkit.plural import counted
from graphkit.reading.names import unquoted
from graphkit.reading.sizes import parse_bytes
from graphkit.recipe.proving import proof_of
from graphkit.runtime.session import Session, session
from graphkit.storage.load import as_model
from graphkit.tensor import stored_bytes
from graphkit.verify.laws.proof import Held
from graphkit.verify.validate import validate

_BOUND = re.compile(r"\s*(<=|>=|==|=|<|>)?\s*(.+?)\s*")
_HOLDS: dict[str, Callable[[int, int], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
    "==": operator.eq,
}

RUNS = 5
"""Runs whose median counts for ``faster_than``."""


@dataclass(frozen=True)
class Asked:
    """What the model is compared with.

    Attributes:
        original: The model that the recipe began with; None where it was made of several.
        folder: Where the files are that the recipe names.
        names: Input or output now -> its name in the original, for those that the original has.
        merged: The models that it was made of, by name.
    """

    original: Model | None
    folder: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    merged: Mapping[str, Model] = field(default_factory=dict)


def unmet(model: Model, wanted: Mapping[str, Any]) -> list[str]:
    """What of ``when`` does not hold, one sentence each. Cost: O(graph)."""
    return [text for key, want in wanted.items() if key in _LOOKS for text in _LOOKS[key](model, want)]


def failed(model: Model, wanted: Mapping[str, Any], asked: Asked) -> list[str]:
    """What of ``expect`` does not hold, one sentence each.

    Raises:
        GraphkitError: It cannot be asked: there is no original, a file is missing.
    """
    found = unmet(model, wanted)
    device = wanted.get("device", "auto")
    if wanted.get("runs") or "device" in wanted:
        found += _runs(model, device)
    if found:
        return found
    if "same_as" in wanted:
        found += _same(model, wanted, asked, device)
    if "faster_than" in wanted:
        found += _faster(model, wanted["faster_than"], asked, device)
    proof = proof_of(model, asked.original, asked.merged) if wanted.get("proved") else None
    if proof is not None and not proof:
        said = next((f": {_told(held)}" for held in proof.laws if not held), "")
        found.append(f"it is {proof.verdict}{said}")
    if wanted.get("runs") is False and not _runs(model, device):
        found.append("it runs")
    return found


def _told(held: Held) -> str:
    first = f"; the first value that differs: {held.first!r}" if held.first is not None else ""
    return f"{' + '.join(held.steps)} ({held.law}): {held.why}{first}"


def holds(number: int, wanted: int | str, *, size: bool = False) -> bool:
    """Whether a number is what a text such as ``<=100`` says.

    Raises:
        TextError: The text is no bound.
    """
    if isinstance(wanted, int):
        return number == wanted
    match = _BOUND.fullmatch(wanted)
    try:
        bound = (parse_bytes(match[2]) if size and not match[2].isdigit() else int(match[2])) if match else None
    except ValueError:
        bound = None
    if match is None or bound is None:
        raise TextError(f"{wanted!r} is no bound: write 12, '<=100' or '>=17'")
    return _HOLDS[match[1] or "="](number, bound)


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _operators(model: Model) -> set[str]:
    found = set()
    for node in walk.model_nodes(model.proto):
        found.add(node.op_type)
        found.add(f"{node.domain or 'ai.onnx'}::{node.op_type}")
    return found


def _has_op(model: Model, wanted: Any) -> list[str]:
    there = _operators(model)
    return [f"it has no {op}" for op in _texts(wanted) if op not in there]


def _no_op(model: Model, wanted: Any) -> list[str]:
    there = _operators(model)
    return [f"it has {op}" for op in _texts(wanted) if op in there]


def _opset(model: Model, wanted: Any) -> list[str]:
    imports = {o.domain or "ai.onnx": int(o.version) for o in model.proto.opset_import}
    asked = dict(wanted) if isinstance(wanted, Mapping) else {"ai.onnx": wanted}
    found = []
    for domain, want in asked.items():
        name = domain or "ai.onnx"
        if name not in imports:
            found.append(f"it imports no opset of {name}")
        elif not holds(imports[name], want):
            found.append(f"the opset of {name} is {imports[name]}, not {want}")
    return found


def _nodes(model: Model, wanted: Any) -> list[str]:
    count = len(model.proto.graph.node)
    return [] if holds(count, wanted) else [f"it has {counted(count, 'node')}, not {wanted}"]


def _weights(model: Model, wanted: Any) -> list[str]:
    total = sum(stored_bytes(tensor) for tensor in walk.tensors(model.proto))
    return [] if holds(total, wanted, size=True) else [f"its weights take {total} bytes, not {wanted}"]


def _producer(model: Model, wanted: Any) -> list[str]:
    name = model.proto.producer_name
    return [] if name in _texts(wanted) else [f"it was written by {name or 'nobody who says so'}, not {wanted}"]


def _ports(kind: str, values: Sequence[onnx.ValueInfoProto], wanted: Any) -> list[str]:
    there = {value.name: format_type(value.type) for value in values}
    if not isinstance(wanted, Mapping):
        return [] if list(there) == list(wanted) else [f"its {kind} are {list(there)}, not {list(wanted)}"]
    found = []
    for name, text in wanted.items():
        if name not in there:
            found.append(f"it has no {kind.removesuffix('s')} {name!r}: its {kind} are {list(there)}")
        elif there[name] != re.sub(r"\s", "", text) and there[name].partition("[")[0] != text:
            found.append(f"{name!r} is {there[name]}, not {text}")
    return found


def _dims(model: Model, wanted: Any) -> list[str]:
    there = {value.name: value.type for value in (*model.inputs, *model.outputs)}
    found = []
    for key, want in wanted.items():
        name, _, axis = str(key).rpartition(":")
        known = dims(there[unquoted(name)]) if unquoted(name) in there else None
        if known is None or not re.fullmatch("-?[0-9]+", axis) or not -len(known) <= int(axis) < len(known):
            found.append(f"there is no axis {key!r}: write INPUT:AXIS")
        elif known[int(axis)] != want:
            found.append(f"{key} is {known[int(axis)]!r}, not {want!r}")
    return found


_LOOKS: dict[str, Callable[[Model, Any], list[str]]] = {
    "has_op": _has_op,
    "no_op": _no_op,
    "opset": _opset,
    "nodes": _nodes,
    "weights": _weights,
    "producer": _producer,
    "inputs": lambda model, wanted: _ports("inputs", model.inputs, wanted),
    "outputs": lambda model, wanted: _ports("outputs", model.outputs, wanted),
    "dims": _dims,
}


def _runs(model: Model, device: str) -> list[str]:
    try:
        _once(session(model, device=device))
    except GraphkitError as error:
        return [f"it does not run{'' if device == 'auto' else f' on {device}'}: {error.message}"]
    return []


def _once(made: Session) -> None:
    made.run({name: "random" for name, port in made.inputs.items() if port.required})


def _reference(name: str, asked: Asked) -> Model:
    if name != "original":
        return as_model(os.path.join(asked.folder, name))
    if asked.original is None:
        raise GraphkitError("what was made of several models has no original", hint="name a file in same_as")
    return asked.original


def _same(model: Model, wanted: Mapping[str, Any], asked: Asked, device: str) -> list[str]:
    reference = _reference(wanted["same_as"], asked)
    options = {key: wanted[key] for key in ("rtol", "atol", "samples") if key in wanted}
    if wanted["same_as"] == "original":
        outputs = [value.name for value in model.outputs if value.name in asked.names]
        kept = {asked.names[name] for name in outputs}
        if gone := [value.name for value in reference.outputs if value.name not in kept]:
            return [f"the original's output {gone[0]!r} is gone"]
        options |= {"map": {mine: name for mine, name in asked.names.items() if mine != name}, "outputs": outputs}
    else:
        options["map"] = _by_position(model, reference)
    try:
        report = validate(model, against=reference, device=device, **options)
    except ComparisonError as error:
        return [f"it cannot be compared with {wanted['same_as']}: {error.message}"]
    if report:
        return []
    return [f"it does not compute what {wanted['same_as']} computes: {_difference(report)}"]


def _difference(report: Any) -> str:
    for sample in report.samples:
        for name, metrics in sample.outputs.items():
            if not metrics.match:
                return f"{name!r} differs, at most by {metrics.max_abs:.3g}"
    return "outputs differ"


def _by_position(model: Model, reference: Model) -> dict[str, str]:
    """Inputs and outputs that have other names now, where all types are the same: they are bound by position."""
    found: dict[str, str] = {}
    for mine, theirs in ((model.inputs, reference.inputs), (model.outputs, reference.outputs)):
        names, others = [v.name for v in mine], [v.name for v in theirs]
        if set(names) == set(others) or len(names) != len(others):
            continue
        kinds = [[value.type.tensor_type.elem_type for value in values] for values in (mine, theirs)]
        if kinds[0] == kinds[1]:
            found |= {a: b for a, b in zip(names, others, strict=True) if a != b}
    return found


def _faster(model: Model, wanted: Any, asked: Asked, device: str) -> list[str]:
    mine = session(model, device=device)
    if not isinstance(wanted, str):
        (took,) = _medians([mine])
        return [] if took <= wanted else [f"a run takes {took:.4g} s, not {wanted} s at most"]
    took, other = _medians([mine, session(_reference(wanted, asked), device=device)])
    return [] if took < other else [f"a run takes {took:.4g} s, and {wanted} takes {other:.4g} s"]


def _medians(sessions: Sequence[Session]) -> list[float]:
    """Seconds that a run takes, the sessions in turn."""
    times: list[list[float]] = [[] for _ in sessions]
    for made in sessions:
        _once(made)
    for _ in range(RUNS):
        for made, seconds in zip(sessions, times, strict=True):
            start = time.perf_counter()
            _once(made)
            seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in times]

"""What belongs to no graph: versions, opsets, functions, metadata, training graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from graphkit.graph import walk
from graphkit.inspection.diff.compare import Place
from graphkit.inspection.diff.difference import Change, Found
from graphkit.inspection.diff.documentation import documentation, metadata
from graphkit.inspection.diff.doubles import doubles
from graphkit.inspection.diff.scope import Key, Scope
from graphkit.inspection.diff.tensors import Tensors
from graphkit.inspection.diff.weights import outline
from graphkit.model import BASES_KEY
from graphkit.step import HISTORY_KEY

OWN = (HISTORY_KEY, BASES_KEY)
"""Metadata that graphkit writes for itself, which is no part of what a model is."""

_SAID = {"producer_name": "producer", "producer_version": "producer's version", "model_version": "model version"}


def model_fields(one: onnx.ModelProto, two: onnx.ModelProto, found: Found) -> None:
    """Versions, opsets, producer, docs and metadata."""
    if one.ir_version != two.ir_version:
        texts = f"IR {one.ir_version}", f"IR {two.ir_version}"
        found.add("changed", Change("model", "ir_version", "structure", None, *texts))
    _opsets("", one.opset_import, two.opset_import, found)
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        was, now = getattr(one, name), getattr(two, name)
        if was != now:
            found.add("changed", Change("model", _SAID.get(name, name), "metadata", None, str(was), str(now)))
    _metadata("", one, two, found)


def _opsets(prefix: str, one: Any, two: Any, found: Found) -> None:
    names = [entry.domain or "ai.onnx" for entry in one], [entry.domain or "ai.onnx" for entry in two]
    doubles("opset", prefix, names, {}, found)
    mine = {entry.domain or "ai.onnx": entry.version for entry in one}
    others = {entry.domain or "ai.onnx": entry.version for entry in two}
    for domain in dict.fromkeys((*mine, *others)):
        was, now = mine.get(domain), others.get(domain)
        if was != now:
            to = "added" if was is None else "removed" if now is None else "changed"
            texts = [None if version is None else f"{domain} {version}" for version in (was, now)]
            found.add(to, Change("opset", prefix + domain, "structure", before=texts[0], after=texts[1]))


def _metadata(prefix: str, one: Any, two: Any, found: Found) -> None:
    mine, others = metadata(one, OWN), metadata(two, OWN)
    for key in dict.fromkeys((*mine, *others)):
        was, now = mine.get(key), others.get(key)
        if was != now:
            to = "added" if was is None else "removed" if now is None else "changed"
            found.add(to, Change("metadata", prefix + key, "metadata", None, was, now))


def pair_functions(one: onnx.ModelProto, two: onnx.ModelProto) -> dict[Key, Key]:
    """Function before -> function after: of one name; else of one content, where no other has it."""
    mine = {walk.function_key(function): function for function in one.functions}
    others = {walk.function_key(function): function for function in two.functions}
    pairs = {key: key for key in mine if key in others}
    told: dict[Any, list[Key]] = {}
    for key, function in others.items():
        if key not in pairs:
            told.setdefault(_content(function), []).append(key)
    for key, function in mine.items():
        alike = told.get(_content(function), []) if key not in pairs else []
        if len(alike) == 1:
            pairs[key] = alike.pop()
    return pairs


def _content(function: onnx.FunctionProto) -> Any:
    """What a function computes, without names; calls by their number of operands."""
    scope = Scope(function)
    known = {name: ("input", at) for at, name in enumerate(scope.inputs)}
    known.update((f"out:{name}", ("output", at)) for at, name in enumerate(scope.outputs))
    return len(scope.inputs), len(scope.outputs), tuple(sorted(scope.hashes(outline, known, {})[2].values()))


def functions(one: onnx.ModelProto, two: onnx.ModelProto, pairs: Mapping[Key, Key], found: Found) -> list[Place]:
    """Functions that came, went or are called otherwise, what they declare; and the places that both models have."""
    mine = {walk.function_key(function): function for function in one.functions}
    others = {walk.function_key(function): function for function in two.functions}
    called = [[_called(walk.function_key(function)) for function in model.functions] for model in (one, two)]
    doubles("function", "", (called[0], called[1]), {}, found)
    taken = set(pairs.values())
    for key, function in mine.items():
        if key not in pairs:
            found.add("removed", Change("function", _called(key), "structure", before=_signature(function)))
    for key, function in others.items():
        if key not in taken:
            found.add("added", Change("function", _called(key), "structure", after=_signature(function)))
    places = []
    for key, other in pairs.items():
        was, now = mine[key], others[other]
        prefix = f"function:{_called(other)}/"
        if key != other:
            names = _called(key), _called(other)
            found.add("renamed", Change("function", names[1], "names", names[0], *names))
        _opsets(prefix, was.opset_import, now.opset_import, found)
        _declared(_called(other), was, now, found)
        places.append(Place(was, now, prefix, {}))
    return places


def _declared(name: str, one: onnx.FunctionProto, two: onnx.FunctionProto, found: Found) -> None:
    if sorted(one.attribute) != sorted(two.attribute):
        texts = ", ".join(one.attribute), ", ".join(two.attribute)
        found.add("changed", Change("function", name, "structure", None, *texts, ("attributes without a default",)))
    defaults = [{a.name: a.SerializeToString(deterministic=True) for a in f.attribute_proto} for f in (one, two)]
    if defaults[0] != defaults[1]:
        others = [key for key in {**defaults[0], **defaults[1]} if defaults[0].get(key) != defaults[1].get(key)]
        said = f"default of {', '.join(sorted(others))}"
        found.add("changed", Change("function", name, "structure", details=(said,)))
    if docs := documentation(one, two):
        found.add("changed", Change("function", name, "metadata", details=tuple(docs)))


def _called(key: Sequence[str]) -> str:
    domain, name, overload = key
    return f"{domain or 'ai.onnx'}::{name}" + (f":{overload}" if overload else "")


def _signature(function: onnx.FunctionProto) -> str:
    count = len(function.node)
    return f"({', '.join(function.input)}) -> {', '.join(function.output)}, {count} node{'' if count == 1 else 's'}"


def rest(one: onnx.ModelProto, two: onnx.ModelProto, tensors: Tensors, found: Found) -> None:
    """Training graphs and device configurations, which are compared as a whole."""
    for name in ("training_info", "configuration"):
        was, now = list(getattr(one, name)), list(getattr(two, name))
        copies = [[_without_bytes(part) for part in parts] for parts in (was, now)]
        pairs = zip(_held(was), _held(now), strict=False)
        if copies[0] != copies[1] or not all(tensors.same(a, b) for a, b in pairs):
            found.add("changed", Change("model", name, "structure", None, f"{len(was)} of them", f"{len(now)} of them"))


def _held(parts: Sequence[Any]) -> list[onnx.TensorProto]:
    return list(walk.tensors(onnx.ModelProto(training_info=parts))) if parts and hasattr(parts[0], "algorithm") else []


def _without_bytes(part: Any) -> bytes:
    copy = type(part)()
    copy.CopyFrom(part)
    if hasattr(copy, "algorithm"):
        whole = onnx.ModelProto(training_info=[copy])
        for tensor in walk.tensors(whole):
            for field in ("raw_data", "external_data", "data_location"):
                tensor.ClearField(field)
        copy = whole.training_info[0]
    return bytes(copy.SerializeToString(deterministic=True))

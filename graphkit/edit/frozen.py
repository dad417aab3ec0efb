"""What freeze leaves behind, so that promote can undo it: the declaration of the input that became a constant."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import onnx

from graphkit.graph import walk
from graphkit.graph.values import dims, tensor_type
from graphkit.shapes.dependents import dependents, shaped_by

RECORD_KEY = "graphkit.input"
"""metadata_props key of a value_info entry: ``POSITION:DIGEST``, the place that the value had among the graph inputs,
those that are frozen counted, and a digest of every declared type that depends on what it holds."""


class FormerInput(NamedTuple):
    """The graph input that a constant becomes.

    Attributes:
        info: Its declaration.
        position: Its place among the inputs, None for the last.
        unchanged: Whether the types that depend on its value are declared as they were when it was an input.
    """

    info: onnx.ValueInfoProto
    position: int | None = None
    unchanged: bool = False


def note_frozen(model: onnx.ModelProto, info: onnx.ValueInfoProto, position: int) -> None:
    """Keep the declaration of an input that becomes an initializer, as the value_info of that. Changes the model."""
    graph = model.graph
    for other in _positions(graph):
        position += other <= position
    record = f"{position}:{_digest(graph, info.name, model.functions)}"
    kept = graph.value_info.add()
    kept.CopyFrom(info)
    kept.metadata_props.add(key=RECORD_KEY, value=record)


def former_input(
    graph: onnx.GraphProto,
    name: str,
    data_type: int,
    shape: Sequence[int],
    functions: Iterable[onnx.FunctionProto] = (),
) -> FormerInput:
    """The input that a constant becomes: as ``note_frozen`` kept it, as far as that still fits. Changes the graph.

    Any value_info of the constant is taken out of the graph.
    """
    found = FormerInput(onnx.ValueInfoProto(name=name))
    found.info.type.CopyFrom(tensor_type(data_type, shape))
    for at in range(len(graph.value_info) - 1, -1, -1):
        kept = graph.value_info[at]
        if kept.name != name:
            continue
        position, digest = _record(kept)
        if position is not None and _fits(kept.type, data_type, shape):
            info = onnx.ValueInfoProto()
            info.CopyFrom(kept)
            rest = [entry for entry in kept.metadata_props if entry.key != RECORD_KEY]
            del info.metadata_props[:]
            info.metadata_props.extend(rest)
            frozen_before = sum(other < position for other in _positions(graph))
            found = FormerInput(info, position - frozen_before, digest == _digest(graph, name, functions))
        del graph.value_info[at]
    return found


def _record(info: onnx.ValueInfoProto) -> tuple[int | None, str]:
    """The position and the digest that ``note_frozen`` wrote, or nothing."""
    position, _, digest = next((e.value for e in info.metadata_props if e.key == RECORD_KEY), "").partition(":")
    return (int(position), digest) if re.fullmatch(r"[0-9]{1,9}", position) else (None, digest)


def _positions(graph: onnx.GraphProto) -> list[int]:
    """The places of all frozen inputs, in order."""
    positions = (_record(info)[0] for info in graph.value_info)
    return sorted(position for position in positions if position is not None)


def _fits(declared: onnx.TypeProto, data_type: int, shape: Sequence[int]) -> bool:
    known = dims(declared)
    if declared.tensor_type.elem_type != data_type or (known is not None and len(known) != len(shape)):
        return False
    return known is None or all(not isinstance(a, int) or a == b for a, b in zip(known, shape, strict=True))


def _digest(graph: onnx.GraphProto, name: str, functions: Iterable[onnx.FunctionProto]) -> str:
    """Of the types that depend on what a value holds. Cost: O(graph)."""
    hanging = dependents(graph, shaped_by(graph, [name], functions))
    digest = hashlib.sha256()
    for place in walk.graphs(graph):
        for info in (*place.value_info, *place.output):
            if info.name in hanging and info.name != name:
                digest.update(info.name.encode() + b"\0" + info.type.SerializeToString(deterministic=True))
    return digest.hexdigest()[:16]

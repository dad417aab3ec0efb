"""Shapes that an edit made untrue: found, cleared, and inferred again as far as that is possible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from graphkit.graph import walk
from graphkit.graph.symbols import tensor_types
from graphkit.graph.values import has_shape
from graphkit.shapes.dependents import dependents, readers
from graphkit.shapes.inference import inferred


def refresh(
    model: onnx.ModelProto,
    changed: Iterable[str],
    known: Mapping[str, onnx.TypeProto] | None = None,
) -> set[str]:
    """Replace every declared shape that depends on some values' shapes by one that is inferred anew. Changes the model.

    Element types stay. Where inference finds nothing, inputs of bodies and outputs of graphs keep their rank, with
    unknown dims, and a value_info entry loses its shape. Nothing is declared that was not declared before.

    Args:
        model: The skeleton.
        changed: The values whose shape is no longer what the model declares.
        known: Types of some of them that the caller knows better than inference does.

    Returns:
        Every value whose shape depends on the changed ones, these included; inputs of the main graph are as declared.

    Scope: main graph and bodies; functions called downstream lose the value_info of their inner values.
    Cost: O(graph), one run of onnx.shape_inference; weights are not read.
    """
    changed = set(changed)
    if not changed:
        return set()
    stale = dependents(model.graph, changed) - {info.name for info in model.graph.input}
    again = inferred(_bare(model, stale, known or {}))
    for graph, fresh in zip(walk.graphs(model.graph), walk.graphs(again.graph), strict=True):
        found = {v.name: v.type for v in (*fresh.input, *fresh.value_info, *fresh.output) if has_shape(v.type)}
        for info in graph.value_info:
            if info.name in stale:
                _replace(info.type, found.get(info.name), keep_rank=False)
        for info in (*graph.input, *graph.output):
            if info.name in stale:
                _replace(info.type, found.get(info.name), keep_rank=True)
    called = walk.called_functions(readers(model.graph, stale), model.functions)
    for function in model.functions:
        if walk.function_key(function) in called:
            del function.value_info[:]
    return stale


def _bare(model: onnx.ModelProto, stale: set[str], known: Mapping[str, onnx.TypeProto]) -> onnx.ModelProto:
    """A copy of the model that declares no stale shape, and declares the known ones."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for graph in walk.graphs(bare.graph):
        kept = [info for info in graph.value_info if info.name not in stale]
        del graph.value_info[:]
        graph.value_info.extend(kept)
        for info in (*graph.input, *graph.output):
            if info.name in stale:
                for tensor in tensor_types(info.type):
                    tensor.ClearField("shape")
        outputs = {info.name: info for info in graph.output}
        for name in known.keys() & walk.defined_names(graph):
            info = outputs[name] if name in outputs else graph.value_info.add(name=name)
            info.type.CopyFrom(known[name])
    return bare


def sharpen(model: onnx.ModelProto) -> None:
    """Fill in dims that were unknown and can be inferred now that something became constant. Changes the model.

    Scope: value_info and outputs of the main graph and of bodies.
    Cost: O(graph), one run of onnx.shape_inference; weights are not read.
    """
    again = inferred(model)
    for graph, fresh in zip(walk.graphs(model.graph), walk.graphs(again.graph), strict=True):
        found = {v.name: v.type for v in (*fresh.value_info, *fresh.output)}
        for info in (*graph.value_info, *graph.output):
            if info.name in found and has_shape(found[info.name]):
                info.type.CopyFrom(found[info.name])


def _replace(own: onnx.TypeProto, found: onnx.TypeProto | None, *, keep_rank: bool) -> None:
    """Give a declared type the shape that was found, or take from it what may be untrue."""
    again = list(tensor_types(found)) if found is not None else []
    for position, tensor in enumerate(tensor_types(own)):
        if position < len(again) and again[position].HasField("shape"):
            tensor.shape.CopyFrom(again[position].shape)
        elif keep_rank:
            for dim in tensor.shape.dim:
                dim.Clear()
        else:
            tensor.ClearField("shape")

"""Types that follow from a value of another type: declared again where they can be inferred, or found not to fit."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.values import dims, is_typed
from graphkit.shapes.inference import inferred, objection


def fits(given: onnx.TypeProto, wanted: onnx.TypeProto) -> bool:
    """Whether a value of one type may stand where another is wanted: the same kind and element type, and no rank or size
    that contradicts. Unknown and symbolic dims fit anything.
    """
    kind = given.WhichOneof("value")
    if kind != wanted.WhichOneof("value"):
        return False
    if kind not in ("tensor_type", "sparse_tensor_type"):
        return given == wanted or not (is_typed(given) and is_typed(wanted))
    if getattr(given, kind).elem_type != getattr(wanted, kind).elem_type:
        return False
    have, want = dims(given), dims(wanted)
    if have is None or want is None:
        return True
    return len(have) == len(want) and all(
        a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in zip(have, want, strict=True)
    )


def require_fit(before: Iterable[onnx.ModelProto], after: onnx.ModelProto, what: str) -> None:
    """Refuse an edit after which types do not fit together that did before.

    Args:
        before: The model before the edit, or the models.
        after: The model after it.
        what: The edit, as the error's subject.

    Raises:
        EditError: They do not, with what onnx says.

    Cost: one run of onnx.shape_inference, and more where something does not fit.
    """
    why = objection(after)
    if why and not any(map(objection, before)):
        raise EditError(f"{what} leaves types that do not fit together: {' '.join(why.split())[:400]}")


def follow_types(model: onnx.ModelProto, changed: Iterable[str]) -> list[str]:
    """Declare the types of all values behind some values again, which have another type now. Changes the model.

    Returns:
        Outputs of the main graph for which no type is known any more; they are declared without one.

    Scope: main graph and bodies; functions that are called downstream lose the value_info of their inner values.
    Cost: O(graph), one run of onnx.shape_inference.
    """
    stale = downstream(model, changed)
    if not stale:
        return []
    held: list[tuple[onnx.GraphProto, set[str]]] = []
    fixed = {value.name for value in model.graph.input}
    for graph in walk.graphs(model.graph):
        declared = {info.name for info in graph.value_info if info.name in stale}
        kept = [info for info in graph.value_info if info.name not in stale]
        if declared:
            kept = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in kept]
            del graph.value_info[:]
            graph.value_info.extend(kept)
        for info in (*graph.input, *graph.output):
            if info.name in stale and info.name not in fixed:
                info.ClearField("type")
        held.append((graph, declared))
    again = inferred(model)
    for (graph, declared), fresh in zip(held, walk.graphs(again.graph), strict=True):
        found = {v.name: v.type for v in (*fresh.input, *fresh.value_info, *fresh.output) if is_typed(v.type)}
        for name in sorted(declared & found.keys()):
            graph.value_info.add(name=name).type.CopyFrom(found[name])
        for info in (*graph.input, *graph.output):
            if not info.HasField("type") and info.name in found:
                info.type.CopyFrom(found[info.name])
    called = walk.called_functions(
        (n for n in walk.nodes(model.graph) if not stale.isdisjoint(n.input)), model.functions
    )
    for function in model.functions:
        if walk.function_key(function) in called:
            del function.value_info[:]
    return [info.name for info in model.graph.output if info.name in stale and not is_typed(info.type)]


def downstream(model: onnx.ModelProto, names: Iterable[str]) -> set[str]:
    """Some values and all that depends on them, in the main graph and in bodies. Cost: O(nodes) a pass, mostly two."""
    found = set(names)
    if not found:
        return found
    while True:
        count = len(found)
        for graph in reversed(list(walk.graphs(model.graph))):
            for node in graph.node:
                reads = walk.reads(node) if node.attribute else node.input[:]
                if not found.isdisjoint(reads):
                    found.update(filter(None, node.output))
                    first = 2 if node.op_type == "Loop" else 0  # the turn and the condition are what they always are
                    for body in walk.bodies(node):
                        found.update(value.name for value in body.input[first:])
        if len(found) == count:
            return found

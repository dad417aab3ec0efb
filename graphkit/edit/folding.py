"""Computing what became constant: the nodes downstream of some constants whose inputs are all constant now."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.edit.branches import resolve_branches
from graphkit.edit.evaluation import computable, evaluated
from graphkit.edit.nodes import set_nodes
from graphkit.edit.prune import prune, reader_counts
from graphkit.graph import values
from graphkit.graph.index import GraphIndex
from graphkit.graph.opset import opset_of
from graphkit.graph.symbols import tensor_types
from graphkit.model import Model
from graphkit.plural import counted
from graphkit.semantics.kinds import SHAPE_ONLY
from graphkit.shapes.dependents import dependents
from graphkit.shapes.inference import inferred
from graphkit.tensor import bits, stored_bytes

if TYPE_CHECKING:
    from graphkit.tensor import Array

FOLD_LIMIT = 1 << 20
"""Bytes that a folded constant may take: a megabyte holds every shape, mask and table, and no feature map."""


def fold_constants(model: Model, proto: onnx.ModelProto, names: list[str], limit: int) -> list[str]:
    """Replace nodes by their results where nothing but constants goes in. Changes the model.

    Only nodes downstream of the values named are looked at, each is run alone by onnx.reference, and everything else
    stays as it is. Left alone are nodes with bodies, random ones, those of other domains, those whose result takes more
    than ``limit`` bytes or has no shape that is known before, and those that onnx.reference cannot run.

    An If whose condition is constant then is replaced by the branch that runs (``branches``), and what is constant there is
    computed too.

    Returns:
        What was done, a sentence or two.

    Scope: the main graph; an If also in bodies.
    Cost: O(graph), one run of onnx.shape_inference, one of onnx.reference for each folded node.
    """
    count, resolved = 0, list[str]()
    while True:
        known = {tensor.name for tensor in proto.graph.initializer}
        count += _fold(model, proto, names, limit, sizes=False)
        branches = resolve_branches(proto)
        if not branches:
            break
        resolved += branches
        names = [*names, *(t.name for t in proto.graph.initializer if t.name not in known)]
    told = [f"a constant condition decides {', '.join(resolved[:12])}"] if resolved else []
    return [*told, *_told(count)] if count or not resolved else told


def fold_sizes(model: Model, proto: onnx.ModelProto, names: list[str], limit: int = FOLD_LIMIT) -> list[str]:
    """Compute what depends on nothing but the sizes of some inputs: ``Shape``, ``Size`` and what is made of them.

    As ``fold_constants``, downstream of the inputs named, whose dims are sizes. Changes the model.

    Returns:
        What was done, one sentence.

    Cost: that of ``fold_constants`` for each round; a round more where a shape is known only after the one before.
    """
    count = 0
    while folded := _fold(model, proto, names, limit, sizes=True):
        count += folded
    return _told(count)


def _told(count: int) -> list[str]:
    return [
        counted(count, "node was computed beforehand", "nodes were computed beforehand")
        if count
        else "nothing could be computed beforehand"
    ]


def _fold(model: Model, proto: onnx.ModelProto, names: list[str], limit: int, *, sizes: bool) -> int:
    index = GraphIndex(proto.graph)
    types = GraphIndex(inferred(_undeclared(proto, names)).graph)
    opset = opset_of(proto)
    known: dict[str, Array] = {}
    folded: set[int] = set()
    reached = dependents(proto.graph, names) if sizes else set(names)
    for position, node in enumerate(index.nodes):
        if reached.isdisjoint(node.input) or not _may_be_run(node, types, limit, opset):
            continue
        if sizes and node.op_type in SHAPE_ONLY:
            results = _measured(node, types)
        else:
            inputs = _inputs(model, index, known, node, limit)
            results = evaluated(node, inputs, opset) if inputs is not None else None
        if results is not None:
            known.update(results)
            reached.update(results)
            folded.add(position)
    if not folded:
        return 0
    set_nodes(proto.graph, [node for position, node in enumerate(index.nodes) if position not in folded])
    needed = reader_counts(proto.graph)
    for name, array in known.items():
        if needed.get(name):
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    prune(proto, [name for position in sorted(folded) for name in index.nodes[position].input])
    return len(folded)


def _undeclared(proto: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """A copy that declares no types downstream of the constants: the symbols there have sizes now."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    hanging = dependents(proto.graph, names)
    kept = [info for info in proto.graph.value_info if info.name not in hanging]
    del copy.graph.value_info[:]
    copy.graph.value_info.extend(kept)
    for output in copy.graph.output:
        for tensor in tensor_types(output.type) if output.name in hanging else ():
            tensor.ClearField("shape")
    return copy


def _may_be_run(node: onnx.NodeProto, types: GraphIndex, limit: int, opset: int) -> bool:
    """Whether a node gives the same result each time, of a size that is known and not too large, and onnx.reference the
    same as runtimes.
    """
    if not computable(node, opset):
        return False
    for name in node.output:
        known = values.value_type(types, name) if name else None
        shape = values.dims(known) if known is not None else None
        if name and (known is None or shape is None or any(not isinstance(dim, int) for dim in shape)):
            return False
        if known is not None and shape is not None:
            width = max(bits(known.tensor_type.elem_type), 8) // 8
            if math.prod(dim for dim in shape if isinstance(dim, int)) * width > limit:
                return False
    return True


def _inputs(
    model: Model, index: GraphIndex, known: dict[str, Array], node: onnx.NodeProto, limit: int
) -> dict[str, Array] | None:
    """The values of a node's inputs, or None where one is no constant, or too large to be worth it."""
    found: dict[str, Array] = {}
    for name in node.input:
        if name in found or not name:
            continue
        if name in known:
            found[name] = known[name]
            continue
        tensor = values.constant(index, name)
        if tensor is None or stored_bytes(tensor) > max(limit, FOLD_INPUT):
            return None
        found[name] = model.array_of(tensor)
    return found


FOLD_INPUT = 1 << 24
"""Bytes of a constant that is read for folding; a gather from a larger table is left to the runtime."""


def _measured(node: onnx.NodeProto, types: GraphIndex) -> dict[str, Array] | None:
    """What a Shape or Size gives, or None where a dim of its input is no size."""
    known = values.value_type(types, node.input[0])
    shape = values.dims(known) if known is not None else None
    if shape is None or any(not isinstance(dim, int) for dim in shape):
        return None
    if node.op_type == "Size":
        return {node.output[0]: np.array(math.prod(dim for dim in shape if isinstance(dim, int)), np.int64)}
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return {node.output[0]: np.array(shape[bounds.get("start") : bounds.get("end")], np.int64)}

"""What a Conv can do as well: scales and offsets of its channels go into its weights, and a Pad into its pads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx

from graphkit.edit.patterns.library import built_in
from graphkit.edit.patterns.rewriting import apply_rule
from graphkit.edit.patterns.rule import Rule
from graphkit.graph import values, walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.model import Model
from graphkit.tensor import stored_bytes

RULES = ("pad-into-conv", "batchnorm", "conv-mul", "conv-div", "conv-add", "conv-sub")
"""Of the built-in rules those whose replacement is the Conv alone."""

_AROUND = frozenset(("BatchNormalization", "Mul", "Div", "Add", "Sub"))
_WIDE = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def fold_into_convolutions(model: Model, proto: onnx.ModelProto, limit: int) -> Counter[str]:
    """Let every Conv do what stands around it. Changes the model, unless that would make a wrong number or too many bytes.

    Weights narrower than float32 stay as they are: a product of theirs may overflow, and is rounded once more.

    Args:
        model: Whose bytes the weights are.
        proto: The model to change.
        limit: Bytes by which the weights may grow: one that several nodes read becomes several.

    Returns:
        What was done -> how often; empty where there was nothing to do.

    Cost: O(graph); weights that are folded are read.
    """
    if not _worth_a_look(proto):
        return Counter()
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    names = Names(changed.graph)
    held = {tensor.name for tensor in proto.graph.initializer}
    count = 0
    for name in RULES:
        rule = built_in()[name]
        assert isinstance(rule, Rule)
        count += len(apply_rule(model, changed, rule, names).places)
    made = [tensor for tensor in changed.graph.initializer if tensor.name not in held]
    grown = sum(map(stored_bytes, walk.tensors(changed))) - sum(map(stored_bytes, walk.tensors(proto)))
    if not count or grown > limit or not all(np.isfinite(model.array_of(tensor)).all() for tensor in made):
        return Counter()
    proto.CopyFrom(changed)
    return Counter({"nodes became part of the Conv beside them": count})


def _worth_a_look(proto: onnx.ModelProto) -> bool:
    """Whether a Conv or the like has such a neighbour, and all such weights are of a wide type."""
    index = GraphIndex(proto.graph)
    found = False
    for node in index.nodes:
        if node.domain not in ("", "ai.onnx") or node.op_type not in ("Conv", "ConvTranspose", "Gemm"):
            continue
        weight = values.constant(index, node.input[1]) if len(node.input) > 1 else None
        if weight is not None and weight.data_type not in _WIDE:
            return False
        readers = [index.nodes[place] for place in index.consumers.get(node.output[0], ())]
        before = index.nodes[index.producer[node.input[0]]] if node.input[0] in index.producer else None
        found |= len(readers) == 1 and readers[0].op_type in _AROUND and _has_constant(index, readers[0])
        found |= before is not None and before.op_type == "Pad"
    return found


def _has_constant(index: GraphIndex, node: onnx.NodeProto) -> bool:
    return any(values.constant(index, name) is not None for name in node.input if name)

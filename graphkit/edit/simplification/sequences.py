"""Sequences that a graph needs no more: parts of a tensor that are taken one by one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.edit.nodes import set_inputs
from graphkit.graph import values
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.graph.opset import opset_of
from graphkit.model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

_DOMAINS = ("", "ai.onnx")


def split_for_sequences(model: Model, proto: onnx.ModelProto) -> Counter[str]:
    """Let a SplitToSequence be a Split, where every reader takes one part whose place is constant. Changes the model.

    Returns:
        What was done -> how often; empty where there was nothing to do.

    Scope: the main graph.
    """
    done: Counter[str] = Counter()
    if (
        opset_of(proto) < 13
        or proto.ir_version < 4
        or not any(node.op_type == "SplitToSequence" for node in proto.graph.node)
    ):
        return done
    index, names = GraphIndex(proto.graph), Names(proto.graph)
    for node in index.nodes:
        if node.op_type != "SplitToSequence" or node.domain not in _DOMAINS or len(node.input) != 2:
            continue
        lengths = _lengths(model, index, node)
        readers = [index.nodes[place] for place in index.consumers.get(node.output[0], ())]
        places = [_place(model, index, reader) for reader in readers]
        if lengths is None or node.output[0] in index.outputs or not readers:
            continue
        if any(place is None or not -len(lengths) <= place < len(lengths) for place in places):
            continue
        parts = [names.fresh(f"{node.output[0]}_{number}") for number in range(len(lengths))]
        sizes = names.fresh(f"{node.output[0]}_split")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(lengths, np.int64), sizes))
        _become(node, "Split", [node.input[0], sizes], parts)
        for reader, place in zip(readers, places, strict=True):
            assert place is not None
            _become(reader, "Identity", [parts[place]], reader.output[:])
        done["SplitToSequences became a Split"] += 1
    return done


def _place(model: Model, index: GraphIndex, reader: onnx.NodeProto) -> int | None:
    """Which part a SequenceAt takes; None where that is not constant, and for other nodes."""
    if reader.op_type != "SequenceAt" or reader.domain not in _DOMAINS:
        return None
    tensor = values.constant(index, reader.input[1])
    return None if tensor is None else int(model.array_of(tensor).item())


def _lengths(model: Model, index: GraphIndex, node: onnx.NodeProto) -> list[int] | None:
    """How long the parts are, where that is constant: one number is that of each, and the last is what is left."""
    tensor = values.constant(index, node.input[1])
    if tensor is None or len(tensor.dims) > 1:
        return None
    given = [int(number) for number in model.array_of(tensor).ravel()]
    if tensor.dims:
        return given
    type_ = values.value_type(index, node.input[0])
    dims, axis = values.dims(type_) if type_ is not None else None, values.attribute_value(node, "axis", 0)
    size = dims[axis] if dims is not None and isinstance(axis, int) and -len(dims) <= axis < len(dims) else None
    if not isinstance(size, int) or given[0] < 1 or not size:
        return None
    return [min(given[0], size - start) for start in range(0, size, given[0])]


def _become(node: onnx.NodeProto, op_type: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name == "axis" and op_type == "Split"]
    node.op_type = op_type
    del node.attribute[:]
    node.attribute.extend(kept)
    set_inputs(node, list(inputs))
    del node.output[:]
    node.output.extend(outputs)

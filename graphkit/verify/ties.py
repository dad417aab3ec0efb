"""Indices that differ because numbers are equal: TopK, ArgMax and ArgMin may give any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.graph.index import GraphIndex
from graphkit.graph.names import title
from graphkit.graph.values import attribute_value
from graphkit.runtime.session import session
from graphkit.surgery.tap import tap

if TYPE_CHECKING:
    from graphkit.model import Model
    from graphkit.tensor import Array

_SAME_INDICES = ("Identity", "Cast")


def ties(model: Model, feeds: Mapping[str, Any], actual: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """Sentences on outputs of indices that lead to equal numbers on both sides wherever they differ.

    Args:
        model: The candidate.
        feeds: What it was fed.
        actual: Its outputs that differ.
        expected: The reference's.

    Scope: outputs of TopK, ArgMax and ArgMin of the main graph, behind Cast or Identity.
    Cost: one run more for each such output.
    """
    index = GraphIndex(model.proto.graph)
    found = []
    for name, value in actual.items():
        node = _ranking(index, name)
        if node is None or isinstance(expected[name], list):
            continue
        mine, other = np.asarray(value), np.asarray(expected[name])
        if mine.shape != other.shape or mine.dtype.kind not in "iu":
            continue
        data = _numbers(model, node.input[0], feeds)
        if data is not None and np.array_equal(_taken(node, data, mine), _taken(node, data, other), equal_nan=True):
            found.append(
                f"output {name!r} holds indices from {title(node)}, and wherever they differ both lead to equal numbers: "
                "which of equal numbers comes first is no fault of either side; compare the numbers, or feed different ones"
            )
    return found


def _ranking(index: GraphIndex, name: str) -> onnx.NodeProto | None:
    """The node of whose indices a value is made; None where there is none."""
    while (place := index.producer.get(name)) is not None:
        node = index.nodes[place]
        if node.op_type in ("ArgMax", "ArgMin") or (node.op_type == "TopK" and name == node.output[1]):
            return node
        if node.op_type not in _SAME_INDICES:
            return None
        name = node.input[0]
    return None


def _numbers(model: Model, name: str, feeds: Mapping[str, Any]) -> Array | None:
    """The numbers that were ranked."""
    if name in feeds:
        return np.asarray(feeds[name])
    tapped = tap(model, name, replace=True)
    wanted = {value.name for value in tapped.proto.graph.input}
    ran = session(tapped, device="cpu", optimize=False).run({n: v for n, v in feeds.items() if n in wanted})
    return np.asarray(ran[name])


def _taken(node: onnx.NodeProto, data: Array, indices: Array) -> Array:
    """The numbers that indices lead to."""
    axis = int(attribute_value(node, "axis", -1 if node.op_type == "TopK" else 0))
    if indices.ndim < data.ndim:
        indices = np.expand_dims(indices, axis)
    indices = np.clip(indices.astype(np.int64), 0, data.shape[axis] - 1)
    taken: Array = np.take_along_axis(data, indices, axis)
    return taken

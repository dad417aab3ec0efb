"""Nodes that want their input to be of some size at least: a window must fit into it, or so many elements be in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx

from graphkit.graph import values
from graphkit.graph.index import GraphIndex
from graphkit.graph.values import attribute_value
from graphkit.semantics.kinds import POOLS
from graphkit.tensor import decode


def has_windows(graph: onnx.GraphProto) -> bool:
    """Whether a graph has such nodes. Bodies are not looked at. Cost: O(nodes)."""
    return any(node.op_type in _FITS for node in graph.node)


def misfit(graph: onnx.GraphProto) -> onnx.NodeProto | None:
    """The first node whose input is smaller than it wants; None where all fit, as far as the shapes are known.

    Args:
        graph: A graph with the types of its values. Bodies are not looked at.

    Cost: O(nodes).
    """
    index = GraphIndex(graph)
    for node in index.nodes:
        fits = _FITS.get(node.op_type)
        if fits is None or node.domain not in ("", "ai.onnx"):
            continue
        known = values.value_type(index, node.input[0])
        dims = values.dims(known) if known is not None else None
        if dims is not None and not fits(index, node, [dim if isinstance(dim, int) else None for dim in dims]):
            return node
    return None


_Sizes = Sequence[int | None]


def _window_fits(index: GraphIndex, node: onnx.NodeProto, dims: _Sizes) -> bool:
    kernel = attribute_value(node, "kernel_shape") or _dims(index, node, 1)[2:]
    if str(attribute_value(node, "auto_pad", "NOTSET")).startswith("SAME"):
        return True
    rank = len(kernel)
    pads = attribute_value(node, "pads") or [0] * 2 * rank
    dilations = attribute_value(node, "dilations") or [1] * rank
    if len(dims) != rank + 2 or len(pads) != 2 * rank or len(dilations) != rank:
        return True
    return all(
        size is None or size + pads[axis] + pads[axis + rank] > (kernel[axis] - 1) * dilations[axis]
        for axis, size in enumerate(dims[2:])
    )


def _reflection_fits(index: GraphIndex, node: onnx.NodeProto, dims: _Sizes) -> bool:
    """What is mirrored has to be there, the border itself left out."""
    if attribute_value(node, "mode", "constant") != "reflect":
        return True
    pads = attribute_value(node, "pads") or _numbers(index, node, 1)
    if len(pads) != 2 * len(dims) or len(node.input) > 3:
        return True
    return all(size is None or size > max(pads[axis], pads[axis + len(dims)]) for axis, size in enumerate(dims))


def _frame_fits(index: GraphIndex, node: onnx.NodeProto, dims: _Sizes) -> bool:
    frame = _numbers(index, node, 3) or _dims(index, node, 2)[:1]
    return len(dims) < 2 or dims[1] is None or not frame or dims[1] >= frame[0]


def _enough_to_choose_from(index: GraphIndex, node: onnx.NodeProto, dims: _Sizes) -> bool:
    wanted, axis = _numbers(index, node, 1), int(attribute_value(node, "axis", -1))
    if not wanted or not -len(dims) <= axis < len(dims):
        return True
    size = dims[axis]
    return size is None or size >= wanted[0]


_FITS: dict[str, Callable[[GraphIndex, onnx.NodeProto, _Sizes], bool]] = {
    **dict.fromkeys(("Conv", "ConvInteger", *POOLS), _window_fits),
    "Pad": _reflection_fits,
    "STFT": _frame_fits,
    "TopK": _enough_to_choose_from,
}


def _dims(index: GraphIndex, node: onnx.NodeProto, place: int) -> list[int]:
    known = values.value_type(index, node.input[place]) if place < len(node.input) and node.input[place] else None
    dims = values.dims(known) if known is not None else None
    return [dim for dim in dims or () if isinstance(dim, int)]


def _numbers(index: GraphIndex, node: onnx.NodeProto, place: int) -> list[int]:
    """The numbers of a small constant input; none where it is no such."""
    tensor = values.constant(index, node.input[place]) if place < len(node.input) and node.input[place] else None
    if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL or math.prod(tensor.dims) > 64:
        return []
    return [int(number) for number in decode(tensor, None).ravel()]

"""Nodes over which ONNX Runtime 1.31 ends the whole process: refused before it sees them.

Each was found by giving the runtime every operator with sizes and counts of 0, -1 and 2**40 (onnx's node models, a process
each). What a caller feeds for them is looked at before a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import FeedError, InvalidGraphError
from graphkit.graph import walk
from graphkit.graph.names import label, title
from graphkit.graph.opset import opset_of
from graphkit.graph.scopes import scopes
from graphkit.graph.values import attribute_value, constant_tensor
from graphkit.semantics.node_rules import check_parts, check_sized
from graphkit.shapes.resize_patterns import is_resampler
from graphkit.tensor import stored_bytes

if TYPE_CHECKING:
    from graphkit.tensor import Array

NO_ZERO = {"SplitToSequence": (1, "split"), "STFT": (3, "frame_length")}
"""Operator -> the input by which it divides, a scalar, and its name."""

HEADS = {"Attention": ("q_num_heads", "kv_num_heads")}
"""Operator -> the attributes by which it divides; the runtime keeps them in 32 bits."""

BLOCKS = ("DepthToSpace", "SpaceToDepth")
"""Operators that divide by the square of their ``blocksize``, which is 0 where 64 bits do not hold it."""

CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}
"""Operator -> the input that is its kernel. Where that has no places the runtime goes round for ever."""

KERNEL_AXES = 2
"""The axes of a kernel before those of its places."""

SMALL = 64
"""Bytes of a constant that may be such a scalar."""


def refuse_fatal(model: onnx.ModelProto) -> None:
    """Refuse a model over which the runtime would end the process.

    Raises:
        InvalidGraphError: A Resize without a size, a Split with more outputs than it says, an Attention without heads, a
            block without rows, a SplitToSequence or STFT that divides by a constant 0, a Conv whose kernel has no places,
            an InstanceNormalization of a constant without numbers; the message names the node.

    Scope: main graph, bodies, functions.
    Cost: O(nodes); weights are not read.
    """
    opset = opset_of(model)
    for node in walk.model_nodes(model):
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "Resize" and is_resampler(node):
            check_sized(node, opset)
        elif node.op_type == "Split":
            check_parts(node)
        elif node.op_type in HEADS:
            _check_heads(node)
        elif node.op_type in BLOCKS:
            _check_block(node)
    _refuse_constants(model)


def _refuse_constants(model: onnx.ModelProto) -> None:
    for node, tensor in _constants(model, _kernel):
        if 0 in tensor.dims[KERNEL_AXES:]:
            raise InvalidGraphError(_without_places(node, tensor.dims), names=[label(node)])
    for node, tensor in _constants(model, _normalized):
        if 0 in tensor.dims[KERNEL_AXES:]:
            why = f"{title(node)} normalizes a constant of {list(tensor.dims)}, which has no numbers"
            raise InvalidGraphError(why, names=[label(node)])
    for node, tensor in _constants(model, _divisor):
        held = tensor.data_location != onnx.TensorProto.EXTERNAL and stored_bytes(tensor) <= SMALL
        if held and (why := _division_by_zero(node, onnx.numpy_helper.to_array(tensor))):
            raise InvalidGraphError(why, names=[label(node)])


def refuse_fatal_feeds(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> None:
    """Refuse feeds over which the runtime would end the process.

    Raises:
        FeedError: One is the 0 by which a SplitToSequence or STFT divides, or the kernel of a Conv that has no places.

    Cost: O(nodes) where a feed is a zero or has no numbers.
    """
    empty = {
        name for name, value in feeds.items() if np.ndim(value) > KERNEL_AXES and 0 in np.shape(value)[KERNEL_AXES:]
    }
    for node in walk.nodes(model.graph) if empty else ():
        if (name := _kernel(node)) in empty:
            raise FeedError(_without_places(node, np.shape(feeds[name])), name=name)
    zeros = {name: value for name, value in feeds.items() if np.size(value) == 1 and not np.any(value)}
    for node in walk.nodes(model.graph) if zeros else ():
        name = _divisor(node)
        if name in zeros and (why := _division_by_zero(node, zeros[name])):
            raise FeedError(why, name=name)


def fatal_optimizers(model: onnx.ModelProto) -> list[str]:
    """Those that ONNX Runtime 1.31 ends the process in: its QDQ propagation loses count of the readers where a value that
    comes from a DequantizeLinear through a Transpose or Reshape, or goes there too, is read in a body. It only moves nodes.
    """
    nodes = list(walk.model_nodes(model))
    if any(node.op_type == "DequantizeLinear" for node in nodes) and any(map(walk.captures, nodes)):
        return ["QDQPropagationTransformer"]
    return []


def _normalized(node: onnx.NodeProto) -> str:
    return node.input[0] if node.op_type == "InstanceNormalization" and node.input else ""


def _kernel(node: onnx.NodeProto) -> str:
    place = CONVOLUTIONS.get(node.op_type, len(node.input)) if node.domain in ("", "ai.onnx") else len(node.input)
    return node.input[place] if place < len(node.input) else ""


def _without_places(node: onnx.NodeProto, dims: Sequence[int]) -> str:
    return f"{title(node)} has a kernel of {list(dims)}, which has no places"


def _divisor(node: onnx.NodeProto) -> str:
    place = NO_ZERO[node.op_type][0] if node.op_type in NO_ZERO and node.domain in ("", "ai.onnx") else len(node.input)
    return node.input[place] if place < len(node.input) else ""


def _constants(
    model: onnx.ModelProto, of: Callable[[onnx.NodeProto], str]
) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """The nodes whose input of a kind is a constant, each with it."""
    if not any(map(of, walk.model_nodes(model))):
        return
    for scope in scopes(model.graph):
        for node in scope.index.nodes:
            if (name := of(node)) and (tensor := scope.constant(name)) is not None:
                yield node, tensor
    for function in model.functions:
        made = {name: node for node in walk.function_nodes(function) for name in node.output}
        for node in walk.function_nodes(function):
            maker = made.get(of(node))
            if maker is not None and maker.op_type == "Constant" and (tensor := constant_tensor(maker)) is not None:
                yield node, tensor


def _division_by_zero(node: onnx.NodeProto, value: Any) -> str:
    """What is wrong with the number by which a node divides; "" where nothing is."""
    zero = np.ndim(value) == 0 and not np.any(value)
    return f"{title(node)} divides by {NO_ZERO[node.op_type][1]!r}, which is 0" if zero else ""


def _check_heads(node: onnx.NodeProto) -> None:
    for name in HEADS[node.op_type]:
        count = attribute_value(node, name)
        if isinstance(count, int) and not 0 < count < 1 << 31:
            raise InvalidGraphError(
                f"{title(node)} has {name} = {count}; there is one head at least", names=[label(node)]
            )


def _check_block(node: onnx.NodeProto) -> None:
    size = attribute_value(node, "blocksize")
    if isinstance(size, int) and not 0 < size < 1 << 31:
        raise InvalidGraphError(
            f"{title(node)} has blocksize = {size}; a block has one row at least", names=[label(node)]
        )

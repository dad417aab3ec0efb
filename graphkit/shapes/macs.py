"""How much a node computes: multiply-accumulates, from the shapes of its operands."""

from __future__ import annotations

import math
from collections.abc import Callable

import onnx

from graphkit.graph.values import attribute_value
from graphkit.semantics.kinds import RECURRENT

Shape = tuple[int, ...]
ShapeOf = Callable[[str], Shape | None]


def macs(node: onnx.NodeProto, shape_of: ShapeOf) -> int | None:
    """Multiply-accumulates of a node in one run; 0 for operators that multiply no matrices.

    Convolutions, matrix products and recurrent cells; biases and activations are not counted.

    Args:
        node: The node.
        shape_of: The sizes of a value, or None where they are not known.

    Returns:
        The count, or None where a shape that it needs is not known.
    """
    if node.domain not in ("", "ai.onnx"):
        return 0
    rule = _RULES.get(node.op_type)
    return 0 if rule is None else rule(node, shape_of)


def _convolution(node: onnx.NodeProto, shape_of: ShapeOf) -> int | None:
    weight, result = shape_of(node.input[1]), shape_of(node.output[0])
    return None if weight is None or result is None else math.prod(result) * math.prod(weight[1:])


def _transposed(node: onnx.NodeProto, shape_of: ShapeOf) -> int | None:
    weight, data = shape_of(node.input[1]), shape_of(node.input[0])
    return None if weight is None or data is None else math.prod(data) * math.prod(weight[1:])


def _product(node: onnx.NodeProto, shape_of: ShapeOf) -> int | None:
    left, result = shape_of(node.input[0]), shape_of(node.output[0])
    return None if not left or result is None else math.prod(result) * left[-1]


def _gemm(node: onnx.NodeProto, shape_of: ShapeOf) -> int | None:
    left, result = shape_of(node.input[0]), shape_of(node.output[0])
    if left is None or len(left) != 2 or result is None:
        return None
    return math.prod(result) * left[0 if attribute_value(node, "transA", 0) else 1]


def _recurrent(node: onnx.NodeProto, shape_of: ShapeOf) -> int | None:
    data, weight, again = shape_of(node.input[0]), shape_of(node.input[1]), shape_of(node.input[2])
    if data is None or weight is None or again is None or len(data) != 3:
        return None
    return data[0] * data[1] * (math.prod(weight) + math.prod(again))


_RULES: dict[str, Callable[[onnx.NodeProto, ShapeOf], int | None]] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": lambda node, shape_of: _convolution(_operands(node, (0, 3)), shape_of),
    "ConvTranspose": _transposed,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _gemm,
    **dict.fromkeys(RECURRENT, _recurrent),
}


def _operands(node: onnx.NodeProto, places: tuple[int, ...]) -> onnx.NodeProto:
    """The node as if these were its inputs."""
    found = onnx.NodeProto(op_type=node.op_type)
    found.input.extend(node.input[place] for place in places)
    found.output.extend(node.output)
    return found

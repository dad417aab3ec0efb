"""Weights in 16 bits: what becomes of their numbers, in initializers and in Constant nodes of any spelling."""

from __future__ import annotations

import numpy as np
import onnx

from graphkit.tensor import decode, embed

LARGEST = 65504.0
"""The largest number of float16."""

LARGEST_BFLOAT16 = float.fromhex("0x1.fep127")
"""The largest number of bfloat16. float32's own largest, which exporters write into masks, would round to infinity, and a
row that is masked whole would be NaN.
"""

SMALLEST = 2.0**-24
"""The smallest positive number of float16, which smaller ones become: an epsilon does not become 0."""

_SPELLINGS = ("value", "value_float", "value_floats")


def half_tensor(tensor: onnx.TensorProto, low: int) -> int:
    """Store a float32 tensor in 16 bits. Changes the tensor.

    Returns:
        How many numbers are beyond the range of float16 and became its largest number. Beyond bfloat16's there are only
        those that are nearer to its largest number than one step.
    """
    array = decode(tensor, None)
    beyond = 0
    if low == onnx.TensorProto.FLOAT16:
        size = np.abs(array)
        outside = np.isfinite(array) & (size > LARGEST)
        beyond = int(np.count_nonzero(outside))
        array = np.where(outside, np.copysign(np.float32(LARGEST), array), array)
        array = np.where((size > 0) & (size < SMALLEST), np.copysign(np.float32(SMALLEST), array), array)
    elif low == onnx.TensorProto.BFLOAT16:
        array = np.where(np.isfinite(array), np.clip(array, -LARGEST_BFLOAT16, LARGEST_BFLOAT16), array)
    with np.errstate(over="ignore"):
        data = array.astype(onnx.helper.tensor_dtype_to_np_dtype(low)).tobytes()
    embed(tensor, data)
    tensor.data_type = low
    return beyond


def is_weight_node(node: onnx.NodeProto) -> bool:
    """Whether a node is a Constant of float32 numbers."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx") or len(node.attribute) != 1:
        return False
    [attribute] = node.attribute
    return attribute.name in _SPELLINGS and (
        attribute.name != "value" or attribute.t.data_type == onnx.TensorProto.FLOAT
    )


def weight_tensor(node: onnx.NodeProto) -> onnx.TensorProto:
    """The tensor of such a Constant, which is respelt as ``value`` where it was another. May change the node."""
    [attribute] = node.attribute
    if attribute.name != "value":
        array = np.array(attribute.f if attribute.name == "value_float" else attribute.floats[:], np.float32)
        attribute.CopyFrom(onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(array)))
    return attribute.t

"""What a node gives for inputs that are known: numpy for the operators that shapes and weights go through, else onnx.reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.graph.values import attribute_value
from graphkit.semantics.elementwise import OPSET as BROADCASTS
from graphkit.semantics.kinds import MAY_DRAW, SOFTMAXES
from graphkit.semantics.on_constants import NOT_COMPUTED, on_constants

if TYPE_CHECKING:
    from graphkit.tensor import Array

NEVER = 1 << 31

TRUE_SINCE = {
    **dict.fromkeys(SOFTMAXES, 13),
    "BatchNormalization": 14,
    "DynamicQuantizeLinear": NEVER,
    "LRN": NEVER,
    "Resize": 11,
    "RoiAlign": 16,
}
"""Operator -> the opset since which onnx.reference computes what runtimes compute. It takes an older node for a newer one
(a Softmax of opset 12 flattens what is behind its axis, a BatchNormalization of opset 13 is not in training), leaves out
channels in LRN, and gives another scale to zeros.
"""


def computable(node: onnx.NodeProto, opset: int) -> bool:
    """Whether a node gives the same result each time, and onnx.reference the same as runtimes."""
    if node.domain not in ("", "ai.onnx") or node.op_type in MAY_DRAW:
        return False
    if opset < TRUE_SINCE.get(node.op_type, BROADCASTS):
        return False
    return not any(
        a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) or a.ref_attr_name for a in node.attribute
    )


def evaluated(node: onnx.NodeProto, inputs: Mapping[str, Array], opset: int) -> dict[str, Array] | None:
    """A node's results, or None where onnx.reference has no implementation or does not accept the values.

    Args:
        node: A ``computable`` node.
        inputs: Value -> array, for each of its inputs.
        opset: The version of ai.onnx.
    """
    fast = _FAST.get(node.op_type)
    if fast is not None:
        arrays = [inputs[name] if name else None for name in node.input]
        if all(array is None or array.dtype.isbuiltin for array in arrays):
            try:
                result = fast(node, arrays)
            except NOT_COMPUTED:
                return None
            if result is not None:
                return {node.output[0]: np.ascontiguousarray(result)} if result.ndim else {node.output[0]: result}
    return _referenced(node, inputs, opset)


def _referenced(node: onnx.NodeProto, inputs: Mapping[str, Array], opset: int) -> dict[str, Array] | None:
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in inputs.items()]
    names = [name for name in node.output if name]
    made = on_constants([node], tensors, names, opset)
    return None if made is None else dict(zip(names, made, strict=True))


Arrays = Sequence[Any]


def _binary(function: Callable[[Any, Any], Any]) -> Callable[[onnx.NodeProto, Arrays], Array | None]:
    def run(_node: onnx.NodeProto, arrays: Arrays) -> Array | None:
        if len(arrays) != 2 or arrays[0].dtype != arrays[1].dtype or arrays[0].dtype.kind not in "iuf":
            return None
        with np.errstate(all="ignore"):
            result: Array = np.asarray(function(arrays[0], arrays[1]))
        return result.astype(arrays[0].dtype, copy=False)

    return run


def _quotient(a: Any, b: Any) -> Any:
    if a.dtype.kind == "f":
        return a / b
    if not b.all():
        raise ZeroDivisionError
    whole = abs(a) // abs(b)
    return np.where((a < 0) != (b < 0), -whole, whole)


def _transpose(node: onnx.NodeProto, arrays: Arrays) -> Array:
    result: Array = arrays[0].transpose(attribute_value(node, "perm"))
    return result


def _reshape(node: onnx.NodeProto, arrays: Arrays) -> Array | None:
    if attribute_value(node, "allowzero", 0) or len(arrays) != 2:
        return None
    data = arrays[0]
    target = [data.shape[i] if size == 0 else int(size) for i, size in enumerate(arrays[1])]
    result: Array = data.reshape(target)
    return result


def _concat(node: onnx.NodeProto, arrays: Arrays) -> Array:
    return np.concatenate(arrays, axis=attribute_value(node, "axis"))


def _gather(node: onnx.NodeProto, arrays: Arrays) -> Array:
    data, indices = arrays
    axis = attribute_value(node, "axis", 0)
    size = data.shape[axis]
    if indices.size and not (-size <= indices.min() and indices.max() < size):
        raise IndexError
    return np.asarray(np.take(data, indices, axis=axis))


def _cast(node: onnx.NodeProto, arrays: Arrays) -> Array | None:
    """Between integers and floats of IEEE where no number can be out of range."""
    wanted = onnx.helper.tensor_dtype_to_np_dtype(attribute_value(node, "to"))
    data = arrays[0]
    if wanted.isbuiltin and data.dtype.kind in "iufb" and np.can_cast(data.dtype, wanted, "safe"):
        result: Array = data.astype(wanted)
        return result
    return None


def _unsqueeze(node: onnx.NodeProto, arrays: Arrays) -> Array | None:
    axes = arrays[1].tolist() if len(arrays) > 1 else attribute_value(node, "axes")
    return None if axes is None else np.expand_dims(arrays[0], tuple(axes))


def _squeeze(node: onnx.NodeProto, arrays: Arrays) -> Array:
    axes = arrays[1].tolist() if len(arrays) > 1 and arrays[1] is not None else attribute_value(node, "axes")
    result: Array = np.squeeze(arrays[0], None if axes is None else tuple(axes))
    return result


def _slice(_node: onnx.NodeProto, arrays: Arrays) -> Array | None:
    if len(arrays) < 3:
        return None
    data, starts, ends, axes, steps = [*arrays, None, None][:5]
    axes = range(len(starts)) if axes is None else axes.tolist()
    steps = [1] * len(starts) if steps is None else steps.tolist()
    if any(step < 1 for step in steps):
        return None
    places = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts.tolist(), ends.tolist(), steps, strict=True):
        places[axis] = slice(start, end, step)
    result: Array = data[tuple(places)]
    return result


def _sqrt(_node: onnx.NodeProto, arrays: Arrays) -> Array | None:
    with np.errstate(invalid="ignore"):
        return np.sqrt(arrays[0]) if arrays[0].dtype.kind == "f" else None


_FAST: dict[str, Callable[[onnx.NodeProto, Arrays], Array | None]] = {
    "Add": _binary(np.add),
    "Sub": _binary(np.subtract),
    "Mul": _binary(np.multiply),
    "Div": _binary(_quotient),
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Concat": _concat,
    "Gather": _gather,
    "Cast": _cast,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Slice": _slice,
    "Sqrt": _sqrt,
    "Identity": lambda _node, arrays: arrays[0],
}
"""Operator -> its result in numpy, None where this case is left to onnx.reference. A graph that was exported for one size is
full of these; onnx.reference takes a third of a millisecond for each."""

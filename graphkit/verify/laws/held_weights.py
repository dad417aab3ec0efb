"""close, for weights: in 16 bits they are what they were, rounded; in int8, scaled back, within a step of their scale."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.graph import walk
from graphkit.model import Model

if TYPE_CHECKING:
    from graphkit.tensor import Array

STEP = 1.01
"""Steps by which a weight may be off: half of one by rounding, and as much at the ends of a range whose zero was rounded."""

ROUNDED: dict[int, tuple[float, float]] = {
    onnx.TensorProto.FLOAT: (math.inf, 0.0),
    onnx.TensorProto.FLOAT16: (65504.0, 2.0**-10),
    onnx.TensorProto.BFLOAT16: (math.inf, 2.0**-8),
}
"""Type -> its largest number, and by how much rounding to it may be off, relative to the number."""

LEAST = 1.2e-7
"""By how much in any case: two of float16's smallest steps."""

INTEGERS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32)


def wrong_half(before: Model, after: Model, names: Mapping[str, str]) -> str | None:
    """The first weight that is not what it was, rounded to the 16 bits that it has now; None where all are.

    Args, Cost: as ``wrong_int8``.
    """
    held = _told(after.proto)
    new = {old: name for name, old in names.items()}
    for tensor in _floats(before.proto):
        other = held.get(new.get(tensor.name, tensor.name))
        if other is None or list(other.dims) != list(tensor.dims) or other.data_type not in ROUNDED:
            continue
        old, now = (np.asarray(m.array_of(t), np.float64) for m, t in ((before, tensor), (after, other)))
        most, step = ROUNDED[other.data_type]
        old = np.where(np.isfinite(old), np.clip(old, -most, most), old)
        if not np.allclose(now, old, rtol=step, atol=LEAST, equal_nan=True):
            return f"{other.name!r} is not what {tensor.name!r} was, rounded"
    return None


def wrong_int8(before: Model, after: Model, names: Mapping[str, str]) -> str | None:
    """The first weight that is not what it was; None where all are that can be told by their names.

    Quantizers call the integers of a weight ``W_quantized``, and their scale and zero point likewise.

    Args:
        before: The model with the floats.
        after: The model with the integers.
        names: Value of after -> its name before, where the two differ.

    Cost: O(weights), one at a time.
    """
    held = _told(after.proto)
    held |= {names[name]: tensor for name, tensor in held.items() if name in names}
    new = {old: name for name, old in names.items()}
    for tensor in _floats(before.proto):
        for stem in dict.fromkeys((tensor.name, new.get(tensor.name, tensor.name))):
            integers, scale, zero = _parts(held, stem)
            if integers is None or scale is None:
                continue
            wide, step, offset = (None if each is None else after.array_of(each) for each in (integers, scale, zero))
            array = np.asarray(before.array_of(tensor))
            if array.ndim == 3 and list(integers.dims) != list(tensor.dims):
                array = array.transpose(0, 2, 1)  # DynamicQuantizeLSTM has its weights the other way round
            if list(integers.dims) == list(array.shape) and not _near(array, wide, step, offset):
                return f"{integers.name!r}, scaled back, is not what {tensor.name!r} was"
    return None


def _told(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Name -> initializer, in bodies too, where only one has the name."""
    tensors = [tensor for graph in walk.graphs(proto.graph) for tensor in graph.initializer]
    count = Counter(tensor.name for tensor in tensors)
    return {tensor.name: tensor for tensor in tensors if count[tensor.name] == 1}


def _floats(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from (tensor for tensor in _told(proto).values() if tensor.data_type == onnx.TensorProto.FLOAT)


def _parts(
    held: Mapping[str, onnx.TensorProto], stem: str
) -> tuple[onnx.TensorProto | None, onnx.TensorProto | None, onnx.TensorProto | None]:
    integers = held.get(f"{stem}_quantized")
    if integers is None or integers.data_type not in INTEGERS:
        return None, None, None
    scale, zero = (
        next((held[name] for name in (f"{stem}_quantized_{what}", f"{stem}_{what}") if name in held), None)
        for what in ("scale", "zero_point")
    )
    return integers, scale, zero


def _near(array: Array, integers: Array | None, scale: Array | None, zero: Array | None) -> bool:
    assert integers is not None
    assert scale is not None
    wide, step = np.asarray(integers, np.float64), np.asarray(scale, np.float64).reshape(-1)
    offset = np.zeros(1) if zero is None else np.asarray(zero, np.float64).reshape(-1)
    count = max(step.size, offset.size)
    axes = [axis for axis, size in enumerate(wide.shape) if size == count] if count > 1 else [-1]
    for axis in axes:
        shape = [count if place == axis else 1 for place in range(wide.ndim)]
        steps = np.broadcast_to(step, count).reshape(shape) if count > 1 else step.reshape([1] * wide.ndim)
        offsets = np.broadcast_to(offset, count).reshape(shape) if count > 1 else offset.reshape([1] * wide.ndim)
        if (np.abs((wide - offsets) * steps - array) <= STEP * np.abs(steps) + 1e-6 * np.abs(array)).all():
            return True
    return not axes

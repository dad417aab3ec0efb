"""Arrays of every ONNX type in and out of ONNX Runtime, those included that numpy has no dtype for."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import onnx

from graphkit.errors import FeedError
from graphkit.runtime.failures import import_runtime
from graphkit.runtime.ports import Port
from graphkit.tensor import bits, decode


def to_runtime(value: Any, port: Port) -> Any:
    """An array (or list of arrays, for a sequence) as an OrtValue. Numeric arrays are not copied."""
    runtime = import_runtime()
    if isinstance(value, list):
        raise FeedError(f"input {port.name!r} is {port.text}; only tensors can be fed", name=port.name)
    array = np.ascontiguousarray(value) if value.ndim else value
    if array.dtype.kind in "fiub" and array.dtype.isbuiltin:
        return runtime.OrtValue.ortvalue_from_numpy(array)
    if array.dtype.kind in "OUST":
        return runtime.OrtValue.ortvalue_from_numpy(array.astype(object).astype(str))
    width = bits(port.data_type)
    if width < 8:
        raise FeedError(f"input {port.name!r} is {port.text}; {width}-bit inputs cannot be fed", name=port.name)
    plain = array.view({8: np.uint8, 16: np.uint16}[width])
    return runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(plain, port.data_type)


def from_runtime(value: Any) -> Any:
    """An OrtValue as an array, as a list of arrays for a sequence, or None for an empty optional."""
    if not value.has_value():
        return None
    if not value.is_tensor():
        return value.numpy()
    data_type = value.element_type()
    if data_type in _PLAIN:
        return value.numpy()
    shape = value.shape()
    tensor = onnx.TensorProto(data_type=data_type, dims=shape)
    return decode(tensor, memoryview(ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())))


_T = onnx.TensorProto
_PLAIN = frozenset(
    (
        _T.FLOAT, _T.FLOAT16, _T.DOUBLE, _T.INT8, _T.INT16, _T.INT32, _T.INT64,
        _T.UINT8, _T.UINT16, _T.UINT32, _T.UINT64, _T.BOOL, _T.STRING,
    )
)  # fmt: skip

"""torch's dtypes and ONNX's data types."""

from __future__ import annotations

import onnx

_T = onnx.TensorProto

DATA_TYPES: dict[str, int] = {
    "torch.float32": _T.FLOAT,
    "torch.float64": _T.DOUBLE,
    "torch.float16": _T.FLOAT16,
    "torch.bfloat16": _T.BFLOAT16,
    "torch.int64": _T.INT64,
    "torch.int32": _T.INT32,
    "torch.int16": _T.INT16,
    "torch.int8": _T.INT8,
    "torch.uint8": _T.UINT8,
    "torch.uint16": _T.UINT16,
    "torch.uint32": _T.UINT32,
    "torch.uint64": _T.UINT64,
    "torch.bool": _T.BOOL,
    "torch.complex64": _T.COMPLEX64,
    "torch.complex128": _T.COMPLEX128,
}
"""The text of a torch.dtype -> TensorProto data type (the text, so that this table needs no torch)."""

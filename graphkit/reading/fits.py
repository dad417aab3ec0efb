"""Does an array fit an input: its dtype, rank and fixed sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import FeedError
from graphkit.graph.ports import Port
from graphkit.hint import Blank, Hint, call
from graphkit.tensor import type_name

if TYPE_CHECKING:
    from graphkit.tensor import Array


def check(port: Port, array: Array) -> None:
    """Refuse an array of another dtype, rank or fixed size than the input declares.

    Raises:
        FeedError: It does not fit.
    """
    check_fit(port, array.dtype, array.shape)


def check_fit(port: Port, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Refuse another dtype, rank or fixed size than the input declares; for arrays that are not read yet.

    Raises:
        FeedError: It does not fit.
    """
    if not port.data_type:
        raise FeedError(f"input {port.name!r} is {port.text}; only tensors can be fed", name=port.name)
    data_type = _data_type(dtype)
    got = f"{type_name(data_type) if data_type else dtype}[{','.join(map(str, shape))}]"
    if data_type != port.data_type:
        raise FeedError(
            f"input {port.name!r} wants {port.text} and was given {got}",
            name=port.name,
            hint=f"convert it: array.astype({type_name(port.data_type)!r})",
        )
    if port.dims is None:
        return
    if len(port.dims) != len(shape):
        raise FeedError(
            f"input {port.name!r} wants {port.text}, of rank {len(port.dims)}, and was given {got}", name=port.name
        )
    for axis, (dim, size) in enumerate(zip(port.dims, shape, strict=True)):
        if isinstance(dim, int) and dim != size:
            free = call("dims", values={f"{port.name}:{axis}": Blank("NAME")})
            raise FeedError(
                f"input {port.name!r} wants {port.text} and was given {got}: axis {axis} is {size} and must be {dim}",
                name=port.name,
                hint=Hint("give that size, or free the axis with `", free, "`"),
            )


def array_type(array: Array) -> int:
    """The TensorProto data type of an array's dtype; 0 where ONNX has none."""
    return _data_type(array.dtype)


def _data_type(dtype: np.dtype[Any]) -> int:
    if dtype.kind in "OUST":
        return int(onnx.TensorProto.STRING)
    try:
        return int(onnx.helper.np_dtype_to_tensor_dtype(dtype))
    except (KeyError, ValueError):
        return 0

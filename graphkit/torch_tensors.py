"""Arrays as torch tensors, and back; bfloat16 and float8 included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import ComparisonError

if TYPE_CHECKING:
    import torch

    from graphkit.tensor import Array


def to_tensor(value: Any, device: str) -> torch.Tensor:
    """An array as a tensor on a device; bfloat16 included.

    Raises:
        ComparisonError: It holds texts, or numbers of a type that torch does not have.
    """
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(device)
    array = np.ascontiguousarray(value)
    if str(array.dtype) == "bfloat16":
        tensor = torch.from_numpy(array.view(np.uint16).copy()).view(torch.bfloat16)
    else:
        try:
            tensor = torch.from_numpy(array if array.flags.writeable else array.copy())
        except TypeError as error:
            raise ComparisonError(f"torch has no tensors of {array.dtype}, which the model wants") from error
    return tensor.reshape(np.shape(value)).to(device)


def tensor_array(tensor: Any) -> Array:
    """A torch tensor as an array on the host; bfloat16 and float8 as ml_dtypes has them. No copy on the CPU."""
    import torch

    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        return np.asarray(tensor.contiguous().view(torch.uint16).numpy()).view(_dtype(onnx.TensorProto.BFLOAT16))
    array: Array = tensor.numpy()
    return array


def _dtype(data_type: int) -> np.dtype[Any]:
    return onnx.helper.tensor_dtype_to_np_dtype(data_type)

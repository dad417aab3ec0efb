"""Arrays as tensors on a device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError

if TYPE_CHECKING:
    import torch


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

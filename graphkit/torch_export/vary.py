"""Other arguments of the same kind: other values, other sizes of dynamic axes, other Python numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from graphkit.torch_export.arguments import Arguments, Leaf

if TYPE_CHECKING:
    import torch

LONGER = 3
"""By how many elements a dynamic axis grows."""

FACTORS = 3
"""A vector of up to so many positive numbers is taken for factors: volumes have three axes to scale."""


def varied(
    arguments: Arguments, dynamic: Mapping[str, Mapping[int, str]]
) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Two variations of a module's arguments: values that differ in sign and order; the same with longer dynamic axes.

    Single numbers, as tensors or as Python numbers, grow by one: a factor or a count stays a sensible one. So do short
    vectors of positive numbers, which are factors or sizes one for each axis. Integer tensors are reversed, so that
    indices stay in range.

    Args:
        arguments: The arguments.
        dynamic: The axes that may vary; axes of one name vary together.

    Returns:
        (args, kwargs) of each variation; the second is left out where no axis is dynamic.
    """
    variations = [_varied(arguments, {})]
    if dynamic:
        variations.append(_varied(arguments, dynamic))
    return variations


def _varied(arguments: Arguments, dynamic: Mapping[str, Mapping[int, str]]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    def change(leaf: Leaf) -> Any:
        if leaf.is_tensor:
            return _tensor(leaf.value, dynamic.get(leaf.name, {}))
        return (
            leaf.value + 1 if isinstance(leaf.value, int | float) and not isinstance(leaf.value, bool) else leaf.value
        )

    return arguments.changed(change)


def _tensor(tensor: torch.Tensor, axes: Mapping[int, str]) -> torch.Tensor:
    import torch

    if tensor.numel() == 1 and not axes:
        return tensor if tensor.dtype == torch.bool else tensor + 1
    few = tensor.dim() == 1 and tensor.numel() <= FACTORS and tensor.is_floating_point() and not axes
    if few and bool((tensor > 0).all()):
        return tensor.flip(0) + 1
    for axis in axes:
        more = tensor.narrow(axis, 0, 1).repeat_interleave(LONGER, axis)
        tensor = torch.cat([tensor, more], axis)
    flipped = tensor.flip(list(range(tensor.dim())))
    return -flipped * 1.25 if tensor.is_floating_point() else flipped

"""Other arguments of the same kind: other values, other sizes of dynamic axes, other Python numbers."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from graphkit.torch_export.arguments import Arguments, Leaf

if TYPE_CHECKING:
    import torch
from graphkit.torch_export.examples import resized

GROWS = 2**-7
"""By what part a repeated value grows each time: what bfloat16 can tell."""

FACTORS = 4
"""A vector of up to so many positive numbers is taken for factors or sizes, one for each axis."""

SEED = 0
"""Seed of random values, so that a check is the same each time."""

MANY_ELEMENTS = 1 << 20
"""Elements of all arguments together above which smaller sizes are tried first."""

TIMES, HALF = "times", "half"

STEPS: tuple[tuple[str, str | int], ...] = (
    ("more", TIMES),
    ("more", 32),
    ("more", 8),
    ("odd", 3),
    ("more", 4),
    ("more", 2),
    ("odd", 1),
    ("less", HALF),
    ("less", -1),
)
"""How a dynamic axis changes, in the order in which it is tried: multiples first, because networks that halve or cut
into patches take no others; odd sizes for those that pad; smaller ones where a table ends at the size given."""


class Variation(NamedTuple):
    """Generated arguments.

    Attributes:
        kind: "values", or for other sizes "more", "odd" or "less".
        args: Positional arguments.
        kwargs: Keyword arguments.
    """

    kind: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def other_values(arguments: Arguments, only: Leaf | None = None) -> Iterator[Variation]:
    """Arguments of the same shapes with other values: every element differs, and bools have both truth values.

    First floating-point values of other sign and order, then such that keep sign and magnitude, and 0 and 1, for modules
    that take nothing else; each with integers that are one more, that take each other's places (indices stay in range),
    and one less. Short vectors of positive numbers are factors or sizes and only grow, each by another amount.

    Args:
        arguments: The arguments.
        only: The only leaf that changes; None for all.
    """
    kinds = {_kind(leaf) for leaf in arguments.leaves if only is None or leaf is only}
    floats = (_free, _kept) if "float" in kinds else (_free,)
    integers = (0, 1, 2) if "integer" in kinds else (0,)
    for change, step in itertools.product(floats, integers) if kinds - {""} else ():
        args, kwargs = arguments.changed(functools.partial(_value, change=change, step=step, only=only))
        yield Variation("values", args, kwargs)


def other_sizes(
    arguments: Arguments, dynamic: Mapping[str, Mapping[int, str]], symbols: Sequence[str]
) -> Iterator[Variation]:
    """Arguments with other sizes on dynamic axes, and the same values again and again.

    Each symbol changes by another amount, so that a number made of one size is no other's; where that is not to be, the
    axes of one size change alike.

    Args:
        arguments: The arguments.
        dynamic: The axes that may vary; axes of one name vary together.
        symbols: The names of those that vary.
    """
    sizes: dict[str, int] = {}
    for leaf in arguments.tensors:
        for axis, symbol in dynamic.get(leaf.name, {}).items():
            sizes.setdefault(symbol, int(leaf.value.shape[axis]))
    own = {symbol: place for place, symbol in enumerate(symbols)}
    distinct = sorted({sizes[symbol] for symbol in symbols}, reverse=True)
    alike = {symbol: distinct.index(sizes[symbol]) for symbol in symbols}
    choices = []
    for (kind, step), ranks in itertools.product(STEPS, [own, alike] if own != alike else [own]):
        wanted = {
            (leaf.name, axis): _changed(int(leaf.value.shape[axis]), step, ranks[symbol])
            for leaf in arguments.tensors
            for axis, symbol in dynamic.get(leaf.name, {}).items()
            if symbol in ranks
        }
        if all(size > 0 for size in wanted.values()):
            choices.append((kind, wanted))
    choices.sort(key=lambda choice: _elements(arguments, choice[1]) > MANY_ELEMENTS)
    for kind, wanted in choices:
        args, kwargs = arguments.changed(functools.partial(_resized, wanted=wanted))
        yield Variation(kind, args, kwargs)


def _changed(size: int, step: str | int, rank: int) -> int:
    if step == TIMES:
        return size * (2 + rank)
    if step == HALF:
        return size // (2 + rank) if size > 3 else 0
    assert isinstance(step, int)
    return size + step * (1 + rank)


def _elements(arguments: Arguments, wanted: Mapping[tuple[str, int], int]) -> int:
    total = 0
    for leaf in arguments.tensors:
        count = 1
        for axis, size in enumerate(leaf.value.shape):
            count *= wanted.get((leaf.name, axis), int(size))
        total += count
    return total


def _resized(leaf: Leaf, wanted: Mapping[tuple[str, int], int]) -> Any:
    if not leaf.is_tensor or not any(name == leaf.name for name, _ in wanted):
        return leaf.value
    shape = [wanted.get((leaf.name, axis), size) for axis, size in enumerate(leaf.value.shape)]
    return _told_apart(resized(leaf.value, shape), leaf.value)


def _told_apart(larger: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Repeated values a little larger each time, so that none ties with another: the order of ties is nobody's.

    0 and 1 stay, of which masks are made, and so do integers, which may be indices.
    """
    import torch

    if not larger.is_floating_point() or bool(((tensor == 0) | (tensor == 1)).all()):
        return larger
    times = torch.zeros(larger.shape, dtype=torch.float64)
    turn = 1
    for axis, size in enumerate(tensor.shape):
        if size and larger.shape[axis] > size:
            again = torch.arange(larger.shape[axis]) // size
            times += turn * again.reshape([-1 if at == axis else 1 for at in range(larger.dim())])
            turn *= int(again[-1]) + 1
    special = (larger == 0) | (larger == 1)
    return torch.where(
        special, larger, (larger.to(torch.float64) * (1 + GROWS * times.to(larger.device))).to(larger.dtype)
    )


def _kind(leaf: Leaf) -> str:
    value = leaf.value
    if not leaf.is_tensor:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return ("float" if isinstance(value, float) else "integer") if number else ""
    if not value.numel():
        return ""
    return "float" if value.is_floating_point() or value.is_complex() else "integer"


def _value(leaf: Leaf, change: Callable[[torch.Tensor], torch.Tensor], step: int, only: Leaf | None) -> Any:
    import torch

    kind, value = _kind(leaf), leaf.value
    if not kind or (only is not None and leaf is not only):
        return value
    if not leaf.is_tensor:
        return float(change(torch.tensor(value, dtype=torch.float64))) if kind == "float" else value + (1, 1, -1)[step]
    if kind == "float":
        return change(value)
    return _truth(value, step) if value.dtype == torch.bool else _integers(value, step)


def _free(tensor: torch.Tensor) -> torch.Tensor:
    """Values of other sign and order; a single number one more, and random ones where all were the same."""
    import torch

    if tensor.numel() == 1:
        return tensor + 1
    if _for_axes(tensor):
        return _kept(tensor)
    if bool((tensor == tensor.reshape(-1)[0]).all()):
        drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(SEED), dtype=torch.float32)
        changed = drawn.to(tensor) * max(float(tensor.abs().max()), 1.0)
    else:
        changed = -tensor.flip(list(range(tensor.dim()))) * 1.25
    return torch.where(changed == tensor, tensor + 1, changed)


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    """Values of the same sign and about the same magnitude; 0 and 1 stay where there are others."""
    import torch

    special = (tensor == 0) | (tensor == 1)
    if bool(special.all()):
        return tensor + 1 if bool((tensor == 0).all()) else torch.where(tensor == 0, tensor, tensor * 2)
    changed = tensor * 1.5
    if _for_axes(tensor):
        changed = tensor + 1 + 0.5 * ((~special).cumsum(0) - 1).to(tensor.dtype)
    return torch.where(special, tensor, changed)


def _for_axes(tensor: torch.Tensor) -> bool:
    return tensor.dim() == 1 and 1 < tensor.numel() <= FACTORS and not tensor.is_complex() and bool((tensor > 0).all())


def _integers(tensor: torch.Tensor, step: int) -> torch.Tensor:
    import torch

    if step == 0:
        return tensor + 1 + torch.arange(tensor.numel()).to(tensor) if _for_axes(tensor) else tensor + 1
    known, places = torch.unique(tensor.to(torch.int64), return_inverse=True)
    if step == 1 and known.numel() > 1:
        return known.roll(-1)[places].to(tensor)
    return tensor - 1


def _truth(tensor: torch.Tensor, step: int) -> torch.Tensor:
    """Other truth values, of both kinds; no row of a mask becomes one in which all are the same."""
    import torch

    if tensor.numel() == 1:
        return ~tensor
    changed = tensor.flip(list(range(tensor.dim()))) if step == 0 else ~tensor
    odd = torch.arange(tensor.numel(), device=tensor.device).reshape(tensor.shape) % 2 == 1
    if bool((changed == tensor).all()):
        changed = tensor ^ odd
    rows = changed.reshape(-1, tensor.shape[-1])
    one_kind = (rows == rows[:, :1]).all(1, keepdim=True).expand_as(rows).reshape(tensor.shape)
    return torch.where(one_kind, changed ^ odd, changed)

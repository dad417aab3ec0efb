"""A run whose numbers differ because equal ones were ranked: told by the indices, or by another run without equal ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphkit.errors import ExportError
from graphkit.graph.index import GraphIndex
from graphkit.graph.upstream import upstream
from graphkit.semantics.kinds import RANKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graphkit.model import Model
    from graphkit.torch_export.arguments import Arguments, Leaf


def untied(arguments: Arguments, model: Model, rebind: Callable[[Any, Any], Arguments]) -> Iterator[Arguments]:
    """The same arguments with numbers that are all different in the tensors that a ranking is computed from.

    Args:
        arguments: What the module ran with.
        model: What was exported of it.
        rebind: Binds positional and keyword arguments.

    Returns:
        Two sets at most: numbers from where they were, if some of these repeat, then positive ones: what is cut off below
        zero is equal again. None where nothing is ranked.

    Cost: O(elements of the arguments).
    """
    index = GraphIndex(model.proto.graph)
    ranked = [node.input[0] for node in index.nodes if node.op_type in RANKING]
    reached = upstream(index, ranked).values
    found = [leaf for leaf in arguments.tensors if leaf.name in reached and _is_numeric(leaf.value)]
    tied = {leaf.name for leaf in found}
    repeats = any(leaf.value.unique().numel() < leaf.value.numel() for leaf in found)
    for positive in ((False, True) if repeats else (True,)) if tied else ():

        def change(leaf: Leaf, *, positive: bool = positive) -> Any:
            return _spread(leaf.value, positive=positive) if leaf.name in tied else leaf.value

        try:
            yield rebind(*arguments.changed(change))
        except ExportError:
            continue


def _is_numeric(tensor: Any) -> bool:
    import torch

    integers = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    return bool(tensor.numel() > 1 and (tensor.dtype.is_floating_point or tensor.dtype in integers))


def _spread(tensor: Any, *, positive: bool) -> Any:
    """Numbers of the same type and shape, each another one, in an order that a fixed seed gives."""
    import torch

    count = tensor.numel()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).reshape(tensor.shape)
    if not tensor.dtype.is_floating_point:
        least = 1 if positive else int(tensor.min())
        return (order + min(least, int(torch.iinfo(tensor.dtype).max) - count)).to(tensor.dtype)
    low, high = (0.5, 2.5) if positive else (float(tensor.min()), float(tensor.max()))
    if not -1e30 < low < high < 1e30:
        low, high = -1.0, 1.0
    return (low + (high - low) * order.double() / max(count - 1, 1)).to(tensor.dtype)

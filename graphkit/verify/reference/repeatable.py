"""Does a torch module give the same twice? Noise, state, and weights that are drawn when the module is made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphkit.graph.names import label
from graphkit.graph.walk import model_nodes
from graphkit.semantics.kinds import draws
from graphkit.torch_export.factory import load_factory
from graphkit.torch_export.source_line import stack_line
from graphkit.torch_export.unchanged import unchanged
from graphkit.torch_tensors import tensor_array

if TYPE_CHECKING:
    import torch

    from graphkit.model import Model
    from graphkit.torch_export.factory import TorchSubject

SHOWN = 3
"""Names that a reason lists."""

FEWEST = 2
"""Weights that must differ before another set of weights is taken for the reason: a single one is a fault of the model."""

MOST = 0.5
"""Share of the weights that must differ, for the same reason."""


def unrepeatable_model(model: Model) -> list[str]:
    """Why two runs of a model differ: its nodes that draw random numbers."""
    drawn = [node for node in model_nodes(model.proto) if draws(node)]
    if not drawn:
        return []
    name = model.path or model.proto.graph.name
    named = ", ".join(f"{node.op_type} {label(node)!r}" for node in drawn[:SHOWN])
    return [f"{name} draws random numbers ({named}): two runs on the same feeds differ; give the noise as an input"]


def unrepeatable_module(subject: TorchSubject, call: Callable[[], list[torch.Tensor]], candidate: Model) -> list[str]:
    """Why a module and a model of it cannot agree, whatever the model computes: what it is, and what to do.

    Args:
        subject: The module.
        call: Calls it on the feeds at hand.
        candidate: The model that it is compared with.

    Cost: four calls of the module; the factory is called once more where there is one; weights of the same names are
    compared.
    """
    reasons = _noise(subject.module, call) or _state(subject.module, call)
    return reasons + (_factory(subject) or _weights(subject.module, candidate))


def _noise(module: Any, call: Callable[[], list[torch.Tensor]]) -> list[str]:
    """The module draws random numbers: two calls from the same state differ."""
    with unchanged(module):
        first = call()
    with unchanged(module):
        again = call()
    if _equal(first, again):
        return []
    drawn = _drawn(call)
    named = ", ".join(
        f"{name}{f' at {line}' if line else ''}" for name, line in (drawn or _apart(module, call))[:SHOWN]
    )
    if drawn:
        said = f"the module draws random numbers ({named}): two calls on the same feeds differ"
    else:
        said = f"two calls of the module on the same feeds differ{f', first at {named}' if named else ''}: it takes a number "
        said += "from elsewhere (NumPy's or Python's random numbers, a clock, an operator of its own)"
    return [
        f"{said}, so no model gives the same; take the noise out, give it as an input, or switch it off as eval() does"
    ]


def _drawn(call: Callable[[], list[torch.Tensor]]) -> list[tuple[str, str | None]]:
    """(operator that draws, the user's line) of one more call; none where torch cannot watch it."""
    try:
        with drawing() as drawn:
            call()
    except RuntimeError:  # torch's loops and conditions do not run under every mode
        return []
    return list(drawn.items())


def _apart(module: Any, call: Callable[[], list[torch.Tensor]]) -> list[tuple[str, str | None]]:
    """(operator, the user's line) of the first one that two more calls feed other numbers, or that gives other ones."""
    try:
        with unchanged(module), called() as first:
            call()
        with unchanged(module), called() as again:
            call()
    except RuntimeError:  # torch's loops and conditions do not run under every mode
        return []
    pairs = zip(first, again, strict=False)
    return next(([(one.name, one.line)] for one, other in pairs if one.numbers != other.numbers), [])


def _state(module: Any, call: Callable[[], list[torch.Tensor]]) -> list[str]:
    """The module keeps state, and its second call gives something else than the first."""
    with unchanged(module) as changed:
        first = call()
        again = call()
    if not changed or _equal(first, again):
        return []
    named = ", ".join(repr(name) for name in changed[:SHOWN])
    said = f"the module keeps state: a call changes {named}, and the second call differs from the first"
    return [f"{said}; give the state as an input and an output, or set it before each call"]


def _factory(subject: TorchSubject) -> list[str]:
    """The factory gives other weights each time."""
    if not subject.reference:
        return []
    again = load_factory(subject.reference).module
    if again is subject.module:
        return []
    other = again.state_dict()
    differing = [name for name, tensor in subject.module.state_dict().items() if not _same(tensor, other.get(name))]
    if not differing:
        return []
    said = f"{subject.reference} gives other weights each time it is called ({_some(differing)} differ)"
    return [f"{said}: the model has those of another call; seed it (torch.manual_seed), or load a checkpoint in it"]


def _weights(module: Any, candidate: Model) -> list[str]:
    """Most of the weights that the model has by the same names hold other numbers."""
    held = {tensor.name: tensor for tensor in candidate.proto.graph.initializer}
    shared: dict[str, bool] = {}
    for name, tensor in module.named_parameters():
        if name in held and tuple(held[name].dims) == tuple(tensor.shape):
            own = tensor_array(tensor.detach())
            shared[name] = bool(np.array_equal(own, candidate.array_of(held[name]), equal_nan=own.dtype.kind == "f"))
    differing = [name for name, same in shared.items() if not same]
    if len(differing) < FEWEST or len(differing) <= MOST * len(shared):
        return []
    said = f"{len(differing)} of {len(shared)} weights that both have by the same names differ ({_some(differing)})"
    return [f"{said}: the model was made of other weights; load the same checkpoint, or seed both"]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def _same(tensor: Any, other: Any) -> bool:
    import torch

    if not isinstance(tensor, torch.Tensor) or not isinstance(other, torch.Tensor):
        return tensor is other or isinstance(tensor, torch.Tensor) == isinstance(other, torch.Tensor)
    return tensor.shape == other.shape and bool(torch.equal(tensor.cpu(), other.cpu()))


def _equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    import torch

    if len(first) != len(second):
        return False
    pairs = zip(first, second, strict=True)
    return all(a.shape == b.shape and bool(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))) for a, b in pairs)


class Called(NamedTuple):
    """One operator that was called.

    Attributes:
        name: The operator.
        line: The user's line.
        numbers: What stands for the numbers that went in, and for those that came out.
    """

    name: str
    line: str | None
    numbers: tuple[object, ...]


@contextlib.contextmanager
def called() -> Iterator[list[Called]]:
    """The operators that are called inside of the block, in order. Cost: every value is copied to the CPU and digested."""
    import traceback

    import torch
    from torch.utils import _pytree as pytree
    from torch.utils._python_dispatch import TorchDispatchMode

    found: list[Called] = []

    def digest(value: Any) -> tuple[object, ...]:
        leaves = pytree.tree_leaves(value)
        return tuple(tensor_array(x).tobytes() if isinstance(x, torch.Tensor) else repr(x) for x in leaves)

    class Watch(TorchDispatchMode):  # type: ignore[misc]  # (torch has no types here)
        supports_higher_order_operators = True

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            given = digest((args, kwargs))
            made = func(*args, **(kwargs or {}))
            line = stack_line("".join(traceback.format_stack()))
            found.append(Called(str(func).removesuffix(".default"), line, (hash(given), hash(digest(made)))))
            return made

    with Watch():
        yield found


@contextlib.contextmanager
def drawing() -> Iterator[Mapping[str, str | None]]:
    """The operators that draw random numbers inside of the block, by torch's own tag -> the user's line."""
    import traceback

    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    drawn: dict[str, str | None] = {}

    class Watch(TorchDispatchMode):  # type: ignore[misc]  # (torch has no types here)
        supports_higher_order_operators = True  # loops and conditions, which are called as they are

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if torch.Tag.nondeterministic_seeded in getattr(func, "tags", ()):
                name = str(func).removesuffix(".default")
                if name not in drawn:
                    drawn[name] = stack_line("".join(traceback.format_stack()))
            return func(*args, **(kwargs or {}))

    with Watch():
        yield drawn

"""What a module turns into Python values while it runs: tracing makes constants of them, and follows one branch."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any

from graphkit.torch_export.source_line import is_users, stack_line
from graphkit.torch_export.symbolic_forwards import symbolic_forwards

_TO_PYTHON = frozenset(
    (
        "__array__", "__bool__", "__complex__", "__contains__", "__float__", "__index__", "__int__", "allclose", "equal",
        "is_nonzero", "item", "numpy", "tolist",
    )
)  # fmt: skip
"""The functions of torch that give Python or NumPy the values of a tensor."""

_IN_TORCH = "torch"


@contextlib.contextmanager
def conversions(tensors: Sequence[Any]) -> Iterator[dict[str, list[Any]]]:
    """The Python values that are made of some tensors, and of what is computed from them, inside of the block.

    What an ``autograd.Function`` with a ``symbolic`` does in its ``forward`` is left out: the exporter never sees it.

    Args:
        tensors: The inputs; without any, nothing is watched.

    Returns:
        Line of the user's source -> the values, in order. Filled as the module runs.
    """
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils import _pytree as pytree
    from torch.utils.weak import WeakIdKeyDictionary

    found: dict[str, list[Any]] = {}
    derived = WeakIdKeyDictionary()
    hidden = symbolic_forwards()

    class Watch(TorchFunctionMode):  # type: ignore[misc]  # torch gives it no type
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            given = pytree.tree_leaves((args, kwargs))
            if not any(isinstance(value, torch.Tensor) and value in derived for value in given):
                return result
            name = getattr(func, "__name__", "")
            if name == "__iter__":
                result = list(result)
            if name in _TO_PYTHON:
                line = _line(sys._getframe(1), hidden)  # noqa: SLF001 (documented; inspect.currentframe gives no other)
                if line is not None:
                    found.setdefault(line, []).extend(_plain(result))
            in_place = name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))
            changed = args[:1] if in_place else ()
            for value in pytree.tree_leaves((result, changed)):
                if isinstance(value, torch.Tensor):
                    derived[value] = True
            return iter(result) if name == "__iter__" else result

    for tensor in tensors:
        derived[tensor] = True
    with Watch() if tensors else contextlib.nullcontext():
        yield found


def never_changed(runs: Sequence[Mapping[str, Sequence[Any]]]) -> dict[str, Any]:
    """Lines that made a Python value which was the same in every run -> the value."""
    found = {}
    for line, values in (runs[0] if runs else {}).items():
        others = [run.get(line, ()) for run in runs[1:]]
        if all(len(other) == len(values) for other in others):
            same = [v for place, v in enumerate(values) if all(other[place] == v for other in others)]
            if same:
                found[line] = same[0]
    return found


def _line(frame: FrameType | None, hidden: frozenset[CodeType]) -> str | None:
    """The innermost line of the user's source; None inside of what the exporter does not see."""
    place = None
    while frame is not None:
        if frame.f_code in hidden:
            return None
        if place is None and is_users(frame.f_code.co_filename):
            place = f'File "{frame.f_code.co_filename}", line {frame.f_lineno}'
        if frame.f_code.co_name == "forward" and place is not None:
            return stack_line(place)
        frame = frame.f_back
    return _IN_TORCH if place is None else stack_line(place)


def _plain(value: Any) -> list[Any]:
    """The numbers in a value, in order."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [number for item in value for number in _plain(item)]
    return [value]

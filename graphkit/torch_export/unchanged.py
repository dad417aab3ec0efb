"""A module as it was: what a call changes in it is put back."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

_KEPT_BY_TORCH = frozenset(["_parameters", "_buffers", "_modules"])


@contextlib.contextmanager
def unchanged(module: Any) -> Iterator[list[str]]:
    """Put back what is changed in a module inside of the block, also when the block raises.

    Buffers get their values back, attributes of every submodule what they were (lists, dicts and sets their items),
    submodules their mode, parameters their gradients. Values of parameters are not looked at: ``forward`` does not learn.

    Yields:
        A list; after the block it holds the paths of the buffers and attributes that were changed.

    Cost: a copy of the buffers.
    """
    changed: list[str] = []
    if not hasattr(module, "named_modules"):
        yield changed
        return
    before = [_Before(path, one) for path, one in module.named_modules()]
    try:
        yield changed
    finally:
        for one in before:
            changed += one.put_back()


class _Before:
    """A submodule's own state."""

    def __init__(self, path: str, module: Any) -> None:
        self._prefix = f"{path}." if path else ""
        self._module = module
        self._training = module.training
        self._scripted = not isinstance(vars(module).get("_buffers"), dict)
        buffers = dict(module.named_buffers(recurse=False))
        self._buffers = {name: (tensor, tensor.detach().clone()) for name, tensor in buffers.items()}
        parameters = dict(module.named_parameters(recurse=False))
        self._gradients = [(tensor, tensor.grad, tensor.requires_grad) for tensor in parameters.values()]
        if not self._scripted:
            self._tables = {name: dict(vars(module)[name]) for name in _KEPT_BY_TORCH}
            self._attributes = {k: (v, _items(v)) for k, v in vars(module).items() if k not in _KEPT_BY_TORCH}

    def put_back(self) -> list[str]:
        """Put back what was changed; the paths of what that was."""
        changed = self._put_tensors_back()
        if not self._scripted:
            changed += self._put_attributes_back()
        self._module.training = self._training
        return [f"{self._prefix}{name}" for name in changed]

    def _put_tensors_back(self) -> list[str]:
        import torch

        changed = []
        for tensor, gradient, wants in self._gradients:
            if tensor.grad is not gradient:
                tensor.grad = gradient
            if tensor.requires_grad != wants:
                tensor.requires_grad_(wants)
        for name, (tensor, kept) in self._buffers.items():
            now = getattr(self._module, name, None)
            if now is not tensor or not _same(tensor, kept):
                changed.append(name)
                if not _same(tensor, kept):
                    with torch.no_grad():
                        tensor.copy_(kept)
        return changed

    def _put_attributes_back(self) -> list[str]:
        own = vars(self._module)
        for name, table in self._tables.items():
            if not _same_items(own[name], table):
                _refill(own[name], table)
        changed = [name for name in own if name not in self._attributes and name not in _KEPT_BY_TORCH]
        for name in changed:
            del own[name]
        for name, (value, items) in self._attributes.items():
            if name == "training":
                continue
            if own.get(name, _Before) is not value:
                own[name] = value
                changed.append(name)
            if items is not None and not _same_items(value, items):
                _refill(value, items)
                changed.append(name)
        return [name for name in changed if not name.startswith("_")]


def _same(tensor: Any, kept: Any) -> bool:
    import torch

    if tensor.shape != kept.shape or tensor.dtype != kept.dtype:
        return False
    return bool(tensor.is_meta or torch.equal(tensor, kept))


def _items(value: Any) -> Any:
    """A copy of a list, dict or set; None of anything else."""
    return copy.copy(value) if type(value) in (list, dict, set) else None


def _same_items(value: Any, items: Any) -> bool:
    if isinstance(value, set):
        return bool(set(value) == items)
    if len(value) != len(items):
        return False
    if isinstance(value, dict):
        return all(key in value and value[key] is item for key, item in items.items())
    return all(a is b for a, b in zip(value, items, strict=True))


def _refill(value: Any, items: Any) -> None:
    value.clear()
    if isinstance(value, list):
        value.extend(items)
    else:
        value.update(items)

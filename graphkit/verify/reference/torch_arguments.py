"""The arguments of a module's ``forward``: examples, a call with some of them replaced, and what comes back."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError, ExportError
from graphkit.torch_export.arguments import Arguments, Leaf, bind, forward_signature, mapped
from graphkit.torch_tensors import tensor_array, to_tensor

if TYPE_CHECKING:
    import inspect

    import torch

    from graphkit.tensor import Array
    from graphkit.torch_export.factory import TorchSubject


NUMBERS = (int, float, bool, "int", "float", "bool")
"""Annotations of parameters that are numbers."""


class ForwardCall:
    """The arguments of ``forward``: what they are called, examples of them, and a call with some of them replaced.

    Attributes:
        names: The arguments, nested tensors one by one; behind those of the example the parameters that it leaves out.
        expected: Positions of those that an input of the candidate has to stand for.
        has_example: Whether the factory gave arguments.
    """

    def __init__(self, subject: TorchSubject) -> None:
        self.has_example = subject.args is not None or bool(subject.kwargs)
        parameters = forward_signature(subject.module).parameters.values()
        self._parameters = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self._float = next((p.dtype for p in subject.module.parameters() if p.is_floating_point()), None)
        self._bound: Arguments | None = None
        if self.has_example:
            try:
                self._bound = bind(subject.module, subject.args or (), subject.kwargs, None)
            except ExportError as error:
                raise ComparisonError(error.message, hint=error.hint) from error
            bound = self._bound.bound
            self._parameters = [p for p in self._parameters if p.name not in bound and p.kind != p.POSITIONAL_ONLY]
            self.names = [*(leaf.name for leaf in self._bound.leaves), *(p.name for p in self._parameters)]
            self.expected = [i for i, leaf in enumerate(self._bound.leaves) if leaf.is_tensor]
        else:
            self.names = [p.name for p in self._parameters]
            self.expected = [i for i, p in enumerate(self._parameters) if p.default is p.empty]

    def place(self, name: str) -> int | None:
        """The position of an argument by its name."""
        return self.names.index(name) if name in self.names else None

    def shape(self, at: int) -> tuple[int, ...] | None:
        """The shape of the example for an argument, or None."""
        value = self.example(at)
        return None if value is None else tuple(np.shape(value))

    def example(self, at: int) -> Any:
        """The example for an argument, or the default that it takes without one, as an array or number; or None."""
        if self._bound is None:
            return None
        leaves = self._bound.leaves
        return plain_value(leaves[at].value if at < len(leaves) else self._parameters[at - len(leaves)].default)

    def arguments(self, values: Mapping[int, Any], device: str) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments with arrays in the places of some of them, as tensors on a device.

        Each has the dtype of its example; without one floats have that of the module's parameters.
        """
        if self._bound is None:
            return self._from_signature(values, device)
        leaves = self._bound.leaves
        places = itertools.count()
        args, kwargs = self._bound.changed(lambda leaf: _put(leaf, values, next(places), device))
        rest = {at - len(leaves): value for at, value in values.items() if at >= len(leaves)}
        kwargs.update(self._from_signature(rest, device)[1])
        return list(args), kwargs

    def _from_signature(self, values: Mapping[int, Any], device: str) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for at, parameter in enumerate(self._parameters):
            if at not in values:
                continue
            value = self._as_parameter(values[at], parameter, device)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                args.append(value)
            else:
                kwargs[parameter.name] = value
        return args, kwargs

    def _as_parameter(self, value: Any, parameter: inspect.Parameter, device: str) -> Any:
        """An array in the form that a parameter of ``forward`` takes: a number or tuple like its default, or a tensor."""
        default = parameter.default
        if isinstance(default, (bool, int, float, tuple, list)) or parameter.annotation in NUMBERS:
            return like_python(value, default)
        tensor = to_tensor(value, device)
        return tensor.to(self._float) if self._float is not None and tensor.is_floating_point() else tensor


def like_python(value: Any, before: Any) -> Any:
    """An array in the form of the Python value whose place it takes: a number, a tuple, a list, a tensor.

    One element becomes a number (an int where the old one was an int and the new one is whole), several a tuple.
    """
    import torch

    if isinstance(before, torch.Tensor):
        return to_tensor(value, str(before.device)).to(before.dtype).reshape(before.shape)
    array = np.asarray(value)
    if isinstance(before, (tuple, list)):
        items = np.broadcast_to(array.ravel(), (len(before),)) if array.size in (1, len(before)) else array.ravel()
        return type(before)(like_python(item, old) for item, old in zip(items, before, strict=False))
    numbers = [_whole(item) if isinstance(before, int) else item for item in _meant(array)]
    if array.size == 1 or len(set(numbers)) == 1:
        return numbers[0]
    return tuple(numbers)


def _meant(array: Array) -> list[Any]:
    """The numbers of an array; of float32 the shortest decimals that it rounds, because 1.7 was meant by 1.7000000477."""
    if array.dtype == np.float32:
        return [float(str(number)) for number in array.ravel()]
    return list(array.ravel().tolist())


def _whole(number: Any) -> Any:
    return int(number) if isinstance(number, float) and number.is_integer() else number


def plain_value(value: Any) -> Any:
    """A tensor as an array, a number or tuple of numbers as it is, anything else as None."""
    if hasattr(value, "detach"):
        return tensor_array(value)
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (tuple, list)) and value and all(isinstance(item, (int, float)) for item in value):
        return list(value)
    return None


def varied(example: Array, sample: int) -> Array:
    """An example argument for sample 0, later random numbers of its shape and range; integers stay as they are."""
    if not sample or example.dtype.kind != "f" or not example.size:
        return example
    numbers = np.random.default_rng(sample).uniform(float(example.min()), float(example.max()), example.shape)
    return numbers.astype(example.dtype)


def placed(value: Any, device: str) -> Any:
    """Arguments with their tensors on a device."""
    where = "cpu" if device == "cpu" else "cuda"
    return mapped(value, lambda leaf: leaf.to(where) if hasattr(leaf, "to") and hasattr(leaf, "device") else leaf)


def _put(leaf: Leaf, values: Mapping[int, Any], at: int, device: str) -> Any:
    """One leaf of the example arguments, or what takes its place."""
    if at not in values:
        return leaf.value.to(device) if leaf.is_tensor else leaf.value
    if not leaf.is_tensor:
        return like_python(values[at], leaf.value)
    return to_tensor(values[at], device).to(leaf.value.dtype)


def flattened(output: Any) -> list[torch.Tensor]:
    """The tensors of a module's output in the order in which the exporters make them graph outputs."""
    import torch
    from torch.utils import _pytree as pytree

    found: list[torch.Tensor] = []
    for leaf in pytree.tree_leaves(output):
        if isinstance(leaf, torch.Tensor):
            found.append(leaf)
        elif isinstance(leaf, Mapping):  # a class of its own that torch's pytree does not know
            found += flattened(dict(leaf))
    return found

"""The arguments of a module's ``forward``: examples, a call with some of them replaced, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ComparisonError, ExportError
from graphkit.runtime.feeds import tensor_array
from graphkit.torch_export.arguments import Arguments, bind, forward_signature
from graphkit.verify.device import to_tensor

if TYPE_CHECKING:
    import torch

    from graphkit.tensor import Array
    from graphkit.torch_export.factory import TorchSubject


class ForwardCall:
    """The arguments of ``forward``: what they are called, examples of them, and a call with some of them replaced.

    Attributes:
        names: The arguments, nested tensors one by one.
        expected: Positions of those that an input of the candidate has to stand for.
        has_example: Whether the factory gave arguments.
    """

    def __init__(self, subject: TorchSubject) -> None:
        self.has_example = subject.args is not None or bool(subject.kwargs)
        parameters = forward_signature(subject.module).parameters.values()
        self._parameters = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self._bound: Arguments | None = None
        if self.has_example:
            try:
                self._bound = bind(subject.module, subject.args or (), subject.kwargs, None)
            except ExportError as error:
                raise ComparisonError(error.message, hint=error.hint) from error
            self.names = [leaf.name for leaf in self._bound.leaves]
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
        """The example for an argument as an array or number, or None."""
        if self._bound is None:
            return None
        return plain_value(self._bound.leaves[at].value)

    def arguments(self, values: Mapping[int, Any], device: str) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments with arrays in the places of some of them, as tensors on a device."""
        if self._bound is None:
            return self._from_signature(values, device)
        counter = iter(range(len(self.names)))
        leaves = self._bound.leaves

        def placed(value: Any) -> Any:
            if value is None:
                return None
            if isinstance(value, Mapping):
                return {key: placed(item) for key, item in value.items()}
            if isinstance(value, (tuple, list)):
                items = [placed(item) for item in value]
                return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
            at = next(counter)
            if at not in values:
                return value.to(device) if leaves[at].is_tensor else value
            return to_tensor(values[at], device) if leaves[at].is_tensor else like_python(values[at], value)

        args, kwargs = placed((tuple(self._bound.args), dict(self._bound.kwargs)))
        return list(args), kwargs

    def _from_signature(self, values: Mapping[int, Any], device: str) -> tuple[list[Any], dict[str, Any]]:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for at, parameter in enumerate(self._parameters):
            if at not in values:
                continue
            default = parameter.default
            number = isinstance(default, (bool, int, float)) or parameter.annotation in (
                int,
                float,
                bool,
                "int",
                "float",
                "bool",
            )
            value = like_python(values[at], default) if number else to_tensor(values[at], device)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                args.append(value)
            else:
                kwargs[parameter.name] = value
        return args, kwargs


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
    numbers = [_whole(item) if isinstance(before, int) else item for item in array.ravel().tolist()]
    if array.size == 1 or len(set(numbers)) == 1:
        return numbers[0]
    return tuple(numbers)


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
    if hasattr(value, "to") and hasattr(value, "device"):
        return value.to("cpu" if device == "cpu" else "cuda")
    if isinstance(value, Mapping):
        return {key: placed(item, device) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        items = [placed(item, device) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def flattened(output: Any) -> list[torch.Tensor]:
    """The tensors of a module's output in the order in which the exporters make them graph outputs."""
    import torch

    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, Mapping):
        return [tensor for item in output.values() for tensor in flattened(item)]
    if isinstance(output, (tuple, list)):
        return [tensor for item in output for tensor in flattened(item)]
    return []

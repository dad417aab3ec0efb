"""Example arguments from texts such as ``x=1,3,64,64:float32``, for modules that come without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from graphkit.errors import ExportError, FeedError, TextError, similar
from graphkit.reading.files import read_array
from graphkit.reading.literal import literal
from graphkit.reading.names import read_pair
from graphkit.reading.sizes import read_shape
from graphkit.result import brief
from graphkit.torch_export.arguments import Arguments, Leaf, forward_signature
from graphkit.torch_export.types import DATA_TYPES

if TYPE_CHECKING:
    import torch

SEED = 0
"""Seed of the random examples, so that an export is the same each time."""


class Examples(NamedTuple):
    """Example arguments made from texts.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
        names: The names of the inputs, in the order in which the exporters see them.
    """

    args: tuple[torch.Tensor, ...]
    kwargs: dict[str, torch.Tensor]
    names: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(self)


def example_inputs(module: torch.nn.Module, texts: Sequence[str]) -> Examples:
    """Random example arguments of the shapes and dtypes that texts give.

    Names that are parameters of ``forward`` go to these parameters. Where no name is one, the tensors are given by
    position, and the names are what the inputs are to be called.

    Args:
        module: The module whose ``forward`` is to be called.
        texts: ``NAME=SHAPE[:DTYPE]``: ``x=1,3,64,64``, ``mask=1,10:bool``; ``factor=`` is a scalar. Floating-point
            tensors are drawn from 0..1, others are ones.

    Raises:
        ExportError: A text of another form, an unknown dtype, an input twice, only some of the names are parameters.

    Example:
        >>> import graphkit as gk, torch
        >>> gk.example_inputs(torch.nn.Linear(8, 2), ["input=1,8"]).names
        ('input',)
    """
    examples = [_example(text) for text in texts]
    tensors = dict(examples)
    if len(tensors) < len(examples):
        names = [name for name, _ in examples]
        twice = next(name for name in names if names.count(name) > 1)
        raise ExportError(f"input {twice!r} is described twice", hint="describe each input once")
    parameters = forward_signature(module).parameters
    unknown = [name for name in tensors if name not in parameters]
    if unknown and len(unknown) < len(tensors):
        close = similar(unknown[0], parameters)
        raise ExportError(
            f"{type(module).__name__}.forward has no parameter {unknown[0]!r}",
            hint=f"did you mean {' or '.join(close or parameters)}?",
        )
    if unknown:
        return Examples(tuple(tensors.values()), {}, tuple(tensors))
    ordered = {name: tensors[name] for name in parameters if name in tensors}
    return Examples((), ordered, tuple(ordered))


def second_set(arguments: Arguments, texts: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Other arguments from texts, for those who know which ones a module takes.

    Args:
        arguments: The arguments; what no text names stays as it is.
        texts: ``NAME=SHAPE`` (``x=1,3,96,64``: the same values again and again in this shape), ``NAME=[VALUES]``
            (``scale=[1,1,3,3]``), ``NAME=@FILE.npy``, and for a Python number ``NAME=NUMBER``.

    Raises:
        ExportError: A text of another form, an unknown argument, one twice, values that do not fit it.
        OSError: The file cannot be read.
    """
    known = {leaf.name: leaf for leaf in arguments.leaves}
    given: dict[str, Any] = {}
    for text in texts:
        try:
            name, value = read_pair(text, known)
        except TextError as error:
            raise ExportError(
                f"{text!r} gives no other input: {error.message}",
                hint=error.hint or "write NAME=SHAPE, NAME=[VALUES] or NAME=@FILE.npy",
            ) from error
        if name not in known:
            close = similar(name, known) or list(known)
            raise ExportError(f"there is no argument {name!r}", hint=f"did you mean {' or '.join(close)}?")
        if name in given:
            raise ExportError(f"input {name!r} is given twice", hint="give each input once")
        given[name] = _other(known[name], value)
    return arguments.changed(lambda leaf: given.get(leaf.name, leaf.value))


def _other(leaf: Leaf, text: str) -> Any:
    import torch

    wrong = f"{text!r} is no value for {leaf.name!r}"
    try:
        if text.startswith("@"):
            return torch.from_numpy(read_array(text[1:], leaf.name)).to(leaf.value)
        if not leaf.is_tensor:
            return type(leaf.value)(literal(text))
        if not text.startswith("["):
            return resized(leaf.value, read_shape(text))
        values = torch.tensor(literal(text)).to(leaf.value)
        return values.reshape(leaf.value.shape) if values.numel() == leaf.value.numel() else values
    except (ValueError, TypeError, RuntimeError, FeedError) as error:
        what = "[VALUES], a shape or @FILE.npy" if leaf.is_tensor else f"a Python {type(leaf.value).__name__}"
        raise ExportError(f"{wrong}: {str(error).partition(chr(10))[0]}", hint=f"write {what}") from error


def _example(text: str) -> tuple[str, Any]:
    import torch

    try:
        name, rest = (text[:-1], "") if text.endswith("=") else read_pair(text)  # a scalar has no sizes
        shape_text, _, dtype_name = rest.partition(":")
        shape = read_shape(shape_text)
    except TextError as error:
        raise ExportError(
            f"{text!r} describes no input: {error.message}", hint="write NAME=SHAPE[:DTYPE], e.g. x=1,3,64,64:float32"
        ) from error
    dtypes = {known.removeprefix("torch."): known for known in DATA_TYPES}
    if (dtype_name or "float32") not in dtypes:
        raise ExportError(
            f"{dtype_name!r} is no dtype", hint=f"did you mean {' or '.join(similar(dtype_name, dtypes) or dtypes)}?"
        )
    dtype = getattr(torch, dtype_name or "float32")
    if dtype.is_floating_point:
        return name, torch.rand(shape, generator=torch.Generator().manual_seed(SEED)).to(dtype)
    return name, torch.ones(shape, dtype=dtype)


def resized(tensor: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """A tensor of another shape, of the same rank or none of its own, that has the same values again and again."""
    import torch

    if tensor.dim() != len(shape) or 0 in tensor.shape:
        count = torch.arange(torch.Size(shape).numel(), device=tensor.device) % max(tensor.numel(), 1)
        return tensor.reshape(-1)[count].reshape(tuple(shape))
    for axis, size in enumerate(shape):
        tensor = tensor.index_select(axis, torch.arange(size, device=tensor.device) % tensor.shape[axis])
    return tensor

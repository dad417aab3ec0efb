"""A torch module and the arguments that it is called with in every run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graphkit.errors import ComparisonError, GraphkitError
from graphkit.hint import joined
from graphkit.runtime.failures import is_out_of_memory
from graphkit.torch_export.raised import forward_raised, remedy
from graphkit.torch_export.unchanged import unchanged

if TYPE_CHECKING:
    import torch

KERNELS = 2
"""Copies of their inputs and results, in another layout, that torch's kernels make (its convolutions do)."""

LIBRARY = 32 << 20
"""Bytes of torch's libraries that are read from their files while the module runs for the first time (20 MB, measured)."""


class TorchRun:
    """A module and the arguments that it is called with in every run.

    Attributes:
        module: The module.
        args: Positional arguments.
        kwargs: Keyword arguments.
        name: For messages.
        runs: How often it was called.
    """

    def __init__(self, module: torch.nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], name: str) -> None:
        self.module = module
        self.args = tuple(args)
        self.kwargs = dict(kwargs)
        self.name = name
        self.runs = 0

    def call(self, function: Callable[..., Any] | None = None) -> Any:
        """Call the module, or something in its place.

        Raises:
            ComparisonError: It raised.
        """
        import torch

        self.runs += 1
        try:
            with torch.no_grad(), unchanged(self.module), _no_fast_path():
                return (function or self.module)(*self.args, **self.kwargs)
        except GraphkitError:
            raise
        except Exception as error:
            raise forward_failed(self.name, error) from error


@contextlib.contextmanager
def _no_fast_path() -> Iterator[None]:
    """Without torch's fused kernels for nn.TransformerEncoderLayer, which call no submodule."""
    import torch

    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class ForwardError(ComparisonError):
    """``forward`` raised on the feeds of one run."""


def forward_failed(name: str, error: Exception, doubts: Sequence[str] = ()) -> ComparisonError:
    """What to say of a ``forward`` that raised.

    Args:
        name: The module.
        error: What it raised.
        doubts: What else may be the cause.
    """
    takes = "give feeds and sizes that the module takes, or let the factory give example arguments"
    kind = ComparisonError if is_out_of_memory(error) else ForwardError
    return kind(forward_raised(name, error), hint=remedy(error, joined("; ", [takes, *doubts])))

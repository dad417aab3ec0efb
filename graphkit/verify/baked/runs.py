"""A module run with several sets of arguments, and its exported model with the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import ExportError, GraphkitError
from graphkit.graph.ports import Port
from graphkit.hint import Either, Hint
from graphkit.result import Result
from graphkit.runtime.session import Session
from graphkit.tensor import type_name
from graphkit.torch_export.arguments import Arguments, bind
from graphkit.torch_export.job import evaluating
from graphkit.torch_export.raised import forward_raised, remedy
from graphkit.torch_tensors import tensor_array
from graphkit.verify.baked.conversions import conversions
from graphkit.verify.baked.variations import Variation, other_sizes, other_values
from graphkit.verify.compare.metrics import measure
from graphkit.verify.compare.tolerance import Policy
from graphkit.verify.ties import ties

if TYPE_CHECKING:
    from graphkit.tensor import Array


@dataclass(frozen=True, repr=False)
class Trial(Result):
    """The exported model and the module, run with one set of arguments.

    Attributes:
        arguments: What the arguments were, ``x float32[1,3,8,8], factor 2.0``.
        agrees: Whether the model gave the module's numbers.
        problem: Why it did not run or does not agree; None where it agrees.
        max_abs: The largest absolute error, where numbers could be compared.
    """

    arguments: str
    agrees: bool
    problem: str | None = None
    max_abs: float | None = None

    def __bool__(self) -> bool:
        return self.agrees


@dataclass(frozen=True)
class Run:
    """The module, run with one set of arguments.

    Attributes:
        arguments: The arguments.
        expected: What the module gave.
        converted: Line of the user's source -> Python values that it made of the inputs there.
        export: Whether the module is exported with these arguments too, whatever the model's numbers are.
    """

    arguments: Arguments
    expected: Sequence[Array]
    converted: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    export: bool = True


class Runner:
    """Runs a module with several sets of arguments.

    Attributes:
        runs: Those that it ran with.
        refused: Dim or argument -> why the module did not run with other sizes or values of it.
    """

    def __init__(self, module: Any, names: Sequence[str] | None, *, watch: bool) -> None:
        self._module, self._names, self._watch = module, names, watch
        self.runs: list[Run] = []
        self.refused: dict[str, str] = {}

    def run(self, arguments: Arguments, *, export: bool = True) -> Run:
        """Run the module with one set of arguments.

        Raises:
            ExportError: It does not run with them.
        """
        import torch
        from torch.utils import _pytree as pytree

        own = bind(self._module, *_copied(arguments), self._names)
        watched = [leaf.value for leaf in own.tensors] if self._watch else []
        with evaluating(self._module), torch.no_grad(), conversions(watched) as converted:
            try:
                result = self._module(*own.args, **own.kwargs)
            except Exception as error:
                raise ExportError(
                    forward_raised(type(self._module).__name__, error, f"with {described(arguments)}"),
                    hint=remedy(
                        error,
                        Hint(
                            "give arguments that forward takes: ",
                            Either("args_list=[(...), ...]", "--check-input NAME=@FILE.npy"),
                        ),
                    ),
                ) from error
        leaves = pytree.tree_leaves(result)
        expected = [tensor_array(leaf) for leaf in leaves if isinstance(leaf, torch.Tensor)]
        done = Run(arguments, expected, converted, export)
        self.runs.append(done)
        return done

    def vary(self, dynamic: Mapping[str, Mapping[int, str]]) -> None:
        """Run it with generated arguments, for what is the same in all runs so far."""
        first = self.runs[0].arguments
        left = [leaf.name for leaf in first.leaves if leaf.name in unvaried_values(self.runs)]
        if left and not self._tried(other_values(first), left):
            for leaf in first.leaves if len(left) > 1 else ():
                if leaf.name in left:
                    self._tried(other_values(first, leaf), [leaf.name])
        symbols = unvaried_dims(self.runs, dynamic)
        if symbols and not self._tried(other_sizes(first, dynamic, symbols), symbols) and len(symbols) > 1:
            for symbol in symbols:
                self._tried(other_sizes(first, dynamic, [symbol]), [symbol])

    def _tried(self, variations: Iterator[Variation], names: Sequence[str]) -> bool:
        """Whether it ran with one of them. That is exported; one more of each other kind is only run."""
        seen: set[str] = set()
        for number, variation in enumerate(variations):
            if variation.kind in seen and variation.kind != "values":
                continue
            arguments = bind(self._module, variation.args, variation.kwargs, self._names)
            try:
                run = self.run(arguments, export=not seen)
            except ExportError as error:
                if not number:
                    self.refused.update(dict.fromkeys(names, error.message))
                continue
            if not _finite(run.expected) and _finite(self.runs[0].expected):
                self.runs.pop()
                self.refused.setdefault(
                    names[0], f"with {described(arguments)} the module gives numbers that are not finite"
                )
                continue
            seen.add(variation.kind)
        return bool(seen)


def unvaried_dims(runs: Sequence[Run], dynamic: Mapping[str, Mapping[int, str]]) -> list[str]:
    """Names of dynamic dims that had one size in all runs."""
    sizes: dict[str, set[int]] = {}
    for run in runs:
        for leaf in run.arguments.tensors:
            for axis, symbol in dynamic.get(leaf.name, {}).items():
                sizes.setdefault(symbol, set()).add(int(leaf.value.shape[axis]))
    return [symbol for symbol, seen in sizes.items() if len(seen) == 1]


def unvaried_values(runs: Sequence[Run]) -> list[str]:
    """Names of arguments that had the same values, as far as sizes are the same, in all runs."""
    first, *others = [run.arguments for run in runs]
    found = []
    for place, leaf in enumerate(first.leaves):
        number = isinstance(leaf.value, int | float) and not isinstance(leaf.value, bool)
        if (leaf.value.numel() if leaf.is_tensor else number) and not any(
            _differ(leaf.value, other.leaves[place].value) for other in others
        ):
            found.append(leaf.name)
    return found


def sizes_only(run: Run, first: Run) -> bool:
    """Whether two runs differ in nothing but sizes."""
    return len(unvaried_values([first, run])) == len(unvaried_values([first]))


def _differ(one: Any, two: Any) -> bool:
    if not hasattr(one, "detach"):
        return bool(one != two)
    if one.dim() != two.dim():
        return True
    common = tuple(slice(min(sizes)) for sizes in zip(one.shape, two.shape, strict=True))
    return bool((one[common] != two[common]).any())


def _copied(arguments: Arguments) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, the tensors copied: a module may write into them."""
    return arguments.changed(lambda leaf: leaf.value.clone() if leaf.is_tensor else leaf.value)


def _finite(arrays: Sequence[Array]) -> bool:
    return all(
        bool(np.isfinite(a.astype(np.float64) if a.dtype.kind == "V" else a).all())
        for a in arrays
        if a.dtype.kind in "fcV"
    )


def trial(loaded: Session, run: Run, more: Mapping[str, Any] | None = None) -> Trial:
    """The model, run with the arguments of a run of the module.

    Args:
        loaded: The model.
        run: The run.
        more: Values for other inputs of the model.
    """
    told = described(run.arguments)
    feeds = {
        leaf.name: _as_declared(tensor_array(leaf.value), loaded.inputs[leaf.name])
        for leaf in run.arguments.tensors
        if leaf.name in loaded.inputs
    }
    try:
        actual = list(loaded.run({**feeds, **(more or {})}).values())
    except GraphkitError as error:
        return Trial(told, agrees=False, problem=error.message)
    wanted = [_as_declared(want, port) for want, port in zip(run.expected, loaded.outputs.values(), strict=False)]
    metrics = [measure(got, want, Policy(), equal_nan=True) for got, want in zip(actual, wanted, strict=False)]
    wrong = next((metric for metric in metrics if not metric.match), None)
    if wrong is not None and not more:
        failing = [name for name, metric in zip(loaded.outputs, metrics, strict=False) if not metric.match]
        mine, other = dict(zip(loaded.outputs, actual, strict=True)), dict(zip(loaded.outputs, wanted, strict=False))
        if len(ties(loaded.model, feeds, {n: mine[n] for n in failing}, other)) == len(failing):
            wrong = None
    largest = max((metric.max_abs for metric in metrics if metric.max_abs is not None), default=None)
    if wrong is None:
        return Trial(told, agrees=True, max_abs=largest)
    return Trial(told, agrees=False, problem=wrong.problem or f"off by {wrong.max_abs:.3g}", max_abs=largest)


def _as_declared(array: Array, port: Port) -> Array:
    """Complex numbers as pairs of floats where the model has these: dynamo writes no complex types."""
    if array.dtype.kind != "c" or type_name(port.data_type).startswith("complex"):
        return array
    return np.stack([array.real, array.imag], -1)


def described(arguments: Arguments) -> str:
    """The arguments in words: ``x float32[1,3,8,8], factor 2``."""
    return ", ".join(f"{leaf.name} {_short(leaf.value)}" for leaf in arguments.leaves) or "no arguments"


def _short(value: Any) -> str:
    if not hasattr(value, "detach"):
        return repr(value)
    if value.numel() == 1:
        return f"{value.item():g}" if value.dtype.is_floating_point else str(value.item())
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}".replace(" ", "")

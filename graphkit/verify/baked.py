"""Constants that should have been inputs or computed dims: found by exporting and running with other arguments."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from graphkit.errors import ExportError, GraphkitError
from graphkit.finding import Finding
from graphkit.graph.modules import stack_trace
from graphkit.graph.resampling import is_resampler
from graphkit.runtime.session import Session, session
from graphkit.torch_export.arguments import Arguments, DynamicAxes, bind, dynamic_axes
from graphkit.torch_export.differences import Difference, differences
from graphkit.torch_export.export import Exported, export_report
from graphkit.torch_export.job import Exporter, evaluating
from graphkit.torch_export.quiet import quiet_torch
from graphkit.torch_export.source_line import stack_line
from graphkit.torch_export.vary import varied
from graphkit.verify.metrics import measure
from graphkit.verify.tolerance import Policy

if TYPE_CHECKING:
    import torch

    from graphkit.model import Model
    from graphkit.tensor import Array

Table: TypeAlias = "Mapping[str, Mapping[int, str]]"

SMALL = 16
"""Elements of an argument up to which its values are compared with a constant's, and numbers that a message shows."""

MANY = 12
"""Varying axes of which products are tried."""


@dataclass(frozen=True)
class Trial:
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


@dataclass(frozen=True)
class Baked:
    """What ``find_baked`` found.

    Attributes:
        model: The model exported with the first arguments.
        findings: One for each constant, branch or fixed axis that belongs to the example arguments and not to the module.
        trials: The model and the module compared, for each set of arguments.
        refused: Arguments that were made up and with which the module itself does not run, and why.
    """

    model: Model
    findings: tuple[Finding, ...]
    trials: tuple[Trial, ...]
    refused: tuple[str, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether nothing was found and every trial agrees."""
        return not self.findings and all(trial.agrees for trial in self.trials)


def find_baked(
    module: torch.nn.Module,
    args_list: Sequence[Any],
    *,
    kwargs_list: Sequence[Mapping[str, Any]] | None = None,
    exporter: Exporter = "dynamo",
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    dynamic: DynamicAxes | None = None,
) -> Baked:
    """Find the constants of an export that come from the example arguments instead of from the module.

    The module is exported once for each set of arguments and the graphs are compared constant by constant; the first
    model is run with all the other arguments and compared with the module.

    Args:
        module: The module.
        args_list: Two or more sets of positional arguments, of other values or other shapes. With a single one, others
            are made from it: other values, and longer dynamic axes.
        kwargs_list: Keyword arguments for each set.
        exporter: "dynamo" or "torchscript".
        opset: The opset to ask for.
        input_names: Names for the tensors.
        dynamic: Axes of inputs that may vary.

    Returns:
        Findings with the node, the value, the line of Python where that is known, and the command that mends it.

    Raises:
        ExportError: The first export fails, or the module does not run with one of the sets.
        MissingExtraError: torch or onnxruntime is not installed.

    Changes: nothing.
    Cost: one export and one run of the module for each set of arguments.
    """
    keywords = list(kwargs_list or [{}] * len(args_list))
    sets = [bind(module, args, kwargs, input_names) for args, kwargs in zip(args_list, keywords, strict=True)]
    first = sets[0]
    table = dynamic_axes(dynamic, first.tensors)
    with quiet_torch():
        expected = [_run_module(module, one) for one in sets]
        refused = _add_variations(module, sets, expected, table, input_names) if len(sets) == 1 else ()
    options: dict[str, Any] = {"exporter": exporter, "opset": opset, "input_names": input_names, "dynamic": dynamic}
    base = export_report(module, first.args, kwargs=first.kwargs, **options)
    weights = set(module.state_dict())
    found: dict[tuple[str, str | None, str | None], Finding] = {}
    for one in sets[1:]:
        for finding in _compared(base, _export(module, one, options), first, one, weights, table):
            found.setdefault((finding.kind, finding.node, finding.value), finding)
    loaded = session(base.model, device="cpu")
    trials = tuple(_trial(loaded, one, want) for one, want in zip(sets, expected, strict=True))
    return Baked(base.model, (*found.values(), *_unexplained(trials, found)), trials, refused)


def _add_variations(
    module: Any, sets: list[Arguments], expected: list[list[Array]], table: Table, names: Sequence[str] | None
) -> tuple[str, ...]:
    """Add other arguments with which the module runs; gives those with which it does not.

    Raises:
        ExportError: It runs with none of them.
    """
    refused = []
    for args, kwargs in varied(sets[0], table):
        one = bind(module, args, kwargs, names)
        try:
            expected.append(_run_module(module, one))
        except ExportError as error:
            refused.append(error.message)
        else:
            sets.append(one)
    if len(sets) == 1:
        raise ExportError(
            f"no other arguments were found to compare with: {refused[0]}",
            hint="give two or more sets of arguments: graphkit.find_baked(module, [args, other_args])",
        )
    return tuple(refused)


def _unexplained(trials: Sequence[Trial], found: Mapping[Any, Finding]) -> list[Finding]:
    """What is left to say where numbers are wrong and no constant differs."""
    wrong = next((trial for trial in trials if not trial.agrees), None)
    if wrong is None or found:
        return []
    message = f"with {wrong.arguments} the model does not give the module's numbers ({wrong.problem}); no constant explains it"
    return [Finding("numbers", message, remedy="graphkit bisect names the first value that differs")]


def _export(module: Any, arguments: Arguments, options: dict[str, Any]) -> Exported | ExportError:
    try:
        return export_report(module, arguments.args, kwargs=arguments.kwargs, **options)
    except ExportError as error:
        return error


def _run_module(module: Any, arguments: Arguments) -> list[Array]:
    import torch
    from torch.utils import _pytree as pytree

    with evaluating(module), torch.no_grad():
        try:
            result = module(*arguments.args, **arguments.kwargs)
        except Exception as error:
            raise ExportError(
                f"{type(module).__name__} does not run with {_described(arguments)}: {str(error).partition(chr(10))[0]}",
                hint="give the sets of arguments to compare yourself: args_list=[...]",
            ) from error
    leaves = pytree.tree_leaves(result)
    return [leaf.detach().cpu().numpy() for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _compared(
    base: Exported,
    report: Exported | ExportError,
    first: Arguments,
    other: Arguments,
    weights: set[str],
    dynamic: Table,
) -> Iterator[Finding]:
    yield from _fixed_axes(base, other)
    if isinstance(report, ExportError):
        yield Finding("export-failed", f"with {_described(other)} the module does not export: {report.message}")
        return
    for difference in differences(base.model.proto, report.model.proto, weights):
        yield _explained(difference, first, other, dynamic)


def _fixed_axes(base: Exported, other: Arguments) -> Iterator[Finding]:
    shapes = {leaf.name: tuple(leaf.value.shape) for leaf in other.tensors}
    for value in base.model.proto.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            size = shapes.get(value.name, ())[axis : axis + 1]
            if dim.HasField("dim_value") and size and size[0] != dim.dim_value:
                yield Finding(
                    "fixed-axis",
                    f"axis {axis} of input {value.name!r} is fixed to {dim.dim_value}",
                    value=value.name,
                    remedy=f"export with --dynamic {value.name}:{axis}=NAME",
                )


def _explained(difference: Difference, first: Arguments, other: Arguments, dynamic: Table) -> Finding:
    node = difference.node
    name = node.name or (node.output[0] if node.output else node.op_type)
    source = stack_line(stack_trace(node))
    if all(constant is None for constant in difference.constants):
        return Finding(
            "branch",
            f"from node {name!r} ({node.op_type}) on, the graph is another one with other arguments: a Python 'if' or "
            "loop decided by them",
            source,
            "use torch.where or torch.cond / torch.while_loop, or a @torch.jit.script helper with exporter 'torchscript'",
            node=name,
        )
    before, after = (_shown(constant) for constant in difference.constants)
    origin, remedy = _origin(difference, first, other, dynamic)
    what = f"input {difference.slot}" if difference.slot >= 0 else "attribute"
    if difference.value in difference.node.output:
        what = "output"
    return Finding(
        "constant",
        f"{what} {difference.value!r} of node {name!r} ({node.op_type}) is {before}, and {after} with other arguments"
        + (f": it is {origin}" if origin else ""),
        source,
        remedy,
        node=name,
        value=difference.value,
    )


def _origin(difference: Difference, first: Arguments, other: Arguments, dynamic: Table) -> tuple[str | None, str]:
    """What a constant is made of, and the command that makes it an input or a computed dim."""
    argument = _same_argument(difference, first, other)
    if is_resampler(difference.node) and difference.slot > 0:
        return argument and f"argument {argument!r}", f"graphkit resize MODEL OUT --node {difference.node.name!r}"
    axes = _same_dims(difference, first, other)
    if axes and argument is None:
        marks = " ".join(f"--dynamic {name}:{axis}=NAME" for name, axis in axes if axis not in dynamic.get(name, {}))
        origin = " and ".join(f"the size of {name!r} on axis {axis}" for name, axis in axes)
        if not marks:
            return f"made of {origin}", "compute it from x.shape without int(), or use exporter 'dynamo'"
        return f"made of {origin}", f"export with {marks}, or graphkit dims on the file"
    element = None if argument else _same_element(difference, first, other)
    if element:
        return (
            f"element {element}",
            f"graphkit promote MODEL OUT --tensor {difference.value}, or index the tensor without .item()",
        )
    if difference.value in difference.node.output:
        return (
            argument and f"argument {argument!r}",
            "keep it a tensor: torch.stack or torch.cat, not torch.Tensor([...])",
        )
    if difference.slot < 0:
        return argument and f"argument {argument!r}", "attributes are no inputs: compute it with tensors in the module"
    suggestion = f"={argument}" if argument else ""
    return argument and f"argument {argument!r}", f"graphkit promote MODEL OUT --tensor {difference.value}{suggestion}"


def _same_argument(difference: Difference, first: Arguments, other: Arguments) -> str | None:
    """The argument that a constant is equal to with both sets, where that can be no accident."""
    for mine, theirs in zip(first.leaves, other.leaves, strict=False):
        old, new = _numbers(mine.value), _numbers(theirs.value)
        before, after = difference.constants
        if old is None or new is None or before is None or after is None or np.array_equal(old, new):
            continue
        if _is_or_repeats(before, old) and _is_or_repeats(after, new):
            return mine.name
    return None


def _same_element(difference: Difference, first: Arguments, other: Arguments) -> str | None:
    """The element of an argument that a single number is, with both sets: ``x[0]``."""
    before, after = difference.constants
    if before is None or after is None or before.size != 1 or after.size != 1:
        return None
    for mine, theirs in zip(first.leaves, other.leaves, strict=False):
        old, new = _numbers(mine.value), _numbers(theirs.value)
        if old is None or new is None or old.shape != new.shape or not old.ndim:
            continue
        places = np.argwhere(np.isclose(old, float(before.ravel()[0])) & np.isclose(new, float(after.ravel()[0])))
        if len(places):
            return f"{mine.name}{places[0].tolist()}"
    return None


def _numbers(value: Any) -> Array | None:
    if isinstance(value, int | float):
        return np.asarray(value, np.float64)
    if hasattr(value, "detach") and value.numel() <= SMALL:
        return np.asarray(value.detach().cpu().tolist(), np.float64)
    return None


def _is_or_repeats(constant: Array, value: Array) -> bool:
    """Whether a constant is a value, or holds a single number once or more among ones (the scales of a Resize)."""
    if constant.dtype.kind not in "fiub":
        return False
    numbers = constant.astype(np.float64)
    if numbers.size == value.size:
        return bool(np.allclose(numbers.ravel(), value.ravel(), rtol=1e-6))
    if value.size != 1:
        return False
    rest = numbers[~np.isclose(numbers, 1.0)]
    return rest.size > 0 and bool(np.allclose(rest, value.ravel()[0], rtol=1e-6))


def _same_dims(difference: Difference, first: Arguments, other: Arguments) -> list[tuple[str, int]]:
    """The axes of inputs whose sizes the differing elements of a constant are, with both sets."""
    before, after = difference.constants
    if before is None or after is None or before.shape != after.shape or before.dtype.kind not in "iu":
        return []
    sizes = [
        (mine.name, axis, size, theirs.value.shape[axis])
        for mine, theirs in zip(first.tensors, other.tensors, strict=False)
        for axis, size in enumerate(mine.value.shape)
        if theirs.value.dim() == mine.value.dim() and size != theirs.value.shape[axis]
    ]
    found: dict[tuple[str, int], None] = {}
    for one, two in zip(before.ravel().tolist(), after.ravel().tolist(), strict=True):
        choices = (choice for count in (1, 2, 3) for choice in itertools.combinations(sizes[:MANY], count))
        fitting = next((choice for choice in choices if one != two and _follows(one, two, choice)), ())
        found.update(((name, axis), None) for name, axis, *_ in fitting)
    return list(found)


def _follows(one: int, two: int, axes: Sequence[tuple[str, int, int, int]]) -> bool:
    """Whether a number changes with sizes: as their product, as a multiple or fraction of it, or by as much."""
    before, after = math.prod(size for *_, size, _ in axes), math.prod(new for *_, new in axes)
    return one * after == two * before or (len(axes) == 1 and two - one == after - before)


def _trial(loaded: Session, arguments: Arguments, expected: Sequence[Array]) -> Trial:
    described = _described(arguments)
    feeds = {leaf.name: leaf.value.detach().cpu().numpy() for leaf in arguments.tensors if leaf.name in loaded.inputs}
    try:
        actual = list(loaded.run(feeds).values())
    except GraphkitError as error:
        return Trial(described, agrees=False, problem=error.message)
    worst = [measure(got, want, Policy()) for got, want in zip(actual, expected, strict=False)]
    wrong = next((metric for metric in worst if not metric.match), None)
    largest = max((metric.max_abs for metric in worst if metric.max_abs is not None), default=None)
    if wrong is None:
        return Trial(described, agrees=True, max_abs=largest)
    problem = wrong.problem or f"off by {wrong.max_abs:.3g}"
    return Trial(described, agrees=False, problem=problem, max_abs=largest)


def _described(arguments: Arguments) -> str:
    return ", ".join(f"{leaf.name} {_short(leaf.value)}" for leaf in arguments.leaves) or "no arguments"


def _short(value: Any) -> str:
    if not hasattr(value, "detach"):
        return repr(value)
    if value.numel() == 1:
        return f"{value.item():g}" if value.dtype.is_floating_point else str(value.item())
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}".replace(" ", "")


def _shown(constant: Array | None) -> str:
    if constant is None:
        return "computed"
    if constant.size > SMALL:
        return f"{constant.dtype}{list(constant.shape)}".replace(" ", "")
    if constant.dtype.kind != "f":
        return str(constant.tolist())
    numbers = [f"{number:g}" for number in constant.ravel().tolist()]
    return numbers[0] if not constant.ndim else "[" + ", ".join(numbers) + "]"

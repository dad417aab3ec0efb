"""Constants that should have been inputs or computed dims: found by exporting and running with other arguments."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphkit.errors import ExportError, SessionError
from graphkit.finding import Finding
from graphkit.hint import Argument, Blank, Hint, look
from graphkit.result import Result
from graphkit.runtime.session import Session, session
from graphkit.torch_export.arguments import Arguments, DynamicAxes, bind, dynamic_axes
from graphkit.torch_export.examples import second_set
from graphkit.torch_export.export import Exported
from graphkit.torch_export.job import Exporter
from graphkit.torch_export.own_domains import Translations
from graphkit.torch_export.quiet import quiet_torch
from graphkit.verify.baked.conversions import never_changed
from graphkit.verify.baked.differences import differences
from graphkit.verify.baked.reasons import reason
from graphkit.verify.baked.remedies import Export, Found, Remedies, told
from graphkit.verify.baked.runs import Run, Runner, Trial, described, sizes_only, trial, unvaried_dims, unvaried_values
from graphkit.verify.baked.tied import untied

if TYPE_CHECKING:
    import torch

    from graphkit.model import Model

GIVE = Hint("give other arguments: ", Argument("check_inputs", [Blank("NAME=SHAPE")]))

_LOW = ("bfloat16", "float16")


@dataclass(frozen=True, repr=False)
class Baked(Result):
    """What ``find_baked`` found.

    Attributes:
        model: The model exported with the first arguments.
        findings: One for each constant, branch or fixed axis that belongs to the example arguments and not to the module.
        trials: The model and the module compared, for each set of arguments.
        not_compared: What was the same in all sets of arguments, and why: nothing is known about it.
    """

    model: Model
    findings: tuple[Finding, ...]
    trials: tuple[Trial, ...]
    not_compared: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.agrees

    @property
    def agrees(self) -> bool:
        """Whether nothing was found, nothing was left out, and every trial agrees."""
        return not self.findings and not self.not_compared and all(trial.agrees for trial in self.trials)


def find_baked(
    module: torch.nn.Module,
    args_list: Sequence[Any],
    *,
    kwargs_list: Sequence[Mapping[str, Any]] | None = None,
    exporter: Exporter = "dynamo",
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    dynamic: DynamicAxes | None = None,
    check_inputs: Sequence[str] = (),
    translations: Translations | None = None,
) -> Baked:
    """Find the constants of an export that come from the example arguments instead of from the module.

    The module is exported with several sets of arguments and the graphs are compared constant by constant; the first
    model is run with all the other arguments and compared with the module. With the torchscript exporter, Python numbers
    and truth values that the module makes of its inputs are watched too.

    Args:
        module: The module.
        args_list: Sets of positional arguments, of other values or other shapes. With a single one, others are made from
            it, as the module takes them: other values, and other sizes of dynamic axes.
        kwargs_list: Keyword arguments for each set.
        exporter: "dynamo" or "torchscript".
        opset: The opset to ask for.
        input_names: Names for the tensors.
        dynamic: Axes of inputs that may vary.
        check_inputs: A second set in words: what differs from the first one, ``x=1,3,96,64`` (a shape),
            ``scale=[1,1,3,3]`` (values), ``x=@x.npy`` or, for a Python number, ``k=5``. What these do not vary is generated.
        translations: Translations of operators of your own, as ``export`` takes them.

    Returns:
        Findings with the node, the value, the line of Python where that is known, and what mends it. Commands and exports
        that are named were tried and gave the module's numbers.

    Raises:
        ExportError: The first export fails, or the module does not run with one of the sets.
        MissingExtraError: torch or onnxruntime is not installed.

    Changes: nothing.
    Cost: one export and one run of the module for each set of arguments, and up to two more exports where something is
    found; generated arguments take up to twenty runs of the module.

    Example:
        >>> import graphkit as gk, torch
        >>> found = gk.find_baked(torch.nn.ReLU(), [(torch.ones(2),), (torch.ones(3),)])  # doctest: +SKIP
    """
    keywords = list(kwargs_list or [{}] * len(args_list))
    sets = [bind(module, args, kwargs, input_names) for args, kwargs in zip(args_list, keywords, strict=True)]
    made_up = len(sets) == 1
    if check_inputs:
        sets.append(bind(module, *second_set(sets[0], check_inputs), input_names))
    table, _ = dynamic_axes(dynamic, sets[0].tensors)
    export = Export(exporter, opset, input_names, table, translations)
    base = export.of(module, sets[0])
    runner = Runner(module, input_names, watch=exporter == "torchscript")
    with quiet_torch():
        for one in sets:
            runner.run(one)
        if made_up:
            runner.vary(table)
    left = [*_left_out(runner, table)]
    try:
        found, trials = _compared(module, base, runner.runs, export)
    except SessionError as error:
        wider = _in_float32(module, runner.runs, export)
        if wider is None:
            return Baked(base.model, (), (), (*left, f"numbers: ONNX Runtime does not load the model: {error.message}"))
        found, trials = wider
    return Baked(base.model, tuple(found), tuple(trials), tuple(left))


def _left_out(runner: Runner, table: Mapping[str, Mapping[int, str]]) -> Iterator[str]:
    """What was the same in all runs."""
    for symbol in unvaried_dims(runner.runs, table):
        why = runner.refused.get(symbol, "it has one size in all sets of arguments")
        yield Hint(f"sizes of {symbol!r}: {why}; ", GIVE)
    for name in unvaried_values(runner.runs):
        why = runner.refused.get(name, "they are the same in all sets of arguments")
        yield Hint(f"values of {name!r}: {why}; ", GIVE)


def _in_float32(module: Any, runs: Sequence[Run], export: Export) -> tuple[list[Finding], list[Trial]] | None:
    """The same with the module and its arguments in float32, where ONNX Runtime lacks kernels for less."""
    import torch

    def widened(leaf: Any) -> Any:
        low = leaf.is_tensor and str(leaf.value.dtype).removeprefix("torch.") in _LOW
        return leaf.value.float() if low else leaf.value

    held = [*module.parameters(), *module.buffers(), *(leaf.value for leaf in runs[0].arguments.tensors)]
    if not any(tensor.dtype in (torch.bfloat16, torch.float16) for tensor in held):
        return None
    wide = copy.deepcopy(module).float()
    runner = Runner(wide, export.input_names, watch=export.exporter == "torchscript")
    with quiet_torch():
        for run in runs:
            arguments = run.arguments
            runner.run(bind(wide, *arguments.changed(widened), export.input_names), export=run.export)
    try:
        return _compared(wide, export.of(wide, runner.runs[0].arguments), runner.runs, export)
    except (ExportError, SessionError):
        return None


def _compared(module: Any, base: Exported, runs: Sequence[Run], export: Export) -> tuple[list[Finding], list[Trial]]:
    """The findings and the trials.

    Raises:
        SessionError: ONNX Runtime does not load the model.
    """
    loaded = session(base.model, device="cpu")
    trials = [_tried(loaded, run, module, base.model, export.input_names) for run in runs]
    remedies = Remedies(module, base.model, runs, export)
    findings: dict[tuple[str, str | None, str | None], Finding] = {}
    differing: list[Found] = []
    for run, tried in zip(runs[1:], trials[1:], strict=True):
        if not run.export and (tried.agrees or findings or differing):
            continue
        for finding in _fixed_axes(base, run.arguments, remedies):
            findings.setdefault((finding.kind, finding.node, finding.value), finding)
        other = _export(module, run.arguments, export)
        if isinstance(other, Exported):
            differing += _differing(module, base, other, runs[0], run)
        elif not tried.agrees:
            message = f"with {described(run.arguments)} the module does not export: {other.message}"
            findings.setdefault(("export-failed", None, None), Finding("export-failed", message))
    lines = _traced_lines(base)
    for found in differing:
        key = ("", found.reason.node, found.reason.difference.value)
        if key not in findings:
            findings[key] = told(
                found.reason,
                remedies.of(found, differing, decided=bool(lines)),
                lines,
                sizes=sizes_only(found.run, runs[0]),
            )
    found_now = list(findings.values())
    found_now += _unexplained(trials, found_now)
    found_now += _undecided(runs, found_now)
    return found_now, trials


def _tried(loaded: Session, run: Run, module: Any, model: Model, names: Sequence[str] | None) -> Trial:
    """The model, run with the arguments of a run; where equal numbers were ranked, with others in their place."""
    tried = trial(loaded, run)
    if tried.agrees:
        return tried
    runner = Runner(module, names, watch=False)
    for arguments in untied(run.arguments, model, lambda args, kwargs: bind(module, args, kwargs, names)):
        try:
            with quiet_torch():
                again = trial(loaded, runner.run(arguments))
        except ExportError:
            continue
        if again.agrees:
            return again
    return tried


def _differing(module: Any, base: Exported, other: Exported, first: Run, run: Run) -> Iterator[Found]:
    for difference in differences(base.model.proto, other.model.proto, set(module.state_dict())):
        yield Found(reason(difference, first.arguments, run.arguments), run)


def _export(module: Any, arguments: Arguments, export: Export) -> Exported | ExportError:
    try:
        return export.of(module, arguments)
    except ExportError as error:
        return error


def _fixed_axes(base: Exported, other: Arguments, remedies: Remedies) -> Iterator[Finding]:
    shapes = {leaf.name: tuple(leaf.value.shape) for leaf in other.tensors}
    for value in base.model.proto.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            size = shapes.get(value.name, ())[axis : axis + 1]
            if dim.HasField("dim_value") and size and size[0] != dim.dim_value:
                mark = Argument("dynamic", [f"{value.name}:{axis}={value.name}_{axis}"])
                yield Finding(
                    "fixed-axis",
                    f"axis {axis} of input {value.name!r} is fixed to {dim.dim_value}",
                    value=f"{value.name}:{axis}",
                    remedy=remedies.again() or Hint("export with ", mark, ", once what else is found is mended"),
                )


def _traced_lines(base: Exported) -> dict[str, str]:
    """What tracing said of a Python 'if' and of loops over tensors, with the line."""
    kinds = {"a Python 'if'": "a Python 'if'", "a loop over": "a loop over a tensor"}
    lines: dict[str, str] = {}
    for finding in base.findings:
        if finding.kind == "traced-constant" and finding.source:
            kind = next((what for start, what in kinds.items() if finding.message.startswith(start)), None)
            if kind:
                lines.setdefault(kind, finding.source)
    return lines


def _unexplained(trials: Sequence[Trial], found: Sequence[Finding]) -> list[Finding]:
    """What is left to say where numbers are wrong and no constant differs."""
    wrong = next((tried for tried in trials if not tried.agrees), None)
    if wrong is None or found:
        return []
    message = f"with {wrong.arguments} the model does not give the module's numbers ({wrong.problem}); no constant explains it"
    return [Finding("numbers", message, remedy=Hint(look("bisect"), " names the first value that differs"))]


def _undecided(runs: Sequence[Run], found: Sequence[Finding]) -> list[Finding]:
    """Python values that the module made of its inputs and that no set of arguments changed."""
    known = {finding.source.partition(" ")[0] for finding in found if finding.source}
    return [
        Finding(
            "undecided",
            f"the module made the Python value {value!r} of its inputs, and the same with all sets of arguments: whether "
            "the model is right with others is not known",
            None if line == "torch" else line,
            GIVE,
        )
        for line, value in never_changed([run.converted for run in runs]).items()
        if line not in known
    ]

"""From a torch module to a model: both of torch's exporters, one set of arguments, and what each got wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias

from graphkit.errors import ExportError
from graphkit.graph.opset import opset_of
from graphkit.model import Model
from graphkit.progress import tell
from graphkit.result import Result
from graphkit.step import Step
from graphkit.storage.save import save
from graphkit.torch_export import arguments as given
from graphkit.torch_export.factory import import_torch
from graphkit.torch_export.findings import examine
from graphkit.torch_export.job import EXPORTERS, Exporter, Job, Training, weights_of
from graphkit.torch_export.loading import unloadable
from graphkit.torch_export.mark import resolve_marks
from graphkit.torch_export.modes import forgotten_eval, training_mode
from graphkit.torch_export.output_dims import name_outputs
from graphkit.torch_export.own_domains import (
    Translations,
    give_opsets,
    own_opsets,
    own_translations,
    unused_translations,
)
from graphkit.torch_export.quiet import STAGES
from graphkit.torch_export.weights import weights_as_inputs

if TYPE_CHECKING:
    import torch

    from graphkit.finding import Finding

Parameters: TypeAlias = Literal["stored", "defaults", "inputs"]

PARAMETERS: tuple[Parameters, ...] = ("stored", "defaults", "inputs")


@dataclass(frozen=True, repr=False)
class Exported(Result):
    """What an export gave.

    Attributes:
        model: The model; its history holds one step "export", whose notes are the findings as text.
        findings: What the user should know about it.
        exporter: "dynamo" or "torchscript".
        opset_asked: The opset that was asked for, or None.
        opset: The opset of the default domain that the model has.
        inputs: The names of the tensor arguments, whether or not the model still has them.
        program: The torch.export.ExportedProgram behind the model (dynamo), or None.
        log: Everything torch printed, logged and warned about.
    """

    model: Model
    findings: tuple[Finding, ...]
    exporter: Exporter
    opset_asked: int | None
    opset: int
    inputs: tuple[str, ...]
    program: Any = None
    log: str = ""


def export(
    module: torch.nn.Module,
    args: Any,
    path: str | os.PathLike[str] | IO[bytes] | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    exporter: Exporter = "dynamo",
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic: given.DynamicAxes | None = None,
    parameters: Parameters = "stored",
    optimize: bool = True,
    translations: Translations | None = None,
    custom_translation_table: Translations | None = None,
    custom_opsets: Mapping[str, int] | None = None,
    training: Training | Any = "eval",
    external: str | None = None,
) -> Model:
    """Export a torch module, and write the model to a file when a path is given.

    Args:
        module: An nn.Module, a ScriptModule or a torch.export.ExportedProgram.
        args: Example arguments, a tuple (or one tensor). Only tensors become inputs of the model.
        path: Where to write the model; the write is atomic. Also a file that is open for writing bytes (``io.BytesIO``).
        kwargs: Example keyword arguments.
        exporter: See ``export_report``, as for all that follow.
        opset: The opset to ask for.
        input_names: Names for the tensors.
        output_names: Names for the outputs.
        dynamic: Axes of inputs that may vary.
        parameters: Where the weights go.
        optimize: Whether operators may be folded and fused.
        translations: Translations of operators of your own.
        custom_translation_table: torch's name for the same.
        custom_opsets: Versions of domains of your own.
        training: The mode in which the module is exported.
        external: The name of a data file beside ``path`` for the weights; None keeps them inside where they fit.

    Returns:
        The model. ``model.history[-1].notes`` says what was found; ``export_report`` gives the findings as data.

    Raises:
        ExportError: See ``export_report``.
        MissingExtraError: See ``export_report``.
        TypeError, ValueError: See ``export_report``.
        SaveError: The file cannot be written.

    Changes: nothing; the module's training mode is what it was before.
    Cost: dynamo takes about a second for a small module, torchscript a tenth of that.

    Example:
        >>> import graphkit as gk, torch
        >>> module, args = torch.nn.ReLU(), (torch.ones(1, 3),)
        >>> model = gk.export(module, args, exporter="torchscript", dynamic={"input": {0: "batch"}})
        >>> [node.op_type for node in model.nodes]
        ['Relu']
    """
    report = export_report(
        module,
        args,
        kwargs=kwargs,
        exporter=exporter,
        opset=opset,
        input_names=input_names,
        output_names=output_names,
        dynamic=dynamic,
        parameters=parameters,
        optimize=optimize,
        translations=translations,
        custom_translation_table=custom_translation_table,
        custom_opsets=custom_opsets,
        training=training,
        folder=os.path.dirname(os.path.abspath(path)) if isinstance(path, str | os.PathLike) else None,
    )
    if path is not None:
        save(report.model, path, external=external)
    return report.model


def export_report(
    module: torch.nn.Module,
    args: Any,
    *,
    kwargs: Mapping[str, Any] | None = None,
    exporter: Exporter = "dynamo",
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic: given.DynamicAxes | None = None,
    parameters: Parameters = "stored",
    optimize: bool = True,
    translations: Translations | None = None,
    custom_translation_table: Translations | None = None,
    custom_opsets: Mapping[str, int] | None = None,
    training: Training | Any = "eval",
    folder: str | None = None,
) -> Exported:
    """Export a torch module, and say what the exporter did not.

    The module is put into eval mode (every submodule is put back afterwards). torch's prints, log lines and warnings
    are kept in ``log``; those that matter come back as findings.

    Args:
        module: An nn.Module, a ScriptModule or a torch.export.ExportedProgram.
        args: Example arguments, a tuple (or one tensor). Only tensors become inputs of the model.
        kwargs: Example keyword arguments.
        exporter: "dynamo" (torch.export, torch's default since 2.9) or "torchscript" (tracing).
        opset: The opset to ask for; None is torch's default. What the file has is ``Exported.opset``.
        input_names: Names for the tensors, in order; without them inputs have the names of forward's parameters.
        output_names: Names for the outputs, in order.
        dynamic: Axes of inputs that may vary, for both exporters alike: ``{"x": {2: "h"}}``, ``["x:2=h"]``, or
            ``{"x": [2]}`` (the axis is called ``x_2``). Axes of the outputs in ``output_names`` too, as in torch's
            ``dynamic_axes``: they follow from the inputs and only get a name; one that does not vary is a finding.
        parameters: The weights: "stored" in the model; "defaults": stored, and inputs that a caller may override;
            "inputs": required inputs, not stored. For the last two nothing is folded: each weight has torch's name and
            value.
        optimize: False keeps every operator as torch has it (no folding, no fusion).
        translations: torch operator (an overload, ``torch.ops.my.op.default``) -> function that builds ONNX nodes
            (onnxscript), for operators of your own; dynamo. One whose operator the module does not call is a finding.
            For torchscript a rule is registered: ``torch.onnx.register_custom_op_symbolic``.
        custom_translation_table: torch's name for ``translations``; give one of them.
        custom_opsets: Domain -> version that the model imports it with, for domains of your own; 1 without. A domain that
            no node uses is a finding.
        training: "eval"; "train", in which Dropout drops and BatchNorm uses the batch's own statistics, and nothing is
            folded; or "preserve", each submodule in the mode that it has. torch's ``TrainingMode`` is taken too. Only
            torchscript writes training mode: dynamo is refused.
        folder: Where weights of a gigabyte and more are kept until the model is saved; None for the system's temporary
            folder. The file goes when no model refers to it any more.

    Raises:
        ExportError: torch cannot export; the arguments do not fit; a name is given twice; a dynamic axis is not there.
            ``stage`` says where it ended, ``words`` and ``details`` what torch said.
        MissingExtraError: torch or onnxscript is not installed.
        TypeError: The module is no module, the opset no number.
        ValueError: An unknown exporter, kind of parameters or training mode; training mode or translations with an exporter
            that has none; a version for ONNX's own domain, which ``opset`` gives.

    Changes: nothing.
    Cost: see ``export``.

    Example:
        >>> import graphkit as gk, torch
        >>> exported = gk.export_report(torch.nn.ReLU(), (torch.ones(1, 3),), exporter="torchscript")
        >>> [finding.message for finding in exported.findings]
        []
    """
    import_torch("exporting a module")
    if exporter not in EXPORTERS or parameters not in PARAMETERS:
        raise ValueError(
            f"exporter is one of {EXPORTERS}, parameters one of {PARAMETERS}; not {exporter!r}, {parameters!r}"
        )
    translations = own_translations(exporter, translations, custom_translation_table)
    training = training_mode(exporter, training)
    versions = own_opsets(custom_opsets)
    if opset is not None and (isinstance(opset, bool) or not isinstance(opset, int)):
        raise TypeError(f"opset is a number, not {opset!r}")
    try:
        bound, table, of_outputs = _arguments(module, args, kwargs, exporter, input_names, output_names, dynamic)
    except ExportError as error:
        error.stage = "module"
        raise
    stored = parameters == "stored"
    folding = optimize and stored and training == "eval"
    job = Job(module, bound, exporter, opset, output_names, table, folding, stored, translations, folder, training)
    tell(0, STAGES, f"exporting with {exporter}")
    produced, heard, renamed = job.run()
    tell(STAGES - 2, STAGES, "looking for what was lost")
    proto, program = produced.proto, produced.program
    findings = (
        *forgotten_eval(module, training),
        *examine(proto, program, bound, table, opset, output_names, heard.warnings),
        *name_outputs(proto, of_outputs),
        *renamed,
        *resolve_marks(proto, set(output_names or ())),
        *give_opsets(proto, versions),
        *unused_translations(program, translations),
    )
    if not stored:
        weights_as_inputs(proto, weights_of(module).keys(), required=parameters == "inputs")
    tell(STAGES - 1, STAGES, "loading it")
    findings += unloadable(Model(proto, produced.sources))
    tell(STAGES, STAGES, "exported")
    notes = tuple(str(finding) for finding in findings)
    step = Step("export", _summary(job, parameters), notes, "it was made from a torch module")
    model = Model(proto, produced.sources, steps=(step,))
    names = tuple(leaf.name for leaf in bound.tensors)
    return Exported(model, findings, exporter, opset, opset_of(proto, 0), names, program, heard.text)


def _arguments(
    module: Any,
    args: Any,
    kwargs: Mapping[str, Any] | None,
    exporter: Exporter,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    dynamic: given.DynamicAxes | None,
) -> tuple[given.Arguments, dict[str, dict[int, str]], dict[str, dict[int, str]]]:
    """The arguments of the forward, and the dynamic axes of inputs and of outputs."""
    bound = _bound(module, args, kwargs, input_names, exporter)
    of_inputs, of_outputs = given.dynamic_axes(dynamic, bound.tensors, output_names or ())
    if output_names is not None:
        given.refuse_repeated("output", output_names)
        given.refuse_repeated("input or output", [*(leaf.name for leaf in bound.tensors), *output_names])
    return bound, of_inputs, of_outputs


def _bound(
    module: Any, args: Any, kwargs: Mapping[str, Any] | None, names: Sequence[str] | None, exporter: Exporter
) -> given.Arguments:
    import torch

    if not isinstance(module, torch.nn.Module | torch.export.ExportedProgram):
        raise TypeError(
            f"a torch.nn.Module or an ExportedProgram can be exported, not an object of type {type(module).__name__}; "
            "put a function into the forward of a module"
        )
    if not isinstance(module, torch.export.ExportedProgram):
        return given.bind(module, args, kwargs, names)
    if exporter != "dynamo":
        raise ExportError("an ExportedProgram can be exported by dynamo only", hint="use exporter 'dynamo'")
    return given.bind(module.module(), args, kwargs, names)


def _summary(job: Job, parameters: Parameters) -> dict[str, Any]:
    """The arguments that are not default, for the history."""
    told: dict[str, Any] = {"module": type(job.module).__name__, "exporter": job.exporter}
    if job.opset is not None:
        told["opset"] = job.opset
    if job.dynamic:
        told["dynamic"] = [f"{n}:{axis}={s}" for n, axes in job.dynamic.items() for axis, s in axes.items()]
    if parameters != "stored":
        told["parameters"] = parameters
    if job.training != "eval":
        told["training"] = job.training
    return told

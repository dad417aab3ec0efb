"""From a torch module to a model: both of torch's exporters, one set of arguments, and what each got wrong."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import onnx

from graphkit.errors import MissingExtraError
from graphkit.graph import walk
from graphkit.graph.modules import fx_node
from graphkit.model import Model, Step
from graphkit.storage.save import save
from graphkit.torch_export import arguments as given
from graphkit.torch_export.after import examine
from graphkit.torch_export.factory import import_torch
from graphkit.torch_export.failure import export_error
from graphkit.torch_export.mark import marks_kept, resolve_marks
from graphkit.torch_export.quiet import Overheard, quiet_torch
from graphkit.torch_export.source_line import users_stack
from graphkit.torch_export.weights import weights_as_inputs

if TYPE_CHECKING:
    import torch

    from graphkit.finding import Finding

Exporter: TypeAlias = Literal["dynamo", "torchscript"]
Parameters: TypeAlias = Literal["stored", "defaults", "inputs"]

EXPORTERS: tuple[Exporter, ...] = ("dynamo", "torchscript")
PARAMETERS: tuple[Parameters, ...] = ("stored", "defaults", "inputs")


NATIVE_OPSET = 18
"""The opset that torch's dynamo exporter is written for: its own translations go up from there."""


@dataclass(frozen=True)
class Exported:
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
    path: str | os.PathLike[str] | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    exporter: Exporter = "dynamo",
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    dynamic: given.DynamicAxes | None = None,
    parameters: Parameters = "stored",
    optimize: bool = True,
    translations: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
    external: str | None = None,
) -> Model:
    """Export a torch module, and write the model to a file when a path is given.

    Args:
        module: An nn.Module, a ScriptModule or a torch.export.ExportedProgram.
        args: Example arguments, a tuple (or one tensor). Only tensors become inputs of the model.
        path: Where to write the model; the write is atomic.
        kwargs: Example keyword arguments.
        exporter: See ``export_report``, as for all that follow.
        opset: The opset to ask for.
        input_names: Names for the tensors.
        output_names: Names for the outputs.
        dynamic: Axes of inputs that may vary.
        parameters: Where the weights go.
        optimize: Whether operators may be folded and fused.
        translations: Translations of operators of your own.
        external: The name of a data file beside ``path`` for the weights; None keeps them inside where they fit.

    Returns:
        The model. ``model.history[-1].notes`` lists what was found.

    Raises:
        ExportError: See ``export_report``.
        MissingExtraError: See ``export_report``.
        ValueError: See ``export_report``.
        SaveError: The file cannot be written.

    Changes: nothing; the module's training mode is what it was before.
    Cost: dynamo takes about a second for a small module, torchscript a tenth of that.
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
    translations: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
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
        dynamic: Axes of inputs that may vary, for both exporters alike: ``{"x": {2: "h"}}`` or ``["x:2=h"]``.
        parameters: The weights: "stored" in the model; "defaults": stored, and inputs that a caller may override;
            "inputs": required inputs, not stored. For the last two nothing is folded: each weight has torch's name and
            value.
        optimize: False keeps every operator as torch has it (no folding, no fusion).
        translations: torch operator -> function that builds ONNX nodes (onnxscript), for operators of your own; dynamo.

    Raises:
        ExportError: torch cannot export; the arguments do not fit; a name is given twice; a dynamic axis is not there.
            ``details`` has torch's own message.
        MissingExtraError: torch or onnxscript is not installed.
        ValueError: An unknown exporter or kind of parameters.

    Changes: nothing.
    Cost: see ``export``.
    """
    import_torch("exporting a module")
    if exporter not in EXPORTERS or parameters not in PARAMETERS:
        raise ValueError(
            f"exporter is one of {EXPORTERS}, parameters one of {PARAMETERS}; not {exporter!r}, {parameters!r}"
        )
    if translations and exporter != "dynamo":
        raise ValueError(
            "translations are for the dynamo exporter; torchscript takes torch.onnx.register_custom_op_symbolic"
        )
    bound = given.bind(module, args, kwargs, input_names)
    table = given.dynamic_axes(dynamic, bound.tensors)
    if output_names is not None:
        given.refuse_repeated("output", output_names)
        given.refuse_repeated("input or output", [*(leaf.name for leaf in bound.tensors), *output_names])
    job = _Job(
        module, bound, exporter, opset, output_names, table, optimize and parameters == "stored", translations or {}
    )
    proto, program, heard = job.run(stored=parameters == "stored")
    findings = (
        *examine(proto, program, bound, table, job.opset, output_names, heard.warnings),
        *resolve_marks(proto, set(output_names or ())),
    )
    if parameters != "stored":
        weights_as_inputs(proto, module, required=parameters == "inputs")
    step = Step("export", job.summary(parameters), tuple(str(finding) for finding in findings))
    model = Model(proto, history=(step,))
    names = tuple(leaf.name for leaf in bound.tensors)
    return Exported(model, findings, exporter, opset, _opset(proto), names, program, heard.text)


@dataclass
class _Job:
    module: Any
    bound: given.Arguments
    exporter: Exporter
    opset: int | None
    output_names: Sequence[str] | None
    dynamic: dict[str, dict[int, str]]
    optimize: bool
    translations: Mapping[Any, Any]

    def run(self, *, stored: bool) -> tuple[onnx.ModelProto, Any, Overheard]:
        export_with = self._dynamo if self.exporter == "dynamo" else self._torchscript
        failure = None
        quiet = quiet_torch(native_errors=self.exporter == "torchscript")
        with evaluating(self.module), quiet as heard, marks_kept() as marks:
            self.translations = {**marks, **self.translations}
            try:
                proto, program = export_with(stored)
            except ModuleNotFoundError as error:
                raise MissingExtraError(error.name or "onnxscript", "torch", "torch's exporter") from error
            except Exception as error:  # noqa: BLE001 (tracing runs the user's code, which may raise anything)
                failure = error
        if failure is not None:
            with evaluating(self.module), quiet_torch():
                told = export_error(failure, self.exporter, self.module, self.bound.args, self.bound.kwargs, heard.text)
            raise told from failure
        return proto, program, heard

    def _dynamo(self, stored: bool) -> tuple[onnx.ModelProto, Any]:  # noqa: FBT001 (both exporters share the signature)
        del stored
        import torch

        program = torch.onnx.export(
            _exportable(self.module, self.bound),
            self.bound.args,
            kwargs=self.bound.kwargs,
            dynamo=True,
            verbose=False,
            input_names=[leaf.name for leaf in self.bound.tensors],
            output_names=self.output_names,
            opset_version=self.opset,
            dynamic_shapes=given.dynamic_shapes(self.bound, self.dynamic),
            custom_translation_table=dict(self.translations),
            optimize=self.optimize,
        )
        proto = program.model_proto
        self._with_scopes(proto)
        return proto, program.exported_program

    def _with_scopes(self, proto: onnx.ModelProto) -> None:
        """Give nodes their metadata back after a conversion to another opset by onnx, which drops all of it.

        Cost: a second export, at an opset that needs no conversion.
        """
        if self.opset is None or any(fx_node(node) for node in proto.graph.node):
            return
        native = _Job(
            self.module,
            self.bound,
            "dynamo",
            NATIVE_OPSET,
            self.output_names,
            self.dynamic,
            self.optimize,
            self.translations,
        )
        origin, _ = native._dynamo(stored=True)
        by_output = {name: node for node in origin.graph.node for name in node.output if name}
        for node in proto.graph.node:
            if node.output[0] in by_output:
                node.metadata_props.extend(by_output[node.output[0]].metadata_props)

    def _torchscript(self, stored: bool) -> tuple[onnx.ModelProto, None]:  # noqa: FBT001 (see above)
        import torch

        buffer = io.BytesIO()
        inputs = self.bound.leaves if isinstance(self.module, torch.jit.ScriptModule) else self.bound.tensors
        with taking_tensors_only(self.module, self.bound) as args:
            torch.onnx.export(
                self.module,
                args,
                buffer,
                dynamo=False,
                verbose=True,  # without it the nodes do not know their lines; quiet_torch keeps what it prints
                input_names=[leaf.name for leaf in inputs],
                output_names=self.output_names,
                opset_version=self.opset,
                dynamic_axes=self.dynamic or None,
                do_constant_folding=self.optimize,
                keep_initializers_as_inputs=not stored,
            )
        proto = onnx.load_from_string(buffer.getvalue())
        for node in walk.nodes(proto.graph):
            node.doc_string = users_stack(node.doc_string)
        return proto, None

    def summary(self, parameters: Parameters) -> dict[str, Any]:
        """The arguments that are not default, for the history."""
        told: dict[str, Any] = {"module": type(self.module).__name__, "exporter": self.exporter}
        if self.opset is not None:
            told["opset"] = self.opset
        if self.dynamic:
            told["dynamic"] = [f"{n}:{axis}={s}" for n, axes in self.dynamic.items() for axis, s in axes.items()]
        if parameters != "stored":
            told["parameters"] = parameters
        return told


def _exportable(module: Any, bound: given.Arguments) -> Any:
    """What the dynamo exporter takes in the module's place: a ScriptModule goes through torch's own converter."""
    import torch

    if not isinstance(module, torch.jit.ScriptModule):
        return module
    from torch._export.converter import TS2EPConverter

    return TS2EPConverter(module, bound.args, bound.kwargs).convert()


@contextlib.contextmanager
def taking_tensors_only(module: Any, bound: given.Arguments) -> Iterator[tuple[Any, ...]]:
    """Let ``forward`` take the tensor arguments by position inside of the block; the rest is as the caller gave it.

    The torchscript exporter turns Python numbers into inputs, those that forward has as defaults too, and knows no
    keyword arguments. A ScriptModule stays as it is; there a number that is an argument is a value, and so an input.
    """
    import torch

    tensors = tuple(leaf.value for leaf in bound.tensors)
    if isinstance(module, torch.jit.ScriptModule) or not isinstance(module, torch.nn.Module):
        yield bound.args
        return
    forward, shadowed = module.forward, vars(module).get("forward")

    def of_tensors(*values: Any) -> Any:
        args, kwargs = given.rebuilt(bound, values)
        return forward(*args, **kwargs)

    module.forward = of_tensors
    try:
        yield tensors
    finally:
        del module.forward
        if shadowed is not None:
            module.forward = shadowed


@contextlib.contextmanager
def evaluating(module: Any) -> Iterator[None]:
    """Put a module into eval mode inside of the block; afterwards each submodule has the mode it had."""
    if not hasattr(module, "eval") or not hasattr(module, "modules"):
        yield
        return
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for one, mode in modes:
            one.training = mode


def _opset(proto: onnx.ModelProto) -> int:
    return next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), 0)

"""Calling torch's two exporters: the same arguments for both, quietly, with weights of any size."""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import onnx

from graphkit.finding import Finding
from graphkit.graph import walk
from graphkit.graph.module_paths import fx_node
from graphkit.progress import is_watched
from graphkit.storage.load import load
from graphkit.storage.new_folder import NewFolder
from graphkit.torch_export import arguments as given
from graphkit.torch_export.export_branch import export_branches
from graphkit.torch_export.failure import export_error, unwritable
from graphkit.torch_export.folded_norms import folded_norms, norms_of_program, norms_recorded
from graphkit.torch_export.io_names import give_names, stand_ins
from graphkit.torch_export.mark import marks_kept
from graphkit.torch_export.module_calls import calls_recorded, give_exported_calls, give_traced_calls
from graphkit.torch_export.quiet import Overheard, quiet_torch
from graphkit.torch_export.source_line import users_stack
from graphkit.torch_export.unchanged import unchanged

if TYPE_CHECKING:
    from graphkit.model import Source

Exporter: TypeAlias = Literal["dynamo", "torchscript"]

EXPORTERS: tuple[Exporter, ...] = ("dynamo", "torchscript")

Training: TypeAlias = Literal["eval", "train", "preserve"]

TRAINING: tuple[Training, ...] = ("eval", "train", "preserve")

NATIVE_OPSET = 18
"""The opset that torch's dynamo exporter is written for: its own translations go up from there."""

LARGE = 1 << 30
"""Bytes of parameters and buffers from which the exporters write to a file: a serialised model ends at 2 GiB."""


class Produced(NamedTuple):
    """What an exporter made.

    Attributes:
        proto: The model, or its skeleton where the weights are large.
        sources: Where the skeleton's weights lie.
        program: The torch.export.ExportedProgram behind it (dynamo), or None.
    """

    proto: onnx.ModelProto
    sources: Mapping[str, Source]
    program: Any


@dataclass
class Job:
    """One export.

    Attributes:
        module: The module.
        bound: Its arguments.
        exporter: Which exporter.
        opset: The opset to ask for, or None.
        output_names: Names for the outputs, or None.
        dynamic: The dynamic axes.
        optimize: Whether operators may be folded and fused.
        stored: Whether the weights are the model's own; otherwise they will be inputs.
        translations: Translations of operators, for dynamo.
        folder: Where large weights are kept until the model is saved; None for the system's temporary folder.
        training: The mode in which the module is exported; torchscript.
        folded: After ``run``: what it folded into what.
    """

    module: Any
    bound: given.Arguments
    exporter: Exporter
    opset: int | None
    output_names: Sequence[str] | None
    dynamic: dict[str, dict[int, str]]
    optimize: bool
    stored: bool
    translations: Mapping[Any, Any] = field(default_factory=dict)
    folder: str | None = None
    training: Training = "eval"
    folded: list[Finding] = field(default_factory=list, init=False)

    def run(self) -> tuple[Produced, Overheard, list[Finding]]:
        """Export, and give inputs and outputs their names.

        Raises:
            ExportError: torch cannot export.
            MissingExtraError: A package of torch's exporter is not installed.
        """
        failure, unoptimized = None, False
        quiet = quiet_torch(native_errors=self.exporter == "torchscript")
        try:
            with (
                in_mode(self.module, self.training),
                quiet as heard,
                marks_kept() as marks,
                export_branches() as branches,
            ):
                self.translations = {**marks, **self.translations}
                try:
                    produced, unoptimized = self._produced()
                except Exception as error:  # noqa: BLE001 (tracing runs the user's code, which may raise anything)
                    failure = error
        except OSError as error:  # quiet_torch keeps what torch prints in a temporary file
            raise unwritable(error) from error
        if failure is not None:
            with in_mode(self.module, self.training), quiet_torch():
                told = export_error(failure, self.exporter, self.module, self.bound.args, self.bound.kwargs, heard.text)
            raise told from failure
        found = give_names(produced.proto, [leaf.name for leaf in self._inputs], self.output_names or ())
        found += [*(_branch(line) for line in branches.lines), *self.folded]
        return produced, heard, [*found, *([NOT_OPTIMIZED] if unoptimized else [])]

    def _produced(self) -> tuple[Produced, bool]:
        """What the exporter made; whether its own optimizer had to be left out."""
        try:
            return (self._dynamo() if self.exporter == "dynamo" else self._torchscript()), False
        except RuntimeError as error:
            if not (self.optimize and _is_the_optimizers(error)):
                raise
            self.optimize = False
            return self._dynamo(), True

    @property
    def _inputs(self) -> tuple[given.Leaf, ...]:
        """The arguments that become inputs: tensors, and in a script numbers too."""
        import torch

        scripted = self.exporter == "torchscript" and isinstance(self.module, torch.jit.ScriptModule)
        return self.bound.leaves if scripted else self.bound.tensors

    def _dynamo(self) -> Produced:
        import torch

        args, kwargs = _not_taken_for_keywords(self.bound)
        _forget_recurrent_kernels()
        program = torch.onnx.export(
            exportable(self.module, self.bound),
            args,
            kwargs=kwargs,
            dynamo=True,
            verbose=is_watched(),  # its stages are told by quiet_torch
            input_names=stand_ins("input", len(self._inputs)),
            output_names=stand_ins("output", len(self.output_names or ())) or None,
            opset_version=self.opset,
            dynamic_shapes=given.dynamic_shapes(self.bound, self.dynamic),
            custom_translation_table=dict(self.translations),
            optimize=self.optimize,
        )
        proto: onnx.ModelProto
        sources: Mapping[str, Source] = {}
        if _bytes(self.module) < LARGE:
            proto = program.model_proto
        else:
            proto, sources = self._through_a_file(lambda path: program.save(path, external_data=True))
        self._give_scopes(proto)
        give_exported_calls(proto, program.exported_program, self.module)
        self.folded = folded_norms(proto, norms_of_program(program.exported_program, self.module))
        return Produced(proto, sources, program.exported_program)

    def _give_scopes(self, proto: onnx.ModelProto) -> None:
        """Give nodes their metadata back after a conversion to another opset by onnx, which drops all of it.

        Cost: a second export, at an opset that needs no conversion.
        """
        if self.opset in (None, NATIVE_OPSET) or any(fx_node(node) for node in proto.graph.node):
            return
        native = Job(**{**{name: held for name, held in vars(self).items() if name != "folded"}, "opset": NATIVE_OPSET})
        by_output = {name: node for node in native._dynamo().proto.graph.node for name in node.output if name}
        for node in proto.graph.node:
            if node.output[0] in by_output:
                node.metadata_props.extend(by_output[node.output[0]].metadata_props)

    def _torchscript(self) -> Produced:
        with norms_recorded(self.module) as pairs, calls_recorded(self.module) as calls:
            proto, sources = self._through_a_file(self._trace)
        give_traced_calls(proto, calls)
        self.folded = folded_norms(proto, pairs)
        for node in walk.nodes(proto.graph):
            node.doc_string = users_stack(node.doc_string)
        return Produced(proto, sources, None)

    def _trace(self, path: str) -> None:
        import torch

        names = stand_ins("input", len(self._inputs))
        axes = {stand_in: self.dynamic.get(leaf.name) for stand_in, leaf in zip(names, self._inputs, strict=True)}
        with taking_tensors_only(self.module, self.bound) as args:
            torch.onnx.export(
                self.module,
                args,
                path,
                dynamo=False,
                verbose=True,  # without it the nodes do not know their lines; quiet_torch keeps what it prints
                input_names=names,
                output_names=stand_ins("output", len(self.output_names or ())) or None,
                opset_version=self.opset,
                dynamic_axes={name: given_axes for name, given_axes in axes.items() if given_axes} or None,
                do_constant_folding=self.optimize,
                training=getattr(
                    torch.onnx.TrainingMode, {"train": "TRAINING"}.get(self.training, self.training.upper())
                ),
                keep_initializers_as_inputs=not self.stored,
            )

    def _through_a_file(self, write: Callable[[str], object]) -> tuple[onnx.ModelProto, Mapping[str, Source]]:
        """Let an exporter write a file; large weights stay there, and the file goes when nobody needs them any more."""
        folder = NewFolder(os.path.join(self.folder or tempfile.gettempdir(), "graphkit-export"), mode=0o700)
        path = os.path.join(folder.path, "model.onnx")
        with contextlib.ExitStack() as stack:
            stack.callback(folder.close)
            write(path)
            if _bytes(self.module) < LARGE:
                return onnx.load(path), {}
            model = load(path)
            stack.pop_all()
        for source in model.sources.values():
            weakref.finalize(source, folder.close)
        return model.copy_proto(), model.sources


NOT_OPTIMIZED = Finding(
    "not-optimized",
    "the exporter's own optimizer failed on this graph, so it was exported without (optimize=False)",
    remedy="simplify leaves out what it would have",
)


def _branch(line: str) -> Finding:
    return Finding(
        "export-branch",
        "the module asks torch.onnx.is_in_onnx_export(): the model holds what it computes in an export",
        line,
        remedy="graphkit validate compares it with what the module computes outside of one",
    )


def _is_the_optimizers(error: BaseException) -> bool:
    """Whether a failure of the dynamo exporter began in the passes that onnxscript runs over the finished graph."""
    chain: BaseException | None = error
    while chain is not None:
        if type(chain).__name__ == "PassError" and type(chain).__module__.startswith("onnx_ir"):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _forget_recurrent_kernels() -> None:
    """Let torch look up anew what computes its recurrent operators.

    torch.export keeps GRU and LSTM as one operator each where nothing was looked up before; afterwards it takes them
    apart into a loop of the example's length (torch 2.13): the second export in a process would differ from the first.
    """
    import torch

    for name in ("gru", "lstm", "rnn_tanh", "rnn_relu"):
        for overload in ("input", "data"):
            getattr(getattr(torch.ops.aten, name), overload)._dispatch_cache.clear()  # noqa: SLF001 (there is no other door)


def weights_of(module: Any) -> Mapping[str, Any]:
    """The parameters and buffers of a module or an ExportedProgram by name."""
    state = module.state_dict
    held: Mapping[str, Any] = state() if callable(state) else state
    return held


def _bytes(module: Any) -> int:
    """The size of a module's parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in weights_of(module).values() if hasattr(t, "numel"))


def _not_taken_for_keywords(bound: given.Arguments) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments, a dict at their end given by its name: torch takes one there for the keyword arguments."""
    args, kwargs = bound.args, bound.kwargs
    if not args or kwargs or not isinstance(args[-1], dict):
        return args, kwargs
    name = list(bound.bound)[len(args) - 1]
    return args[:-1], {name: args[-1]}


def exportable(module: Any, bound: given.Arguments) -> Any:
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


def evaluating(module: Any) -> contextlib.AbstractContextManager[None]:
    """``in_mode(module, "eval")``."""
    return in_mode(module, "eval")


@contextlib.contextmanager
def in_mode(module: Any, training: Training) -> Iterator[None]:
    """Put a module into eval or training mode inside of the block, or leave it as it is ("preserve").

    Afterwards it is as it was: modes, buffers, attributes, gradients.
    """
    if not hasattr(module, "eval") or not hasattr(module, "modules"):
        yield
        return
    with unchanged(module):
        if training != "preserve":
            module.train(training == "train")
        yield

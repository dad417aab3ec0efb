"""One model in ONNX Runtime: the providers that really loaded, which node runs where, feeds in, arrays out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from graphkit.errors import NameNotFoundError
from graphkit.feeds.feeds import complete
from graphkit.graph.misnamed import node_hint
from graphkit.graph.ports import input_ports, output_ports
from graphkit.model import Model, ModelLike
from graphkit.runtime import providers
from graphkit.runtime.custom_ops import Libraries, custom_operators, register
from graphkit.runtime.failures import import_runtime, translated
from graphkit.runtime.fatal_nodes import fatal_optimizers, refuse_fatal, refuse_fatal_feeds
from graphkit.runtime.guarded import may_be_fatal
from graphkit.runtime.handover import CarriedModel, carry, require_runnable
from graphkit.runtime.ort_values import apart, from_run, lent_outputs, to_runtime
from graphkit.runtime.placement import Placed, named, nodes_on_cpu
from graphkit.runtime.tensorrt import TensorRT
from graphkit.storage.load import as_model

Optimization = Literal["all", "extended", "basic", "none"]
"""How far ONNX Runtime may rewrite a model before it runs it."""

_LEVELS: dict[Optimization, str] = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "none": "ORT_DISABLE_ALL",
}

THREADS_VARIABLE = "GRAPHKIT_THREADS"
"""The environment variable that says how many threads an operator of a session takes where its maker does not say."""

if TYPE_CHECKING:
    import onnx
    import torch

    from graphkit.tensor import Array


class Session:
    """A model loaded into ONNX Runtime. Made by ``graphkit.session``; used for as many runs as wanted.

    Attributes:
        model: The model that runs.
        name: Its path or graph name, for messages.
        device: "cpu", "cuda" or "tensorrt": where it runs.
        providers: The providers that loaded, in the order of preference.
        inputs: name -> Port.
        outputs: name -> Port.
        placed: The nodes of the optimised graph and where each runs; the nodes of bodies are not listed.
        notes: What the user should know: what ``auto`` took, nodes that run on the CPU.
    """

    def __init__(
        self, model: Model, raw: Any, device: str, notes: Sequence[str] = (), keep: CarriedModel | None = None
    ) -> None:
        self.model = model
        self.name = model.path or model.proto.graph.name
        self.device = device
        self.inputs = input_ports(model.proto)
        self.outputs = output_ports(model.proto)
        self.notes = tuple(notes)
        self._raw = raw
        self._lent = lent_outputs(model.proto.graph)
        self._keep = keep  # the runtime points into these arrays as long as the session lives
        self.providers: tuple[str, ...] = tuple(raw.get_providers())
        self.placed = tuple(
            Placed(node.name, node.op_type, part.ep_name)
            for part in raw.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        )

    def run(
        self,
        feeds: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        *,
        seed: int = 0,
        bind: Mapping[str, int] | None = None,
    ) -> dict[str, Array]:
        """Run once.

        Args:
            feeds: Input name -> array, number, nested list, or a specification as ``graphkit.run`` takes it.
            outputs: The graph outputs to give; None for all of them.
            seed: For inputs fed with "random".
            bind: Symbolic dim or ``INPUT:AXIS`` -> size, for inputs fed with "random".

        Returns:
            Output name -> array on the host, in the order asked for.

        Raises:
            FeedError: An input has no feed, or one of another dtype or shape; ``bind`` names no open dim.
            NameNotFoundError: A feed or output that the model does not have.
            SessionError: The runtime failed, or ran out of memory.
        """
        unknown = [name for name in outputs or () if name not in self.outputs]
        if unknown:
            hint = node_hint(self.model.proto.graph, unknown[0])
            raise NameNotFoundError("output", unknown[0], self.outputs, hint=hint)
        arrays = complete(self.model, self.inputs, feeds, seed=seed, bind=bind)
        refuse_fatal_feeds(self.model.proto, arrays)
        return self.run_arrays(arrays, outputs)

    def run_arrays(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """``run`` for arrays that already have the declared dtype: nothing is checked or converted here."""
        names = list(self.outputs if outputs is None else outputs)
        with translated(f"running {self.name}"):
            if any("map(" in self.outputs[name].text for name in names):
                made = self._raw.run(names, feeds)  # maps come out as dicts of Python's, and in no other way
                return dict(zip(names, made, strict=True))
            values = {name: to_runtime(value, self.inputs[name]) for name, value in feeds.items()}
            made = self._raw.run_with_ort_values(names, values)
            return {n: from_run(value, lent=n in self._lent) for n, value in zip(names, made, strict=True)}

    def prepared(self, feeds: Mapping[str, Array]) -> Callable[[], None]:
        """A call that runs on arrays of the declared dtype, handed to the runtime once, and drops what it gives: for timing.

        Raises:
            SessionError: The call: the runtime failed, or ran out of memory.
        """
        names = list(self.outputs)
        if any("map(" in port.text for port in self.outputs.values()):
            return lambda: self._dropped(lambda: self._raw.run(names, dict(feeds)))
        values = {name: to_runtime(value, self.inputs[name]) for name, value in feeds.items()}
        return lambda: self._dropped(lambda: self._raw.run_with_ort_values(names, values))

    def _dropped(self, run: Callable[[], object]) -> None:
        with translated(f"running {self.name}"):
            run()

    def run_tensors(
        self, feeds: Mapping[str, torch.Tensor], outputs: Sequence[str] | None = None
    ) -> dict[str, torch.Tensor]:
        """Run on torch tensors where they are, through DLPack: on CUDA nothing passes through the host.

        Args:
            feeds: Input name -> contiguous tensor of the declared dtype, on the session's device.
            outputs: The graph outputs to give; None for all of them.

        Returns:
            Output name -> tensor on the session's device, sharing the runtime's memory.

        Raises:
            SessionError: The runtime failed, or ran out of memory.
        """
        import torch

        runtime = import_runtime()
        names = list(self.outputs if outputs is None else outputs)
        where = "cpu" if self.device == "cpu" else "cuda"
        with translated(f"running {self.name}"):
            binding = self._raw.io_binding()
            for name, tensor in feeds.items():
                value = runtime.OrtValue.from_dlpack(tensor.detach().contiguous())
                binding.bind_ortvalue_input(name, value)
            for name in names:
                binding.bind_output(name, where)
            if where == "cuda":
                torch.cuda.current_stream().synchronize()  # the feeds are complete before the runtime's stream reads them
            self._raw.run_with_iobinding(binding)
            binding.synchronize_outputs()
            made = binding.get_outputs()
            return {name: _tensor(value) for name, value in zip(names, made, strict=True)}


def _tensor(value: Any) -> torch.Tensor:
    import torch

    tensor = torch.from_dlpack(value)
    return tensor.view(torch.bool) if value.data_type() == "tensor(bool)" and tensor.dtype != torch.bool else tensor


def session(
    model: ModelLike,
    *,
    device: str = "auto",
    tf32: bool = False,
    optimize: bool = True,
    optimization: Optimization = "all",
    allow_cpu_nodes: bool = False,
    threads: int | None = None,
    tensorrt: TensorRT | None = None,
    custom_ops: Libraries = (),
) -> Session:
    """Load a model into ONNX Runtime.

    A path is opened by the runtime itself, so that weights in external files stay there; a Model or ModelProto is
    handed over as its skeleton and mapped weights, without a copy on disk, also above 2 GB.

    Args:
        model: A path, a ModelProto or a Model.
        device: "cpu", "cuda", "tensorrt", or "auto": CUDA where it loads, else the CPU (``Session.notes`` says which).
        tf32: Let CUDA use TF32 for float32 products. Off, so that float32 means float32.
        optimize: False is ``optimization="none"``.
        optimization: Which of its rewrites the runtime applies: "none" runs every node as it stands in the file,
            "basic" folds constants and drops what is redundant, "extended" fuses nodes, "all" changes layouts too.
        allow_cpu_nodes: On a GPU, list nodes that fell to the CPU in ``Session.notes``, where otherwise they are an
            error. Shape computations, which belong on the CPU, are neither.
        threads: Threads inside an operator; None for what the variable GRAPHKIT_THREADS says, else all cores.
        tensorrt: With device "tensorrt": profiles of dynamic shapes, fp16, int8.
        custom_ops: Shared libraries of custom operators, as ONNX Runtime's ``register_custom_ops_library`` takes them. The
            variable GRAPHKIT_CUSTOM_OPS names more, for every session there is.

    Raises:
        ProviderError: The device was asked for and did not load, or nodes fell to the CPU.
        SessionError: The runtime refuses the model or a library, or functions that double each other would be expanded
            without end.
        InvalidGraphError: The runtime would end the process over a node: a Resize without a size, a Split with more
            outputs than it says, an Attention without heads, a SplitToSequence or STFT that divides by 0.
        FormatError: The file is no ONNX model.
        WeightsError: Weights were stripped, or are not where a tensor says.
        MissingExtraError: onnxruntime is not installed.
        NameNotFoundError, FeedError: A TensorRT profile is for no input, or does not fit it.
        ValueError: An unknown level; TensorRT's options for another device, or a profile that is none.

    Changes: nothing.
    Cost: O(model); weights are read by the runtime.

    Example:
        >>> import graphkit as gk
        >>> session = gk.session("model.onnx", device="cpu")
        >>> session.providers
        ('CPUExecutionProvider',)
    """
    if tensorrt is not None and device != "tensorrt":
        raise ValueError(f"options of TensorRT go with device 'tensorrt', not {device!r}")
    runtime = import_runtime()
    given = as_model(model)
    require_runnable(given.proto)
    if tensorrt is not None:
        tensorrt.check(given)
    device, note = providers.resolve(device)
    source = named(given) if device != "cpu" else given
    level = optimization if optimize else "none"
    if level not in _LEVELS:
        raise ValueError(f"optimization is one of {', '.join(_LEVELS)}, not {optimization!r}")
    with custom_operators(custom_ops):
        settings = session_settings(runtime, level, threads=threads)
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    path = os.fspath(model) if isinstance(model, (str, os.PathLike)) else None
    with translated(f"loading {source.path or source.proto.graph.name}"):
        as_it_is = path is not None and source is given and os.path.exists(path) and not may_be_fatal(source.proto)
        carried = CarriedModel(path) if path is not None and as_it_is else carry(source)
        raw = raw_session(
            runtime, source.proto, carried, settings, providers.options(device, tf32=tf32, tensorrt=tensorrt)
        )
    made = Session(source, raw, device, [note] if note else [], keep=carried)
    if device != "cpu":
        providers.require(device, made.providers)
        made.notes += nodes_on_cpu(made.model, made.placed, device, allow_cpu_nodes=allow_cpu_nodes)
    return made


def session_settings(runtime: Any, optimization: Optimization, *, threads: int | None = None) -> Any:
    """The runtime's own options of a session: quiet, with its rewrites as asked, and the custom operators that are in force.

    Raises:
        SessionError: A library of custom operators cannot be loaded.
    """
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    register(settings)
    settings.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, _LEVELS[optimization])
    if threads is None and os.environ.get(THREADS_VARIABLE, "").isdigit():
        threads = int(os.environ[THREADS_VARIABLE])
    if threads is not None:
        settings.intra_op_num_threads = threads
    return settings


class PieceSession:
    """A piece of a graph, run once or a few times on OrtValues, every node as it stands, no memory held back."""

    def __init__(self, piece: Model, name: str, *, device: str, tf32: bool = False, whole: bool = False) -> None:
        """Load a piece.

        Args:
            piece: The piece as a model.
            name: What it is a piece of, for messages.
            device: "cpu", "cuda" or "tensorrt".
            tf32: As in ``session``.
            whole: The piece is all of it, for messages.

        Raises:
            SessionError: The runtime refuses it.
        """
        runtime = import_runtime()
        settings = session_settings(runtime, "none")
        settings.enable_cpu_mem_arena = False  # an arena keeps the memory of values that are gone
        settings.enable_mem_pattern = False
        settings.add_session_config_entry("session.disable_prepacking", "1")  # it copies weights to run faster later
        self._name = name
        with translated(f"loading {name if whole else f'a piece of {name}'}"):
            self._keep = carry(piece)
            self._raw = raw_session(runtime, piece.proto, self._keep, settings, providers.options(device, tf32=tf32))
        self.providers: tuple[str, ...] = tuple(self._raw.get_providers())
        self._inputs = {value.name for value in piece.proto.graph.input}

    def run(self, values: Mapping[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
        """Run on OrtValues.

        Raises:
            FeedError: The runtime refuses a value.
            SessionError: It failed, or ran out of memory.
        """
        fed = {name: value for name, value in values.items() if name in self._inputs}
        with translated(f"running {self._name}"):
            made = self._raw.run_with_ort_values(list(outputs), fed)
        return {name: apart(value) for name, value in zip(outputs, made, strict=True)}


def raw_session(
    runtime: Any, model: onnx.ModelProto, carried: CarriedModel, settings: Any, wanted: list[tuple[str, dict[str, str]]]
) -> Any:
    """A session of the runtime's own on a model that is handed over.

    Raises:
        InvalidGraphError: The runtime would end the process over a node.
    """
    refuse_fatal(model)
    values = [runtime.OrtValue.ortvalue_from_numpy(array) for array in carried.arrays]
    if values:
        settings.add_external_initializers(carried.names, values)
        for name, value in zip(carried.names, values, strict=True):
            settings.add_initializer(name, value)  # without this the session keeps a copy of each
    return runtime.InferenceSession(
        carried.content, settings, providers=wanted, disabled_optimizers=fatal_optimizers(model)
    )

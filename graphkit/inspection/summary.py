"""What ``inspect`` gives: what a model holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from graphkit.finding import Finding
from graphkit.result import Result
from graphkit.step import Step


@dataclass(frozen=True, repr=False)
class ValueSummary(Result):
    """A graph input, a graph output or the output of a node.

    Attributes:
        name: Its name.
        type: As users write it, ``float32[1,3,h,w]``; "unknown" where the file does not say.
        producer: The node that makes it (its name, or its first output where it has none); None for inputs.
        consumers: How many nodes read it, through their bodies included.
        has_default: For inputs: whether an initializer of the same name gives it a default value.
    """

    name: str
    type: str
    producer: str | None
    consumers: int
    has_default: bool = False


@dataclass(frozen=True, repr=False)
class NodeSummary(Result):
    """A node.

    Attributes:
        name: Its name, often "".
        operator: ``Conv``, or ``domain::Operator`` outside of the default domain.
        inputs: Names of the values it reads; "" is an omitted one.
        outputs: Names of the values it makes; "" is an omitted one.
        attributes: Attribute name -> value as text; tensors by their type, and by their numbers where there are 16 or
            fewer; graphs by their size.
        module: Path of the torch module it came from, "" for the root; None where the file does not say. ``act#2`` is
            the second call of a module that is called more than once (in graphkit's exports).
        scope: "" for the main graph, else the name of the body or function it stands in.
        constants: Input -> its numbers, for initializers and Constants of 16 elements or fewer.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, str]
    module: str | None
    scope: str
    constants: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class InitializerSummary(Result):
    """A weight of the main graph.

    Attributes:
        name: Its name.
        type: ``float32[64,3,9,9]``; ``sparse(...)`` for a sparse one.
        bytes: What its values take; packed for types of less than 8 bits.
        location: The external data file, relative to the model; None where it is in the ``.onnx`` file.
        values: Its numbers where there are 16 or fewer.
    """

    name: str
    type: str
    bytes: int
    location: str | None
    values: str | None = None


@dataclass(frozen=True, repr=False)
class ModuleSummary(Result):
    """A torch module.

    Attributes:
        path: As ``Module.get_submodule`` takes it; "" is the root.
        class_name: ``torch.nn.modules.conv.Conv2d``; None where the file does not say.
        nodes: Number of its nodes in the main graph, those of its submodules and of all its calls included.
        bytes: Bytes of the weights and constants that these nodes read, each counted once; 0 where they read none. A
            weight that two modules share is in both, and once in what is around them.
        parameters: Elements of those that are weights: initializers with an axis, of another type than int64, bool and
            string. As many as torch counts in ``module.parameters()``, but for buffers, which a file does not tell from
            parameters, for constants that an exporter adds (scales of a Resize, states of an LSTM), and for what it folds: Conv + BatchNorm have the convolution's weight and one bias, in the
            module that the exporter names.
        calls: How many times it is called, those that left no node not counted; 1 where the file does not say.
        folded_into: The node that does its work, which the exporter calls after another module; None for all others. Such
            a module has no nodes of its own (in graphkit's exports: a BatchNorm and the convolution before it).
    """

    path: str
    class_name: str | None
    nodes: int
    bytes: int = 0
    parameters: int = 0
    calls: int = 1
    folded_into: str | None = None


@dataclass(frozen=True, repr=False)
class FunctionSummary(Result):
    """A model-local function.

    Attributes:
        name: ``domain::name``, with ``:overload`` behind it where there is one.
        inputs: Names of its inputs.
        outputs: Names of its outputs.
        nodes: Number of its nodes, without bodies.
        opsets: Domain -> version.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: int
    opsets: dict[str, int]


@dataclass(frozen=True, repr=False)
class Work(Result):
    """What one run computes and holds, at the sizes of the inputs.

    Attributes:
        inputs: Input -> shape that was assumed.
        macs: Multiply-accumulates of convolutions, matrix products and recurrent cells in the main graph.
        uncounted: Nodes whose share is not known: their shapes are not, or they have bodies or call functions.
        peak_bytes: Most bytes of values that are held at once, inputs and outputs included, where each is dropped behind its
            last reader and nodes run in the file's order; a runtime reuses and fuses. None where a value has no known size.
        peak_node: The node at which that is.
        unsized: Values without a known size.
    """

    inputs: dict[str, str]
    macs: int
    uncounted: int
    peak_bytes: int | None
    peak_node: str | None
    unsized: int


@dataclass(frozen=True, repr=False)
class Summary(Result):
    """What a model holds.

    Attributes:
        path: Where it was loaded from, or None.
        name: The graph's name.
        producer: Name and version of the tool that made it, "" where it does not say.
        doc: The model's doc_string.
        ir_version: IR version.
        opsets: Domain -> version; the default domain is "ai.onnx".
        inputs: Graph inputs.
        outputs: Graph outputs.
        node_count: Nodes of the main graph, bodies and functions.
        operators: Operator -> number of nodes, most frequent first; main graph, bodies and functions.
        nodes: Every node, the main graph's first.
        values: The values between the nodes of the main graph.
        initializers: The main graph's weights.
        weight_bytes: Bytes of all tensors: initializers and attributes, in the main graph, bodies and functions.
        weight_count: Number of elements of the initializers of the main graph, bodies included.
        functions: Model-local functions.
        modules: torch modules, parents before children; () where the file does not name them.
        metadata: The model's metadata_props.
        history: What graphkit did to it: the steps saved in the file, then those since it was loaded.
        graph_bytes: Bytes of the file without the values of tensors.
        constant_bytes: Those of ``weight_bytes`` that are in attributes: Constant nodes and others.
        dtypes: Element type -> bytes of all tensors, the most first.
        bodies: Bodies of If, Loop, Scan and the like.
        runtime: The installed ONNX Runtime and whether it takes this IR version and opset; "" where none is installed.
        findings: What is wrong or in the way, each with the command that mends it. ``check`` looks further.
        work: What a run computes and holds; None where it was not asked for.
        unbound: Dims of inputs that have no size, and keep ``work`` from being told.
    """

    path: str | None
    name: str
    producer: str
    doc: str
    ir_version: int
    opsets: dict[str, int]
    inputs: tuple[ValueSummary, ...]
    outputs: tuple[ValueSummary, ...]
    node_count: int
    operators: dict[str, int]
    nodes: tuple[NodeSummary, ...]
    values: tuple[ValueSummary, ...]
    initializers: tuple[InitializerSummary, ...]
    weight_bytes: int
    weight_count: int
    functions: tuple[FunctionSummary, ...]
    modules: tuple[ModuleSummary, ...]
    metadata: dict[str, str]
    history: tuple[Step, ...]
    graph_bytes: int = 0
    constant_bytes: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    bodies: int = 0
    runtime: str = ""
    findings: tuple[Finding, ...] = ()
    work: Work | None = None
    unbound: tuple[str, ...] = ()

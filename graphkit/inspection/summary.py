"""What a model holds, told from its skeleton: the data behind ``graphkit inspect``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from graphkit.errors import FormatError
from graphkit.graph import walk
from graphkit.graph.attribute_text import attribute_text, tensor_text
from graphkit.graph.index import GraphIndex
from graphkit.graph.module_paths import calls_around, module_call, module_classes, modules
from graphkit.graph.module_weights import module_weights
from graphkit.graph.values import format_type, tensor_type, value_type
from graphkit.model import is_own_location
from graphkit.result import Result
from graphkit.shapes.types_of import types_of
from graphkit.step import Step
from graphkit.storage.load import as_model
from graphkit.storage.source import Buffer
from graphkit.tensor import data_range, stored_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from graphkit.model import Model, ModelLike


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
        attributes: Attribute name -> value as text; tensors and graphs by their size only.
        module: Path of the torch module it came from, "" for the root; None where the file does not say. ``act#2`` is
            the second call of a module that is called more than once (in graphkit's exports).
        scope: "" for the main graph, else the name of the body or function it stands in.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, str]
    module: str | None
    scope: str


@dataclass(frozen=True, repr=False)
class InitializerSummary(Result):
    """A weight of the main graph.

    Attributes:
        name: Its name.
        type: ``float32[64,3,9,9]``; ``sparse(...)`` for a sparse one.
        bytes: What its values take; packed for types of less than 8 bits.
        location: The external data file, relative to the model; None where it is in the ``.onnx`` file.
    """

    name: str
    type: str
    bytes: int
    location: str | None


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
    """

    path: str
    class_name: str | None
    nodes: int
    bytes: int = 0
    parameters: int = 0
    calls: int = 1


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


def inspect(model: ModelLike, *, infer: bool = False) -> Summary:
    """What a model holds: its interface, nodes, values, weights, functions and the torch modules behind it.

    Args:
        model: A path, a ModelProto or a Model.
        infer: Infer the types that the file does not give (onnx.shape_inference).

    Raises:
        ModelFileError, FormatError, WeightsError, TensorError: The model cannot be loaded.

    Changes: nothing.
    Scope: main graph, bodies, functions.
    Cost: O(graph); with ``infer`` 20 microseconds a node more. Weights are never read.
    """
    source = as_model(model)
    proto = source.proto
    graph = proto.graph
    index = GraphIndex(graph)
    nodes = tuple(_nodes(proto))
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    between = [name for name in index.producer if name not in index.outputs]
    types = types_of(proto, index, (*index.inputs, *index.outputs, *between)) if infer else {}
    return Summary(
        path=source.path,
        name=graph.name,
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        doc=proto.doc_string,
        ir_version=proto.ir_version,
        opsets=_opsets(proto.opset_import),
        inputs=_values(index, types, index.inputs),
        outputs=_values(index, types, index.outputs),
        node_count=len(nodes),
        operators=dict(Counter(node.operator for node in nodes).most_common()),
        nodes=nodes,
        values=_values(index, types, between),
        initializers=tuple(_initializers(source)),
        weight_bytes=sum(stored_bytes(tensor) for tensor in walk.tensors(proto)),
        weight_count=sum(_count(tensor) for scope in walk.graphs(graph) for tensor in scope.initializer),
        functions=tuple(_function(function) for function in proto.functions),
        modules=_modules(index),
        metadata=metadata,
        history=_history(source),
    )


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {entry.domain or "ai.onnx": entry.version for entry in imports}


def _values(index: GraphIndex, types: Mapping[str, onnx.TypeProto], names: Iterable[str]) -> tuple[ValueSummary, ...]:
    return tuple(
        ValueSummary(
            name=name,
            type=format_type(types.get(name) or value_type(index, name)),
            producer=_producer(index, name),
            consumers=len(index.consumers.get(name, ())),
            has_default=index.is_overridable(name),
        )
        for name in names
    )


def _producer(index: GraphIndex, name: str) -> str | None:
    position = index.producer.get(name)
    if position is None:
        return None
    node = index.nodes[position]
    return str(node.name or next(filter(None, node.output)))


def _nodes(proto: onnx.ModelProto) -> Iterator[NodeSummary]:
    scopes = [("", proto.graph.node)]
    scopes += [(body.name, body.node) for body in walk.nested(proto.graph.node)]
    for function in proto.functions:
        scopes.append((_function_name(function), function.node))
        scopes += [(body.name, body.node) for body in walk.nested(function.node)]
    for scope, nodes in scopes:
        for node in nodes:
            yield NodeSummary(
                name=node.name,
                operator=_operator(node),
                inputs=tuple(node.input),
                outputs=tuple(node.output),
                attributes={attribute.name: attribute_text(attribute) for attribute in node.attribute},
                module=module_call(node),
                scope=scope,
            )


def _operator(node: onnx.NodeProto) -> str:
    name = f"{node.op_type}:{node.overload}" if node.overload else str(node.op_type)
    return name if node.domain in ("", "ai.onnx") else f"{node.domain}::{name}"


def _initializers(model: Model) -> Iterator[InitializerSummary]:
    graph = model.proto.graph
    for tensor in graph.initializer:
        yield InitializerSummary(tensor.name, tensor_text(tensor), stored_bytes(tensor), _location(model, tensor))
    for sparse in graph.sparse_initializer:
        dense = format_type(tensor_type(sparse.values.data_type, list(sparse.dims)))
        held = stored_bytes(sparse.values) + stored_bytes(sparse.indices)
        yield InitializerSummary(sparse.values.name, f"sparse({dense})", held, _location(model, sparse.values))


def _count(tensor: onnx.TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count


def _location(model: Model, tensor: onnx.TensorProto) -> str | None:
    """The data file of a tensor; None also for a skeleton's own references, into the ``.onnx`` file or into memory."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return None
    location = data_range(tensor).location
    if is_own_location(location) or isinstance(model.sources.get(location), Buffer):
        return None
    return location


def _history(model: Model) -> tuple[Step, ...]:
    """The steps; none where they cannot be read, whose text is among the metadata then."""
    try:
        return model.history
    except FormatError:
        return ()


def _function_name(function: onnx.FunctionProto) -> str:
    overload = f":{function.overload}" if function.overload else ""
    return f"{function.domain or 'ai.onnx'}::{function.name}{overload}"


def _function(function: onnx.FunctionProto) -> FunctionSummary:
    return FunctionSummary(
        name=_function_name(function),
        inputs=tuple(function.input),
        outputs=tuple(function.output),
        nodes=len(function.node),
        opsets=_opsets(function.opset_import),
    )


def _modules(index: GraphIndex) -> tuple[ModuleSummary, ...]:
    classes: dict[str, str] = {}
    numbers: dict[str, set[int | None]] = {}
    for node in index.nodes:
        classes.update(module_classes(node))
        for path, number in calls_around(node):
            numbers.setdefault(path, set()).add(number)
    found = modules(index.graph)
    held = module_weights(index, found)
    return tuple(
        ModuleSummary(path, classes.get(path), len(places), *held[path], len(numbers[path]))
        for path, places in found.items()
    )

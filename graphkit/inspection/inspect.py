"""What a model holds, told from its skeleton: the function behind ``graphkit inspect``."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import onnx

from graphkit.errors import FormatError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.module_paths import calls_around, folded_modules, module_call, module_classes, modules
from graphkit.graph.module_weights import module_weights
from graphkit.graph.names import label
from graphkit.graph.values import constant_tensor, format_type, is_constant_node, tensor_type, value_type
from graphkit.graph.written import attribute_text, operator_name, small_values, sparse_text, tensor_type_text
from graphkit.inspection.obstacles import obstacles, runtime_words
from graphkit.inspection.summary import (
    FunctionSummary,
    InitializerSummary,
    ModuleSummary,
    NodeSummary,
    Summary,
    ValueSummary,
)
from graphkit.inspection.work import unbound_dims, work
from graphkit.model import is_own_location
from graphkit.shapes.types_of import types_of
from graphkit.step import Step
from graphkit.storage.load import as_model
from graphkit.storage.source import Buffer
from graphkit.tensor import data_range, stored_bytes, type_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from graphkit.model import Model, ModelLike


def inspect(model: ModelLike, *, infer: bool = False, bind: Mapping[str, int] | None = None) -> Summary:
    """What a model holds: its interface, nodes, values, weights, functions and the torch modules behind it.

    Args:
        model: A path, a ModelProto or a Model.
        infer: Infer the types that the file does not give (onnx.shape_inference).
        bind: Tell what a run computes and holds (``Summary.work``) with these sizes: symbolic dim -> size, or
            ``INPUT:AXIS`` -> size; ``{}`` for a model without symbolic dims. None does not.

    Raises:
        ModelFileError, FormatError, WeightsError, TensorError: The model cannot be loaded.
        NameNotFoundError: ``bind`` names no dim of an input.
        ValueError: A size is less than 0.

    Changes: nothing.
    Scope: main graph, bodies, functions.
    Cost: O(graph); with ``infer`` 20 microseconds a node more, with ``bind`` 40. Of weights, those of 16 elements or fewer
        are read.

    Example:
        >>> import graphkit as gk
        >>> summary = gk.inspect("model.onnx")
        >>> summary.operators["Relu"]
        1
    """
    source = as_model(model)
    proto = source.proto
    graph = proto.graph
    index = GraphIndex(graph)
    nodes = tuple(_nodes(source))
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
        graph_bytes=proto.ByteSize() - sum(_held_inside(tensor) for tensor in walk.tensors(proto)),
        constant_bytes=_constant_bytes(proto),
        dtypes=_dtypes(proto),
        bodies=sum(1 for _ in _bodies(proto)),
        runtime=runtime_words(proto),
        findings=tuple(obstacles(source, index)),
        work=None if bind is None else work(proto, index, bind),
        unbound=unbound_dims(proto, index, bind or {}),
    )


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {entry.domain or "ai.onnx": entry.version for entry in imports}


def _constant_type(index: GraphIndex, name: str) -> onnx.TypeProto | None:
    """The type of what a Constant node makes: it says it itself."""
    position = index.producer.get(name)
    node = None if position is None else index.nodes[position]
    tensor = constant_tensor(node) if node is not None and is_constant_node(node) else None
    return None if tensor is None else tensor_type(tensor.data_type, list(tensor.dims))


def _values(index: GraphIndex, types: Mapping[str, onnx.TypeProto], names: Iterable[str]) -> tuple[ValueSummary, ...]:
    return tuple(
        ValueSummary(
            name=name,
            type=format_type(types.get(name) or _constant_type(index, name) or value_type(index, name)),
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


def _held_inside(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor's values that are in the skeleton itself."""
    return 0 if tensor.data_location == onnx.TensorProto.EXTERNAL else min(stored_bytes(tensor), tensor.ByteSize())


def _constant_bytes(proto: onnx.ModelProto) -> int:
    tensors = (
        tensor
        for node in walk.model_nodes(proto)
        for attribute in node.attribute
        for tensor in walk.attribute_tensors(attribute)
    )
    return sum(map(stored_bytes, tensors))


def _dtypes(proto: onnx.ModelProto) -> dict[str, int]:
    found: Counter[str] = Counter()
    for tensor in walk.tensors(proto):
        found[type_name(tensor.data_type)] += stored_bytes(tensor)
    return dict(found.most_common())


def _bodies(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    yield from walk.nested(proto.graph.node)
    for function in proto.functions:
        yield from walk.nested(function.node)


def _nodes(model: Model) -> Iterator[NodeSummary]:
    proto = model.proto
    scopes: list[tuple[str, Sequence[onnx.NodeProto], onnx.GraphProto | None]] = [("", proto.graph.node, proto.graph)]
    scopes += [(body.name, body.node, body) for body in walk.nested(proto.graph.node)]
    for function in proto.functions:
        scopes.append((_function_name(function), function.node, None))
        scopes += [(body.name, body.node, body) for body in walk.nested(function.node)]
    known = _small(model, proto.graph.node, proto.graph)
    for scope, nodes, graph in scopes:
        here = known if graph is proto.graph else known | _small(model, nodes, graph)
        for node in nodes:
            yield NodeSummary(
                name=node.name,
                operator=operator_name(node),
                inputs=tuple(node.input),
                outputs=tuple(node.output),
                attributes={one.name: attribute_text(one, model.array_of) for one in node.attribute},
                module=module_call(node),
                scope=scope,
                constants={name: here[name] for name in node.input if name in here},
            )


def _small(model: Model, nodes: Iterable[onnx.NodeProto], graph: onnx.GraphProto | None) -> dict[str, str]:
    """Small constants of a scope -> their numbers; defaults that a caller may override are none."""
    inputs = {value.name for value in graph.input} if graph is not None else set()
    found: dict[str, str] = {}
    tensors = [(t.name, t) for t in graph.initializer if t.name not in inputs] if graph is not None else []
    for node in nodes:
        if is_constant_node(node) and node.output:
            tensor = constant_tensor(node)
            if tensor is not None:
                tensors.append((node.output[0], tensor))
    for name, tensor in tensors:
        numbers = small_values(tensor, model.array_of)
        if numbers is not None:
            found[name] = numbers
    return found


def _initializers(model: Model) -> Iterator[InitializerSummary]:
    graph = model.proto.graph
    for tensor in graph.initializer:
        numbers = small_values(tensor, model.array_of)
        held = stored_bytes(tensor)
        yield InitializerSummary(tensor.name, tensor_type_text(tensor), held, _location(model, tensor), numbers)
    for sparse in graph.sparse_initializer:
        kind = sparse_text(sparse).partition(" ")[0]
        held = stored_bytes(sparse.values) + stored_bytes(sparse.indices)
        yield InitializerSummary(sparse.values.name, kind, held, _location(model, sparse.values))


def _count(tensor: onnx.TensorProto) -> int:
    return math.prod(tensor.dims)


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
    before, behind = _folded(index, found, classes)
    rows = []
    for path, places in found.items():
        own = ModuleSummary(path, classes.get(path), len(places), *held[path], len(numbers[path]))
        rows += [*before.get(path, ()), own, *behind.get(path, ())]
    return tuple(rows)


def _folded(
    index: GraphIndex, found: Mapping[str, object], classes: dict[str, str]
) -> tuple[dict[str, list[ModuleSummary]], dict[str, list[ModuleSummary]]]:
    """Modules that no node names since an exporter folded them into another's: to list before and behind that one."""
    before: dict[str, list[ModuleSummary]] = {}
    behind: dict[str, list[ModuleSummary]] = {}
    listed = set(found)
    for node in index.nodes:
        told = folded_modules(node)
        for path, kind in told.items():
            classes.setdefault(path, kind)
        partner = next((path for path in told if path in found), None)
        order = list(told)
        for path in order if partner is not None else ():
            if path not in listed:
                listed.add(path)
                places = before if order.index(path) < order.index(str(partner)) else behind
                row = ModuleSummary(path, told[path], 0, folded_into=label(node))
                places.setdefault(str(partner), []).append(row)
    return before, behind

"""To onnx-graphsurgeon and back, with nothing lost on what its script did not touch.

A ``gs.Graph`` holds less than a model: no metadata, no doc strings of nodes, no quantization annotations, no overloads, no
sparse or type attributes; and its exporter copies weights that bodies capture into every body. So the way back compares.
The graph is exported, and so is a fresh import of the model it came from. What is the same in both was not touched: there
the model's own message is taken. What differs is taken from the graph, with what a graph cannot say carried over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx

from graphkit.bridge.edit import put_back
from graphkit.bridge.export import export_function, export_graph
from graphkit.bridge.restore import Restore, numbered
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.opset import canonical
from graphkit.model import Model, ModelLike
from graphkit.storage.load import as_model
from graphkit.tensor import dense


def to_graphsurgeon(model: ModelLike) -> Any:
    """The model as an ``onnx_graphsurgeon.Graph``.

    Weights are lazy: ``constant.values`` reads the one tensor it is asked for, and what is never asked for is never read.

    Args:
        model: A path, a ModelProto or a Model; it is not changed.

    Raises:
        EditError: onnx-graphsurgeon cannot import the model.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing.
    Scope: main graph, bodies, functions.
    Cost: O(graph); weights are not read.

    Example:
        >>> import graphkit as gk
        >>> len(gk.to_graphsurgeon("model.onnx").nodes) == len(gk.load("model.onnx").nodes)
        True
    """
    source = as_model(model)
    return _import(source, source.copy_proto())


def from_graphsurgeon(graph: Any, *, like: ModelLike) -> Model:
    """A Model of an ``onnx_graphsurgeon.Graph`` that was made from another model.

    Args:
        graph: The graph; it is not changed.
        like: The model that it was made from, by ``to_graphsurgeon`` or by ``gs.import_onnx``. What the graph still has
            unchanged comes from here, whole: metadata, doc strings, annotations, overloads, devices, and the weights,
            which stay where they are.

    Raises:
        EditError: The graph has what cannot be exported, such as an input without a type.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing; returns a new model over the bytes of ``like`` and the arrays of the graph.
    Scope: main graph, bodies, functions.
    Cost: O(graph); of the weights only those are read whose ``values`` the script asked for.

    Example:
        >>> import graphkit as gk
        >>> graph = gk.to_graphsurgeon("model.onnx")
        >>> graph.nodes[0].name = "first"
        >>> gk.from_graphsurgeon(graph, like="model.onnx").nodes[0].name
        'first'
    """
    source = as_model(like).without_record()
    proto = source.copy_proto()
    baseline = _import(source, source.copy_proto())
    restore = Restore(source)
    main = restore.graph(export_graph(graph), export_graph(baseline), source.proto.graph, outer=frozenset())
    proto.graph.CopyFrom(main)
    del proto.functions[:]
    exported = ((key, export_function(function)) for key, function in numbered(baseline.functions))
    known = {key: (function, own) for (key, function), own in zip(exported, source.proto.functions, strict=True)}
    now = ((key, export_function(function)) for key, function in numbered(graph.functions))
    proto.functions.extend(restore.functions(now, known))
    _set_model_fields(proto, graph, baseline)
    return put_back(source, proto)


def _import(source: Model, proto: onnx.ModelProto) -> Any:
    import onnx_graphsurgeon as gs
    from onnx_graphsurgeon.ir.tensor import LazyValues

    try:
        graph = gs.import_onnx(proto)
    except (gs.OnnxGraphSurgeonException, KeyError, TypeError, ValueError) as error:
        raise EditError(f"onnx-graphsurgeon cannot import the model: {error}") from error
    for constant in _constants(graph):
        if isinstance(constant._values, LazyValues):  # noqa: SLF001 (gs has no public way to set lazy values)
            constant._values.load = _Loader(source, constant._values.tensor)  # noqa: SLF001 (the same)
    return graph


class _Loader:
    """Reads one lazy tensor; takes the place of ``LazyValues.load``, which does not find bytes that lie elsewhere."""

    def __init__(self, source: Model, tensor: Any) -> None:
        self.source = source
        self.tensor = tensor

    def __call__(self) -> Any:
        import numpy as np

        if isinstance(self.tensor, onnx.SparseTensorProto):
            values, indices = self.tensor.values, self.tensor.indices
            arrays = self.source.array_of(values), self.source.array_of(indices)
            return dense(values.name, *arrays, self.tensor.dims)
        return np.array(self.source.array_of(self.tensor))


def _constants(graph: Any) -> Iterator[Any]:
    """Every gs.Constant of a graph: weights and tensor attributes, in bodies and functions too."""
    import onnx_graphsurgeon as gs

    waiting, seen = [graph, *graph.functions], set()
    while waiting:
        scope = waiting.pop()
        for node in scope.nodes:
            for value in (*node.inputs, *node.attrs.values()):
                if isinstance(value, gs.Constant) and id(value) not in seen:
                    seen.add(id(value))
                    yield value
                elif isinstance(value, gs.Graph):
                    waiting.append(value)


def _set_model_fields(proto: onnx.ModelProto, graph: Any, baseline: Any) -> None:
    """What a gs.Graph says about the model, where the script changed it; and the domains that its nodes use."""
    for field in ("producer_name", "producer_version", "ir_version"):
        if getattr(graph, field) != getattr(baseline, field) and getattr(graph, field) is not None:
            setattr(proto, field, getattr(graph, field))
    versions = {o.domain: o for o in proto.opset_import}
    for domain, version in [(o.domain, o.version) for o in graph.import_domains or ()]:
        if domain not in versions:
            versions[domain] = proto.opset_import.add(domain=domain, version=version)
    if graph.opset != baseline.opset and graph.opset is not None:
        main = versions.get("", versions.get("ai.onnx"))
        if main is not None:
            main.version = graph.opset
    for node in walk.nodes(proto.graph):
        domain = canonical(node.domain)
        if domain and domain not in versions:
            versions[domain] = proto.opset_import.add(domain=domain, version=1)

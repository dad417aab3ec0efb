"""Types of values that the file does not give, from ONNX's own inference, over the part of the graph that needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import onnx

from graphkit.errors import InvalidGraphError
from graphkit.graph import walk
from graphkit.graph.cut import Region, trace
from graphkit.graph.index import GraphIndex
from graphkit.graph.opset import opset_of
from graphkit.graph.order import is_ordered, topological_order
from graphkit.graph.values import dims, has_shape, is_typed, tensor_type, value_type
from graphkit.semantics.elementwise import OPSET, types_behind
from graphkit.shapes.inference import drop_unnamed, has_long_vector, run_inference
from graphkit.shapes.ml_types import ml_types

_SHAPE_TYPES = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)


def types_of(
    model: onnx.ModelProto, index: GraphIndex, names: Iterable[str], given: Mapping[str, onnx.TypeProto] | None = None
) -> dict[str, onnx.TypeProto]:
    """The types of values of the main graph, as far as they can be known.

    A type is taken from ``given``, else from the file, else from the rules for elementwise operators or, where others lie
    before the value, from ``onnx.shape_inference``; both go from the nearest typed values upstream. Symbolic dims keep
    their names.

    Returns:
        name -> type. A value for which nothing is known is left out; one may have a type without a shape.

    Scope: the main graph; inference itself goes into bodies and functions.
    Cost: O(names) where the file has the types, else O(nodes between); weights are not read.
    """
    given = {**ml_types(model, index, given or {}), **(given or {})}
    found: dict[str, onnx.TypeProto] = {}
    missing: list[str] = []
    for name in names:
        known = given.get(name) or value_type(index, name)
        if known is not None:
            found[name] = known
        if known is None or not has_shape(known):
            missing.append(name)
    if missing:
        for name, inferred in _infer(model, index, missing, given).items():
            if name not in found or has_shape(inferred):
                found[name] = inferred
    return found


def _infer(
    model: onnx.ModelProto, index: GraphIndex, names: list[str], given: Mapping[str, onnx.TypeProto]
) -> dict[str, onnx.TypeProto]:
    """By the rules for elementwise operators; where others lie before, by inference."""
    declared = {*index.value_info, *index.outputs, *given}

    alike: dict[tuple[int, tuple[int, ...]], onnx.TypeProto] = {}
    weights, plain = index.initializers.get, index.inputs

    def start(name: str) -> onnx.TypeProto | None:
        """A type with its shape to start from; weights that are alike have one object, which is recognized."""
        tensor = weights(name)
        if tensor is not None and name not in declared and name not in plain:
            key = tensor.data_type, tuple(tensor.dims)
            return alike.get(key) or alike.setdefault(key, tensor_type(*key))
        known = given.get(name) or value_type(index, name)
        return known if known is not None and (name in given or has_shape(known)) else None

    def begins(name: str) -> bool:
        """Whether inference may start here. Not at shapes being computed: inference propagates their values."""
        known = start(name) if name in declared else None
        return known is not None and (name in given or not _may_be_shape(known))

    found: dict[str, onnx.TypeProto] = {}
    if opset_of(model) >= OPSET:
        found = types_behind(index, names, start, declared)
    left = [name for name in names if name not in found]
    if left:
        found |= _by_inference(model, index, left, given, begins)
    return {name: found[name] for name in names if name in found}


def _by_inference(
    model: onnx.ModelProto,
    index: GraphIndex,
    names: list[str],
    given: Mapping[str, onnx.TypeProto],
    begins: Callable[[str], bool],
) -> dict[str, onnx.TypeProto]:
    try:
        region = trace(index, names, (), stop=begins)
        part = _part(model, index, region, given)
        found = _inferred(part, names) if region.nodes else {}
        nodes = list(part.graph.node)
        if any(name not in found or not has_shape(found[name]) for name in names) and not is_ordered(nodes):
            order = topological_order(nodes)
            del part.graph.node[:]
            part.graph.node.extend(nodes[position] for position in order)
            found = _inferred(part, names)
    except InvalidGraphError:
        return {}  # what lies upstream reads a name that nothing defines, or from itself: nothing follows from it
    return found


def _part(
    model: onnx.ModelProto, index: GraphIndex, region: Region, given: Mapping[str, onnx.TypeProto]
) -> onnx.ModelProto:
    """The part of the model that decides the types: a region, the functions it calls, and types where it begins."""
    # Below IR version 4 every weight is listed as an input; from 4 on inference takes those that are not listed too.
    part = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    part.opset_import.extend(model.opset_import)
    part.graph.name = model.graph.name
    part.graph.node.extend(index.nodes[position] for position in region.nodes)
    called = walk.called_functions(part.graph.node, model.functions)
    part.functions.extend(f for f in model.functions if walk.function_key(f) in called)
    # A default value that the caller may override decides no shape.
    optional = {n for n in region.constants if model.ir_version >= 4 and index.is_overridable(n)}
    fixed = [n for n in region.constants if n not in optional]
    part.graph.initializer.extend(index.initializers[n] for n in fixed if n in index.initializers)
    part.graph.sparse_initializer.extend(index.sparse_initializers[n] for n in fixed if n in index.sparse_initializers)
    for name in (*region.reached, *region.open_inputs, *optional):
        part.graph.input.add(name=name, type=given.get(name) or value_type(index, name))
    return part


def _inferred(part: onnx.ModelProto, names: Iterable[str]) -> dict[str, onnx.TypeProto]:
    """What onnx infers for values; with the values of computed shapes, where something is open without them."""
    plain = run_inference(part, propagate=False)
    found = _types_in(plain, names)
    if plain is None or all(name in found and _is_complete(found[name]) for name in names):
        return found
    return found if has_long_vector(plain.graph) else found | _types_in(run_inference(part, propagate=True), names)


def _types_in(model: onnx.ModelProto | None, names: Iterable[str]) -> dict[str, onnx.TypeProto]:
    wanted = set(names)
    infos = model.graph.value_info if model is not None else ()
    found = {info.name: info.type for info in infos if info.name in wanted and is_typed(info.type)}
    for type_proto in found.values():
        drop_unnamed(type_proto)
    return found


def _is_complete(type_proto: onnx.TypeProto) -> bool:
    known = dims(type_proto)
    return None not in known if known is not None else has_shape(type_proto)


def _may_be_shape(type_proto: onnx.TypeProto) -> bool:
    known = dims(type_proto)
    return type_proto.tensor_type.elem_type in _SHAPE_TYPES and (known is None or len(known) <= 1)

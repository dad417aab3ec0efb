"""What ``onnx.checker`` says about a model, part by part: as a whole it stops at the first fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from google.protobuf.message import EncodeError
from onnx import checker

from graphkit.graph import walk
from graphkit.graph.names import label
from graphkit.graph.opset import imported
from graphkit.tensor import PAYLOAD_FIELDS


def checker_faults(model: onnx.ModelProto, *, whole: bool) -> Iterator[tuple[str, str | None]]:
    """(what it says, the node that it is about), for each node and declared value, and for the model as a whole.

    Args:
        model: The model.
        whole: Ask about the whole where its parts are fine. Where something is known to be wrong it would say that again.

    Cost: O(graph), about 10 microseconds a node; weights are not read, their place is taken by empty tensors.
    """
    light = _without_weights(model)
    all_of_it = _said(checker.check_model, light) if whole else None
    if whole and not all_of_it:
        return
    functions = {walk.function_key(function) for function in light.functions}
    found = False
    for nodes, values, opsets in _parts(light):
        context = checker.C.CheckerContext()
        context.ir_version = light.ir_version
        context.opset_imports = {domain: version for domain, version in imported(opsets).items() if 0 < version < 2**31}
        for value in values:
            if said := _said(checker.check_value_info, value, context):
                found = True
                yield said, None
        for node in nodes:
            if walk.call_key(node) in functions:
                continue
            if said := _said(checker.check_node, _without_bodies(node), context):
                found = True
                yield said, label(node)
    if all_of_it and not found:
        yield all_of_it, None


def _said(check: object, subject: object, *context: object) -> str | None:
    """What a check of onnx's has against something, in one line; None where it has nothing."""
    try:
        check(subject, *context)  # type: ignore[operator]  # one of the functions of onnx.checker
    except (checker.ValidationError, onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        return " ".join(str(error).split("==> Context")[0].split())[:500]
    except (EncodeError, TypeError):
        return None  # larger than protobuf takes, or what its binding does not: nothing was found out
    return None


_Part = tuple[Iterable[onnx.NodeProto], Iterable[onnx.ValueInfoProto], Iterable[onnx.OperatorSetIdProto]]


def _parts(model: onnx.ModelProto) -> Iterator[_Part]:
    for graph in walk.graphs(model.graph):
        declared = (*graph.input, *graph.output) if graph is model.graph else ()
        yield graph.node, declared, model.opset_import
    for function in model.functions:
        yield walk.function_nodes(function), (), function.opset_import


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which tensors that lie elsewhere, or hold nothing, are empty ones of their type."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in walk.tensors(copy):
        elsewhere = tensor.data_location == onnx.TensorProto.EXTERNAL
        if elsewhere or not any(getattr(tensor, field) for field in PAYLOAD_FIELDS):
            for field in PAYLOAD_FIELDS:
                tensor.ClearField(field)
            tensor.ClearField("data_location")
            del tensor.external_data[:]
            tensor.dims[:] = [0]
    return copy


def _without_bodies(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node whose bodies are empty: their own nodes are asked about by themselves."""
    if not any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for attribute in copy.attribute:
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
            graph.Clear()
            graph.name = "body"
    return copy

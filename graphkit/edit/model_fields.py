"""What a model says beside its nodes: metadata, doc strings, versions, declared types. One function sets each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.names import title
from graphkit.graph.values import is_typed
from graphkit.semantics.schemas import operators, schema_of
from graphkit.shapes.inference import inferred, run_inference

OPSETS_SINCE_IR = 3
"""The IR version from which on a model imports opsets (docs/IR.md, "Models")."""


def set_metadata(proto: onnx.ModelProto, metadata: Mapping[str, str], notes: list[str]) -> None:
    """Write entries of the model's metadata, and add what was done to some notes. Changes the model."""
    for key, text in metadata.items():
        held = next((entry for entry in proto.metadata_props if entry.key == key), None) or proto.metadata_props.add(
            key=key
        )
        held.value = str(text)
        notes.append(f"metadata {key!r} is set")


def clear_everywhere(proto: onnx.ModelProto, field: str) -> int:
    """Clear a field of the model and of all that it holds; how many had it."""
    holders: list[Any] = [proto, *proto.functions, *walk.model_nodes(proto), *walk.tensors(proto)]
    for graph in (
        proto.graph,
        *(g for f in proto.functions for g in walk.nested(f.node)),
        *walk.nested(proto.graph.node),
    ):
        holders += [graph, *graph.input, *graph.output, *graph.value_info]
    count = 0
    for holder in holders:
        if getattr(holder, field, None):
            holder.ClearField(field)
            count += 1
    return count


def import_domain(proto: onnx.ModelProto, domain: str, version: int) -> str:
    """Import a domain in a version, the bare number; what was done. Changes the model.

    Raises:
        EditError: ONNX has an operator of the model in other versions of ai.onnx only, or no file can hold the number.
    """
    names = ("", "ai.onnx") if domain in ("", "ai.onnx") else (domain,)
    if "" in names:
        own = {walk.function_key(function) for function in proto.functions}
        for node in walk.nodes(proto.graph):
            known = node.op_type in operators() and walk.call_key(node) not in own and walk.call_key(node)[0] == ""
            if known and schema_of(node.op_type, version) is None:
                raise EditError(f"{title(node)}: there is no {node.op_type} in opset {version}")
    if not 1 <= version < 1 << 63:
        raise EditError(f"a domain is imported as version 1 or more, not {version}")
    held = [entry for entry in proto.opset_import if entry.domain in names]
    for entry in held or [proto.opset_import.add(domain=names[0])]:
        entry.version = version
    return f"{names[-1]} is imported as version {version}; no node was rewritten for it"


def set_ir(proto: onnx.ModelProto, ir: int) -> str:
    """Set the IR version, the bare number; what was done. Changes the model.

    Raises:
        EditError: There is no such version, or the model holds what it does not know.
    """
    if not 1 <= ir <= onnx.IR_VERSION:
        raise EditError(f"there is no IR version {ir}; the installed onnx knows 1 to {onnx.IR_VERSION}")
    if ir < OPSETS_SINCE_IR and proto.opset_import:
        raise EditError(
            f"the model imports opsets, which IR version {ir} does not know: the lowest is {OPSETS_SINCE_IR}"
        )
    if ir < 8 and proto.functions:
        raise EditError(f"the model has functions, which IR version {ir} does not know")
    if ir < 4 and {t.name for t in proto.graph.initializer} - {v.name for v in proto.graph.input}:
        raise EditError(f"in IR version {ir} every weight is an input too, and here some are not")
    before, proto.ir_version = proto.ir_version, ir
    return f"the IR version is {ir}, it was {before}"


def infer_shapes(proto: onnx.ModelProto) -> str:
    """Write the types that inference finds, in the main graph and in bodies; what was done. Changes the model.

    Raises:
        EditError: Inference fails.

    Cost: two runs of onnx.shape_inference.
    """
    if run_inference(proto, propagate=False) is None:
        raise EditError("onnx cannot infer the shapes of this model", hint="check says what is wrong with it")
    again = inferred(proto)
    count = 0
    for graph, fresh in zip(walk.graphs(proto.graph), walk.graphs(again.graph), strict=True):
        held = {info.name: info for info in graph.value_info}
        for info in fresh.value_info:
            if not is_typed(info.type):
                continue
            if info.name not in held:
                graph.value_info.add().CopyFrom(info)
                count += 1
            elif held[info.name].type != info.type:
                held[info.name].type.CopyFrom(info.type)
                count += 1
        for output, found in zip(graph.output, fresh.output, strict=True):
            if not is_typed(output.type) and is_typed(found.type):
                output.type.CopyFrom(found.type)
                count += 1
    return f"the types of {count} values are written"


def clear_shapes(proto: onnx.ModelProto) -> str:
    """Take the types of inner values out, everywhere; what was done. Changes the model."""
    count = 0
    for graph in walk.graphs(proto.graph):
        count += len(graph.value_info)
        del graph.value_info[:]
    for function in proto.functions:
        count += len(function.value_info)
        del function.value_info[:]
    return f"the types of {count} inner values are gone"

"""What nothing needs, outside of the main graph's nodes: in bodies and functions, optional results, functions, imports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import onnx

from graphkit.edit.nodes import delete_nodes
from graphkit.edit.prune import keep
from graphkit.graph import walk
from graphkit.graph.opset import canonical, opset_of
from graphkit.semantics.schemas import schema_of

Holder = onnx.GraphProto | onnx.FunctionProto

MODES = frozenset(("BatchNormalization",))
"""Operators that compute something else where fewer results are asked for (BatchNormalization up to opset 13)."""


def remove_unused(proto: onnx.ModelProto) -> Counter[str]:
    """Take out what nothing needs. Changes the model.

    Dead nodes, weights and declarations of bodies and functions; optional results that nothing reads, everywhere; functions
    that nothing calls; imports of domains that nothing uses. ai.onnx is always imported.

    Returns:
        What was done -> how often.

    Cost: O(nodes).
    """
    done: Counter[str] = Counter()
    kept = _called(proto)
    gone = {walk.function_key(f) for f in proto.functions} - kept
    if gone:
        done["functions that nothing calls are gone"] = len(gone)
        keep(proto.functions, lambda f: walk.function_key(f) in kept)
        keep(proto.graph.value_info, lambda v: not walk.is_function_value(v.name, gone))
    for function in proto.functions:
        opset = opset_of(function)
        for body in reversed([*walk.nested(function.node)]):
            done += _trimmed(body, _outputs(body), opset, kept)
        done += _trimmed(function, function.output, opset, kept)
        done += _imported(function, walk.function_nodes(function))
    opset = opset_of(proto)
    for body in reversed([*walk.nested(proto.graph.node)]):
        done += _trimmed(body, _outputs(body), opset, kept)
    done += _left_out(proto.graph.node, _read_by_main(proto), opset, kept)
    used = [i.domain for f in proto.functions for i in f.opset_import]
    done += _imported(proto, [*walk.nodes(proto.graph), *_training_nodes(proto)], used)
    return done


def _outputs(graph: onnx.GraphProto) -> list[str]:
    return [value.name for value in graph.output]


def _training_nodes(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    graphs = [graph for t in proto.training_info for graph in (t.initialization, t.algorithm)]
    return [node for graph in graphs for node in walk.nodes(graph)]


def _called(proto: onnx.ModelProto) -> set[walk.FunctionKey]:
    return walk.called_functions([*proto.graph.node, *_training_nodes(proto)], proto.functions)


def _read_by_main(proto: onnx.ModelProto) -> set[str]:
    needed = {name for node in proto.graph.node for name in walk.reads(node)}
    needed.update(_outputs(proto.graph), (entry.tensor_name for entry in proto.graph.quantization_annotation))
    for training in proto.training_info:
        needed.update(walk.free_names(training.algorithm), walk.free_names(training.initialization))
        needed.update(e.key for e in (*training.initialization_binding, *training.update_binding))
    return needed


def _trimmed(holder: Holder, outputs: Iterable[str], opset: int, functions: set[walk.FunctionKey]) -> Counter[str]:
    """Take what does not lead to ``outputs`` out of a body or function. Changes it."""
    done: Counter[str] = Counter()
    needed = {*outputs}
    dead = []
    for position in range(len(holder.node) - 1, -1, -1):
        node = holder.node[position]
        if needed.isdisjoint(node.output):
            dead.append(position)
        else:
            needed.update(walk.reads(node))
    gone = {name for position in dead for name in holder.node[position].output}
    if dead:
        delete_nodes(holder, set(dead))
        done["nodes that nothing reads are gone"] = len(dead)
    if isinstance(holder, onnx.GraphProto):
        stays = needed | {value.name for value in holder.input}
        gone |= {t.name for t in holder.initializer} | {s.values.name for s in holder.sparse_initializer}
        gone -= stays
        keep(holder.initializer, lambda t: t.name in stays)
        keep(holder.sparse_initializer, lambda s: s.values.name in stays)
        keep(holder.quantization_annotation, lambda entry: entry.tensor_name not in gone)
        needed.update(entry.tensor_name for entry in holder.quantization_annotation)
    done += _left_out(holder.node, needed, opset, functions)
    made = {name for node in holder.node for name in node.output}
    keep(holder.value_info, lambda v: v.name not in gone or v.name in made)
    return done


def _left_out(
    nodes: Iterable[onnx.NodeProto], needed: set[str], opset: int, functions: set[walk.FunctionKey]
) -> Counter[str]:
    """Leave optional results out that nothing reads. Changes the nodes."""
    count = 0
    for node in nodes:
        if len(node.output) < 2 or node.op_type in MODES or node.device_configurations:
            continue
        unread = [place for place, name in enumerate(node.output) if name and name not in needed]
        if not unread or canonical(node.domain) or walk.call_key(node) in functions:
            continue
        schema = schema_of(node.op_type, opset)
        optional = onnx.defs.OpSchema.FormalParameterOption.Optional
        for place in unread:
            if schema is not None and place < len(schema.outputs) and schema.outputs[place].option == optional:
                node.output[place] = ""
                count += 1
        while node.output and not node.output[-1]:
            del node.output[-1]
    return Counter({"optional results that nothing reads are left out": count}) if count else Counter()


def _imported(
    holder: onnx.ModelProto | onnx.FunctionProto, nodes: Iterable[onnx.NodeProto], used: Iterable[str] = ()
) -> Counter[str]:
    """Drop imports of domains that no node is of. Changes the model or function."""
    domains = {"", *map(canonical, used)} | {canonical(node.domain) for node in nodes}
    gone = sum(canonical(entry.domain) not in domains for entry in holder.opset_import)
    if not gone:
        return Counter()
    keep(holder.opset_import, lambda entry: canonical(entry.domain) in domains)
    return Counter({"imports that nothing needs are gone": gone})

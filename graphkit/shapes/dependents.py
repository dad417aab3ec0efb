"""What depends on a shape: the values and nodes behind one that changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

from graphkit.graph import walk
from graphkit.semantics.kinds import CONTROL_FLOW, LOOPS, SHAPE_ONLY
from graphkit.semantics.shape_inputs import SHAPED_BY


def shaped_by(graph: onnx.GraphProto, names: Iterable[str], functions: Iterable[onnx.FunctionProto] = ()) -> list[str]:
    """The values whose shape depends on what values some tensors hold: Reshape of a computed target, Resize, Range, ...

    Args:
        graph: The main graph.
        names: The tensors.
        functions: The model's functions: all of their inputs may decide a shape.

    Scope: main graph and bodies.
    Cost: O(nodes).
    """
    held = dependents(graph, names, stop=SHAPE_ONLY)
    calls = {(function.domain, function.name) for function in functions}
    return [
        output
        for node in walk.nodes(graph)
        for position in range(len(node.input))
        if node.input[position] in held
        and ((node.domain, node.op_type) in calls or position in SHAPED_BY.get(node.op_type, ()))
        for output in node.output
        if output
    ]


def dependents(graph: onnx.GraphProto, changed: Iterable[str], *, stop: Sequence[str] = ()) -> set[str]:
    """Every value, in a graph and its bodies, that is computed from some values; these included.

    Args:
        graph: The main graph.
        changed: Where to start.
        stop: Operators that are not passed through.

    Cost: O(nodes), times two for each level of loops.
    """
    stale = set(changed)
    _spread(graph, stale, stop)
    return stale


def _spread(graph: onnx.GraphProto, stale: set[str], stop: Sequence[str]) -> None:
    for node in graph.node:
        if node.op_type in stop:
            continue
        if any(attribute.HasField("g") for attribute in node.attribute):
            _spread_bodies(node, stale, stop)
        elif not stale.isdisjoint(node.input):
            stale.update(name for name in node.output if name)


def _spread_bodies(node: onnx.NodeProto, stale: set[str], stop: Sequence[str]) -> None:
    """If, Loop and Scan: what their bodies are given, make, carry into the next turn and hand out."""
    bodies = list(walk.bodies(node))
    carried = _carried(node)
    for body in bodies:
        if node.op_type in LOOPS:
            pairs = zip(node.input, body.input, strict=False)
            stale.update(inner.name for outer, inner in pairs if outer in stale)
        before = -1
        while before != len(stale):
            before = len(stale)
            _spread(body, stale, stop)
            stale.update(body.input[to].name for at, to in carried if body.output[at].name in stale)
    skip = 1 if node.op_type == "Loop" else 0
    deciding = {"If": 1, "Loop": 2}.get(node.op_type, 0)
    if not stale.isdisjoint(node.input[:deciding]):
        stale.update(name for name in node.output if name)
    for position, output in enumerate(node.output):
        if node.op_type in CONTROL_FLOW:
            hit = any(
                out.name in stale for body in bodies for out in body.output[position + skip : position + skip + 1]
            )
        else:
            hit = any(out.name in stale for body in bodies for out in body.output)
        if output and hit:
            stale.add(output)


def _carried(node: onnx.NodeProto) -> list[tuple[int, int]]:
    """(output, input) of a body for every value that goes from one turn into the next (Loop-1, Scan-9)."""
    body = next(walk.bodies(node), None)
    if body is None:  # a damaged node
        return []
    inputs, outputs = len(body.input), len(body.output)
    if node.op_type == "Loop":
        return [(1 + k, 2 + k) for k in range(min(len(node.input) - 2, inputs - 2, outputs - 1))]
    if node.op_type == "Scan":
        scanned = next((a.i for a in node.attribute if a.name == "num_scan_inputs"), 0)
        return [(k, k) for k in range(min(inputs - scanned, inputs, outputs))]
    return []


def readers(graph: onnx.GraphProto, names: set[str]) -> list[onnx.NodeProto]:
    """The nodes of a graph and of the bodies in it that read some values as inputs."""
    return [node for node in walk.nodes(graph) if not names.isdisjoint(node.input)]

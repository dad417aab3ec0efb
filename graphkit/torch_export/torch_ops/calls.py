"""One call of a torch operator in a module, and the nodes of an exported graph that count as made for it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx

from graphkit.graph import walk
from graphkit.semantics.kinds import draws

NO_WORK = frozenset({"Constant", "Identity"})
"""Operators that are not counted: the exporters leave them between others, and every optimizer takes them out."""


@dataclass(frozen=True)
class Call:
    """One call of a torch operator, and what an exporter made of it at one opset.

    Attributes:
        operator: The operator, as the exporter names it.
        source: The user's line that calls it, or "".
        nodes: The ONNX operators of its nodes, in order.
        parts: The torch operators that it was taken apart into first; () where it was translated itself.
        refused: The torch operators, itself or parts of it, that have no translation.
        reason: What the exporter says about a call that its rule does not take; "" where there is no rule.
    """

    operator: str
    source: str
    nodes: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    reason: str = ""


def working_nodes(graph: onnx.GraphProto, inputs: Collection[str]) -> Iterator[tuple[onnx.GraphProto, onnx.NodeProto]]:
    """The nodes that compute something from a model's inputs, each with the graph that it stands in.

    Not among them: what depends on weights and constants only, which is computed once (constant folding), and
    ``NO_WORK``. A node without any input draws random numbers, and counts.

    Args:
        graph: The main graph, in topological order.
        inputs: Its inputs that are not weights.

    Scope: the graph and the bodies in it.
    Cost: O(nodes), times the depth of nesting.
    """
    yield from _working(graph, set(inputs))


def _working(graph: onnx.GraphProto, varying: set[str]) -> Iterator[tuple[onnx.GraphProto, onnx.NodeProto]]:
    for node in graph.node:
        if not draws(node) and varying.isdisjoint(walk.reads(node)):
            continue
        varying.update(name for name in node.output if name)
        if node.op_type not in NO_WORK:
            yield graph, node
        for body in walk.bodies(node):
            yield from _working(body, varying | {value.name for value in body.input})

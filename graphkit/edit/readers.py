"""Who reads a value, made to read another one; who makes it stays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import onnx

from graphkit.edit.nodes import set_inputs
from graphkit.graph import walk
from graphkit.graph.columns import Columns


def read_instead(
    nodes: Iterable[onnx.NodeProto],
    table: Mapping[str, str],
    skipped: Collection[int] = (),
    only: Collection[int] | None = None,
) -> int:
    """Let nodes, and the bodies in them, read other values. Changes the nodes.

    Args:
        nodes: The nodes of a graph or function.
        table: Value of it -> what to read in its place.
        skipped: Positions of nodes that stay as they are.
        only: Positions of the nodes that change; None for all.

    Returns:
        How many nodes read another value now; one with a body that does counts once.

    Cost: O(nodes).
    """
    columns = Columns([*nodes])
    old = table.keys()
    found = {position for position, names in enumerate(columns.inputs) if not old.isdisjoint(names)}
    changed = {p for p in found.difference(skipped) if only is None or p in only}
    for position in changed:
        inputs = columns.nodes[position].input
        for place, name in enumerate(columns.inputs[position]):
            if name in table:
                inputs[place] = table[name]
    for position, attributes in enumerate(columns.attributes):
        if attributes and position not in skipped and (only is None or position in only):
            node = columns.nodes[position]
            if walk.may_capture(node, attributes) and _in_attributes(node, table):
                changed.add(position)
    return len(changed)


def _in_attributes(node: onnx.NodeProto, table: Mapping[str, str]) -> bool:
    changed = False
    for attribute in walk.naming_attributes(node):
        names = [name.decode() for name in attribute.strings]
        changed = changed or attribute.s.decode() in table or not table.keys().isdisjoint(names)
        attribute.strings[:] = [table.get(name, name).encode() for name in names]
        if attribute.s:
            attribute.s = table.get(attribute.s.decode(), attribute.s.decode()).encode()
    waiting = [(body, table) for body in walk.bodies(node)]
    while waiting:
        graph, visible = waiting.pop()
        seen = {old: visible[old] for old in visible.keys() - walk.defined_names(graph)}
        for output in graph.output:
            if output.name in seen:
                output.name, changed = seen[output.name], True
        for inner in graph.node:
            names = inner.input[:]
            if not seen.keys().isdisjoint(names):
                set_inputs(inner, [seen.get(name, name) for name in names])
                changed = True
            waiting.extend((body, seen) for body in walk.bodies(inner)) if inner.attribute else None
    return changed

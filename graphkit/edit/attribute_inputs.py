"""Attributes that later versions of an operator take as inputs: Clip's bounds, Squeeze's axes, Upsample's scales, ..."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from graphkit.edit.converting import convert_opset
from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses
from graphkit.graph.names import Names, label
from graphkit.graph.opset import opset_of

OTHER_NAMES = {("Pad", "value"): "constant_value", ("TopK", "k"): "K", ("Pad", "paddings"): "pads"}
"""(operator, attribute) -> the input it became, where that is called otherwise."""


def attribute_as_input(proto: onnx.ModelProto, name: str, attribute: str, known: Names) -> tuple[str, list[str]]:
    """Make sure that a node takes an attribute as an input, raising the model's opset where needed. Changes the model.

    Args:
        proto: The skeleton.
        name: The node's name, or its first output where it has none.
        attribute: The attribute (or the input that it became).
        known: The names of the model before anything was raised: constants that have none of these get a telling one.

    Returns:
        The name of the value that the node now reads, and what was done.

    Raises:
        NameNotFoundError: No node has the name, or the operator has no such attribute.
        EditError: No version of the operator takes the attribute as an input, or nothing is given for it.
    """
    graph, node = _node(proto, name)
    opset = opset_of(proto)
    target, slot = _first_version(node, attribute, opset)
    notes = convert_opset(proto, target)
    graph, node = _node(proto, node.output[0])
    if slot >= len(node.input) or not node.input[slot]:
        raise EditError(
            f"{node.op_type} {name!r} is given no {attribute!r}, so there is no value to make an input of",
            hint="set the attribute or the input first",
        )
    value = node.input[slot]
    telling = f"{node.output[0]}_{attribute}"
    if value not in known and value != telling:  # a conversion made this constant: let its name say what it is
        maker = next(other for other in graph.node if value in other.output)
        value = Names(proto.graph).fresh(telling)
        maker.output[0] = node.input[slot] = value
    return value, notes


def _node(proto: onnx.ModelProto, name: str) -> tuple[onnx.GraphProto, onnx.NodeProto]:
    found = [
        (graph, node)
        for graph in walk.graphs(proto.graph)
        for node in graph.node
        if name in (node.name, *node.output[:1])
    ]
    if len(found) > 1:
        raise NameNotFoundError("single node", name, hint=f"{len(found)} nodes have this name; name one by its output")
    if not found and "/" in name:
        there = Addresses(proto).node(name)
        if there.site.graph is not None and there.site.function is None:
            return there.site.graph, there.node
    if not found:
        known = [label(node) for node in walk.nodes(proto.graph)]
        raise NameNotFoundError("value, and no node,", name, known)
    return found[0]


def _first_version(node: onnx.NodeProto, attribute: str, opset: int) -> tuple[int, int]:
    """The first opset, this one or later, in which the node has an input for an attribute, and the input's position."""
    history = sorted(
        (s for s in onnx.defs.get_all_schemas_with_history() if s.name == node.op_type and s.domain == node.domain),
        key=lambda schema: schema.since_version,
    )
    slot_name = OTHER_NAMES.get((node.op_type, attribute), attribute)
    in_force = [schema for schema in history if schema.since_version <= opset][-1:]
    for schema in in_force + [schema for schema in history if schema.since_version > opset]:
        slots = [entry.name for entry in schema.inputs]
        if slot_name in slots and attribute not in schema.attributes:
            return max(schema.since_version, opset), slots.index(slot_name)
    known = {n for schema in history for n in schema.attributes}
    if attribute not in known:
        raise NameNotFoundError(f"attribute (of {node.op_type})", attribute, known)
    raise EditError(
        f"no version of {node.op_type} takes {attribute!r} as an input, so it can be no input of the model",
        hint=_possible(history),
    )


def _possible(history: Sequence[onnx.defs.OpSchema]) -> str | None:
    names = {n for schema in history for n in schema.attributes}
    able = sorted(n for n in names if any(n in [i.name for i in schema.inputs] for schema in history))
    return f"its attributes that can: {', '.join(able)}" if able else None

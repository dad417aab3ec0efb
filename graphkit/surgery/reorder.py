"""reorder: inputs and outputs in another order, nodes sorted, names for what has none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.nodes import sort_nodes
from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph.addresses import Addresses
from graphkit.graph.names import Names
from graphkit.graph.order import is_ordered, topological_order
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.plural import counted


@operation(law="same", valid=False)
def reorder(
    model: Model,
    *,
    inputs: str | Iterable[str] = (),
    outputs: str | Iterable[str] = (),
    sort: bool = False,
    name_all: bool = False,
) -> Edit:
    """Put inputs and outputs in another order, sort nodes, and name those that have no name.

    Args:
        model: A path, a ModelProto or a Model.
        inputs: Inputs of the graph in the wanted order; those that are not named follow in theirs.
        outputs: The same for outputs.
        sort: Put every node behind those it reads from, as ONNX wants it; nodes that are sorted stay as they are.
        name_all: Give each node without a name one that nothing in the model has, ``Conv_3``.

    Raises:
        NameNotFoundError: There is no such input or output.
        EditError: One is named twice.
        InvalidGraphError: The nodes read from each other in a cycle.
        ValueError: Nothing is to be done.

    Changes: nothing; returns a new model. The notes count what moved.
    Scope: inputs and outputs of the main graph; nodes of the main graph, bodies and functions.
    Cost: O(graph); weights are not read.
    Law: same, up to the order; repaired for nodes that were not sorted.
    Source: onnx/docs/IR.md, "Graphs".

    Example:
        >>> gk.reorder("model.onnx", inputs=["mask", "ids"]).save("out.onnx")  # doctest: +SKIP
    """
    first, last = ([names] if isinstance(names, str) else list(names) for names in (inputs, outputs))
    if not (first or last or sort or name_all):
        raise ArgumentValueError("reorder needs inputs, outputs, sort or name_all")
    proto = model.copy_proto()
    notes = _reorder(proto.graph.input, first, "input") + _reorder(proto.graph.output, last, "output")
    if sort:
        notes.append(_sort(proto))
    if name_all:
        notes.append(_name_all(proto))
    return Edit(proto, notes)


def _reorder(entries: Sequence[onnx.ValueInfoProto], names: Sequence[str], kind: str) -> list[str]:
    """Put entries of the interface in order. Changes it."""
    if not names:
        return []
    present = [value.name for value in entries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise EditError(f"the {kind} {twice!r} is named {names.count(twice)} times", hint="name each once")
    for name in names:
        if name not in present:
            raise NameNotFoundError(kind, name, present)
    place = {name: number for number, name in reversed(list(enumerate(names)))}
    ordered = sorted(entries, key=lambda value: place.get(value.name, len(names)))
    copies = [onnx.ValueInfoProto.FromString(value.SerializeToString()) for value in ordered]
    del entries[:]  # type: ignore[attr-defined]  # a protobuf list
    entries.extend(copies)  # type: ignore[attr-defined]  # a protobuf list
    return [f"the {kind}s are {', '.join(repr(value.name) for value in copies)}"]


def _sort(proto: onnx.ModelProto) -> str:
    moved = 0
    for site in Addresses(proto).sites:
        if not is_ordered(site.nodes):
            order = topological_order(site.nodes)
            moved += sum(position != place for place, position in enumerate(order))
            sort_nodes(site.holder, sorted(range(len(order)), key=order.__getitem__))
    return (
        counted(moved, "node has another place", "nodes have another place")
        if moved
        else "the nodes were sorted already"
    )


def _name_all(proto: onnx.ModelProto) -> str:
    training = [graph for part in proto.training_info for graph in (part.initialization, part.algorithm)]
    names = Names(proto.graph, *training, *(onnx.GraphProto(node=function.node) for function in proto.functions))
    count = 0
    for site in Addresses(proto).sites:
        for node in site.nodes:
            if not node.name:
                node.name = names.fresh(f"{node.op_type}_{count}")
                count += 1
    return counted(count, "node has a name now", "nodes have a name now")

"""The nodes of a body in the graph around it: what becomes of an If or a Loop of which it is known what runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import onnx

from graphkit.edit.inlining import hand_down
from graphkit.edit.nodes import set_nodes
from graphkit.edit.renaming import rename_declarations, rename_everywhere
from graphkit.graph import walk
from graphkit.graph.names import Names
from graphkit.graph.scopes import Scope, scopes
from graphkit.semantics.elementwise import BOOLEAN
from graphkit.shapes.inference import Chain

Known = TypeVar("Known")

INITIALIZERS_ALONE = 4
"""The IR version since which an initializer need not be a graph input (docs/IR.md)."""


class Condition(Chain):
    """What a condition or a count is computed from."""

    OPS = Chain.OPS | {*BOOLEAN, "Not", "ReduceSum"}


def replace_known(
    model: onnx.ModelProto,
    names: Names,
    known: Callable[[onnx.NodeProto, Scope], Known | None],
    written: Callable[[onnx.GraphProto, Known], list[onnx.NodeProto]],
) -> None:
    """Put other nodes in the place of those of which it is known what runs. Changes the model.

    Bodies come first: the graph around them takes them as they are then.

    Args:
        model: The model.
        names: Its names.
        known: What is known of a node, seen from its scope; None where it stays.
        written: The nodes that stand for it in its graph.

    Scope: main graph and bodies at any depth; not functions.
    Cost: O(graph), and the nodes that are written.
    """
    for graph, scope in reversed(list(zip(walk.graphs(model.graph), scopes(model.graph), strict=True))):
        old = list(graph.node)
        found = [known(node, scope) for node in old]
        if all(one is None for one in found):
            continue
        nodes: list[onnx.NodeProto] = []
        called = {node.name for node in old}
        for node, one in zip(old, found, strict=True):
            if one is None:
                nodes.append(node)
                continue
            made = written(graph, one)
            tell_apart(made, called, names)
            nodes.extend(made)
        set_nodes(graph, nodes)


def constant_number(scope: Scope, name: str, opset: int) -> int | None:
    """What a condition or a count comes to that small arithmetic makes of constants; None for anything else.

    Args:
        scope: Where it is read.
        name: The value.
        opset: The version of ai.onnx.

    Cost: loads onnx.reference where nodes compute it.
    """
    chain = Condition(scope, name)
    if chain.sources or chain.shapes:
        return None
    value = chain.evaluate(opset)
    return None if value is None or value.size != 1 else int(value.ravel()[0])


def splice(
    model: onnx.ModelProto,
    graph: onnx.GraphProto,
    owner: onnx.NodeProto,
    body: onnx.GraphProto,
    table: Mapping[str, str],
    names: Names,
) -> list[onnx.NodeProto]:
    """The nodes of a body for the graph around it, which gets the body's weights, types and annotations.

    Args:
        model: Changed: before IR version 4 its initializers are inputs, and weights of a body become Constant nodes.
        graph: The graph around; it gets what the body declares, but not the nodes.
        owner: The node whose body it is; what it says of itself goes to the nodes.
        body: A copy of the body; it is changed.
        table: Name in the body -> name in the graph.
        names: The names in use.
    """
    rename_declarations(body, table)
    rename_everywhere(body.node, table)
    nodes = list(body.node)
    hand_down(owner, nodes)
    declared = {value.name for value in (*graph.value_info, *graph.output, *graph.input)}
    graph.value_info.extend(value for value in body.value_info if value.name not in declared)
    graph.quantization_annotation.extend(body.quantization_annotation)
    graph.sparse_initializer.extend(body.sparse_initializer)
    if model.ir_version >= INITIALIZERS_ALONE:
        graph.initializer.extend(body.initializer)
        return nodes
    return [*_constants(body.initializer, names), *nodes]


def tell_apart(nodes: Iterable[onnx.NodeProto], called: set[str], names: Names) -> None:
    """Rename nodes that come to a graph with a name that one of its own has. Changes the nodes and the set."""
    for node in nodes:
        if node.name and node.name in called:
            node.name = names.fresh(node.name)
        called.add(node.name)


def copied(source: str, output: str, names: Names) -> onnx.NodeProto:
    """An Identity that gives a value another name."""
    return onnx.helper.make_node("Identity", [source], [output], name=names.fresh(f"{output}_copy"))


def _constants(tensors: Iterable[onnx.TensorProto], names: Names) -> list[onnx.NodeProto]:
    return [
        onnx.helper.make_node("Constant", [], [tensor.name], name=names.fresh(f"{tensor.name}_node"), value=tensor)
        for tensor in tensors
    ]

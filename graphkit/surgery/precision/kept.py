"""What stays in float32: operators and nodes by the user's word, nodes of other domains, nodes that compute sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import onnx

from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph import walk


@dataclass(frozen=True)
class Kept:
    """What stays in float32.

    Attributes:
        operators: Operators.
        nodes: Nodes, by name or output.
        only: Where it is not empty: all operators but these.
        interface: Inputs and outputs.
    """

    operators: Collection[str] = ()
    nodes: Collection[str] = ()
    only: Collection[str] = ()
    interface: bool = False


def half_may_serve(model: onnx.ModelProto) -> str | None:
    """The hint where int8 has nothing to do: float16 has, where a tensor is float32."""
    held = any(tensor.data_type == onnx.TensorProto.FLOAT for tensor in walk.tensors(model))
    fed = any(info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for info in model.graph.input)
    return "float16 may serve it" if held or fed else None


def number_nodes(graph: onnx.GraphProto) -> dict[str, str]:
    """Give every node a name that no other has; returns what they were called. Changes the graph."""
    called = {}
    for count, node in enumerate(walk.nodes(graph)):
        called[f"node #{count}"] = node.name
        node.name = f"node #{count}"
    return called


def call_again(graph: onnx.GraphProto, called: Mapping[str, str]) -> None:
    """Give the nodes their own names again. Changes the graph."""
    for node in walk.nodes(graph):
        node.name = called.get(node.name, node.name)
        if not node.name:
            node.ClearField("name")


def kept_nodes(
    graph: onnx.GraphProto,
    called: Mapping[str, str],
    kept: Kept,
    *,
    operators: Collection[str] = (),
    computing: Collection[str] = (),
) -> set[str]:
    """The nodes that go on computing in float32, by number: those asked for, those of other domains, those for sizes.

    Args:
        graph: The main graph, its nodes numbered.
        called: number -> the node's own name.
        kept: What the user wants to keep.
        operators: Operators that stay whatever the user says.
        computing: Nodes that compute sizes, by number.

    Raises:
        NameNotFoundError: A node or operator that is named is not in the model.
        EditError: A node that is named is control flow, whose bodies are converted node by node.
    """
    found: set[str] = set()
    missing = set(kept.nodes)
    present = {node.op_type for node in walk.nodes(graph)}
    _refuse_unknown("operator", (*kept.operators, *kept.only), present)
    for node in walk.nodes(graph):
        names = {called[node.name], *node.output} & set(kept.nodes)
        missing -= names
        flow = next(iter(walk.bodies(node)), None) is not None
        if flow and names:
            raise EditError(f"{node.op_type} {min(names)!r} has bodies: name the nodes in them")
        own = node.domain not in ("", "ai.onnx", "com.microsoft")
        asked = bool(names) or node.op_type in kept.operators or bool(kept.only and node.op_type not in kept.only)
        if not flow and (asked or own or node.op_type in operators or node.name in computing):
            found.add(node.name)
    known = [name for node in walk.nodes(graph) for name in (called[node.name], *node.output) if name]
    _refuse_unknown("node", sorted(missing), known)
    return found


def _refuse_unknown(kind: str, names: Iterable[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise NameNotFoundError(kind, name, known)

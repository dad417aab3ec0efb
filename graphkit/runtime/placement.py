"""Which provider runs which node, and which nodes belong on the CPU.

ONNX Runtime keeps the nodes that compute shapes on the CPU on purpose, because kernels read them there. Any other node of
a session on a GPU that is placed on the CPU is an error, or a note where it is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import onnx

from graphkit.errors import ProviderError
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.graph.walk import captures
from graphkit.hint import Argument, Hint
from graphkit.model import Model
from graphkit.runtime.providers import CPU
from graphkit.semantics.kinds import RESIZERS, SHAPE_ONLY
from graphkit.semantics.shape_inputs import SHAPED_BY

_HOST = (
    *(*RESIZERS, "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"),
    *"CenterCropPad ConstantOfShape Expand If Loop OneHot Pad Range Reshape Slice Split Squeeze Tile TopK Unsqueeze".split(),
)

HOST_INPUTS: dict[str, tuple[int, ...]] = {**{op: SHAPED_BY[op] for op in _HOST}, "CumSum": (1,)}
"""Inputs that ONNX Runtime's CUDA kernels read on the CPU (onnxruntime/core/providers/cuda, ``InputMemoryType``): of these
operators, those that decide the shape; and an axis.
"""


class Placed(NamedTuple):
    """A node of the optimised graph and the provider that runs it."""

    node: str
    op_type: str
    provider: str


def nodes_on_cpu(model: Model, placed: Sequence[Placed], device: str, *, allow_cpu_nodes: bool) -> tuple[str, ...]:
    """A note on the nodes that run on the CPU although they do not belong there; none where there are none.

    Args:
        model: The model of a session on a GPU, its nodes named.
        placed: Where each node runs.
        device: The device that was asked for, for messages.
        allow_cpu_nodes: Whether such nodes are no error.

    Raises:
        ProviderError: There are such nodes, and they are not allowed.

    Cost: O(graph).
    """
    belong = shape_nodes(model.proto.graph)
    fallen = [p for p in placed if p.provider == CPU and p.node not in belong]
    if not fallen:
        return ()
    listed = ", ".join(f"{p.op_type} {p.node!r}" for p in fallen[:8]) + (" ..." if len(fallen) > 8 else "")
    if not allow_cpu_nodes:
        raise ProviderError(
            f"{len(fallen)} nodes of {model.path or model.proto.graph.name} run on the CPU although {device!r} was asked "
            f"for: {listed}",
            hint=Hint("allow it with ", Argument("allow_cpu_nodes"), "; the nodes are listed then"),
        )
    return (f"{len(fallen)} nodes run on the CPU: {listed}",)


def shape_nodes(graph: onnx.GraphProto) -> set[str]:
    """The names of the nodes that compute shapes: made from Shape or Size only, or read only as a host input.

    Scope: the main graph; a node in a body counts as where its outermost node is.
    Cost: O(graph).
    """
    index = GraphIndex(graph)
    forward = _from_shapes(index)
    backward = _for_hosts(index)
    return {node.name for position, node in enumerate(index.nodes) if position in forward or position in backward}


def _from_shapes(index: GraphIndex) -> set[int]:
    found: set[int] = set()
    constant: set[int] = set()
    for position, node in enumerate(index.nodes):
        if node.op_type in SHAPE_ONLY:
            found.add(position)
            continue
        made_by = {index.producer[name] for name in node.input if name in index.producer}
        given = [name for name in node.input if name and name not in index.producer and not index.is_constant(name)]
        if node.op_type == "Constant" or (not given and made_by <= constant):
            constant.add(position)
        elif not given and made_by <= found | constant and node.op_type not in ("ConstantOfShape", "Expand", "Tile"):
            found.add(position)
    return found


def _for_hosts(index: GraphIndex) -> set[int]:
    found: set[int] = set()
    for position in reversed(range(len(index.nodes))):
        readers = [(reader, name) for name in index.nodes[position].output for reader in index.consumers.get(name, ())]
        outputs = set(index.nodes[position].output) & index.outputs.keys()
        if readers and not outputs and all(r in found or reads_on_host(index.nodes[r], name) for r, name in readers):
            found.add(position)
    return found


def reads_on_host(node: onnx.NodeProto, name: str) -> bool:
    """Whether a node reads a value in such places only; what its bodies read counts as read elsewhere."""
    places = HOST_INPUTS.get(node.op_type, ())
    read = [i for i, value in enumerate(node.input) if value == name]
    return bool(read) and all(i in places for i in read) and name not in captures(node)


def named(model: Model) -> Model:
    """The model with a name on every node of the main graph, so that the runtime's report of nodes can be read."""
    if all(node.name for node in model.proto.graph.node):
        return model
    proto = model.copy_proto()
    names = Names(proto.graph)
    for node in proto.graph.node:
        if not node.name:
            node.name = names.fresh(f"{node.op_type}_{next((o for o in node.output if o), '')}")
    return Model(proto, model.sources, path=model.path)

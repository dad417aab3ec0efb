"""Whether the channels of an input or output come first, by the operators that read or make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import onnx

from graphkit.graph.values import attribute_value
from graphkit.semantics.elementwise import KEEPS_AXES
from graphkit.semantics.kinds import GLOBAL_POOLS, POOLS

CHANNELS_FIRST = frozenset(
    (
        *(
            *POOLS,
            *GLOBAL_POOLS,
            "BatchNormalization",
            "GroupNormalization",
            "InstanceNormalization",
            "LRN",
            "Upsample",
        ),
        *("Conv", "ConvInteger", "ConvTranspose", "QLinearConv", "DepthToSpace", "SpaceToDepth"),
    )
)
"""Operators whose first operand has its channels at axis 1 (onnx Operators.md says N x C x D1 x ... of each)."""

_WITH_A_CONSTANT = frozenset(("Add", "Div", "Mul", "Sub"))


def channels_first_at(
    graph: onnx.GraphProto, name: str, rank: int, *, is_input: bool
) -> tuple[int, onnx.NodeProto] | None:
    """Which axis of an input or output the channels are, and the node that says so; None where no node does.

    Args:
        graph: The main graph.
        name: The input or output.
        rank: Its rank.
        is_input: Whether it is an input: readers are asked then, the nodes that make it otherwise.

    Cost: O(nodes) for the readers of each value; a chain of operators that keep axes is followed, and nothing else.
    """
    flat = {tensor.name for tensor in graph.initializer if len(tensor.dims) <= rank}

    def keeps(node: onnx.NodeProto) -> bool:
        return node.op_type in KEEPS_AXES or (
            node.op_type in _WITH_A_CONSTANT and len(node.input) > 1 and node.input[1] in flat
        )

    if is_input:
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            if node.input and node.domain in ("", "ai.onnx"):
                readers.setdefault(node.input[0], []).append(node)
        steps = _forwards(readers, name, rank, keeps)
    else:
        makers = {value: node for node in graph.node if node.domain in ("", "ai.onnx") for value in node.output}
        steps = _backwards(makers, name, rank, keeps)
    return next(((axes[1], node) for node, axes in steps if node.op_type in CHANNELS_FIRST), None)


def _forwards(
    readers: dict[str, list[onnx.NodeProto]], name: str, rank: int, keeps: Callable[[onnx.NodeProto], bool]
) -> Iterator[tuple[onnx.NodeProto, list[int]]]:
    """The nodes that read a value, and which of its axes each of theirs is."""
    waiting, seen = [(name, list(range(rank)))], {name}
    while waiting:
        value, axes = waiting.pop()
        for node in readers.get(value, ()):
            yield node, axes
            if not node.output or node.output[0] in seen:
                continue
            seen.add(node.output[0])
            if keeps(node):
                waiting.append((node.output[0], axes))
            elif (perm := _order(node, rank)) is not None:
                waiting.append((node.output[0], [axes[axis] for axis in perm]))


def _backwards(
    makers: dict[str, onnx.NodeProto], name: str, rank: int, keeps: Callable[[onnx.NodeProto], bool]
) -> Iterator[tuple[onnx.NodeProto, list[int]]]:
    """The nodes that a value comes from, and which of its axes each of theirs is."""
    axes, seen = list(range(rank)), set[str]()
    while (node := makers.get(name)) is not None and name not in seen:
        yield node, axes
        seen.add(name)
        if (perm := _order(node, rank)) is not None:
            axes = [axes[perm.index(axis)] for axis in range(rank)]
        elif not keeps(node) or not node.input:
            return
        name = node.input[0]


def _order(node: onnx.NodeProto, rank: int) -> list[int] | None:
    """The order into which a Transpose puts the axes; None for another operator, and where it is none."""
    if node.op_type != "Transpose" or not node.input:
        return None
    perm = list(attribute_value(node, "perm") or range(rank)[::-1])
    return perm if sorted(perm) == list(range(rank)) else None

"""Two exports of one module, made with other arguments: which of their constants differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.graph import walk
from graphkit.graph.scopes import Scope
from graphkit.tensor import decode

if TYPE_CHECKING:
    from graphkit.tensor import Array


@dataclass(frozen=True)
class Difference:
    """A place where two exports of one module differ.

    Attributes:
        node: The node of the first export that reads the constant, or where the two graphs part.
        value: The constant's name in the first export; for an attribute its name; "" where the graphs part.
        slot: Which input of the node, or -1 for an attribute.
        constants: The constant in each of the two exports; None where the other one computes it, or the graphs part.
    """

    node: onnx.NodeProto
    value: str
    slot: int
    constants: tuple[Array | None, Array | None]


def differences(first: onnx.ModelProto, second: onnx.ModelProto, weights: set[str]) -> Iterator[Difference]:
    """The constants that differ between two exports of one module.

    Nodes are paired in graph order, from the front as far as the operators are the same, then from the back; the first
    node that has no partner is a difference itself (a Python branch or loop went another way).

    Args:
        first: One export.
        second: The other one.
        weights: Initializers that are parameters or buffers of the module; these are not compared.

    Scope: main graph and bodies.
    Cost: O(nodes + constants that are no weights).
    """
    ours, theirs = Scope(first.graph), Scope(second.graph)
    yield from _graphs(ours, theirs, weights)
    for mine, other in zip(first.graph.output, second.graph.output, strict=False):
        constants = _constant(ours, mine.name), _constant(theirs, other.name)
        maker = ours.maker(mine.name)
        if maker is not None and not _same(*constants):
            yield Difference(maker[1], mine.name, -1, constants)


def _graphs(first: Scope, second: Scope, weights: set[str]) -> Iterator[Difference]:
    ours, theirs = _operators(first.graph), _operators(second.graph)
    front = _alike(ours, theirs)
    back = _alike(ours[front:][::-1], theirs[front:][::-1])
    pairs = list(zip(ours[:front], theirs[:front], strict=True))
    if back:
        pairs += zip(ours[-back:], theirs[-back:], strict=True)
    for mine, other in pairs:
        yield from _nodes(mine, other, first, second, weights)
    if front < max(len(ours), len(theirs)) - back:
        at = min(front, len(ours) - 1)
        if at >= 0:
            yield Difference(ours[at], "", -1, (None, None))


def _operators(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type != "Constant"]


def _alike(ours: list[onnx.NodeProto], theirs: list[onnx.NodeProto]) -> int:
    count = 0
    for mine, other in zip(ours, theirs, strict=False):
        if (mine.domain, mine.op_type, len(mine.input)) != (other.domain, other.op_type, len(other.input)):
            break
        count += 1
    return count


def _nodes(
    mine: onnx.NodeProto, other: onnx.NodeProto, first: Scope, second: Scope, weights: set[str]
) -> Iterator[Difference]:
    for slot, (name, partner) in enumerate(zip(mine.input, other.input, strict=True)):
        if name in weights and partner in weights:
            continue
        constants = _constant(first, name), _constant(second, partner)
        if not _same(*constants):
            yield Difference(mine, name, slot, constants)
    theirs = {attribute.name: attribute for attribute in other.attribute}
    for attribute in mine.attribute:
        partner_attribute = theirs.get(attribute.name)
        if partner_attribute is None or attribute.HasField("g"):
            continue
        values = _plain(attribute), _plain(partner_attribute)
        if not _same(*values):
            yield Difference(mine, attribute.name, -1, values)
    for body, partner_body in zip(walk.bodies(mine), walk.bodies(other), strict=False):
        yield from _graphs(Scope(body, first, mine), Scope(partner_body, second, other), weights)


def _constant(scope: Scope, name: str) -> Array | None:
    return scope.constant_array(name) if name else None


def _plain(attribute: onnx.AttributeProto) -> Array | None:
    value: Any = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return decode(value, None)
    return np.asarray(value)


def _same(first: Array | None, second: Array | None) -> bool:
    if first is None or second is None:
        return first is second
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    return bool(np.array_equal(first, second, equal_nan=first.dtype.kind in "fc"))

"""Some nodes of a graph: those around them, those between them, and what goes in and out."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from collections.abc import Set as AbstractSet

from graphkit.graph.index import GraphIndex
from graphkit.graph.upstream import downstream
from graphkit.semantics.kinds import draws


def around(index: GraphIndex, positions: Iterable[int], hops: int) -> list[int]:
    """The nodes within some steps of nodes, upstream or downstream; nodes that compute constants do not count as steps.

    Cost: O(graph) where hops is 1 or more.
    """
    found = set(positions)
    edge = set(found)
    variable: AbstractSet[str] = _varying(index) if hops else set()
    while hops and edge:
        hops -= 1
        reached: set[int] = set()
        for position in edge:
            reached.update(index.producer[n] for n in index.reads(position) if n in index.producer)
            for name in index.nodes[position].output:
                reached.update(index.consumers.get(name, ()))
        edge = {p for p in reached - found if not variable.isdisjoint(index.nodes[p].output)}
        found |= reached
    return sorted(found)


def _varying(index: GraphIndex) -> AbstractSet[str]:
    """The values that depend on a graph input or on a random draw. All others are constants, as weights are: exporters
    put nodes between a weight and its reader (Identity, Transpose, DequantizeLinear).
    """
    start = [name for name in index.inputs if not index.is_constant(name)]
    start += [name for node in index.nodes if draws(node) for name in node.output if name]
    return downstream(index, start).values.keys()


def enclosed(index: GraphIndex, positions: Iterable[int], others: Iterable[int]) -> list[int]:
    """Nodes, and those of others that stand between them: that compute from values of theirs only, and for them only.

    Cost: O(graph), times the length of the longest run of others between two of the nodes.
    """
    inside = set(positions)
    variable = _varying(index)
    between = {position for position in others if not variable.isdisjoint(index.nodes[position].output)} - inside
    found = inside | between
    while outside := {p for p in between if _touches_outside(index, p, found, variable)}:
        between -= outside
        found -= outside
    return sorted(found)


def _touches_outside(index: GraphIndex, position: int, inside: Collection[int], variable: Collection[str]) -> bool:
    made = index.nodes[position].output
    return (
        any(name in variable and index.producer.get(name) not in inside for name in index.reads(position))
        or any(name in index.outputs for name in made)
        or any(reader not in inside for name in made for reader in index.consumers.get(name, ()))
    )


def boundary(index: GraphIndex, positions: Iterable[int]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(inputs, outputs) of a set of nodes.

    The inputs are the values that come into it, constants aside. The outputs are those that go out of it, being graph
    outputs or read elsewhere; and of a node none of whose values anybody reads, all. What a node without inputs makes
    (Constant) is an output only where there is nothing else.

    Cost: O(graph).
    """
    inside = set(positions)
    variable = _varying(index)
    inputs: dict[str, None] = {}
    for position in sorted(inside):
        for name in index.reads(position):
            if name in variable and index.producer.get(name) not in inside:
                inputs[name] = None
    computing = [position for position in sorted(inside) if index.reads(position)]
    outputs = [name for position in computing or sorted(inside) for name in _leaving(index, position, inside)]
    return tuple(inputs), tuple(outputs)


def _leaving(index: GraphIndex, position: int, inside: Collection[int]) -> list[str]:
    made = [name for name in index.nodes[position].output if name]
    if not any(name in index.outputs or index.consumers.get(name) for name in made):
        return made
    return [
        name for name in made if name in index.outputs or any(r not in inside for r in index.consumers.get(name, ()))
    ]

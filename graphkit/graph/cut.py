"""Cutting a graph: what outputs need when some values are given, and which values would close a cut that is open."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain

from graphkit.errors import InvalidGraphError
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import title
from graphkit.graph.order import topological_order
from graphkit.graph.upstream import downstream, upstream


@dataclass(frozen=True)
class Region:
    """What is needed to compute some outputs from some inputs.

    Attributes:
        nodes: Positions of the nodes, ascending.
        constants: Initializers that are read, in the order they are met.
        open_inputs: Graph inputs without a default value that are needed and not among the inputs, in graph order.
        reached: The inputs that are needed.
    """

    nodes: tuple[int, ...]
    constants: tuple[str, ...]
    open_inputs: tuple[str, ...]
    reached: frozenset[str]


def trace(
    index: GraphIndex, outputs: Iterable[str], inputs: Collection[str], *, stop: Callable[[str], bool] | None = None
) -> Region:
    """Walk back from outputs until the inputs, constants, or graph inputs.

    Values that bodies capture count as read. Values for which ``stop`` is true are taken as given, like inputs.

    Raises:
        InvalidGraphError: A node reads a name that nothing defines, or nodes read from each other in a cycle.

    Scope: the main graph; nodes carry their bodies along.
    Cost: O(region).
    """
    given = set(inputs)
    taken = given.__contains__ if stop is None else lambda name: name in given or stop(name)
    asked = list(outputs)
    found = upstream(index, [name for name in asked if not taken(name)], stop=taken)
    places = tuple(sorted(found.nodes))
    constants: list[str] = []
    open_inputs: set[str] = set()
    reached: set[str] = set()
    for name in chain(found.values, filter(taken, asked)):
        if taken(name):
            reached.add(name)
        elif name in index.producer:
            continue
        elif index.is_constant(name):
            constants.append(name)
        elif name in index.inputs:
            open_inputs.add(name)
        else:
            reader = found.values[name]
            who = title(index.nodes[reader]) if reader is not None else "a graph output"
            raise InvalidGraphError(f"{who} reads {name!r}, which nothing in the model defines", names=[name])
    if found.early:
        topological_order([index.nodes[position] for position in places])
    return Region(places, tuple(constants), tuple(n for n in index.inputs if n in open_inputs), frozenset(reached))


def frontier(index: GraphIndex, outputs: Sequence[str], inputs: Collection[str]) -> tuple[str, ...]:
    """The values at which an open cut should be closed: where values that do not depend on the inputs given join those
    that do. Given as further inputs, they close the cut, and it is open again without any one of them.

    An output that does not depend on the inputs at all is closed at the graph inputs it needs.

    Raises:
        InvalidGraphError: A node reads a name that nothing defines, or nodes read from each other in a cycle.

    Cost: O(region), sorted.
    """
    region = trace(index, outputs, inputs)
    depends = _downstream(index, region.nodes, inputs)
    unknown = _downstream(index, region.nodes, region.open_inputs)
    joining: set[str] = set()
    for position in region.nodes:
        if any(name in depends for name in index.nodes[position].output):
            joining.update(name for name in index.reads(position) if name in unknown)
    apart = [output for output in outputs if output in unknown and output not in depends]
    joining.update(trace(index, apart, inputs).open_inputs)
    found = [name for name in region.open_inputs if name in joining]
    known = {*inputs, *found}
    nodes = [index.nodes[position] for position in region.nodes]
    for position in (region.nodes[place] for place in topological_order(nodes)):
        determined = all(name in known or name not in unknown for name in index.reads(position))
        made = [name for name in index.nodes[position].output if determined or name in joining]
        found += made if not determined else []
        known.update(made)
    return tuple(found)


def undetermined(index: GraphIndex, outputs: Sequence[str], inputs: Collection[str]) -> tuple[str, ...]:
    """Those of the outputs that the inputs do not determine. Cost: O(region)."""
    region = trace(index, outputs, inputs)
    unknown = _downstream(index, region.nodes, region.open_inputs)
    given = set(inputs)
    return tuple(name for name in outputs if name in unknown and name not in given)


def _downstream(index: GraphIndex, nodes: Iterable[int], start: Iterable[str]) -> AbstractSet[str]:
    """The start values, and every value that these nodes compute from them."""
    return downstream(index, start, enter=set(nodes).__contains__).values.keys()


def narrowest(index: GraphIndex, outputs: Sequence[str]) -> tuple[str, ...]:
    """A smallest set of values that determines the outputs: as few as possible, and of those the farthest upstream.

    An output does not count as its own input, unless it is a graph input. Found as a minimum vertex cut between the
    graph inputs and the outputs (the values are the vertices of capacity 1; Menger's theorem), by augmenting paths.

    Cost: O(region) times the size of the answer.
    """
    own = tuple(dict.fromkeys(trace(index, [name for name in outputs if name in index.inputs], ()).open_inputs))
    region = trace(index, outputs, own)
    unknown = _downstream(index, region.nodes, region.open_inputs)
    after: dict[str, list[str]] = {}
    for position in region.nodes:
        made = [name for name in index.nodes[position].output if name in unknown]
        for name in index.reads(position):
            if name in unknown:
                after.setdefault(name, []).extend(made)
    ends = {output for output in outputs if output in unknown}
    return own + _minimum_vertex_cut(after, region.open_inputs, ends)


_Side = tuple[str, bool]
"""A value's entry (False) or exit (True); the edge between them carries one unit at most. A path ends at an entry."""


def _minimum_vertex_cut(after: dict[str, list[str]], starts: Sequence[str], ends: set[str]) -> tuple[str, ...]:
    residual: dict[_Side, dict[_Side, int]] = {}

    def edge(a: _Side, b: _Side, capacity: int) -> None:
        residual.setdefault(a, {})[b] = capacity
        residual.setdefault(b, {}).setdefault(a, 0)

    most = len(starts) + 1
    for value in {*after, *ends, *starts, *(n for names in after.values() for n in names)}:
        edge((value, False), (value, True), 1)
    for value, names in after.items():
        for name in names:
            edge((value, True), (name, False), most)
    while True:
        came_from: dict[_Side, _Side | None] = {(value, False): None for value in starts}
        waiting = deque(came_from)
        reached_end: _Side | None = None
        while waiting and reached_end is None:
            state = waiting.popleft()
            if state[0] in ends:
                reached_end = state
                break
            for following, capacity in residual[state].items():
                if capacity and following not in came_from:
                    came_from[following] = state
                    waiting.append(following)
        if reached_end is None:
            return tuple(v for v, exit_side in came_from if not exit_side and (v, True) not in came_from)
        state = reached_end
        while (before := came_from[state]) is not None:
            residual[before][state] -= 1
            residual[state][before] += 1
            state = before

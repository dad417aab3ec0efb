"""Which stage each node belongs to, so that no node reads from a later one."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph import module_paths, values
from graphkit.graph.index import GraphIndex
from graphkit.graph.upstream import upstream
from graphkit.shapes.inference import inferred
from graphkit.shapes.macs import Shape, macs
from graphkit.tensor import stored_bytes

SLACK = 0.1
"""How far a cut may be from the even one, as part of a stage, where fewer values cross there."""


def balanced(proto: onnx.ModelProto, index: GraphIndex, order: Sequence[int], count: int, by: str) -> list[int]:
    """The stage of each node, for so many stages of about the same weight.

    Args:
        proto: The model.
        index: Of its main graph.
        order: Its nodes' positions in topological order.
        count: How many stages.
        by: "bytes" of weights, each counted at its first reader, or "flops".

    Raises:
        ValueError: Fewer than two stages, or ``by`` is something else.
        EditError: The outputs need fewer nodes than there are stages.
    """
    if count < 2:
        raise ArgumentValueError(f"a model is split into 2 stages or more, not {count}")
    needed = upstream(index, index.outputs).nodes
    order = [position for position in order if position in needed]
    if count > len(order):
        raise EditError(f"the outputs need {len(order)} nodes, too few for {count} stages")
    costs = _bytes(index, order) if by == "bytes" else _macs(proto, index, order) if by == "flops" else None
    if costs is None:
        raise ArgumentValueError(f"stages are balanced by 'bytes' or 'flops', not by {by!r}")
    crossing = _crossing(index, order)
    total = sum(costs) or len(order)
    each = costs if sum(costs) else [1] * len(order)
    sums, so_far = [], 0
    for cost in each:
        so_far += cost
        sums.append(so_far)
    cuts: list[int] = []
    for stage in range(1, count):
        first = cuts[-1] + 1 if cuts else 1
        last = len(order) - (count - stage)
        wanted, slack = total * stage / count, SLACK * total / count
        places = range(first, last + 1)
        near = [place for place in places if abs(sums[place - 1] - wanted) <= slack]
        if near:
            cuts.append(min(near, key=lambda place: (crossing[place], abs(sums[place - 1] - wanted))))
        else:
            cuts.append(min(places, key=lambda place: (abs(sums[place - 1] - wanted), crossing[place])))
    return _numbered(len(index.nodes), order, cuts)


def at_values(index: GraphIndex, order: Sequence[int], names: Sequence[str]) -> list[int]:
    """The stage of each node, where a stage ends with each of some values.

    Raises:
        NameNotFoundError: No such value.
        EditError: A value is none that a node makes, or all that it needs is in an earlier stage.
    """
    number = [len(names)] * len(order)
    for stage, name in enumerate(names):
        if index.require(name) not in index.producer:
            raise EditError(f"{name!r} is made by no node, so no stage can end with it")
        if not _take(index, number, stage, name):
            raise EditError(f"a stage that ends with {name!r} would be empty: an earlier one has all that it needs")
    if names and max(number) < len(names):
        raise EditError(f"nothing is left behind {names[-1]!r} for a last stage")
    return number


def _take(index: GraphIndex, number: list[int], stage: int, name: str) -> bool:
    """Put what a value needs and no earlier stage has into a stage; whether that is anything."""
    taken = upstream(index, [name], enter=lambda place: number[place] > stage).nodes
    for position in taken:
        number[position] = stage
    return bool(taken)


def at_modules(index: GraphIndex, order: Sequence[int], paths: Sequence[str]) -> list[int]:
    """The stage of each node, where a stage begins with the first node of each of some modules.

    Raises:
        NameNotFoundError: No such module.
        EditError: A module begins where the model, or another one of them, does.
    """
    known = module_paths.modules(index.graph)
    place = {position: at for at, position in enumerate(order)}
    cuts: dict[int, str] = {}
    for path in paths:
        if path not in known:
            raise NameNotFoundError("module", path, known, hint=module_paths.folded_hint(index.graph, path))
        first = min(place[position] for position in known[path])
        if first == 0 or first in cuts:
            where = "the model does" if first == 0 else f"{cuts[first]!r} does"
            raise EditError(f"the module {path!r} begins where {where}: no stage can begin with it")
        cuts[first] = path
    return _numbered(len(index.nodes), order, sorted(cuts))


def _numbered(nodes: int, order: Sequence[int], cuts: Sequence[int]) -> list[int]:
    number, stage, ends = [0] * nodes, 0, set(cuts)
    for at, position in enumerate(order):
        stage += at in ends
        number[position] = stage
    return number


def _bytes(index: GraphIndex, order: Sequence[int]) -> list[int]:
    seen: set[str] = set()
    found = []
    for position in order:
        cost = 0
        for name in index.reads(position):
            if name not in seen and name in index.initializers:
                seen.add(name)
                cost += stored_bytes(index.initializers[name])
        held = values.constant_tensor(index.nodes[position]) if index.nodes[position].op_type == "Constant" else None
        found.append(cost + (stored_bytes(held) if held is not None else 0))
    return found


def _macs(proto: onnx.ModelProto, index: GraphIndex, order: Sequence[int]) -> list[int]:
    types = GraphIndex(inferred(proto).graph)

    def shape_of(name: str) -> Shape | None:
        if (tensor := index.initializers.get(name)) is not None:
            return tuple(tensor.dims)
        known = values.value_type(types, name) if name else None
        dims = values.dims(known) if known is not None else None
        return None if dims is None else tuple(dim if isinstance(dim, int) else 1 for dim in dims)

    return [macs(index.nodes[position], shape_of) or 0 for position in order]


def _crossing(index: GraphIndex, order: Sequence[int]) -> list[int]:
    """How many values cross a cut before each place of the order, and behind the last."""
    place = {position: at for at, position in enumerate(order)}
    change = [0] * (len(order) + 2)
    for name, position in index.producer.items():
        readers = [place[reader] for reader in index.consumers.get(name, ()) if reader in place]
        if position in place and readers and max(readers) > place[position]:
            change[place[position] + 1] += 1
            change[max(readers) + 1] -= 1
    found, alive = [], 0
    for at in range(len(order) + 1):
        alive += change[at]
        found.append(alive)
    return found

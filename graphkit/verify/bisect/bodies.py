"""Inside of If, Loop, Scan and functions: the search goes on in the graph that ran, on what the reference gave its node."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.inliner

from graphkit.errors import GraphkitError
from graphkit.graph import values, walk
from graphkit.model import Model
from graphkit.reading.fits import array_type
from graphkit.runtime.handover import require_runnable
from graphkit.runtime.ort_values import declared_type, shared
from graphkit.runtime.session import PieceSession
from graphkit.verify.bisect.bisection import Failing, First, Row, first_of
from graphkit.verify.bisect.match_onnx import match_values
from graphkit.verify.bisect.onnx_side import OnnxSide, as_fed
from graphkit.verify.bisect.search import Search, goes_wrong
from graphkit.verify.bisect.side import Side

if TYPE_CHECKING:
    from graphkit.tensor import Array

MOST_TURNS = 1000
"""Turns of a loop that are looked into."""


def inside(candidate: OnnxSide, reference: OnnxSide, search: Search, row: Row) -> tuple[First, Failing | None] | None:
    """The first value that diverges inside of the node that makes a value; None where nothing can be seen in there.

    Both sides' bodies are given what the reference has for the node's inputs: for a Loop or Scan turn by turn, each turn
    from the reference's state, so that the first turn that is wrong is found too.
    """
    if search.failing is None:
        return None
    given = search.failing.feeds
    mine = Opened(candidate, candidate.index.nodes[candidate.index.producer[row.value]], given)
    back = {twin: value for value, twin in search.twins.items()}
    fed = {n: given[back.get(n, n)] for n in _read(reference, row.twin) if back.get(n, n) in given}
    its = Opened(reference, reference.index.nodes[reference.index.producer[row.twin]], fed)
    if mine.node.op_type != its.node.op_type or mine.node.domain != its.node.domain:
        return None
    try:
        for label, own, other in _turns(mine, its):
            found = _searched(own, other, search)
            if found is not None:
                first, failing = found
                return first.within(f"{row.node}{label}"), failing
    except GraphkitError:
        return None  # a body that cannot run on its own: the node around it is the answer
    return None


def _read(side: OnnxSide, value: str) -> tuple[str, ...]:
    return tuple(side.index.reads(side.index.producer[value]))


@dataclass
class Body:
    """A graph that runs inside of a node, as a model of its own, and what it is fed."""

    model: Model
    feeds: dict[str, Array]
    side: OnnxSide


class Opened:
    """A node with its inputs as arrays, and the graphs in it as models."""

    def __init__(self, side: OnnxSide, node: onnx.NodeProto, fed: Mapping[str, Array]) -> None:
        self.side = side
        self.node = node
        self.fed = fed

    def array(self, name: str) -> Array | None:
        """A value that the node or its bodies read, or None where there is none."""
        if name in self.fed:
            return self.fed[name]
        tensor = values.constant(self.side.index, name)
        return None if tensor is None else self.side.model.array_of(tensor)

    def body(self, graph: onnx.GraphProto, given: Mapping[str, Array]) -> Body:
        """A body as a model: its own inputs are fed by ``given``, what it reads from outside by what the node was given."""
        proto = onnx.ModelProto()
        whole = self.side.model.proto
        proto.ir_version = whole.ir_version
        proto.opset_import.extend(whole.opset_import)
        proto.functions.extend(whole.functions)
        proto.graph.CopyFrom(graph)
        feeds = dict(given)
        for name in walk.free_names(graph):
            tensor = self.side.index.initializers.get(name)
            if tensor is not None and name not in self.side.index.inputs:
                proto.graph.initializer.add().CopyFrom(tensor)
            elif (array := self.array(name)) is not None:
                feeds[name] = array
                proto.graph.input.add(name=name)
        for info in proto.graph.input:
            if info.name in feeds:
                info.type.CopyFrom(values.tensor_type(array_type(feeds[info.name]), None))
        model = Model(proto, self.side.model.sources)
        return Body(model, feeds, OnnxSide(model, feeds, device=self.side.device, tf32=self.side.tf32))

    def function(self) -> Body | None:
        """The node's function in its place, as a model; None where the node calls none."""
        whole = self.side.model.proto
        if walk.call_key(self.node) not in {walk.function_key(f) for f in whole.functions}:
            return None
        graph = onnx.GraphProto(name="call")
        graph.node.add().CopyFrom(self.node)
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in self.node.output if name)
        called = self.body(graph, {})
        require_runnable(called.model.proto)
        flat = Model(onnx.inliner.inline_local_functions(called.model.proto), self.side.model.sources)
        return Body(flat, called.feeds, OnnxSide(flat, called.feeds, device=self.side.device, tf32=self.side.tf32))


def _turns(mine: Opened, its: Opened) -> Iterator[tuple[str, Body, Body]]:
    """(label, the candidate's body, the reference's) for each run of the graphs in a node."""
    own, other = mine.function(), its.function()
    if own is not None and other is not None:
        yield "", own, other
    elif mine.node.op_type == "If":
        yield from _branch(mine, its)
    elif mine.node.op_type == "Loop":
        yield from _loop(mine, its)
    elif mine.node.op_type == "Scan":
        yield from _scan(mine, its)


def graph_of(opened: Opened, name: str) -> onnx.GraphProto:
    """A body by the name of the attribute that holds it."""
    return next(a.g for a in opened.node.attribute if a.name == name)


def _branch(mine: Opened, its: Opened) -> Iterator[tuple[str, Body, Body]]:
    condition = its.array(its.node.input[0])
    if condition is not None:
        name = "then_branch" if bool(np.ravel(condition)[0]) else "else_branch"
        yield f", {name}", mine.body(graph_of(mine, name), {}), its.body(graph_of(its, name), {})


def _loop(mine: Opened, its: Opened) -> Iterator[tuple[str, Body, Body]]:
    """Loop-1: body inputs are the turn's number, the condition and the carried values; outputs likewise, without the number."""
    node = its.node
    turns = its.array(node.input[0]) if node.input[0] else None
    limit = MOST_TURNS if turns is None else min(MOST_TURNS, int(np.ravel(turns)[0]))
    given = its.array(node.input[1]) if len(node.input) > 1 and node.input[1] else None
    going = True if given is None else bool(np.ravel(given)[0])
    state = [its.array(name) for name in node.input[2:]]
    turn = 0
    while going and turn < limit and all(value is not None for value in state):
        start: list[Any] = [np.array(turn, np.int64), np.array(going), *state]
        own = _given(mine, "body", start)
        other = _given(its, "body", start)
        yield f", turn {turn}", own, other
        made = _outputs(other)
        going = bool(np.ravel(made[0])[0])
        state = made[1 : 1 + len(state)]
        turn += 1


def _scan(mine: Opened, its: Opened) -> Iterator[tuple[str, Body, Body]]:
    """Scan-9: body inputs are the state and one slice of each scanned input."""
    node = its.node
    attributes = {a.name: a for a in node.attribute}
    scanned = attributes["num_scan_inputs"].i
    arrays = [its.array(name) for name in node.input]
    if any(array is None for array in arrays):
        return
    state: list[Any] = list(arrays[: len(arrays) - scanned])
    axes = list(attributes["scan_input_axes"].ints) if "scan_input_axes" in attributes else [0] * scanned
    backwards = (
        list(attributes["scan_input_directions"].ints) if "scan_input_directions" in attributes else [0] * scanned
    )
    rows = [np.moveaxis(np.asarray(a), axis, 0) for a, axis in zip(arrays[len(state) :], axes, strict=True)]
    rows = [row[::-1] if back else row for row, back in zip(rows, backwards, strict=True)]
    for turn in range(min(MOST_TURNS, len(rows[0]))):
        start = [*state, *(np.ascontiguousarray(row[turn]) for row in rows)]
        own, other = _given(mine, "body", start), _given(its, "body", start)
        yield f", turn {turn}", own, other
        state = _outputs(other)[: len(state)]


def _given(opened: Opened, name: str, start: list[Any]) -> Body:
    graph = graph_of(opened, name)
    return opened.body(graph, dict(zip((info.name for info in graph.input), start, strict=True)))


def _outputs(body: Body) -> list[Any]:
    """What a body gives, on what it is fed."""
    model = body.model
    names = [output.name for output in model.proto.graph.output]
    fed = {n: as_fed(n, a) for n, a in body.feeds.items()}
    proto = model.copy_proto()
    for info in proto.graph.input:
        info.type.CopyFrom(declared_type(fed[info.name]))
    session = PieceSession(Model(proto, model.sources), "body", device=body.side.device, tf32=body.side.tf32)
    made = session.run(fed, names)
    return [shared(made[name]) for name in names]


def _searched(own: Body, other: Body, outer: Search) -> tuple[First, Failing | None] | None:
    """The first value that diverges in a body, or deeper."""
    a, b = own.side, other.side
    inputs = zip(own.model.proto.graph.input, other.model.proto.graph.input, strict=False)
    seeds = {mine.name: its.name for mine, its in inputs}
    outputs = zip(own.model.proto.graph.output, other.model.proto.graph.output, strict=False)
    seeds.update({mine.name: its.name for mine, its in outputs})
    twins = match_values(a.model, a.index, b.model, b.index, seeds)
    return goes_on(a, b, twins, outer, functools.partial(inside, a, b))


Inner = Callable[[Search, Row], "tuple[First, Failing | None] | None"]


def goes_on(
    own: OnnxSide, other: Side, twins: Mapping[str, str], outer: Search, deeper: Inner
) -> tuple[First, Failing | None] | None:
    """Search two bodies as the graphs around them.

    Args:
        own: The candidate's body.
        other: The reference's.
        twins: Value of the one -> value of the other.
        outer: The search around them.
        deeper: Looks inside of the node that makes a value.

    Returns:
        The first value that diverges, or what ``deeper`` finds behind it; None where none does.
    """
    known = {place.value for place in own.places()}
    pairs = {k: v for k, v in twins.items() if k in known}
    search = Search(
        own, other, pairs, outer.policy, outer.memory, isolate=False, alike=outer.alike, swapped=outer.swapped
    )
    search.run()
    row = next((row for row in search.rows if goes_wrong(row)), None)
    if row is None:
        return None
    return deeper(search, row) or (first_of(row), search.failing)

"""What a model does with the numbers of its inputs: a walk in which every value carries what is known of it.

So an index is seen as one behind any Cast, Reshape or ``ids + 2``, in a body or in a function, and a Log is known to be
given positive numbers or not.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx

from graphkit.feeds.accepted_values import wanted
from graphkit.feeds.evidence import Signs
from graphkit.feeds.facts import NOTHING, WEIGHT, Fact, Trace, either, grown, of_tensor
from graphkit.feeds.reader import Dims, Reader
from graphkit.graph import values, walk
from graphkit.graph.calls import expands_beyond
from graphkit.graph.index import GraphIndex
from graphkit.graph.values import attribute_value
from graphkit.semantics.domains import Violation, violation
from graphkit.semantics.intervals import ANY, Interval, output_interval
from graphkit.semantics.kinds import SHAPE_ONLY
from graphkit.shapes.types_of import types_of

BUDGET = 100_000
"""Nodes looked at in bodies and functions, each as often as it is entered; beyond that their values are unknown."""

MOST_CALLED = 1 << 14
"""Nodes that calls may come to in a model that is walked into: as many as the runtime takes."""

DEPTH = 40
"""Bodies and functions within each other that are entered."""


@dataclass
class Uses:
    """What came out of a walk.

    Attributes:
        signs: What readers say about the inputs whose numbers they are given.
        violations: Place of a node, behind those of the nodes around it -> what may go wrong in it, and the inputs that
            go into it, one bit each.
        facts: Value of the main graph -> what is known of it.
    """

    signs: Signs = field(default_factory=Signs)
    violations: dict[tuple[int, ...], tuple[Violation, int]] = field(default_factory=dict)
    facts: dict[str, Fact] = field(default_factory=dict)


class _Frame:
    """The values of one graph, body or function call, and the way to those around it."""

    def __init__(
        self, graph: onnx.GraphProto | onnx.FunctionProto, path: tuple[int, ...] = (), outer: _Frame | None = None
    ) -> None:
        self.path = path
        self.outer = outer
        self.called: frozenset[walk.FunctionKey] = outer.called if outer is not None else frozenset()
        self.facts: dict[str, Fact] = {}
        self.given: dict[str, tuple[_Frame, str]] = {}
        self._graph = graph
        self.tensors = {t.name: t for t in graph.initializer} if isinstance(graph, onnx.GraphProto) else {}
        self._dims: dict[str, Dims] | None = None

    def fact(self, name: str) -> Fact:
        frame: _Frame | None = self
        while frame is not None:
            if (found := frame.facts.get(name)) is not None:
                return found
            if (tensor := frame.tensors.get(name)) is not None:
                frame.facts[name] = found = of_tensor(tensor)
                return found
            frame = frame.outer
        return NOTHING

    def dims(self, name: str) -> Dims:
        """The dims that the file gives; those of what was handed in, for the input of a function."""
        if self._dims is None:
            infos = list(self._graph.value_info)
            if isinstance(self._graph, onnx.GraphProto):
                infos += [*self._graph.input, *self._graph.output]
            self._dims = {info.name: values.dims(info.type) for info in infos}
            self._dims.update({tensor.name: list(tensor.dims) for tensor in self.tensors.values()})
        if (found := self._dims.get(name)) is not None:
            return found
        if name in self.given:
            frame, argument = self.given[name]
            return frame.dims(argument)
        return self.outer.dims(name) if self.outer is not None else None


class Walk:
    """Walks a model, as often as wanted, each time with other intervals for its inputs."""

    def __init__(self, model: onnx.ModelProto, index: GraphIndex, *, weights: Interval = ANY) -> None:
        """Prepare to walk a model.

        Args:
            model: The skeleton.
            index: Its main graph.
            weights: Where the numbers of constants lie that are too large to be read.
        """
        self.index = index
        self._weights = Fact(*weights)
        self.bits = {name: 1 << place for place, name in enumerate(index.inputs)}
        self._model = model
        entered = () if expands_beyond(model, MOST_CALLED) else model.functions  # those that double stay unknown
        self._functions = {walk.function_key(function): function for function in entered}
        self._symbols = {dim for info in index.inputs.values() for dim in values.dims(info.type) or ()}
        self._inferred: dict[str, Dims] = {}
        self._uses = Uses()
        self._left = BUDGET

    def over(self, given: Mapping[str, Interval]) -> Uses:
        """Walk the whole model.

        Args:
            given: Graph input -> where its numbers lie.

        Scope: main graph, bodies and functions.
        Cost: O(nodes), some microseconds each; constants of more than a thousand numbers are not read.
        """
        return self.again(given, {}, range(len(self.index.nodes)))

    def again(self, given: Mapping[str, Interval], known: Mapping[str, Fact], positions: Iterable[int]) -> Uses:
        """Walk some nodes of the main graph, in their order; of other values it is known what was found out before."""
        uses = self._uses = Uses(facts=dict(known))
        self._left = BUDGET
        frame = _Frame(self.index.graph)
        frame.facts = uses.facts
        for name, interval in given.items():
            frame.facts[name] = Fact(*interval, self.bits[name], (Trace(name),))
        for position in positions:
            self._node(frame, self.index.nodes[position], position)
        for name, info in self.index.outputs.items():
            if name in uses.facts and info.type.tensor_type.elem_type != onnx.TensorProto.BOOL:
                uses.signs.say(uses.facts[name].traces, "other")
        return uses

    def _node(self, frame: _Frame, node: onnx.NodeProto, position: int) -> None:
        if frame.path:
            self._left -= 1
        given = [self._fact(frame, name) for name in node.input]
        bodies = list(walk.bodies(node)) if node.attribute else []
        if (function := self._functions.get(walk.call_key(node))) is not None:
            made = self._called(frame, node, position, given, function)
        elif bodies:
            made = self._with_bodies(frame, node, position, given, bodies)
        elif node.op_type == "Constant":
            tensor = values.constant_tensor(node)
            found = NOTHING if tensor is None else of_tensor(tensor)
            made = [self._weights if found is WEIGHT else found]
        else:
            made = self._plain(frame, node, position, given)
        unknown = Fact(*ANY, _sources(given))
        for place, name in enumerate(node.output):
            if name:
                frame.facts[name] = made[place] if place < len(made) else unknown

    def _fact(self, frame: _Frame, name: str) -> Fact | None:
        fact = frame.fact(name) if name else None
        return self._weights if fact is WEIGHT else fact

    def _plain(self, frame: _Frame, node: onnx.NodeProto, position: int, given: list[Fact | None]) -> list[Fact]:
        traces: tuple[Trace, ...] = ()
        if any(fact is not None and fact.traces for fact in given):
            traces = self._read(frame, node, given)
        if node.domain not in ("", "ai.onnx"):
            return [Fact(*ANY, _sources(given), traces)]
        intervals = [None if fact is None else fact.interval for fact in given]
        path = (*frame.path, position)
        if (found := violation(node, intervals)) is not None:
            self._uses.violations[path] = found, _sources(given)
        else:
            self._uses.violations.pop(path, None)  # a loop's body is walked until nothing changes
        if node.op_type == "ConstantOfShape":
            filled = attribute_value(node, "value")
            return [Fact(0, 0) if filled is None else of_tensor(filled)]
        sources = 0 if node.op_type in SHAPE_ONLY else _sources(given)
        made = Fact(*output_interval(node, intervals), sources, traces)
        return [made] * (len(node.output) if node.op_type == "Split" else 1)

    def _read(self, frame: _Frame, node: onnx.NodeProto, given: list[Fact | None]) -> tuple[Trace, ...]:
        free: list[int] = []
        dims_of = functools.partial(self._dims, frame)
        for place, fact in enumerate(given):
            if fact is None or not fact.traces:
                continue
            whole = not frame.path and node.input[place] in self.index.inputs
            want = wanted(Reader(node, place, whole, dims_of, lambda name: frame.fact(name).interval))
            if want is None:
                free.append(place)
            else:
                self._uses.signs.want(fact.traces, want)
        return self._uses.signs.read(node, given, free, dims_of)

    def _dims(self, frame: _Frame, name: str) -> Dims:
        """The dims of a value: as the file gives them, else as onnx infers them (in the main graph).

        Symbols are those of the inputs, or computed from them; others say no more than None.
        """
        found = frame.dims(name)
        if found is None and name in self.index.producer:
            if name not in self._inferred:
                inferred = types_of(self._model, self.index, [name]).get(name)
                self._inferred[name] = None if inferred is None else values.dims(inferred)
            found = self._inferred[name]
        return None if found is None else [dim if self._is_known(dim) else None for dim in found]

    def _is_known(self, dim: int | str | None) -> bool:
        return not isinstance(dim, str) or all(name in self._symbols for name in re.findall(r"[^\W\d]\w*", dim))

    def _called(
        self,
        frame: _Frame,
        node: onnx.NodeProto,
        position: int,
        given: list[Fact | None],
        function: onnx.FunctionProto,
    ) -> list[Fact]:
        inner = _Frame(function, (*frame.path, position))
        key = walk.function_key(function)
        if key in frame.called:
            return []  # a function that calls itself, which ONNX does not allow
        inner.called = frame.called | {key}
        inner.given = {formal: (frame, actual) for formal, actual in zip(function.input, node.input, strict=False)}
        inner.facts = {name: fact for name, fact in zip(function.input, given, strict=False) if fact is not None}
        return self._inside(inner, function.node, function.output)

    def _inside(self, inner: _Frame, nodes: Iterable[onnx.NodeProto], outputs: Iterable[str]) -> list[Fact]:
        if self._left > 0 and len(inner.path) < DEPTH:
            for position, node in enumerate(nodes):
                self._node(inner, node, position)
        return [inner.fact(name) for name in outputs]

    def _body(self, frame: _Frame, body: onnx.GraphProto, path: tuple[int, ...], given: Iterable[Fact]) -> list[Fact]:
        inner = _Frame(body, path, frame)
        inner.facts = {value.name: fact for value, fact in zip(body.input, given, strict=False)}
        return self._inside(inner, body.node, [value.name for value in body.output])

    def _with_bodies(
        self,
        frame: _Frame,
        node: onnx.NodeProto,
        position: int,
        given: list[Fact | None],
        bodies: list[onnx.GraphProto],
    ) -> list[Fact]:
        known = [NOTHING if fact is None else fact for fact in given]
        if any(fact.traces for fact in known):
            self._read(frame, node, [*given[:2], *[None] * len(given[2:])] if node.op_type == "Loop" else given[:1])
        path = (*frame.path, position)
        if node.op_type == "If":
            branches = [self._body(frame, body, (*path, at), ()) for at, body in enumerate(bodies)]
            return [either(list(facts)) for facts in zip(*branches, strict=False)]
        if node.op_type == "Loop":
            return self._repeated(frame, bodies[0], path, known[2:], [Fact(0, ANY[1]), Fact(0, 1)], first=1)
        if node.op_type == "Scan":
            states = len(node.input) - int(attribute_value(node, "num_scan_inputs", 0))
            return self._repeated(frame, bodies[0], path, known[:states], [], first=0, slices=known[states:])
        unknown = Fact(*ANY, _sources(given))
        for at, body in enumerate(bodies):
            self._body(frame, body, (*path, at), [unknown] * len(body.input))
        return []

    def _repeated(
        self,
        frame: _Frame,
        body: onnx.GraphProto,
        path: tuple[int, ...],
        states: list[Fact],
        before: list[Fact],
        *,
        first: int,
        slices: list[Fact] | None = None,
    ) -> list[Fact]:
        """A body that is run again on its own results: until nothing changes, which is after three times at most."""
        made: list[Fact] = []
        for _ in range(3):
            made = self._body(frame, body, path, [*before, *states, *(slices or ())])
            after = [grown(old, new) for old, new in zip(states, made[first:], strict=False)]
            if after == states:
                break
            states = after
        return [*states, *made[first + len(states) :]]


def _sources(given: Iterable[Fact | None]) -> int:
    found = 0
    for fact in given:
        if fact is not None:
            found |= fact.sources
    return found

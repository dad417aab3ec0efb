"""Finding a pattern in a graph: by backtracking from the operator of which there are fewest."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx

from graphkit.edit.function_graph import refers
from graphkit.edit.patterns.expressions import UnknownError
from graphkit.edit.patterns.facts import Facts, Types, Value
from graphkit.edit.patterns.rule import Alternative, PatternNode
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import title
from graphkit.graph.opset import canonical
from graphkit.graph.upstream import downstream
from graphkit.semantics.schemas import schema_of
from graphkit.tensor import stored_bytes

if TYPE_CHECKING:
    from graphkit.graph.scopes import Scope
    from graphkit.tensor import Array

SMALL = 1 << 12
"""Bytes of a constant that is compared with one of a pattern."""

WITHIN = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 2e-6, "float64": 2e-6}
"""Data type -> how far it may be from the pattern's number, relatively: rounded, and rounded by an exporter."""


class Match(NamedTuple):
    """A place where a pattern is.

    Attributes:
        alternative: The pattern.
        positions: Pattern node -> position of the node in the graph.
        values: Value of the pattern -> value of the graph; "" for an operand that is left out.
        attributes: Name that the pattern binds -> value of the attribute; None where the node leaves it out.
        facts: For conditions and computed values.
    """

    alternative: Alternative
    positions: Mapping[int, int]
    values: Mapping[str, str]
    attributes: Mapping[str, Any]
    facts: Facts


class _State(NamedTuple):
    positions: dict[int, int]
    values: dict[str, str]
    attributes: dict[str, Any]


class Nearest:
    """The place that came nearest to a match, and why it is none."""

    def __init__(self) -> None:
        self.score = -1
        self._why = ""

    def note(self, score: int, why: str) -> None:
        """Something failed after so many steps."""
        if score > self.score:
            self.score, self._why = score, why

    def __str__(self) -> str:
        return self._why


class _Step(NamedTuple):
    """Which pattern node comes next, and through which value it is found: made by it, or read by it."""

    node: int
    value: str
    upwards: bool


class Matcher:
    """Finds the matches of one alternative in one graph, which must not change meanwhile."""

    def __init__(
        self,
        alternative: Alternative,
        scope: Scope,
        types: Types,
        *,
        opset: int,
        parameters: Mapping[str, Any],
        protected: set[str],
        nearest: Nearest,
    ) -> None:
        self._alternative = alternative
        self._pattern = alternative.pattern
        self._scope = scope
        self._index: GraphIndex = scope.index
        self._columns = scope.index.columns
        self._types = types
        self._opset = opset
        self._parameters = parameters
        self._protected = protected
        self._nearest = nearest
        self._open = {*self._pattern.outputs, *alternative.shared}

    def matches(self, by_operator: Mapping[tuple[str, str], list[int]]) -> Iterator[Match]:
        """Every match, each start once.

        Args:
            by_operator: (domain, operator) -> positions of its nodes.
        """
        nodes = self._pattern.nodes
        counts = [len(by_operator.get(one.op, ())) for one in nodes]
        if not all(counts):
            lacking = nodes[counts.index(0)].op[1]
            self._nearest.note(0, f"the graph has no {lacking}")
            return
        start = counts.index(min(counts))
        plan = self._plan(start)
        for position in by_operator[nodes[start].op]:
            for state in self._bound(start, position, _State({}, {}, {})):
                found = next((m for done in self._follow(plan, 0, state) if (m := self._accepted(done))), None)
                if found is not None:
                    yield found
                    break

    def _plan(self, start: int) -> list[_Step]:
        nodes, maker = self._pattern.nodes, self._pattern.maker
        done, plan = {start}, list[_Step]()
        while len(done) < len(nodes):
            step = _next_step(nodes, done, maker, set(maker)) or _next_step(
                nodes, done, maker, set(self._pattern.variables)
            )
            if step is None:
                break  # the reader of rules refuses such patterns
            done.add(step.node)
            plan.append(step)
        return plan

    def _follow(self, plan: list[_Step], at: int, state: _State) -> Iterator[_State]:
        if at == len(plan):
            yield state
            return
        step = plan[at]
        name = state.values.get(step.value, "")
        if step.upwards:
            position = self._index.producer.get(name)
            if position is None:
                self._fail(state, step.node, f"{name!r} is made by no node of this graph")
                return
            places = [position]
        else:
            places = self._index.consumers.get(name, [])
            if not places:
                self._fail(state, step.node, f"no node reads {name!r}")
        for position in places:
            for bound in self._bound(step.node, position, state):
                yield from self._follow(plan, at + 1, bound)

    def _fail(self, state: _State, place: int, why: str) -> None:
        if len(state.positions) <= self._nearest.score:
            return
        wanted = self._pattern.nodes[place].op[1]
        at = next(iter(state.positions.values()), None)
        near = f"at {title(self._index.nodes[at])}: " if at is not None else ""
        self._nearest.note(len(state.positions), f"{near}no {wanted} as the rule wants it: {why}")

    def _bound(self, place: int, position: int, state: _State) -> Iterator[_State]:
        """The states in which a pattern node is the node at a position; two for operands in either order."""
        one, node = self._pattern.nodes[place], self._index.nodes[position]
        if node.op_type != one.op[1] or canonical(node.domain) != one.op[0]:
            self._fail(state, place, f"{title(node)} stands there")
            return
        if position in state.positions.values():
            return
        attributes: dict[str, Any] | None = state.attributes
        has_attributes = bool(self._columns.attributes[position])
        if has_attributes and refers(node):
            self._nearest.note(
                len(state.positions) + 1, f"{title(node)} takes an attribute from the call of its function"
            )
            return
        if one.attributes or has_attributes:
            attributes = self._attributes(one, node, state, place)
        if attributes is None:
            return
        given, made = self._columns.inputs[position], self._columns.outputs[position]
        for order in one.orders:
            values = self._values(order, one, given, made, state)
            if isinstance(values, str):
                self._fail(state, place, f"{title(node)}: {values}")
            else:
                yield _State({**state.positions, place: position}, values, attributes)

    def _values(
        self, order: tuple[str, ...], one: PatternNode, given: list[str], made: list[str], state: _State
    ) -> dict[str, str] | str:
        """What the values of the pattern are at a node, or why it is not like that."""
        values = dict(state.values)
        for place, formal in enumerate(order):
            actual = given[place] if place < len(given) else ""
            if (held := values.get(formal)) is not None and held == actual:
                continue
            why = self._unlike(formal, actual, given, values, one)
            if why:
                return why
        for actual in given[len(order) :]:
            if actual:
                return f"it also reads {actual!r}"
        for place, formal in enumerate(one.outputs):
            actual = made[place] if place < len(made) else ""
            if formal and (not actual or values.setdefault(formal, actual) != actual):
                return f"it makes {actual!r}"
        return values

    def _unlike(self, formal: str, actual: str, given: list[str], values: dict[str, str], one: PatternNode) -> str:
        """Why an operand is not what the pattern has there; "" where it is, and then it is bound."""
        if formal in self._pattern.constants:
            wanted = self._pattern.constants[formal]
            return self._differs(wanted, actual, given, any_type=one.op == ("", "Pow"))
        if not formal:
            return f"it also reads {actual!r}" if actual else ""
        if not actual and formal not in self._alternative.optional:
            return f"it has no {formal!r}"
        held = values.setdefault(formal, actual)
        if held == actual or self._same_constant(held, actual):
            return ""
        return f"its {formal!r} is {actual!r} and not {held!r}"

    def _same_constant(self, one: str, other: str) -> bool:
        """Whether two values are small constants with the same numbers: exporters write one for each reader."""
        tensors = [self._scope.constant(name) if name else None for name in (one, other)]
        if any(tensor is None or stored_bytes(tensor) > SMALL for tensor in tensors):
            return False
        mine, his = (self._types.array(tensor) for tensor in tensors if tensor is not None)
        return mine.dtype == his.dtype and mine.shape == his.shape and mine.tobytes() == his.tobytes()

    def _differs(self, wanted: Array, name: str, given: list[str], *, any_type: bool) -> str:
        """Why a value is not a number of the pattern; "" where it is. An exponent may be of another type than its base."""
        tensor = self._scope.constant(name) if name else None
        if tensor is None:
            return f"{name!r} is no constant" if name else "a constant is left out"
        if stored_bytes(tensor) > SMALL:
            return f"{name!r} is larger than the pattern's constant"
        held = self._types.array(tensor)
        if not wanted.ndim and held.size == 1 and held.ndim:
            types = [self._types.of(other) for other in given if other and other != name]
            ranks = [len(t.tensor_type.shape.dim) for t in types if t is not None and t.tensor_type.HasField("shape")]
            if not ranks or max(ranks) < held.ndim:
                return f"{name!r} has {held.ndim} axes, which would show in the result"
            held = held.reshape(())
        if held.shape != wanted.shape:
            return f"{name!r} has the shape {list(held.shape)}, not {list(wanted.shape)}"
        if not any_type and (held.dtype.name in WITHIN) != (wanted.dtype.name in WITHIN):
            return f"{name!r} is {held.dtype}, not {wanted.dtype}"
        if held.dtype.kind in "iub" and wanted.dtype.kind in "iub":
            return "" if np.array_equal(held, wanted) else f"{name!r} is {held.tolist()}, not {wanted.tolist()}"
        numbers, target = np.asarray(held, np.float64), np.asarray(wanted, np.float64)
        within = WITHIN.get(held.dtype.name, 0.0)
        if np.all(np.abs(numbers - target) <= within * np.abs(target)):
            return ""
        return f"{name!r} is {numbers.tolist()}, not {target.tolist()}"

    def _attributes(self, one: PatternNode, node: onnx.NodeProto, state: _State, place: int) -> dict[str, Any] | None:
        """What the pattern binds, with what this node has; None where an attribute is not as it should be."""
        defaults = _defaults(node.op_type, self._opset) if not one.op[0] else {}
        have = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        bound = dict(state.attributes)
        named = set()
        for attribute in one.attributes:
            named.add(attribute.name)
            held = have.get(attribute.name, defaults.get(attribute.name))
            if attribute.ref_attr_name:
                held = _plain(held)
                if bound.setdefault(attribute.ref_attr_name, held) != held:
                    self._fail(state, place, f"{title(node)} has another {attribute.name}")
                    return None
            elif held is None or not _equal(held, onnx.helper.get_attribute_value(attribute)):
                self._fail(state, place, f"{attribute.name} of {title(node)} is {_plain(held)}")
                return None
        for name, held in () if one.carried else have.items():
            if name not in named and not (name in defaults and _equal(held, defaults[name])):
                self._fail(state, place, f"{title(node)} has {name} = {_plain(held)}")
                return None
        return bound

    def _accepted(self, state: _State) -> Match | None:
        """The match, where nothing else reads what would go and the conditions hold."""
        why = self._taken(state)
        names: dict[str, Any] = {name: Value(value) for name, value in state.values.items()}
        for name in self._pattern.variables:
            names.setdefault(name, Value(""))
        names.update(state.attributes)
        names.update(self._parameters)
        facts = Facts(self._types, self._opset, names)
        try:
            if not why:
                for name, let in self._alternative.lets.items():
                    facts.names[name] = facts.ask(let)
                for text, condition in self._alternative.conditions:
                    if not facts.ask(condition):
                        why = f"{text} does not hold"
                        break
        except UnknownError as error:
            why = str(error)
        if why:
            last = state.positions[self._pattern.maker[self._pattern.outputs[0]]]
            self._nearest.note(len(self._pattern.nodes), f"at {title(self._index.nodes[last])}: {why}")
            return None
        return Match(self._alternative, state.positions, state.values, state.attributes, facts)

    def _taken(self, state: _State) -> str:
        """Why the nodes cannot go: somebody else reads what they make, or a variable is made by one of them."""
        inside = state.positions.values()
        consumers, outputs, protected = self._index.consumers, self._index.outputs, self._protected
        for place, position in state.positions.items():
            formals = self._pattern.nodes[place].outputs
            for number, name in enumerate(self._columns.outputs[position]):
                formal = formals[number] if number < len(formals) else ""
                if not name or formal in self._open:
                    continue
                if name in protected or name in outputs:
                    return f"{name!r}, which would go, is read outside of the graph's nodes"
                for reader in consumers.get(name, ()):
                    if reader not in inside:
                        return f"{name!r}, which would go, is also read by {title(self._index.nodes[reader])}"
        for name in self._pattern.variables:
            position_ = self._index.producer.get(state.values.get(name, ""))
            if position_ in inside:
                return f"{state.values[name]!r} would go and is read as well"
        if len(self._pattern.outputs) > 1 and self._circles(state, set(inside)):
            return "what it reads depends on what it makes"
        return ""

    def _circles(self, state: _State, inside: set[int]) -> bool:
        """Whether a node outside reads an output and leads back to an input: one node could not stand for both."""
        last, outputs = max(inside), [state.values[name] for name in self._pattern.outputs]
        between = downstream(self._index, outputs, enter=lambda position: position <= last and position not in inside)
        consumers = self._index.consumers
        return any(
            made is not None and not inside.isdisjoint(consumers.get(name, ())) for name, made in between.values.items()
        )


def _next_step(
    nodes: Sequence[PatternNode], done: Collection[int], maker: Mapping[str, int], through: Collection[str]
) -> _Step | None:
    """A pattern node that is next to those found already, by one of some values."""
    for place in done:
        for name in nodes[place].node.input:
            if name in through and name in maker and maker[name] not in done:
                return _Step(maker[name], name, upwards=True)
    known = {
        name for place in done for name in (*nodes[place].node.input, *nodes[place].node.output) if name in through
    }
    for other, one in enumerate(nodes):
        shared = next((name for name in one.inputs if name in known), None)
        if other not in done and shared is not None:
            return _Step(other, shared, upwards=False)
    return None


@cache
def _defaults(op: str, opset: int) -> dict[str, Any]:
    """An operator's attributes that have a default."""
    schema = schema_of(op, opset)
    return {
        name: onnx.helper.get_attribute_value(rule.default_value)
        for name, rule in (schema.attributes.items() if schema is not None else ())
        if rule.default_value.type != onnx.AttributeProto.UNDEFINED
    }


def _plain(value: Any) -> Any:
    """An attribute's value as expressions have it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, int | float | str) or value is None:
        return value
    return [_plain(each) for each in value] if isinstance(value, list | tuple) or hasattr(value, "append") else value


def _equal(one: Any, other: Any) -> bool:
    one, other = _plain(one), _plain(other)
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-6 * max(abs(one), abs(other))
    return bool(one == other)

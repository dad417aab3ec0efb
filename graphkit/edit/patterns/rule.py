"""A rule: patterns, what is written in place of a match, and when."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import onnx

from graphkit.graph.values import constant_tensor

if TYPE_CHECKING:
    from graphkit.tensor import Array

Condition: TypeAlias = "ast.expr | Callable[..., Any]"
"""An expression of a rule file, or a function of the facts about a match."""

COMMUTATIVE = frozenset(
    ("Add", "Mul", "And", "Or", "Xor", "Equal", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Max", "Min", "Sum")
)
"""Operators of ai.onnx whose two operands may be in either order."""


class PatternNode:
    """One operator of a pattern.

    Attributes:
        node: As the text has it.
        op: Domain and operator.
        inputs: Its operands.
        outputs: Its results.
        orders: The orders in which operands may be: one, or two for an operator that commutes.
        attributes: Its attributes.
        label: Its name in the text, by which the replacement takes it over; "" for none.
        carried: Whether the replacement has a node of its label, so that attributes the text leaves out may be anything.
    """

    def __init__(self, node: onnx.NodeProto, *, carried: bool) -> None:
        self.node = node
        self.op = node.domain, node.op_type
        self.inputs = tuple(node.input)
        self.outputs = tuple(node.output)
        commutes = not node.domain and node.op_type in COMMUTATIVE and len(self.inputs) == 2
        self.orders = (self.inputs, self.inputs[::-1]) if commutes else (self.inputs,)
        self.attributes = tuple(node.attribute)
        self.label = node.name
        self.carried = carried


@dataclass(frozen=True)
class Pattern:
    """What a rule looks for.

    Attributes:
        variables: Values that it begins with.
        outputs: Values that may be read outside.
        nodes: Its operators, Constant left out.
        constants: Value -> the numbers that it has to have.
    """

    variables: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[PatternNode, ...]
    constants: Mapping[str, Array]

    @cached_property
    def maker(self) -> dict[str, int]:
        """Value -> the node that makes it."""
        return {name: place for place, one in enumerate(self.nodes) for name in one.outputs if name}


@dataclass(frozen=True)
class Alternative:
    """One pattern of a rule with its replacement.

    Attributes:
        pattern: What to look for.
        replacement: A function of the variables, attributes and computed values that gives the outputs.
        conditions: What has to hold; with the text that messages show.
        lets: Values that are computed: name -> expression or function, in order.
        optional: Variables that a node may leave out.
        defaults: Variable that may be left out -> what stands for it then.
        shared: Inner values that others may read too.
        constants: Variables that have to be constant, and are computed with.
        parameters: The rule's parameters, which are constants too.
        written: Values of the replacement whose nodes are written, though constants say what they are.
        lowest: The first opset that it is for.
        highest: The last one, or None.
    """

    pattern: Pattern
    replacement: onnx.FunctionProto
    conditions: tuple[tuple[str, Condition], ...] = ()
    lets: Mapping[str, Condition] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    defaults: Mapping[str, Condition] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    constants: frozenset[str] = frozenset()
    parameters: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    lowest: int = 1
    highest: int | None = None

    @cached_property
    def computed(self) -> frozenset[str]:
        """Values of the replacement that are constants, whatever the match."""
        known = {*self.pattern.constants, *self.defaults, *self.lets, *self.constants, *self.parameters}
        for node in self.replacement.node:
            if (
                not node.domain
                and self.written.isdisjoint(node.output)
                and all(name in known for name in node.input if name)
            ):
                known.update(node.output)
        return frozenset(known)

    @cached_property
    def writes(self) -> tuple[tuple[onnx.NodeProto, list[str], list[str]], ...]:
        """The replacement's nodes, with their inputs and outputs: read from protobuf once, and not at each match."""
        return tuple((node, node.input[:], node.output[:]) for node in self.replacement.node)

    @cached_property
    def made(self) -> frozenset[str]:
        """Values that the replacement's nodes make."""
        return frozenset(name for node in self.replacement.node for name in node.output)

    @cached_property
    def results(self) -> dict[str, str]:
        """Output of the replacement -> output of the pattern."""
        return dict(zip(self.replacement.output, self.pattern.outputs, strict=True))

    @cached_property
    def shrinks(self) -> bool:
        """Whether each application leaves fewer nodes, so that it ends by itself."""
        written = [node for node in self.replacement.node if node.op_type not in ("Constant", "Identity")]
        return len(written) < len(self.pattern.nodes)


@dataclass(frozen=True)
class Rule:
    """A rule of ``rewrite``, as ``read_rules`` and ``rewrite_rule`` make it.

    Attributes:
        name: What notes call it.
        summary: One sentence.
        law: "replaced": the same numbers up to rounding; "close": within ``tolerance``.
        tolerance: The largest difference, relative to the largest magnitude of the output, for a rule that approximates.
        parameters: Name -> the value that it has unless another is given.
        alternatives: Its patterns; the first that matches a place is taken.
        told: A sentence about each match, with ``{label}`` and ``{value}`` in it; "" for none.
        text: The file's text; "" for a rule made in Python.
    """

    name: str
    summary: str
    law: Literal["replaced", "close"] = "replaced"
    tolerance: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[Alternative, ...] = ()
    told: str = ""
    text: str = ""


def pattern_of(function: onnx.FunctionProto, carried: set[str]) -> Pattern:
    """A pattern as its text has it.

    Args:
        function: The parsed text.
        carried: Names of nodes of the replacement.
    """
    constants: dict[str, Array] = {}
    nodes = []
    for node in function.node:
        tensor = constant_tensor(node) if node.op_type == "Constant" and not node.domain else None
        if tensor is not None:
            constants[node.output[0]] = onnx.numpy_helper.to_array(tensor)
        else:
            nodes.append(PatternNode(node, carried=bool(node.name) and node.name in carried))
    return Pattern(tuple(function.input), tuple(function.output), tuple(nodes), constants)

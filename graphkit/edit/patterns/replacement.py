"""What is written in place of a match: nodes, and constants that are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.edit.evaluation import computable, evaluated
from graphkit.edit.patterns.expressions import UnknownError
from graphkit.edit.patterns.matcher import Match
from graphkit.graph.names import Names, label
from graphkit.graph.scopes import Scope
from graphkit.graph.values import constant_tensor
from graphkit.model import Model

if TYPE_CHECKING:
    from graphkit.tensor import Array

EXACT = frozenset(
    (
        *("Add", "Sub", "Mul", "Div", "Sqrt", "Reciprocal", "Neg", "Pow", "Exp", "MatMul", "Reshape", "Transpose"),
        *("Unsqueeze", "Squeeze", "Expand", "Concat", "Slice", "Gather", "Identity", "Tile"),
    )
)
"""Operators that a fold computes in float64: weights are rounded once, at the end."""

REFERENCE_SINCE = {"DequantizeLinear": 19}
"""Operator -> the first opset in which onnx.reference has it, where what it did before is the same."""


_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _nothing() -> Mapping[str, Any]:
    """One empty mapping for all: most matches come to nodes alone, and a model may have 100,000 of them."""
    return _NOTHING


@dataclass(slots=True)
class Written:
    """What stands for a match.

    Attributes:
        nodes: The nodes, in order.
        constants: Name -> tensor of new constants.
        aliases: Output -> the value that it is.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: Mapping[str, onnx.TensorProto] = field(default_factory=_nothing)
    aliases: Mapping[str, str] = field(default_factory=_nothing)


@dataclass(frozen=True)
class _Number:
    """A constant while it is computed: its numbers, and the type that it has in the end."""

    array: Array
    dtype: np.dtype[Any]

    def rounded(self) -> Array:
        """In its own type.

        Raises:
            UnknownError: A number does not fit into it, or none came out.
        """
        with np.errstate(all="ignore"):
            result: Array = np.asarray(self.array).astype(self.dtype)
        if self.array.dtype.kind == "f" and not np.all(np.isfinite(np.asarray(result, np.float64))):
            raise UnknownError("the constant that would be written holds a number that is not finite")
        return result


def written(match: Match, model: Model, scope: Scope, names: Names, opset: int) -> Written:
    """What a replacement comes to at a match.

    Raises:
        UnknownError: A constant cannot be computed, or its numbers do not fit its type.

    Cost: that of the replacement; weights are read where constants are computed from them.
    """
    return _Writer(match, model, scope, names, opset).write()


class _Writer:
    def __init__(self, match: Match, model: Model, scope: Scope, names: Names, opset: int) -> None:
        self._match = match
        self._model = model
        self._scope = scope
        self._names = names
        self._opset = opset
        self._known: dict[str, _Number] = {}
        self._made = Written()
        values, pattern = match.values, match.alternative.pattern
        self._value = {name: values[name] for name in (*pattern.variables, *match.alternative.shared) if name in values}

    def write(self) -> Written:
        alternative = self._match.alternative
        pattern = alternative.pattern
        outputs, made = alternative.results, alternative.made
        for name, formal in outputs.items():
            if name not in made:
                self._alias(formal, name)
        self._value.update({n: self._match.values[f] for n, f in outputs.items() if n in made})
        own = self._match.values[pattern.outputs[0]]
        for node, reads, gives in alternative.writes:
            self._node(node, reads, gives, outputs, own)
        for name in outputs:
            if name in self._known and name in made:
                self._write(self._known[name], self._match.values[outputs[name]])
        return self._made

    def _node(
        self,
        node: onnx.NodeProto,
        reads: Sequence[str],
        gives: Sequence[str],
        outputs: Mapping[str, str],
        own: str,
    ) -> None:
        if node.op_type == "Constant" and not node.domain and (tensor := constant_tensor(node)) is not None:
            array = onnx.numpy_helper.to_array(tensor)
            self._known[gives[0]] = _Number(array, array.dtype)
            return
        if reads and len(gives) == 1 and gives[0] in self._match.alternative.computed and self._fold(node):
            return
        if node.op_type == "Identity" and gives[0] in outputs:
            self._alias(outputs[gives[0]], reads[0])
            return
        inner = [name for name in gives if name and name not in outputs]
        self._value.update({name: self._names.fresh(f"{own}_{name}") for name in inner})
        copy = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
        inputs = [self._operand(name) if name else "" for name in reads]
        while inputs and not inputs[-1]:
            inputs.pop()
        copy.input.extend(inputs)
        copy.output.extend([self._value[name] if name else "" for name in gives])
        self._describe(copy, node, gives, outputs)
        self._made.nodes.append(copy)

    def _describe(
        self, copy: onnx.NodeProto, node: onnx.NodeProto, gives: Sequence[str], outputs: Mapping[str, str]
    ) -> None:
        """Name, attributes, doc string and metadata: of the node with its label, or of the one that made its output."""
        pattern = self._match.alternative.pattern
        carried = next((place for place, one in enumerate(pattern.nodes) if node.name and one.label == node.name), None)
        same = None if carried is None else self._at(carried)
        made = next((self._at(pattern.maker[outputs[name]]) for name in gives if name in outputs), None)
        source = same or made or self._at(pattern.maker[pattern.outputs[0]])
        if same is not None or made is not None:
            copy.name = source.name
        else:
            copy.name = self._names.fresh(f"{label(source)}_{node.op_type}")
        if source.doc_string:
            copy.doc_string = source.doc_string
        if source.metadata_props:
            copy.metadata_props.extend(source.metadata_props)
        given = [a for a in map(self._attribute, node.attribute) if a is not None]
        if same is not None:
            taken = {a.name for a in node.attribute}
            copy.overload = same.overload
            copy.attribute.extend(a for a in same.attribute if a.name not in taken)
            copy.device_configurations.extend(same.device_configurations)
        copy.attribute.extend(given)

    def _at(self, place: int) -> onnx.NodeProto:
        """The node of the graph that a node of the pattern is."""
        return self._scope.index.nodes[self._match.positions[place]]

    def _attribute(self, attribute: onnx.AttributeProto) -> onnx.AttributeProto | None:
        if not attribute.ref_attr_name:
            return attribute
        value = self._match.facts.names[attribute.ref_attr_name]
        if value is None:
            return None
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if attribute.type == onnx.AttributeProto.FLOAT:
            value = float(value)
        return onnx.helper.make_attribute(attribute.name, value, attr_type=attribute.type)

    def _number(self, name: str) -> _Number | None:
        """The numbers of a value that is computed with, or None."""
        if name in self._known:
            return self._known[name]
        facts, alternative = self._match.facts, self._match.alternative
        held = facts.names.get(name)
        if name in alternative.pattern.constants:
            array = alternative.pattern.constants[name]
        elif name in alternative.defaults and not self._match.values.get(name):
            array = np.asarray(facts.ask(alternative.defaults[name]))
        elif name in alternative.lets or (held is not None and not isinstance(held, str)):
            array = np.asarray(held)
            if array.dtype == np.float64 and not isinstance(held, np.ndarray):
                array = array.astype(np.float32)
        elif name in alternative.constants and self._match.values.get(name):
            tensor = self._scope.constant(self._match.values[name])
            if tensor is None:
                return None
            array = self._model.array_of(tensor)
        else:
            return None
        self._known[name] = _Number(array, array.dtype)
        return self._known[name]

    def _fold(self, node: onnx.NodeProto) -> bool:
        """Compute a node whose operands are all constants of the rule's, or of the model's that it asked for."""
        reads = ["" if self._left_out(name) else name for name in node.input]
        while reads and not reads[-1]:
            reads.pop()
        numbers = {name: self._number(name) for name in reads if name}
        if any(number is None for number in numbers.values()):
            return False
        held = {name: number for name, number in numbers.items() if number is not None}
        resolved = onnx.NodeProto(op_type=node.op_type, input=reads, output=node.output)
        resolved.attribute.extend(a for a in map(self._attribute, node.attribute) if a is not None)
        exact = node.op_type in EXACT
        arrays = {
            name: n.array.astype(np.float64) if exact and _is_float(n.dtype) else n.rounded()
            for name, n in held.items()
        }
        opset = max(self._opset, REFERENCE_SINCE.get(node.op_type, 1))
        found = evaluated(resolved, arrays, opset) if computable(resolved, opset) else None
        if found is None:
            raise UnknownError(f"{node.op_type} of constants cannot be computed")
        array = found[node.output[0]]
        floats = [n.dtype for n in held.values() if _is_float(n.dtype)]
        dtype = floats[0] if exact and floats and array.dtype == np.float64 else array.dtype
        self._known[node.output[0]] = _Number(array, dtype)
        return True

    def _left_out(self, name: str) -> bool:
        """Whether a name is an optional operand that the model leaves out, and for which nothing stands."""
        alternative = self._match.alternative
        return name in alternative.optional and not self._match.values.get(name) and name not in alternative.defaults

    def _operand(self, name: str) -> str:
        """The value of the graph that a name of the replacement stands for; a constant is written for one."""
        actual = self._value.get(name, "")
        number = None if actual else self._number(name)
        if number is None:
            return actual
        self._value[name] = self._names.fresh(
            f"{self._match.values[self._match.alternative.pattern.outputs[0]]}_{name}"
        )
        self._write(number, self._value[name])
        return self._value[name]

    def _alias(self, formal: str, name: str) -> None:
        """Let an output of the pattern be another value."""
        self._made.aliases = {**self._made.aliases, self._match.values[formal]: self._operand(name)}

    def _write(self, number: _Number, name: str) -> None:
        array = number.rounded()
        tensor = onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        self._made.constants = {**self._made.constants, name: tensor}


def _is_float(dtype: np.dtype[Any]) -> bool:
    return dtype.kind == "f" or dtype.name == "bfloat16"

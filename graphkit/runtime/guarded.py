"""Nodes over which ONNX Runtime 1.31 ends the process for numbers that are known only when they run: each gets a guard.

The smallest int32 or int64 divided by -1 is a signal of the processor: where the divisor is -1 both numbers are multiplied
by -1, which changes no result but this one, and that wraps as numpy's does. A SplitToSequence or STFT by 0 is one too: it
becomes a Gather that the runtime refuses. A position in a sequence or the depth of a OneHot without a number is read all the
same: it becomes a Reshape to a scalar, and the window of an STFT, if it has no axis, one to a vector.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from graphkit.edit.called_values import callers
from graphkit.edit.inlining import inline_calls
from graphkit.edit.nodes import set_input, set_nodes
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.names import Names, label
from graphkit.graph.opset import opset_of
from graphkit.graph.scopes import Scope, scopes
from graphkit.graph.values import attribute_value, constant_tensor
from graphkit.runtime.failures import GUARD
from graphkit.runtime.fatal_nodes import NO_ZERO
from graphkit.semantics.schemas import schema_of
from graphkit.shapes.inference import run_inference
from graphkit.tensor import decode

if TYPE_CHECKING:
    from graphkit.tensor import Array

WIDE = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
"""Types of which the processor cannot divide the smallest number by -1; narrower ones are widened first."""

ONE_NUMBER = {"SequenceAt": 1, "SequenceErase": 1, "SequenceInsert": 2, "OneHot": 1}
"""Operator -> the input from which it reads one number, without asking whether there is one."""

WINDOW = 2
"""The input of an STFT whose rank the runtime does not ask for."""

OTHER = -1
"""A type that is none of these."""


def may_be_fatal(model: onnx.ModelProto) -> bool:
    """Whether a model has a node that may want a guard. Cost: O(nodes), and only those of a few operators are looked at."""
    if not any(map(_is_suspect, walk.model_nodes(model))):
        return False
    opset = opset_of(model)
    for scope in scopes(model.graph):
        kinds = _of_scope(scope, opset)
        if any(_wants(node, kinds, scope.constant_array) for node in scope.graph.node):
            return True
    return any(_suspects_inside(function, opset_of(function, opset)) for function in model.functions)


def guard(model: onnx.ModelProto) -> None:
    """Put guards before the nodes that want one; functions that hold some are inlined. Changes the model.

    Args:
        model: The model as it is handed to the runtime.

    Scope: main graph, bodies, functions.
    Cost: ``may_be_fatal``'s; where it is true O(nodes), and an inference of types where nothing else tells them.
    """
    if not may_be_fatal(model):
        return
    opset = opset_of(model)
    inside = {walk.function_key(f) for f in model.functions if _suspects_inside(f, opset_of(f, opset))}
    if inside:
        try:
            inline_calls(model, callers(model, inside))
        except EditError:
            return  # what the runtime has against such functions it says itself
    names = Names(model.graph)
    inferred: list[Scope] | None = None
    for place, scope in enumerate(list(scopes(model.graph))):
        kinds = _of_scope(scope, opset)
        nodes: list[onnx.NodeProto] = []
        for node in scope.graph.node:
            if _wants(node, kinds, scope.constant_array):
                kind = _kind_of(node, kinds)
                if kind is None and node.op_type not in ONE_NUMBER:
                    if inferred is None:
                        typed = run_inference(model, propagate=False)
                        inferred = list(scopes(typed.graph)) if typed is not None else []
                    kind = _kind_of(node, _of_scope(inferred[place], opset)) if place < len(inferred) else None
                if kind in WIDE or node.op_type in ONE_NUMBER or _window(node):
                    nodes += _guards(node, kind, names)
            nodes.append(node)
        if len(nodes) > len(scope.graph.node):
            set_nodes(scope.graph, nodes)


def _is_suspect(node: onnx.NodeProto) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    divides = node.op_type == "Div" or (node.op_type == "Mod" and not attribute_value(node, "fmod", 0))
    return len(node.input) == 2 if divides else _number(node) != "" or _window(node) != ""


def _place(node: onnx.NodeProto) -> int:
    """The input that is the one number of a suspect that is no division."""
    return NO_ZERO[node.op_type][0] if node.op_type in NO_ZERO else ONE_NUMBER.get(node.op_type, len(node.input))


def _number(node: onnx.NodeProto) -> str:
    place = _place(node)
    return node.input[place] if place < len(node.input) else ""


def _window(node: onnx.NodeProto) -> str:
    return node.input[WINDOW] if node.op_type == "STFT" and len(node.input) > WINDOW else ""


def _operands(node: onnx.NodeProto) -> list[str]:
    """What a suspect computes with: values of one type."""
    return list(node.input) if node.op_type in ("Div", "Mod") else [_number(node)]


def _wants(node: onnx.NodeProto, kinds: Callable[[str], int | None], constant: Callable[[str], Array | None]) -> bool:
    """Whether a node may end the process, as far as constants and types tell."""
    if not _is_suspect(node):
        return False
    if node.op_type in ONE_NUMBER:
        number = constant(_number(node))
        return number is None or number.size != 1
    if _window(node) and ((window := constant(_window(node))) is None or window.ndim != 1):
        return True
    if _kind_of(node, kinds) == OTHER:
        return False
    if node.op_type in NO_ZERO:
        if not _number(node):
            return False
        return constant(_number(node)) is None  # constants are looked at before
    divided, by = map(constant, node.input)
    if by is not None and not np.any(by == -1):
        return False
    return divided is None or divided.dtype.kind != "i" or bool(np.any(divided == np.iinfo(divided.dtype).min))


def _kind_of(node: onnx.NodeProto, kinds: Callable[[str], int | None]) -> int | None:
    found = [kind for name in _operands(node) if (kind := kinds(name)) is not None]
    return found[0] if found else None


def _of_scope(scope: Scope, opset: int) -> Callable[[str], int | None]:
    def declared(name: str) -> int | None:
        known = scope.type_of(name)
        return known.tensor_type.elem_type or None if known is not None else None

    def maker(name: str) -> onnx.NodeProto | None:
        found = scope.maker(name)
        return found[1] if found is not None else None

    return functools.partial(_kind, declared, maker, opset, {})


def _kind(
    declared: Callable[[str], int | None],
    maker: Callable[[str], onnx.NodeProto | None],
    opset: int,
    known: dict[str, int | None],
    name: str,
) -> int | None:
    """int32, int64, ``OTHER``, or None where neither declarations nor the operators before a value tell its type.

    Goes upstream through values that have the same type by their operator's schema; the first one that is known tells.
    """
    waiting, seen, kind = [name], {name}, None
    while waiting and kind is None:
        at = waiting.pop()
        node = maker(at)
        if at in known:
            kind = known[at]
        elif (said := declared(at)) is not None:
            kind = said if said in WIDE else OTHER
        elif node is not None and node.domain in ("", "ai.onnx"):
            kind, alike = _made(node, at, opset)
            new = [each for each in alike if each and each not in seen]
            waiting += new
            seen.update(new)
    known.update(dict.fromkeys(seen, kind))
    return kind


def _made(node: onnx.NodeProto, name: str, opset: int) -> tuple[int | None, list[str]]:
    """The type of a value by the node that makes it, as far as that decides it, and inputs that have the same type."""
    if node.op_type == "Cast":
        to = attribute_value(node, "to", 0)
        return (to if to in WIDE else OTHER), []
    if node.op_type == "Constant":
        tensor = constant_tensor(node)
        return (tensor.data_type if tensor is not None and tensor.data_type in WIDE else OTHER), []
    schema = schema_of(node.op_type, opset)
    place = list(node.output).index(name)
    if schema is None or not schema.outputs:
        return None, []
    formal = schema.outputs[min(place, len(schema.outputs) - 1)]
    possible = {kind for kind in WIDE if f"tensor({helper.tensor_dtype_to_np_dtype(kind)})" in formal.types}
    if not possible:
        return OTHER, []
    if len(formal.types) == 1:
        return possible.pop(), []
    alike = []
    for position, given in enumerate(node.input):
        parameter = schema.inputs[min(position, len(schema.inputs) - 1)] if schema.inputs else None
        if parameter is not None and parameter.type_str == formal.type_str:
            alike.append(given)
    return None, alike


def _suspects_inside(function: onnx.FunctionProto, opset: int) -> bool:
    """Whether a function has a node that may want a guard, whatever it is called with."""
    made = {name: node for node in walk.function_nodes(function) for name in node.output}
    if not any(map(_is_suspect, walk.function_nodes(function))):
        return False
    kinds = functools.partial(_kind, lambda _: None, made.get, opset, {})

    def constant(name: str) -> Array | None:
        tensor = constant_tensor(made[name]) if name in made and made[name].op_type == "Constant" else None
        return decode(tensor, None) if tensor is not None else None

    return any(_wants(node, kinds, constant) for node in walk.function_nodes(function))


def _guards(node: onnx.NodeProto, kind: int | None, names: Names) -> list[onnx.NodeProto]:
    """The nodes that guard one, which reads what they make from now on. Changes the node."""
    writer = _Writer(f"{label(node)}{GUARD}", kind or onnx.TensorProto.INT64, names)
    if _window(node):
        set_input(node, WINDOW, writer.shaped(_window(node), [-1]))
    if node.op_type in ONE_NUMBER:
        set_input(node, _place(node), writer.shaped(_number(node), []))
    elif node.op_type in NO_ZERO and _number(node) and kind in WIDE:
        set_input(node, _place(node), writer.not_zero(_number(node)))
    if node.op_type in ONE_NUMBER or node.op_type in NO_ZERO:
        return writer.nodes
    sign = writer.sign(node.input[1])
    for place in (0, 1):
        set_input(node, place, writer.add("Mul", node.input[place], sign))
    return writer.nodes


class _Writer:
    def __init__(self, prefix: str, kind: int, names: Names) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._prefix = prefix
        self._kind = kind
        self._names = names

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = self._names.fresh(f"{self._prefix}{op}")
        self.nodes.append(helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def constant(self, value: int | list[int], kind: int | None = None) -> str:
        array = np.array(value, helper.tensor_dtype_to_np_dtype(kind or self._kind))
        return self.add("Constant", value=onnx.numpy_helper.from_array(array))

    def sign(self, divisor: str) -> str:
        """-1 where a divisor is -1, else 1. Without a Where, which older opsets do not have."""
        same = self.add("Cast", self.add("Equal", divisor, self.constant(-1)), to=self._kind)
        return self.add("Sub", self.constant(1), self.add("Add", same, same))

    def shaped(self, value: str, shape: list[int]) -> str:
        return self.add("Reshape", value, self.constant(shape, onnx.TensorProto.INT64))

    def not_zero(self, divisor: str) -> str:
        """The divisor; a Gather beyond its one element where it is a scalar and 0."""
        scalar = self.add(
            "Equal", self.add("Size", self.add("Shape", divisor)), self.constant(0, onnx.TensorProto.INT64)
        )
        zero = self.add("And", scalar, self.add("Equal", divisor, self.constant(0)))
        at = self.add("Cast", zero, to=onnx.TensorProto.INT64)
        return self.add("Add", divisor, self.add("Gather", self.constant([0]), at))

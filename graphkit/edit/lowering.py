"""Lowering a model to an earlier opset, node by node: a node stays as it is, is written as the older opset has it, or is refused.

``onnx.version_converter`` is no help here. It has adapters downwards for a few operators only, lets attributes through
that the older version does not have (``dilations`` of AveragePool), and takes a LogSoftmax of opset 13 for one of 12,
which flattens. So each node is checked against the older definition by itself; where the meaning changed and not the form,
``lowered_nodes`` has the rule.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import onnx

from graphkit.edit.lowered_before_11 import RULES as BEFORE_11
from graphkit.edit.lowered_before_11 import count_from_front
from graphkit.edit.lowered_nodes import RULES, Place
from graphkit.edit.raising import same_interface
from graphkit.errors import EditError
from graphkit.graph.names import Names, title
from graphkit.graph.scopes import scopes
from graphkit.graph.values import constant_tensor
from graphkit.graph.walk import call_key
from graphkit.graph.written import attribute_text
from graphkit.semantics.attribute_values import wrong_value
from graphkit.semantics.conforms import type_text
from graphkit.semantics.schemas import schema_of
from graphkit.tensor import decode, type_name

LOWEST = 7
"""ONNX Runtime's first opset; before it, arithmetic broadcast by attributes."""


def lowered_node(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """One node as the older version has it.

    Raises:
        EditError: It cannot be written there.
    """
    if call_key(node)[0] != "" or not onnx.defs.has(node.op_type):
        return [node]
    new, old = schema_of(node.op_type, place.before), schema_of(node.op_type, place.target)
    if new is None:
        return [node]  # a runtime's own, or one that it has in every opset, as ONNX Runtime has LayerNormalization
    if (old is None or old.deprecated) and (node.op_type not in RENAMED or place.target >= RENAMED[node.op_type]):
        since = f"came with opset {_first(node.op_type)}" if old is None else "is deprecated"
        raise _refusal(node, place, f"the operator {since}")
    if old is not None and new.since_version == old.since_version:
        return [node]
    *others, last = _by_rules(_copy(node), place, node)
    made = [
        one for other in others for one in ([other] if other.op_type == node.op_type else lowered_node(other, place))
    ]
    own, its = schema_of(last.op_type, place.before), schema_of(last.op_type, place.target)
    if its is None:
        raise _refusal(node, place, f"the operator {last.op_type} came with opset {_first(last.op_type)}")
    if own is not None and own.since_version != its.since_version and not is_initializer(last, place.target):
        _fit(last, own, its, place, node)
    if place.target < NEGATIVE_AXES <= place.before:
        try:
            count_from_front(last, place)
        except EditError as error:
            raise _refusal(node, place, error.message) from error
    made.append(last)
    read = {name for one in made for name in one.input}
    return [one for one in made if one is last or not read.isdisjoint(one.output)]


def is_initializer(node: onnx.NodeProto, opset: int) -> bool:
    """Whether a Constant has to be an initializer in an opset: before 9 the operator made floats only."""
    if node.op_type != "Constant" or opset >= CONSTANTS_OF_ANY_TYPE:
        return False
    tensor = constant_tensor(node)
    return tensor is not None and tensor.data_type not in _FLOATS


CONSTANTS_OF_ANY_TYPE = 9
_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)

NEGATIVE_AXES = 11
"""The opset since which axes may count from the end."""

RENAMED = {"Resize": 10, "ScatterElements": 11}
"""Operators that had another name before this opset; their rules give it."""


def _by_rules(node: onnx.NodeProto, place: Place, origin: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Apply the rules of a node's operator, and of what it becomes, later opsets first."""
    made, since = [node], place.before + 1
    while True:
        op = made[-1].op_type
        rules = (*RULES.get(op, ()), *BEFORE_11.get(op, ()))
        rule = next((rule for rule in rules if place.target < rule.since < since), None)
        if rule is None:
            return made
        try:
            made[-1:] = rule.lower(made[-1], place)
        except EditError as error:
            raise _refusal(origin, place, error.message) from error
        since = rule.since


def differing(function: onnx.FunctionProto, first: int, second: int) -> str | None:
    """The first operator of a function's body whose node does not mean the same in two opsets; None where all do.

    A node means the same where lowering it from the later to the earlier changes nothing, and both know what it uses.

    Scope: the body, and the bodies in it.
    Cost: O(nodes).
    """
    low, high = sorted((first, second))
    graph = onnx.GraphProto(node=function.node, input=[onnx.ValueInfoProto(name=name) for name in function.input])
    names = Names(graph)
    for scope in scopes(graph):
        for node in scope.index.nodes:
            if call_key(node)[0] == "" and not _same(node, Place(scope, high, low, names)):
                return node.op_type
    return None


def _same(node: onnx.NodeProto, place: Place) -> bool:
    new, old = schema_of(node.op_type, place.before), schema_of(node.op_type, place.target)
    if new is None or old is None:
        return new is old
    if new.since_version == old.since_version or same_interface(old, new):
        return True
    used = {attribute.name for attribute in node.attribute}
    known = used <= new.attributes.keys() and used <= old.attributes.keys()
    wide = any(len(node.input) > len(schema.inputs) and not _variadic(schema.inputs) for schema in (old, new))
    if place.target < LOWEST or not known or wide:
        return False
    try:
        return lowered_node(node, place) == [node]
    except EditError:
        return False


@cache
def _first(op: str) -> int:
    return min(s.since_version for s in onnx.defs.get_all_schemas_with_history() if (s.domain, s.name) == ("", op))


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _refusal(node: onnx.NodeProto, place: Place, why: str) -> EditError:
    return EditError(
        f"{title(node)} cannot be lowered from opset {place.before} to {place.target}: {why}",
        hint="export the model with that opset",
    )


def _fit(
    node: onnx.NodeProto, new: onnx.defs.OpSchema, old: onnx.defs.OpSchema, place: Place, origin: onnx.NodeProto
) -> None:
    """Write a node in an older form that can say what it says. Changes the node."""
    _attributes(node, new, old, place, origin)
    _inputs(node, new, old, place, origin)
    if len([name for name in node.output if name]) > len(old.outputs) and not _variadic(old.outputs):
        raise _refusal(origin, place, f"it had {len(old.outputs)} outputs then")
    if wrong := wrong_value(node, place.target, [type_text(place.scope.type_of(n)) if n else None for n in node.input]):
        raise _refusal(origin, place, wrong)
    for names, formals in ((node.input, old.inputs), (node.output, old.outputs)):
        for position, name in enumerate(names):
            kind = type_text(place.scope.type_of(name)) if name else None
            allowed = formals[min(position, len(formals) - 1)].types if formals else None
            if kind is not None and allowed is not None and kind not in allowed:
                raise _refusal(origin, place, f"it did not take {kind} then ({name!r})")


def _variadic(formals: object) -> bool:
    listed = list(formals)  # type: ignore[call-overload]  # pybind's sequence
    return bool(listed) and listed[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic


def _attributes(
    node: onnx.NodeProto, new: onnx.defs.OpSchema, old: onnx.defs.OpSchema, place: Place, origin: onnx.NodeProto
) -> None:
    """Attributes that the older form lacks go where they say the default; a default that was another is written."""
    kept = []
    for attribute in node.attribute:
        if attribute.name in old.attributes:
            kept.append(attribute)
        elif not _is_default(attribute, new):
            raise _refusal(origin, place, f"{attribute.name}={attribute_text(attribute)} came later")
    given = {attribute.name for attribute in kept}
    for name, definition in new.attributes.items():
        if name in given or name not in old.attributes or not definition.default_value.type:
            continue
        if old.attributes[name].default_value != definition.default_value:
            kept.append(definition.default_value)
    copies = [onnx.AttributeProto.FromString(attribute.SerializeToString()) for attribute in kept]
    del node.attribute[:]
    node.attribute.extend(copies)


def _is_default(attribute: onnx.AttributeProto, schema: onnx.defs.OpSchema) -> bool:
    definition = schema.attributes.get(attribute.name)
    if definition is None:
        return False
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name == "dilations":  # its default has no fixed length, so the schema does not write it
        return all(number == 1 for number in value)
    default = definition.default_value
    return bool(default.type) and bool(value == onnx.helper.get_attribute_value(default))


def _inputs(
    node: onnx.NodeProto, new: onnx.defs.OpSchema, old: onnx.defs.OpSchema, place: Place, origin: onnx.NodeProto
) -> None:
    """Inputs that the older form has as attributes become those; others that it lacks are refused."""
    if _variadic(old.inputs):
        return
    known = [formal.name for formal in old.inputs]
    for position, formal in enumerate(old.inputs):
        given = position < len(node.input) and node.input[position]
        if formal.option == onnx.defs.OpSchema.FormalParameterOption.Single and not given:
            raise _refusal(origin, place, f"its input {formal.name!r} could not be left out then")
    for position in range(len(node.input) - 1, -1, -1):
        name, what = node.input[position], new.inputs[position].name
        if position < len(known):
            break
        if name:
            if what not in old.attributes:
                raise _refusal(origin, place, f"its input {what!r} came later")
            tensor = place.scope.constant(name)
            if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
                raise _refusal(origin, place, f"its {what} had to be an attribute then, and {name!r} is computed")
            array = decode(tensor, None)
            if array.dtype.kind not in ("f" if _is_float(old.attributes[what]) else "iu") or array.ndim > 1:
                raise _refusal(
                    origin, place, f"its {what} {name!r} is {type_name(tensor.data_type)}{list(tensor.dims)}"
                )
            if array.size:
                value = _as_kind(array.tolist(), old.attributes[what])
                node.attribute.append(onnx.helper.make_attribute(what, value))
        del node.input[position]


def _is_float(definition: onnx.defs.OpSchema.Attribute) -> bool:
    return definition.type in (onnx.defs.OpSchema.AttrType.FLOAT, onnx.defs.OpSchema.AttrType.FLOATS)


def _as_kind(value: Any, definition: onnx.defs.OpSchema.Attribute) -> Any:
    """A number or a list, whichever the attribute is."""
    single = definition.type in (onnx.defs.OpSchema.AttrType.INT, onnx.defs.OpSchema.AttrType.FLOAT)
    if single:
        return value[0] if isinstance(value, list) else value
    return value if isinstance(value, list) else [value]

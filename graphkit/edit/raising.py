"""A node in a later opset: it stays as it is, is written as the later opset has it, or is refused.

Attributes that became inputs are followed by the schemas; where the meaning changed and not the form, ``raised_nodes`` has
the rule. Before opset 7 arithmetic broadcast by attributes: up to there ``onnx.version_converter`` converts, each kind of
node once, in a model of its own.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx

from graphkit.edit.lowered_nodes import Place
from graphkit.edit.raised_nodes import BROADCASTING, RULES
from graphkit.errors import EditError
from graphkit.graph.names import Names, label, title
from graphkit.graph.scopes import Scope
from graphkit.graph.walk import call_key
from graphkit.graph.written import attribute_text
from graphkit.semantics.schemas import schema_of

BROADCASTS = 7
"""The opset since which arithmetic broadcasts as it does today (onnx/docs/Broadcasting.md)."""


def raised_node(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """A node as a later opset has it; itself where nothing changes.

    Raises:
        EditError: It cannot be written there.
    """
    if call_key(node)[0] != "" or not onnx.defs.has(node.op_type):
        return [node]
    if schema_of(node.op_type, place.before) is None:
        return [node]  # a runtime's own, or one that it has in every opset, as ONNX Runtime has LayerNormalization
    if _means_the_same(node.op_type, place.before, place.target):
        return [node]
    if place.before < BROADCASTS and node.op_type not in ("Pad", "Upsample", *BROADCASTING):
        first, *others = [*_converted(node, place.scope, place.before, min(BROADCASTS, place.target), place.names)]
        if place.target <= BROADCASTS:
            return [first, *others]
        later = Place(place.scope, BROADCASTS, place.target, place.names)
        return [one for made in (first, *others) for one in raised_node(made, later)]
    made = [_copy(node)]
    try:
        made = _by_rules(made[0], place)
        made[-1:] = _in_form(made[-1], place)
    except EditError as error:
        raise EditError(
            f"{title(node)} cannot be raised from opset {place.before} to {place.target}: {error.message}",
            hint=error.hint,
        ) from error
    return made


@cache
def _means_the_same(op: str, before: int, target: int) -> bool:
    """Whether no version between two opsets changed more than the types that an operator takes."""
    old, new = schema_of(op, before), schema_of(op, target)
    if old is None or new is None or new.deprecated or before < BROADCASTS:
        return old is new is None or (old is not None and new is not None and old.since_version == new.since_version)
    ruled = any(before < rule.since <= target for rule in RULES.get(op, ()))
    return not ruled and same_interface(old, new)


def _by_rules(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """Apply the rules of a node's operator, and of what it is called later, earliest first."""
    made, since = [node], place.before
    while True:
        last = made[-1]
        rule = next((r for r in RULES.get(last.op_type, ()) if since < r.since <= place.target), None)
        if rule is None:
            return made
        made[-1:] = rule.lower(last, place)
        since = rule.since


def _in_form(node: onnx.NodeProto, place: Place) -> list[onnx.NodeProto]:
    """What the rules made, in the form that the later opset has for it."""
    before, after = schema_of(node.op_type, place.before), schema_of(node.op_type, place.target)
    if after is None or after.deprecated:
        raise EditError(f"the operator {node.op_type} is {'not in' if after is None else 'deprecated in'} that opset")
    if before is None or before.since_version == after.since_version:
        return [node]
    return _fit(node, before, after, place)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


INT_INPUTS = frozenset(("axes", "ends", "split", "starts"))
"""Attributes that became inputs of int64 everywhere."""

SCALAR_INPUTS = frozenset(("max", "min"))
"""Attributes that became inputs of the type of the first input: Clip's bounds."""


def _fit(node: onnx.NodeProto, old: onnx.defs.OpSchema, new: onnx.defs.OpSchema, place: Place) -> list[onnx.NodeProto]:
    """A node in a newer form that can say what it says; its attributes that became inputs are constants before it."""
    made: list[onnx.NodeProto] = []
    formals = [formal.name for formal in new.inputs]
    kept = []
    given = {attribute.name for attribute in node.attribute}
    bounds = [old.attributes[name].default_value for name in sorted(SCALAR_INPUTS & set(old.attributes) - given)]
    for attribute in (*node.attribute, *(default for default in bounds if default.type)):
        name = attribute.name
        if name in new.attributes:
            kept.append(attribute)
        elif name in formals and (name in INT_INPUTS or name in SCALAR_INPUTS):
            value = onnx.helper.get_attribute_value(attribute)
            dtype = np.int64 if name in INT_INPUTS else place.dtype(node.input[0])
            position = formals.index(name)
            inputs = [*node.input, *[""] * (position + 1 - len(node.input))]
            inputs[position] = place.writer.constant(made, np.array(value, dtype), f"{node.output[0]}_{name}")
            del node.input[:]
            node.input.extend(inputs)
        elif name not in _WITHOUT_MEANING and not _says_default(attribute, old):
            raise EditError(f"{name}={attribute_text(attribute)} is gone since")
    given = {attribute.name for attribute in kept}
    for name, definition in old.attributes.items():
        if name in given or name not in new.attributes or not definition.default_value.type:
            continue
        if new.attributes[name].default_value != definition.default_value and name not in formals:
            kept.append(definition.default_value)
    if new.max_input < len(node.input):
        raise EditError(f"it has {len(node.input)} inputs, and {new.max_input} then")
    copies = [onnx.AttributeProto.FromString(attribute.SerializeToString()) for attribute in kept]
    del node.attribute[:]
    node.attribute.extend(copies)
    return [*made, node]


_WITHOUT_MEANING = frozenset(("consumed_inputs",))
"""Attributes of the first opsets that said nothing about the numbers."""


def _says_default(attribute: onnx.AttributeProto, schema: onnx.defs.OpSchema) -> bool:
    definition = schema.attributes.get(attribute.name)
    if definition is None or not definition.default_value.type:
        return False
    return bool(onnx.helper.get_attribute_value(attribute) == onnx.helper.get_attribute_value(definition.default_value))


def same_interface(old: onnx.defs.OpSchema, new: onnx.defs.OpSchema) -> bool:
    """Whether two versions of an operator take the same inputs and attributes with the same defaults, so that they differ
    in types only.
    """

    def interface(schema: onnx.defs.OpSchema) -> object:
        attributes = {n: (a.required, a.default_value.SerializeToString()) for n, a in schema.attributes.items()}
        return attributes, [(i.name, i.option) for i in schema.inputs], [(o.name, o.option) for o in schema.outputs]

    return interface(old) == interface(new)


def _converted(node: onnx.NodeProto, scope: Scope, before: int, target: int, names: Names) -> list[onnx.NodeProto]:
    """One node through onnx.version_converter: nodes of one kind are converted once a process."""
    known: dict[str, str] = {}
    for name in (*node.input, *node.output):
        if name:
            known.setdefault(name, f"v{len(known)}")
    alone = _copy(node)
    alone.name = alone.doc_string = ""
    del alone.metadata_props[:]
    for field in (alone.input, alone.output):
        for position, name in enumerate(field):
            field[position] = known.get(name, "")
    infos = {}
    for name in dict.fromkeys(name for name in (*node.input, *node.output) if name):
        infos[name] = onnx.ValueInfoProto(name=known[name])
        if (type_proto := scope.type_of(name)) is not None:
            infos[name].type.CopyFrom(type_proto)
    tensors = []
    for name in dict.fromkeys(name for name in node.input if name):
        tensor = scope.constant(name)
        if tensor is not None and tensor.data_location != onnx.TensorProto.EXTERNAL:
            copy = onnx.TensorProto()
            copy.CopyFrom(tensor)
            copy.name = known[name]
            tensors.append(copy)
            infos.pop(name)
    made = {name for name in node.output if name}
    inputs = [info for name, info in infos.items() if name not in made]
    outputs = [info for name, info in infos.items() if name in made]
    graph = onnx.helper.make_graph([alone], "node", inputs, outputs, tensors)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", before)], ir_version=8)
    content, why = _through_converter(model.SerializeToString(deterministic=True), target)
    if why:
        raise EditError(f"{title(node)} cannot be raised from opset {before} to {target}: {why}")
    result = onnx.GraphProto.FromString(content)
    return _spliced(result, node, {new: name for name, new in known.items()}, names)


@cache
def _through_converter(content: bytes, target: int) -> tuple[bytes, str]:
    try:
        result = onnx.version_converter.convert_version(onnx.ModelProto.FromString(content), target)
    except (
        onnx.version_converter.ConvertError,
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        RuntimeError,
        ValueError,
    ) as error:
        return b"", " ".join(str(error).split()) or "its converter fails"
    return result.graph.SerializeToString(), ""


def _spliced(
    graph: onnx.GraphProto, origin: onnx.NodeProto, table: dict[str, str], names: Names
) -> list[onnx.NodeProto]:
    """The nodes of a converted model in terms of the graph that the node came from."""
    given = set(table)
    table[""] = ""
    nodes = [
        onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        for tensor in graph.initializer
        if tensor.name not in given
    ]
    nodes.extend(graph.node)
    for node in nodes:
        for field in (node.input, node.output):
            for place, name in enumerate(field):
                if name not in table:
                    table[name] = names.fresh(f"{origin.output[0]}_{name.strip('_')}")
                field[place] = table[name]
        if set(node.output) & set(origin.output):
            node.name, node.doc_string = origin.name, origin.doc_string
            del node.metadata_props[:]
            node.metadata_props.extend(origin.metadata_props)
        elif not node.name or node.name in names:
            node.name = names.fresh(f"{label(origin)}_{node.op_type}")
    return nodes

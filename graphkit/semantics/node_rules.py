"""What an operator of ai.onnx wants of a node: numbers of inputs and outputs, and attributes of their type."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import onnx

from graphkit.errors import InvalidGraphError
from graphkit.graph.names import label, title
from graphkit.graph.values import attribute_value
from graphkit.semantics.schemas import operators, schema_of


def check_node(node: onnx.NodeProto, opset: int, *, inside_function: bool) -> None:
    """Check a node against its operator as an opset has it; an operator that ONNX does not know may have anything.

    Raises:
        InvalidGraphError: Another number of inputs or outputs, one left out that may not be, an attribute that is
            missing, there twice, of another type, or empty; a Resize without a size.

    Cost: about 1 microsecond.
    """
    op = node.op_type
    rule = _rule(op, opset)
    if rule is None:
        return
    inputs, outputs = node.input[:], node.output[:]
    if not rule.inputs[0] <= len(inputs) <= rule.inputs[1] or "" in inputs:
        _check_names(node, opset, "input", inputs, rule.inputs, rule.given)
        if rule.more and "" in inputs[len(rule.given) - 1 :]:
            raise _broken(node, f"one of its inputs {rule.more!r} left out, which none may be")
    if not rule.outputs[0] <= len(outputs) <= rule.outputs[1] or "" in outputs:
        _check_names(node, opset, "output", outputs, rule.outputs, rule.made)
    found = _check_attributes(node, rule.kinds, inside_function=inside_function) if node.attribute else ()
    for name in rule.required:
        if name not in found:
            raise _broken(node, f"no attribute {name!r}, which it must have")
    if op == "Resize":
        check_sized(node, opset)


class _Rule(NamedTuple):
    """What a version of an operator wants: numbers of inputs and outputs, positions that may not be left out, kinds of
    attributes, attributes that must be there. ``more`` is the input that there may be any number of, "" for none.
    """

    inputs: tuple[int, int]
    outputs: tuple[int, int]
    given: tuple[str, ...]
    more: str
    made: tuple[str, ...]
    kinds: dict[str, int]
    required: tuple[str, ...]


MANY = 1 << 30
"""More inputs than any operator has."""


@cache
def _rule(op: str, opset: int) -> _Rule | None:
    schema = schema_of(op, opset)
    later = schema is None  # ONNX Runtime has LayerNormalization in every opset: what came later has its first form
    if schema is None:
        versions = operators().get(op)
        schema = schema_of(op, versions[0]) if versions else None
    if schema is None:
        return None
    return _Rule(
        (schema.min_input, MANY if later else schema.max_input),
        (schema.min_output, MANY if later else schema.max_output),
        tuple(_singles(schema.inputs)),
        next((formal.name for formal in schema.inputs if formal.option == Option.Variadic), ""),
        tuple(_singles(schema.outputs)),
        {name: int(rule.type) for name, rule in schema.attributes.items()},  # type: ignore[call-overload]  # the stubs say no enum
        tuple(name for name, rule in schema.attributes.items() if rule.required and not later),
    )


def _singles(formals: Sequence[onnx.defs.OpSchema.FormalParameter]) -> Iterator[str]:
    """The names of the first parameters, "" for one that may be left out."""
    for formal in formals:
        yield formal.name if formal.option == Option.Single else ""


Option = onnx.defs.OpSchema.FormalParameterOption


def _check_names(
    node: onnx.NodeProto, opset: int, what: str, names: list[str], limits: tuple[int, int], formals: tuple[str, ...]
) -> None:
    least, most = limits
    if not least <= len(names) <= most:
        wanted = f"{least}" if least == most else f"{least} or more" if most >= MANY else f"{least} to {most}"
        has = f"{len(names)} {what}{'' if len(names) == 1 else 's'}"
        raise _broken(node, f"{has}, and {node.op_type} of opset {opset} has {wanted}")
    for name, formal in zip(names, formals, strict=False):
        if formal and not name:
            raise _broken(node, f"no {what} {formal!r}, which may not be left out")


def _check_attributes(node: onnx.NodeProto, kinds: dict[str, int], *, inside_function: bool) -> Collection[str]:
    found: set[str] = set()
    for attribute in node.attribute:
        name, kind = attribute.name, attribute.type
        if name in found:
            raise _broken(node, f"two attributes {name!r}")
        found.add(name)
        if attribute.ref_attr_name:
            if not inside_function:
                given = attribute.ref_attr_name
                raise _broken(node, f"the attribute {name!r} from a function's {given!r}, in no function")
            continue
        wanted = kinds.get(name, kind)
        if kind != wanted:
            raise _broken(node, f"the attribute {name!r} of type {_kind(kind)}, which must be of type {_kind(wanted)}")
        field = _HOLDERS.get(kind)
        if field is not None and not attribute.HasField(field):
            raise _broken(node, f"an attribute {name!r} of type {_kind(kind)} that holds none")
    return found


_HOLDERS = {
    onnx.AttributeProto.TENSOR: "t",
    onnx.AttributeProto.GRAPH: "g",
    onnx.AttributeProto.SPARSE_TENSOR: "sparse_tensor",
    onnx.AttributeProto.TYPE_PROTO: "tp",
}
"""Kind of attribute -> the field that must be there. Numbers and texts that are absent are 0 and "" (proto3 omits them)."""


def _kind(number: int) -> str:
    return str(onnx.AttributeProto.AttributeType.Name(number))


def _broken(node: onnx.NodeProto, has: str) -> InvalidGraphError:
    return InvalidGraphError(f"{title(node)} has {has}", names=[node.name or next(iter(node.output), "")])


OPTIONAL_SINCE = 13
"""The opset since which scales and sizes of a Resize are both optional, so that one of them has to be there."""


def check_parts(node: onnx.NodeProto) -> None:
    """Refuse a Split with more outputs than its ``num_outputs``: ONNX Runtime 1.31 ends the process over it.

    Raises:
        InvalidGraphError: It has more.
    """
    count = attribute_value(node, "num_outputs")
    if isinstance(count, int) and len(node.output) > count:
        raise InvalidGraphError(
            f"{title(node)} has {len(node.output)} outputs and num_outputs = {count}", names=[label(node)]
        )


def check_sized(node: onnx.NodeProto, opset: int) -> None:
    """Refuse a Resize that is given neither scales nor sizes: an optimizer of ONNX Runtime 1.31 ends the process over it.

    Raises:
        InvalidGraphError: It is given neither.
    """
    if opset >= OPTIONAL_SINCE and not any(node.input[2:4]):
        raise InvalidGraphError(f"{title(node)} is given neither scales nor sizes", names=[label(node)])

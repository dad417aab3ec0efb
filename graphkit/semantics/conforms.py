"""Whether a node is what the schema of its operator says, types included: for nodes that a conversion wrote.

``node_rules`` asks what every edit relies on and lets pass what runtimes take beside the schemas (an operator before its
opset, attributes of their own). What is written here has to be as the specification has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache

import onnx

from graphkit.errors import InvalidGraphError
from graphkit.graph.opset import canonical
from graphkit.semantics.attribute_values import wrong_value
from graphkit.semantics.node_rules import check_node
from graphkit.tensor import type_name

Formal = onnx.defs.OpSchema.FormalParameter

KNOWN_DOMAINS = ("", "ai.onnx.ml")
"""The domains whose schemas onnx has and runtimes implement."""


def departure(
    node: onnx.NodeProto,
    version: int,
    inputs: Sequence[onnx.TypeProto | None],
    outputs: Sequence[onnx.TypeProto | None],
    *,
    inside_function: bool = False,
) -> str | None:
    """The rule of its schema that a node breaks, as half a sentence; None where it breaks none.

    Args:
        node: A node of one of the ``KNOWN_DOMAINS``.
        version: The version of its domain that the model imports.
        inputs: The types of its inputs; None for one that is left out or not known.
        outputs: The types of its outputs.
        inside_function: Attributes may be taken from a function's.

    Cost: about 10 microseconds.
    """
    domain = canonical(node.domain)
    schema = _schema(node.op_type, version, domain)
    where = f"opset {version}" if not domain else f"{domain} {version}"
    if schema is None:
        return f"{where} has no operator {node.op_type}"
    if schema.deprecated:
        return f"{node.op_type} is deprecated in {where}"
    try:
        if not domain:
            check_node(node, version, inside_function=inside_function)
    except InvalidGraphError as error:
        return error.message
    allowed = _attributes(node.op_type, version, domain)
    unknown = next((a.name for a in node.attribute if a.name not in allowed), None)
    if unknown is not None:
        return f"{node.op_type} of {where} has no attribute {unknown!r}"
    if not domain and (wrong := wrong_value(node, version, [type_text(known) for known in inputs])):
        return wrong
    return wrong_types(node.op_type, version, domain, *(tuple(map(type_text, types)) for types in (inputs, outputs)))


@cache
def _schema(op: str, version: int, domain: str) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op, max(0, min(version, 2**31 - 1)), domain)  # a damaged model says anything
    except onnx.defs.SchemaError:
        return None


@cache
def _attributes(op: str, version: int, domain: str) -> frozenset[str]:
    schema = _schema(op, version, domain)
    return frozenset(schema.attributes) if schema is not None else frozenset()


@lru_cache(maxsize=4096)
def wrong_types(
    op: str, version: int, domain: str, inputs: tuple[str | None, ...], outputs: tuple[str | None, ...]
) -> str | None:
    """A type that an operator does not take, or two of one type variable, as half a sentence; None where all is well.

    Args:
        op: The operator; of one that ONNX does not have nothing is said.
        version: The version of its domain that the model imports.
        domain: Its domain, "" for ONNX's own.
        inputs: The types of its inputs as ``type_text`` gives them; None for one that is left out or not known.
        outputs: The types of its outputs.
    """
    schema = _schema(op, version, domain)
    if schema is None:
        return None
    where = f"opset {version}" if not domain else f"{domain} {version}"
    bound: dict[str, str] = {}
    for what, formals, types in (("input", schema.inputs, inputs), ("output", schema.outputs, outputs)):
        for formal, text in _paired(formals, types):
            if text not in formal.types and not text.startswith(("map(", "opaque(")):
                return f"{schema.name} of {where} takes no {text} as its {what} {formal.name!r}"
            if formal.is_homogeneous and bound.setdefault(formal.type_str, text) != text:
                return f"{schema.name} of {where} has {bound[formal.type_str]} and {text} where both must be one type"
    return None


def _paired(formals: Sequence[Formal], types: Sequence[str | None]) -> Iterator[tuple[Formal, str]]:
    listed = list(formals)
    for position, known in enumerate(types):
        if known is not None and listed:
            yield listed[min(position, len(listed) - 1)], known


def type_text(type_proto: onnx.TypeProto | None) -> str | None:
    """A type as schemas write it; None where it is unknown, or a map or sparse tensor."""
    if type_proto is None:
        return None
    for kind, word in (("sequence_type", "seq"), ("optional_type", "optional")):
        if type_proto.HasField(kind):
            inner = type_text(getattr(type_proto, kind).elem_type)
            return inner and f"{word}({inner})"
    return _tensor_text(type_proto.tensor_type.elem_type)


@lru_cache(maxsize=256)  # a damaged model says any number
def _tensor_text(data_type: int) -> str | None:
    if not data_type:
        return None
    name = type_name(data_type)
    return f"tensor({ {'float32': 'float', 'float64': 'double'}.get(name, name) })"

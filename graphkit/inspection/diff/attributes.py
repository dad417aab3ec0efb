"""What differs between two nodes that are one: operator, operands, attributes, what is written beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from graphkit.graph import walk
from graphkit.graph.names import label
from graphkit.graph.written import Read, attribute_text, operator_name
from graphkit.inspection.diff.difference import Aspect
from graphkit.inspection.diff.documentation import documentation
from graphkit.inspection.diff.tensors import Tensors

Details = dict[Aspect, list[str]]

_GRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
_ELSEWHERE = frozenset("name input output op_type domain overload attribute doc_string metadata_props".split())
"""Fields of a node that have their own comparison."""


def node_details(
    one: onnx.NodeProto,
    two: onnx.NodeProto,
    values: Mapping[str, str],
    tensors: Tensors,
    prefix: str,
    read: tuple[Read | None, Read | None],
    *,
    same_operator: bool,
) -> Details:
    """Aspect -> what differs, a phrase each. Tensors of attributes go to ``tensors``, as weights.

    Args:
        one: The node before.
        two: The node after.
        values: Value before -> value after.
        tensors: What compares weights.
        prefix: What stands before names in addresses.
        read: What reads small tensors, before's and after's.
        same_operator: Whether both are one operator, a function under another name included.
    """
    found: Details = {"structure": [], "names": [], "metadata": documentation(one, two)}
    operators = operator_name(one), operator_name(two)
    if not same_operator:
        found["structure"].append(f"operator {operators[0]} -> {operators[1]}")
    elif operators[0] != operators[1]:
        found["names"].append(f"calls {operators[1]}, called {operators[0]} before")
    found["structure"] += _operands(one.input, two.input, values)
    made = [bool(name) for name in _trimmed(one.output)], [bool(name) for name in _trimmed(two.output)]
    if made[0] != made[1]:
        found["structure"].append(f"makes {_names(two.output)} in place of {_names(one.output)}")
    _attributes(one, two, found, tensors, prefix, read)
    mine = {field.name: value for field, value in one.ListFields() if field.name not in _ELSEWHERE}
    others = {field.name: value for field, value in two.ListFields() if field.name not in _ELSEWHERE}
    found["structure"] += [
        f"{name} is another" for name in sorted({*mine, *others}) if mine.get(name) != others.get(name)
    ]
    return found


def _operands(one: Sequence[str], two: Sequence[str], values: Mapping[str, str]) -> list[str]:
    mine, others = _trimmed(one), _trimmed(two)
    found = []
    for port in range(max(len(mine), len(others))):
        was = mine[port] if port < len(mine) else ""
        now = others[port] if port < len(others) else ""
        if (values.get(was, was) if was else "") != now:
            found.append(f"input {port}: {was or 'none'} -> {now or 'none'}")
    return found


def _trimmed(names: Sequence[str]) -> list[str]:
    """Names without the omitted ones at the end, which say nothing."""
    found = list(names)
    while found and not found[-1]:
        found.pop()
    return found


def _names(names: Sequence[str]) -> str:
    return ", ".join(name or '""' for name in names) or "nothing"


def _attributes(
    one: onnx.NodeProto,
    two: onnx.NodeProto,
    found: Details,
    tensors: Tensors,
    prefix: str,
    read: tuple[Read | None, Read | None],
) -> None:
    mine = {attribute.name: attribute for attribute in one.attribute}
    others = {attribute.name: attribute for attribute in two.attribute}
    for name in dict.fromkeys((*mine, *others)):
        was, now = mine.get(name), others.get(name)
        if was is None or now is None:
            texts = ["not given" if a is None else attribute_text(a, r) for a, r in zip((was, now), read, strict=True)]
            found["structure"].append(f"{name}: {texts[0]} -> {texts[1]}")
            continue
        if was.SerializeToString(deterministic=True) == now.SerializeToString(deterministic=True) and not any(
            tensor.data_location for tensor in walk.attribute_tensors(was)
        ):
            continue
        if was.doc_string != now.doc_string:
            found["metadata"].append(f"{name}: doc {was.doc_string!r} -> {now.doc_string!r}")
        if (was.type in _GRAPHS or any(True for _ in walk.attribute_tensors(was))) and _rest(was) != _rest(now):
            found["structure"].append(f"{name}: {_NOT_ITS_TYPE}")
        if was.type in _GRAPHS and was.type == now.type and len(was.graphs) == len(now.graphs):
            continue  # a place of its own
        held = list(walk.attribute_tensors(was)), list(walk.attribute_tensors(now))
        if held[0] and was.type == now.type and len(held[0]) == len(held[1]) and _dims(was) == _dims(now):
            address, former = prefix + label(two), prefix + label(one)
            shown = "" if name == "value" else f".{name}"
            for a, b in zip(*held, strict=True):
                tensors.compare(address + shown, None if former == address else former + shown, a, b)
        elif _bare(was) != _bare(now):
            found["structure"].append(f"{name}: {attribute_text(was, read[0])} -> {attribute_text(now, read[1])}")


def _dims(attribute: onnx.AttributeProto) -> Any:
    """The shapes of an attribute's sparse tensors."""
    return [list(sparse.dims) for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors)]


_NOT_ITS_TYPE = "another value in a field that is not of its type"
_PARTS = ("doc_string", "t", "tensors", "sparse_tensor", "sparse_tensors", "g", "graphs", "type")


def _rest(attribute: onnx.AttributeProto) -> bytes:
    """What an attribute holds beside its tensors and graphs."""
    copy = onnx.AttributeProto()
    copy.CopyFrom(attribute)
    for field in _PARTS:
        copy.ClearField(field)
    return bytes(copy.SerializeToString(deterministic=True))


def _bare(attribute: onnx.AttributeProto) -> bytes:
    copy = onnx.AttributeProto()
    copy.CopyFrom(attribute)
    copy.ClearField("doc_string")
    return bytes(copy.SerializeToString(deterministic=True))

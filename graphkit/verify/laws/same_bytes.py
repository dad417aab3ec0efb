"""Whether two models are one: the same skeleton, and the same bytes of weights, wherever either of them lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import onnx

from graphkit.graph import walk
from graphkit.graph.names import label
from graphkit.model import BASES_KEY, Model
from graphkit.step import HISTORY_KEY
from graphkit.storage.source import LocalFile

OTHER = "{other}"
"""Where a text names the other model."""

CHUNK = 1 << 24
"""Bytes of a tensor that are compared at a time."""


def first_byte_difference(mine: Model, other: Model, *, called: str = "the replay") -> str | None:
    """What differs first between two models, for people; None where nothing does.

    Where the bytes of a weight lie, and the history itself, are no difference. The other model is ``called`` so.

    Cost: O(weights): every byte is read once on each side, ``CHUNK`` at a time.
    """
    left, right = _bare(mine.proto), _bare(other.proto)
    if left.SerializeToString(deterministic=True) != right.SerializeToString(deterministic=True):
        return _told(left, right).replace(OTHER, called)
    name = next(other_weights(mine, other), None)
    return f"the weight {name!r} has other bytes" if name is not None else None


def other_weights(mine: Model, other: Model) -> Iterator[str]:
    """The weights whose bytes differ, of two models with one skeleton."""
    for one, two in zip(walk.tensors(mine.proto), walk.tensors(other.proto), strict=True):
        if not _same_bytes(mine, one, other, two):
            yield one.name


def same_skeletons(mine: Model, other: Model) -> bool:
    """Whether two models are one but for the bytes of their weights."""
    left, right = _bare(mine.proto), _bare(other.proto)
    return left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True)


def _bare(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A skeleton without the bytes of tensors, where they lie, and the history."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    kept = [entry for entry in copy.metadata_props if entry.key not in (HISTORY_KEY, BASES_KEY)]
    del copy.metadata_props[:]
    copy.metadata_props.extend(kept)
    for tensor in walk.tensors(copy):
        for field in ("raw_data", "external_data", "data_location"):
            tensor.ClearField(field)
    return copy


def _same_bytes(mine: Model, one: onnx.TensorProto, other: Model, two: onnx.TensorProto) -> bool:
    if _same_place(mine, one, other, two):
        return True
    pieces = zip(_pieces(mine, one), _pieces(other, two), strict=False)
    return _length(mine, one) == _length(other, two) and all(a == b for a, b in pieces)


def _same_place(mine: Model, one: onnx.TensorProto, other: Model, two: onnx.TensorProto) -> bool:
    """Whether two tensors are one range of one file, so that there is nothing to read."""
    if not one.data_location == two.data_location == onnx.TensorProto.EXTERNAL:
        return False
    (left, *here), (right, *there) = mine.locate(one), other.locate(two)
    if here != there:
        return False
    if isinstance(left, LocalFile) and isinstance(right, LocalFile):
        return left is right or (left.is_at(right.path) and right.is_at(right.path))
    return left is right


def _length(model: Model, tensor: onnx.TensorProto) -> int:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return len(tensor.raw_data)
    return model.locate(tensor)[2]


def _pieces(model: Model, tensor: onnx.TensorProto) -> Iterator[bytes]:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        for at in range(0, len(tensor.raw_data), CHUNK):
            yield tensor.raw_data[at : at + CHUNK]
        return
    source, offset, length = model.locate(tensor)
    for at in range(0, length, CHUNK):
        yield source.read(offset + at, min(CHUNK, length - at))


def _told(left: onnx.ModelProto, right: onnx.ModelProto) -> str:
    """Where two skeletons differ first: a node, a weight, a declared value, another field."""
    nodes = _sequence(left.graph.node, right.graph.node, "nodes")
    if nodes is not None:
        a, b = nodes if isinstance(nodes, tuple) else (None, None)
        return str(nodes) if a is None or b is None else _node(a, b)
    for what, field in (
        ("weight", "initializer"),
        ("input", "input"),
        ("output", "output"),
        ("declared type of", "value_info"),
    ):
        found = _sequence(getattr(left.graph, field), getattr(right.graph, field), f"{what}s")
        if isinstance(found, str):
            return found
        if found is not None:
            return f"the {what} {found[0].name!r} is another than that of {OTHER} ({found[1].name!r})"
    for descriptor, value in left.ListFields():
        if descriptor.name != "graph" and value != getattr(right, descriptor.name):
            return f"the model's {descriptor.name} is another than that of {OTHER}"
    return f"the skeleton is another than that of {OTHER}"


def _sequence(left: Sequence[Any], right: Sequence[Any], what: str) -> tuple[Any, Any] | str | None:
    for a, b in zip(left, right, strict=False):
        if a != b and a.SerializeToString(deterministic=True) != b.SerializeToString(deterministic=True):
            return a, b
    return None if len(left) == len(right) else f"there are {len(left)} {what}, and {OTHER} has {len(right)}"


def _node(a: onnx.NodeProto, b: onnx.NodeProto) -> str:
    if (a.op_type, a.domain) != (b.op_type, b.domain):
        return f"node {label(a)!r} is a {a.op_type}, and a {b.op_type} in {OTHER}"
    for what, mine, other in (("reads", a.input, b.input), ("makes", a.output, b.output)):
        if list(mine) != list(other):
            return f"node {label(a)!r} {what} {', '.join(mine)}, and in {OTHER} {', '.join(other)}"
    theirs = {attribute.name: attribute for attribute in b.attribute}
    for attribute in a.attribute:
        if attribute.name not in theirs or attribute != theirs[attribute.name]:
            return f"the attribute {attribute.name!r} of node {label(a)!r} is another than that of {OTHER}"
    return f"node {label(a)!r} is another than that of {OTHER}"

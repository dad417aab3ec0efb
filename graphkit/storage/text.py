"""Models as text: ONNX's own syntax, JSON, and protobuf's text format. Each by its suffix, whole in memory."""

from __future__ import annotations

import os
import warnings

import onnx
from google.protobuf.message import DecodeError

from graphkit.errors import FormatError, SaveError
from graphkit.graph import walk
from graphkit.model import Model

FORMATS = {
    ".onnxtxt": "onnxtxt",
    ".onnxtext": "onnxtxt",
    ".json": "json",
    ".onnxjson": "json",
    ".textproto": "textproto",
    ".prototxt": "textproto",
}
"""Suffix -> what ``onnx.load`` calls the format."""

MOST_TEXT = 1 << 28
"""Bytes of weights that are written as text: a float takes about ten characters."""


def text_format(path: str) -> str | None:
    """The text format that a path's suffix names, or None."""
    return FORMATS.get(os.path.splitext(path)[1].lower())


def read_text(path: str, data: bytes) -> onnx.ModelProto:
    """A model from its text.

    Raises:
        FormatError: The text is none of that format.
    """
    kind = text_format(path)
    assert kind is not None
    try:
        proto = _parse(data, kind)
    except _no_model() as error:
        first = parser_said(error) if kind == "onnxtxt" else next(iter(str(error).strip().splitlines()), "")
        first = first or type(error).__name__
        raise FormatError(f"{path} is no model as {kind}: {first[:200]}", path=path) from error
    if not proto.HasField("graph"):
        raise FormatError(f"{path} is no model as {kind}: it has no graph", path=path)
    return proto


def parser_said(error: Exception) -> str:
    """What onnx's parser has against a text, on one line: its message comes as bytes."""
    said = error.args[0] if error.args else ""
    return " ".join((said.decode(errors="replace") if isinstance(said, bytes) else str(said)).split())


def _parse(data: bytes, kind: str) -> onnx.ModelProto:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx calls its text format experimental; ``as_text`` holds it to what it read
        proto = onnx.load_model_from_string(data, format=kind)
    assert isinstance(proto, onnx.ModelProto)
    return proto


def _no_model() -> tuple[type[Exception], ...]:
    """What the parsers raise for a text that is none of theirs."""
    from google.protobuf import json_format, text_format

    own = (json_format.Error, text_format.Error, onnx.parser.ParseError, DecodeError)
    return (*own, ValueError, TypeError, RuntimeError, RecursionError)


def as_text(model: Model, path: str) -> bytes:
    """A model as text of the format that a path's suffix names, with its weights.

    Raises:
        SaveError: The format cannot say everything that the model holds, or the weights have more than 256 MiB.
        WeightsError: Weights are not where the model says.
    """
    kind = text_format(path)
    assert kind is not None
    total = sum(model.locate(t)[2] for t in walk.tensors(model.proto) if t.external_data)
    if total > MOST_TEXT:
        raise SaveError(
            f"{path} would hold {total >> 20} MiB of weights as text; {MOST_TEXT >> 20} MiB is the most",
            path=path,
            hint="write the weights to a file of their own: save it as .onnx",
        )
    proto = model.materialize()
    data = b""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = onnx.serialization.registry.get(kind).serialize_proto(proto)
        again = _parse(data, kind)
        lost = _lost(*map(canonical, (proto, again))) if kind == "onnxtxt" else _lost(proto, again)
    except _no_model():
        lost = "some of its texts"
    if lost:
        raise SaveError(
            f"cannot write {path}: {kind} does not say everything that the model holds ({lost})",
            path=path,
            hint="save it as .json or .textproto, which do" if kind == "onnxtxt" else None,
        )
    return data


def _lost(before: onnx.ModelProto, after: onnx.ModelProto) -> str:
    """The first field that did not come back; "" where all did."""
    for one, other, prefix in ((before.graph, after.graph, "graph."), (before, after, "")):
        for field in one.DESCRIPTOR.fields:
            if field.name != "graph" and getattr(one, field.name) != getattr(other, field.name):
                return f"{prefix}{field.name}"
    return "" if before == after else "unknown fields"


def canonical(proto: onnx.ModelProto) -> onnx.ModelProto:
    """ONNX's syntax has no empty texts, and writes weights by their values, however they are stored."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for field in ("producer_name", "producer_version", "domain", "doc_string", "model_version"):
        if not getattr(copy, field):
            copy.ClearField(field)
    for tensor in walk.tensors(copy):
        if tensor.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
            continue
        array = onnx.numpy_helper.to_array(tensor)
        plain = onnx.numpy_helper.from_array(array, tensor.name)
        plain.doc_string = tensor.doc_string
        plain.metadata_props.extend(tensor.metadata_props)
        tensor.CopyFrom(plain)
    return copy

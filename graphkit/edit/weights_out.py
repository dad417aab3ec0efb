"""Weights taken out of a model, put back, or stood in for. The graph stays as it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import numpy as np
import onnx

from graphkit.errors import EditError, NothingFoundError
from graphkit.graph import walk
from graphkit.graph.names import label
from graphkit.hint import Argument, Hint
from graphkit.model import Model, Source
from graphkit.tensor import bits, data_range, expected_bytes, is_stripped, numpy_type, stored_bytes

SMALL = 1 << 10
"""Bytes below which a tensor is no weight but a size, a list of axes, a scale: it decides shapes and is kept."""

RANDOM_SEED = 0
"""Where the random stand-ins begin."""


def weights(proto: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Every large tensor that holds numbers, with what it is called: an initializer by its name, a node's attribute by
    the node. Main graph, bodies and functions, in file order.
    """
    places: list[tuple[str, Iterable[onnx.TensorProto], Iterable[onnx.NodeProto]]] = []
    places += [(f"{number}", graph.initializer, graph.node) for number, graph in enumerate(walk.graphs(proto.graph))]
    places += [("::".join(walk.function_key(f)), (), walk.function_nodes(f)) for f in proto.functions]
    for place, initializers, nodes in places:
        for tensor in initializers:
            yield f"{place} {tensor.name}", tensor
        for node in nodes:
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.TENSOR:
                    yield f"{place} {label(node)}.{attribute.name}", attribute.t


def strip(proto: onnx.ModelProto) -> int:
    """Take the values of all weights out; dims and types stay. Changes the model.

    Returns:
        How many weights lost their values.
    """
    count = 0
    for _, tensor in weights(proto):
        if bits(tensor.data_type) and stored_bytes(tensor) >= SMALL and not is_stripped(tensor):
            _empty(tensor)
            count += 1
    return count


def fill(proto: onnx.ModelProto, kind: Literal["zeros", "random"]) -> int:
    """Give all stripped weights stand-ins. Changes the model.

    Args:
        proto: The model.
        kind: "zeros", or "random": normal numbers of a size that keeps layers' results near 1, the same each time.

    Returns:
        How many weights got values.

    Raises:
        NothingFoundError: No weight is stripped.
    """
    generator = np.random.default_rng(RANDOM_SEED)
    count = 0
    for _, tensor in weights(proto):
        if not is_stripped(tensor) or not bits(tensor.data_type):
            continue
        count += 1
        size = expected_bytes(tensor) or 0
        dtype = numpy_type(tensor.data_type)
        if kind == "zeros" or dtype is None or dtype.kind != "f":
            tensor.raw_data = bytes(size)
            continue
        fan_in = max(1, math.prod(tensor.dims[1:]))
        values = generator.standard_normal(math.prod(tensor.dims), dtype=np.float32) / math.sqrt(fan_in)
        tensor.raw_data = values.astype(dtype).tobytes()
    if not count:
        raise NothingFoundError(
            f"no weight of the model is stripped, so none is filled; weights below {SMALL} bytes always keep their values",
            hint=Hint(Argument("strip_weights"), " takes the values out first, in the same step too"),
        )
    return count


def restore(model: Model, proto: onnx.ModelProto, donor: Model) -> tuple[int, Mapping[str, Source]]:
    """Give all stripped weights the values that another model has under the same names. Changes the proto.

    Nothing is read: the proto refers to the donor's bytes.

    Returns:
        How many weights got values, and where all bytes lie.

    Raises:
        EditError: The donor has no weight of a name, or one of another type or other dims.
    """
    given = dict(weights(donor.proto))
    sources = dict(model.sources)
    moved: dict[str, str] = {}
    count = 0
    for name, tensor in weights(proto):
        if not is_stripped(tensor):
            continue
        shown = name.partition(" ")[2]
        other = given.get(name)
        if other is None or is_stripped(other):
            raise EditError(f"the model to restore from has no values for {shown!r}")
        if other.data_type != tensor.data_type or list(other.dims) != list(tensor.dims):
            raise EditError(f"{shown!r} is of another type or shape in the model to restore from")
        told = _told(tensor)
        tensor.CopyFrom(other)
        for field in TOLD:
            tensor.ClearField(field)
        tensor.MergeFrom(told)
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location = data_range(other).location
            source = donor.locate(other)[0]
            if location not in moved:
                moved[location] = location if sources.get(location, source) is source else _free(location, sources)
                sources[moved[location]] = source
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = moved[location]
        count += 1
    return count, sources


def _free(location: str, sources: Mapping[str, Source]) -> str:
    number = 1
    while f"{location}.{number}" in sources:
        number += 1
    return f"{location}.{number}"


def _empty(tensor: onnx.TensorProto) -> None:
    kept = _told(tensor)
    kept.data_type = tensor.data_type
    kept.dims.extend(tensor.dims)
    tensor.CopyFrom(kept)


TOLD: tuple[Literal["name", "doc_string", "metadata_props"], ...] = ("name", "doc_string", "metadata_props")
"""Fields of a tensor that are not its numbers, its type or its dims."""


def _told(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """A tensor with nothing but these, each that is there."""
    made = onnx.TensorProto(metadata_props=tensor.metadata_props)
    if tensor.HasField("name"):
        made.name = tensor.name
    if tensor.HasField("doc_string"):
        made.doc_string = tensor.doc_string
    return made

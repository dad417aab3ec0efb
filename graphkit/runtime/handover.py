"""Handing a model to ONNX Runtime: by path, or as a skeleton whose weights stay in mapped memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx

from graphkit.errors import SessionError, WeightsError
from graphkit.graph.calls import expands_beyond
from graphkit.graph.walk import graphs, nodes, tensors
from graphkit.runtime.guarded import guard
from graphkit.storage.source import LocalFile
from graphkit.tensor import STRIPPED_HINT, embed, is_stripped, stripped_message, type_name

if TYPE_CHECKING:
    from graphkit.model import Model

MOST_CALLED = 1 << 14
"""Nodes that calls of functions may come to; ONNX Runtime 1.31 takes 4 s for so many, and four times that for twice as many."""

SERIALIZED_LIMIT = 2**31 - 1
"""Bytes that one protobuf message may have."""


class CarriedModel:
    """A model in the form that an InferenceSession takes, and the arrays that must live as long as the session.

    Attributes:
        content: A path, or the bytes of a serialised model.
        names: Initializers whose values are given beside the bytes.
        arrays: Their values, in the same order.
    """

    def __init__(self, content: str | bytes) -> None:
        self.content = content
        self.names: list[str] = []
        self.arrays: list[Any] = []


def require_runnable(model: onnx.ModelProto) -> None:
    """Refuse to hand over a model whose weights were stripped, or whose functions double each other without end.

    Raises:
        WeightsError: It names the first tensor without values, and says how many there are.
        SessionError: Its functions come to more than ``MOST_CALLED`` nodes, by calling each other again and again.

    Cost: O(tensors), and O(nodes) where there are functions.
    """
    if expands_beyond(model, MOST_CALLED):
        raise SessionError(
            f"the functions of {model.graph.name!r} come to more than {MOST_CALLED} nodes, which the runtime would all expand",
            hint="give each function fewer calls of the others: here some call each other again and again",
        )
    stripped = [tensor for tensor in tensors(model) if is_stripped(tensor)]
    if stripped:
        more = f" ({len(stripped)} tensors in all)" if len(stripped) > 1 else ""
        raise WeightsError(f"{stripped_message(stripped[0])}{more}", hint=STRIPPED_HINT)


def carry(model: Model) -> CarriedModel:
    """A skeleton as bytes, with its large initializers handed over as arrays that map their files.

    ONNX Runtime takes initializers of the main graph from memory (``add_external_initializers``); what is external
    elsewhere (a body's initializer, a Constant's value) it wants in the file itself, so those are embedded. Nothing is
    written to a disk and the 2 GB limit of protobuf does not hold for the initializers.

    Raises:
        WeightsError: Bytes that are not where a tensor says, or weights that were stripped.
        SessionError: More than 2 GB of weights lie where the runtime takes none from memory.

    Cost: O(skeleton); the weights are mapped, and read by the runtime.
    """
    require_runnable(model.proto)
    proto = model.copy_proto()
    guard(proto)
    carried = CarriedModel(b"")
    read = _read_names(
        proto
    )  # the runtime drops a weight that nothing reads, and then misses what is to take its place
    _drop_unread(proto, read)
    for tensor in proto.graph.initializer:
        if tensor.name not in read:
            continue
        if tensor.data_location == onnx.TensorProto.EXTERNAL and type_name(tensor.data_type) in _NATIVE:
            array = model.array_of(tensor)
            if not array.flags.aligned:
                array = array.copy()
            carried.names.append(tensor.name)
            carried.arrays.append(array)
            _point_nowhere(tensor)
    held = proto.ByteSize()
    for tensor in tensors(proto):
        if tensor.data_location == onnx.TensorProto.EXTERNAL and not _points_nowhere(tensor):
            data = model.payload(tensor)
            if data is not None:
                held += len(data)
                if held > SERIALIZED_LIMIT:
                    raise _too_large()
                embed(tensor, bytes(data))
    for source in model.sources.values():  # what was copied is in memory once more, as pages of the file
        if isinstance(source, LocalFile):
            source.release()
    if held > SERIALIZED_LIMIT:
        raise _too_large()
    carried.content = proto.SerializeToString()
    return carried


def _drop_unread(proto: onnx.ModelProto, read: set[str]) -> None:
    """Take out large initializers that nothing reads, and that are no input's default: the runtime drops them too."""
    listed = {value.name for value in proto.graph.input}
    kept = [
        tensor
        for tensor in proto.graph.initializer
        if tensor.data_location != onnx.TensorProto.EXTERNAL or tensor.name in read or tensor.name in listed
    ]
    if len(kept) < len(proto.graph.initializer):
        kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
        del proto.graph.initializer[:]
        proto.graph.initializer.extend(kept)


def _too_large() -> SessionError:
    return SessionError(
        "more than 2 GB of weights lie in bodies, in Constant nodes or in types that ONNX Runtime takes from a "
        "file only",
        hint="save the model and run it from its path",
    )


def _read_names(model: onnx.ModelProto) -> set[str]:
    """The names of the main graph that a node reads, from any body too, or that are outputs."""
    names = {output.name for graph in graphs(model.graph) for output in graph.output}
    for node in nodes(model.graph):
        names.update(node.input)
    return names


_NATIVE = frozenset("float32 float16 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool".split())

_NOWHERE = "memory"


def _point_nowhere(tensor: onnx.TensorProto) -> None:
    # The runtime wants an external tensor to replace, and never opens the location once it is replaced.
    del tensor.external_data[:]
    tensor.external_data.add(key="location", value=_NOWHERE)


def _points_nowhere(tensor: onnx.TensorProto) -> bool:
    entries = tensor.external_data
    return len(entries) == 1 and entries[0].key == "location" and entries[0].value == _NOWHERE

"""Model: the skeleton of an ONNX model, where its bytes lie, and what was done to it.

The skeleton is an ordinary ``onnx.ModelProto``. Every large tensor in it is an ordinary external-data reference
(``data_location = EXTERNAL``; ``location``, ``offset``, ``length``), also when its bytes are embedded in the ``.onnx``
file itself: then ``location`` is no file's name (``own_location``). ``Model.sources`` says which file, remote object or buffer each ``location`` stands for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeAlias

import onnx

from graphkit.errors import NameNotFoundError, TensorError, WeightsError
from graphkit.graph.values import constant_tensor, is_constant_node
from graphkit.graph.walk import tensors
from graphkit.late import late
from graphkit.plural import counted
from graphkit.result import page_of
from graphkit.step import HISTORY_KEY, History, Original, Step, read_history
from graphkit.tensor import data_range, decode, dense, embed, expected_bytes

if TYPE_CHECKING:
    from graphkit.tensor import Array

BASES_KEY = "graphkit.bases"
"""The metadata_props key under which an overlay keeps what the files it refers to looked like, as JSON."""


_OWN = " bytes: write the model with graphkit.save)"


def own_location(path: str, size: int) -> str:
    """The location by which a skeleton names the ``.onnx`` file that it was read from, where the weights are embedded.

    It is no file's name, on purpose: a skeleton that ``onnx.save`` writes has lost these weights, and ``onnx.load``,
    ``onnx.checker`` and ONNX Runtime then miss a file of this name. A name that exists could give them other bytes. The
    size tells the file from a skeleton that was written over it.
    """
    return f"{os.path.basename(path.rstrip('/'))} ({size}{_OWN}"


def is_own_location(location: str) -> bool:
    """Whether a location is one that ``own_location`` gives."""
    return location.endswith(_OWN)


class Source(Protocol):
    """Bytes that lie somewhere and can be read by range: a local file, a remote object, a buffer."""

    @property
    def name(self) -> str:
        """What to call it in messages: a path or an address."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    @property
    def threshold(self) -> int:
        """Payloads of this many bytes or more are left in this source when a model is loaded from it."""

    @property
    def first_read(self) -> int:
        """How many bytes to ask for at least, first after a jump."""

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range that lies within ``size``."""

    def view(self, offset: int, length: int) -> memoryview:
        """The same, read-only and without a copy where the source allows it (mmap)."""


class Model:
    """A model whose weights stay where they are until somebody asks for them.

    Edits make a new Model; a Model's own proto is not changed by any graphkit function.

    ``proto`` is a skeleton: ``onnx.helper`` works on it, and its large tensors are external-data references, also where
    their bytes lie in the ``.onnx`` file itself. Write it with ``save``, or take ``materialize()`` to other tools.

    Attributes:
        proto: The skeleton.
        sources: location -> Source, for every external-data location in the skeleton that is known.
        path: Where the model was loaded from, or None.
        checked: Whether it passed the gate of an operation: nodes and names are valid, and need no second look.
        identity: What tells the file from others; None for a model that was made in memory.
    """

    __slots__ = ("_original", "_steps", "checked", "identity", "path", "proto", "sources")

    def __init__(
        self,
        proto: onnx.ModelProto,
        sources: Mapping[str, Source] | None = None,
        *,
        path: str | None = None,
        identity: Original | None = None,
        original: Original | None = None,
        steps: tuple[Step, ...] | None = None,
    ) -> None:
        """``steps`` is the history of an edited model, which began with ``original``; None: the proto's metadata say it."""
        self.proto = proto
        self.sources: Mapping[str, Source] = sources or {}
        self.path = path
        self.identity = identity
        self._original = original
        self._steps = steps
        self.checked = False

    def __repr__(self) -> str:
        graph = self.proto.graph
        return f"<Model {self.path or graph.name!r}: {counted(len(graph.node), 'node')}, {counted(len(graph.initializer), 'initializer')}>"

    def _repr_html_(self) -> str | None:
        """The page of ``inspect``, for notebooks; None where nothing is there to draw it."""
        return page_of(late("graphkit.inspection.inspect", "inspect")(self))

    @property
    def edited(self) -> bool:
        """Whether anything was done since the model was loaded or made."""
        return self._steps is not None

    @property
    def history(self) -> tuple[Step, ...]:
        """What graphkit did to the model, oldest first, in this process and before.

        Raises:
            FormatError: The history that the file holds is damaged, or of a format that this graphkit does not know.
        """
        return self._steps if self._steps is not None else recorded(self.proto).steps

    @property
    def original(self) -> Original | None:
        """The model that the history began with; None where there is no history, or it began with a torch module.

        Raises:
            FormatError: As ``history``.
        """
        return self._original if self._steps is not None else recorded(self.proto).original

    @property
    def inputs(self) -> tuple[onnx.ValueInfoProto, ...]:
        """The graph's inputs, without initializers that may be fed (those of IR version 3 are listed as inputs too)."""
        held = {t.name for t in self.proto.graph.initializer}
        held |= {t.values.name for t in self.proto.graph.sparse_initializer}
        return tuple(value for value in self.proto.graph.input if value.name not in held)

    @property
    def outputs(self) -> tuple[onnx.ValueInfoProto, ...]:
        """The graph's outputs."""
        return tuple(self.proto.graph.output)

    @property
    def nodes(self) -> tuple[onnx.NodeProto, ...]:
        """The nodes of the main graph, in the file's order. They are the model's own: change them in ``edit()`` only."""
        return tuple(self.proto.graph.node)

    def save(self, path: str | os.PathLike[str] | IO[bytes], **options: Any) -> Any:
        """Write the model to a file, atomically, or to an open one (``io.BytesIO``); ``graphkit.save`` says which options
        there are and what it returns.
        """
        return late("graphkit.storage.save", "save")(self, path, **options)

    def edit(self, kind: str = "proto") -> Any:
        """A context manager that hands the graph to other tools, and takes it back as a step of the history.

        ``kind`` is ``"proto"`` (``edit.proto``, for ``onnx.helper``), ``"graphsurgeon"`` (``edit.graph``) or ``"onnx-ir"``
        (``edit.ir``)::

            with model.edit() as edit:
                edit.proto.graph.node[0].name = "first"
            edit.model.save("edited.onnx")
        """
        return late("graphkit.bridge.editing", "Editing")(self, kind)

    def copy_proto(self) -> onnx.ModelProto:
        """A copy of the skeleton, for an edit to change.

        Cost: O(skeleton), about 5 ms for 100,000 nodes; weights are not read.
        """
        proto = onnx.ModelProto()
        proto.CopyFrom(self.proto)
        return proto

    def without_record(self) -> Model:
        """The model with its history on the Model and no longer in the proto's metadata, where an edit would meet it.

        Raises:
            FormatError: As ``history``.
        """
        if self._steps is not None:
            return self
        history = recorded(self.proto)
        proto = self.proto
        if any(entry.key == HISTORY_KEY for entry in proto.metadata_props):
            proto = self.copy_proto()
            kept = [entry for entry in proto.metadata_props if entry.key != HISTORY_KEY]
            del proto.metadata_props[:]
            proto.metadata_props.extend(kept)
        original = history.original or self.identity or Original.of(self.proto, self.path)
        before = Model(proto, self.sources, path=self.path, original=original, steps=history.steps)
        before.checked = self.checked
        return before

    def after(self, step: Step, proto: onnx.ModelProto, sources: Mapping[str, Source] | None = None) -> Model:
        """The model that a step made of this one: another skeleton over the same bytes, and one step more."""
        before = self.without_record()
        found = self.sources if sources is None else sources
        return Model(proto, found, path=self.path, original=before.original, steps=(*before.history, step))

    def tensor(self, name: str) -> onnx.TensorProto:
        """The initializer of the main graph with this name, as it stands in the skeleton.

        Raises:
            NameNotFoundError: No initializer has the name.

        Cost: O(initializers); weights are not read.
        """
        for tensor in self.proto.graph.initializer:
            if tensor.name == name:
                return tensor
        raise NameNotFoundError("initializer", name, (t.name for t in self.proto.graph.initializer))

    def array(self, name: str) -> Array:
        """The values of a constant of the main graph, read-only, memory-mapped where that is possible.

        An initializer, dense or sparse, or the output of a Constant node of any spelling (``value``, ``sparse_value``,
        ``value_float``, ``value_ints``, ``value_strings``, ...).

        Shape and dtype are the tensor's own (``bfloat16``, float8 and 4-bit types as ml_dtypes). Types of less than 8
        bits are packed on disk and are unpacked into memory, strings are parsed, sparse tensors are made dense; everything
        else is a view of the file.

        A mapped array reads its file when it is used. Where another program cuts the file short meanwhile, the system ends
        the process (SIGBUS), as with every mapping: copy the array (``array.copy()``) where the file may change. ``save``
        maps nothing: it reads, and ends in a WeightsError.

        Raises:
            NameNotFoundError: No constant has the name.
            WeightsError: The bytes are not where the tensor says, or the weights were stripped.
            TensorError: The bytes contradict the dims, or a sparse tensor is too large to be made dense.

        Cost: O(nodes) to find it, O(1) for a mapped tensor; pages are read when the array is used.
        """
        graph = self.proto.graph
        for tensor in graph.initializer:
            if tensor.name == name:
                return self.array_of(tensor)
        for sparse in graph.sparse_initializer:
            if sparse.values.name == name:
                return self.dense_of(sparse, name)
        nodes = [node for node in graph.node if is_constant_node(node)]
        for node in nodes:
            if name and name in node.output:
                return self._constant(node, name)
        known = [tensor.name for tensor in graph.initializer]
        raise NameNotFoundError("constant", name, [*known, *(made for node in nodes for made in node.output)])

    def dense_of(self, sparse: onnx.SparseTensorProto, name: str = "") -> Array:
        """A sparse tensor of this skeleton as a dense array.

        Raises:
            WeightsError, TensorError: As ``array``.
        """
        return dense(name, self.array_of(sparse.values), self.array_of(sparse.indices), sparse.dims)

    def _constant(self, node: onnx.NodeProto, name: str) -> Array:
        tensor = constant_tensor(node)
        if tensor is not None:
            return self.array_of(tensor)
        for attribute in node.attribute:
            if attribute.name == "sparse_value":
                return self.dense_of(attribute.sparse_tensor, name)
        raise TensorError(f"the Constant that makes {name[:80]!r} has no value", name=name)

    def array_of(self, tensor: onnx.TensorProto) -> Array:
        """Like ``array``, for any TensorProto of this skeleton (an attribute's, a body's)."""
        data = self.payload(tensor)
        return decode(tensor, data)

    def payload(self, tensor: onnx.TensorProto) -> memoryview | None:
        """The bytes of a tensor that the skeleton references, or None where it holds them itself.

        Raises:
            WeightsError: The location is unknown, or the range lies outside of it.
        """
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return None
        source, offset, length = self.locate(tensor)
        return source.view(offset, length)

    def locate(self, tensor: onnx.TensorProto) -> tuple[Source, int, int]:
        """(source, offset, length in bytes) of a tensor that the skeleton references.

        A length that the file omits is what data type and dims say (onnx/docs/ExternalData.md says: to the end of the
        file, which several tensors may share).

        Raises:
            WeightsError: The location is unknown, or the range lies outside of it.
            TensorError: A dim is negative.
        """
        where = data_range(tensor)
        source = self.sources.get(where.location)
        if source is None:
            raise WeightsError(
                f"the bytes of tensor {tensor.name[:80]!r} are in {where.location[:200]!r}, which is not there",
                location=where.location,
                hint="put the data file beside the .onnx file that names it"
                if self.path
                else "give the path of the .onnx file: a ModelProto does not say where its data lie",
            )
        length = where.length
        if length is None:
            length = expected_bytes(tensor)
        if length is None:
            length = source.size - where.offset
        if length < 0 or where.offset + length > source.size:
            raise WeightsError(
                f"tensor {tensor.name[:80]!r} wants bytes {where.offset} to {where.offset + length} of {source.name}, "
                f"which has {source.size}",
                location=where.location,
                path=source.name,
                hint="the data file is cut short or belongs to another model",
            )
        return source, where.offset, length

    def materialize(self) -> onnx.ModelProto:
        """A self-contained ModelProto: every referenced tensor embedded.

        Raises:
            WeightsError: Bytes that are not where a tensor says.

        Scope: main graph, bodies, functions.
        Cost: time and memory O(weights): everything is read.
        """
        proto = self.copy_proto()
        for tensor in tensors(proto):
            data = self.payload(tensor)
            if data is not None:
                embed(tensor, bytes(data))
        return proto


def recorded(proto: onnx.ModelProto) -> History:
    """The history in a model's metadata; an empty one where there is none.

    Raises:
        FormatError: It is damaged, or of a format that this graphkit does not know.
    """
    text = next((entry.value for entry in proto.metadata_props if entry.key == HISTORY_KEY), None)
    return History(None, ()) if text is None else read_history(text)


ModelLike: TypeAlias = Model | onnx.ModelProto | str | os.PathLike[str]
"""What every public function accepts: a Model, a ModelProto, a path or an address."""

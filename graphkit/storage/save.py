"""Saving: the skeleton's bytes, and ranges of weights that the kernel copies; whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from typing import IO, Literal

import onnx
from google.protobuf.message import DecodeError, EncodeError

from graphkit.errors import SaveError
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import BASES_KEY, Model, ModelLike, Source
from graphkit.progress import BytesProgress
from graphkit.result import Result
from graphkit.step import HISTORY_KEY, History
from graphkit.storage.alignment import aligned
from graphkit.storage.commit import Commit, target_file, write_file
from graphkit.storage.join import Joiner, Role, embedded
from graphkit.storage.load import STDIN, as_model
from graphkit.storage.new_file import NewFile
from graphkit.storage.source import LocalFile, is_url
from graphkit.storage.system import no_location
from graphkit.storage.text import as_text, text_format
from graphkit.storage.upload import PLACES, upload
from graphkit.storage.wire import Piece, Range, piece_length
from graphkit.tensor import DataRange, check_inline, data_range, refer

PROTOBUF_LIMIT = (1 << 31) - 1
"""Bytes that protobuf can parse in one message; a model of more needs external data (onnx/docs/ExternalData.md)."""

INLINE_FROM = 1024
"""With external data, tensors of this many bytes or more leave the ``.onnx`` file, as ``onnx.save`` does by default."""

Weights = Literal["auto", "keep", "link"]

_IN_PLACE: dict[str, tuple[Role, ...]] = {
    "auto": (),
    "keep": (Role.INITIALIZER, Role.BODY_INITIALIZER, Role.ATTRIBUTE),
    "link": (Role.INITIALIZER,),
}
"""Which tensors are referenced where they lie. Not those of sparse tensors: the checker wants the indices in the file, and
onnx.load leaves the values unread. Hard links only from where ONNX Runtime accepts them: not from what stands in nodes.
"""


@dataclass(frozen=True, repr=False)
class Saved(Result):
    """What a save wrote.

    Attributes:
        path: The ``.onnx`` file.
        size: Its bytes.
        data_path: The data file that was written, or None.
        data_size: Its bytes, 0 without one.
        references: Files whose bytes the model uses and that were not written: kept in place or hard-linked.
        replaced: Whether something of that name was there.
    """

    path: str
    size: int
    data_path: str | None = None
    data_size: int = 0
    references: tuple[str, ...] = ()
    replaced: bool = False


def save(
    model: ModelLike,
    path: str | os.PathLike[str] | IO[bytes],
    *,
    external: str | None = None,
    weights: Weights = "auto",
    history: bool = True,
    progress: BytesProgress | None = None,
) -> Saved:
    """Write a model, whole or not at all.

    The new files are written beside the target, flushed to the disk, and renamed over it; a killed process, a full disk
    or an error leaves what was there before. Saving over the file that the model was loaded from is safe, and so is
    saving over its data file. Weights go from file to file inside of the kernel and never through memory.

    A model with a data file is replaced by two renames. At each moment what a new reader finds is whole, but a reader that
    opened the old ``.onnx`` and opens its data file only after the second rename (``onnx.load`` does) reads the new data
    with the old graph. Where programs read a pair while it is replaced, write to a new name and switch to that.

    Args:
        model: A Model, a ModelProto or a path. It is not changed.
        path: The ``.onnx`` file to write; its folder must exist. ``.onnxtxt``, ``.json`` and ``.textproto``
            are written as text, with the weights in it; ``-`` is standard output. An address that fsspec writes to
            (``s3://``, ``file://``, ``memory://``, ...) gets the files that are made in a temporary folder, each whole or
            not at all; a pair in the order data, model. Also a file that is open for writing bytes (``io.BytesIO``): it
            gets the whole ``.onnx`` file, from where it stands.
        external: Name of a data file, inside of the folder of ``path``, for all tensors of 1 KiB or more; it is not
            written where there are none. Tensors of
            64 KiB or more begin at multiples of 4096 bytes, so that they can be mapped (of 1 MiB or more: at multiples of
            64 KiB, for Windows); smaller ones at multiples of 64. Tensors of attributes and sparse tensors stay in the
            ``.onnx`` file, as with ``onnx.save``; those of attributes go out as well where it would have 2 GiB otherwise.
        weights: Where the weights go when ``external`` is not given.
            ``"auto"``: into the ``.onnx`` file, or, where it would have 2 GiB or more, into ``NAME.onnx.data`` beside it.
            ``"keep"``: nowhere. They are referenced where they lie, in a data file or inside of another ``.onnx`` file,
            which must be in the folder of ``path`` or below it and must stay there: the new file is an overlay.
            It keeps in its metadata what that other file looked like, and ``load`` refuses it when another file was saved
            there; ONNX Runtime and ``onnx.load`` would read other bytes.
            ``"link"``: a hard link to each file that holds them is made beside ``path`` (one disk). ONNX Runtime takes
            such files, for initializers of the main graph: other tensors are copied into the ``.onnx`` file.
            ``onnx.load`` and the checker of onnx 1.20 and later refuse hard-linked data.
            With both, weights that lie in no local file (in memory, at a remote address) go into the ``.onnx`` file.
        history: Write what was done to the model into its metadata (``graphkit.history``), so that it can be replayed
            and proved. False drops what the file had of it too.
        progress: Called with (bytes written, bytes in all) while weights are copied.

    Raises:
        SaveError: The target cannot be written, a text format cannot say all that the model holds, or the weights cannot be kept or linked there.
        WeightsError: Weights are missing, or were changed since the model was loaded.
        TensorError: A tensor's bytes contradict its dims.
        ValueError: ``external`` together with ``weights``, or an ``external`` that leads out of the folder; either of them
            for standard output or an open file.
        TypeError: A file that is open for text.

    Changes: ``path``, and the data file that ``external`` names or that "auto" needs; no other file.
    Scope: main graph, bodies, functions.
    Cost: time O(skeleton) plus the copying of the bytes that are written; memory O(skeleton).

    Example:
        >>> import graphkit as gk
        >>> gk.save(gk.simplify("model.onnx"), "small.onnx").data_path is None
        True
    """
    if not isinstance(path, str | os.PathLike):
        return _to_stream(as_model(model), path, external, weights, history=history)
    if os.fspath(path) == STDIN:
        return _to_stream(as_model(model), sys.stdout.buffer, external, weights, history=history)
    if is_url(os.fspath(path)):
        return _to_address(model, os.fspath(path), external, weights, history=history, progress=progress)
    target = _target(os.fspath(path), external, weights)
    source = _with_history(as_model(model), history=history)
    if text_format(target):
        if external is not None or weights != "auto":
            raise SaveError(f"{path} is text, which holds its weights itself", path=target)
        text = as_text(source, target)
        replaced = os.path.lexists(target)
        write_file(target, text)
        return Saved(target, len(text), replaced=replaced)
    layout, pieces, size = _lay_out(source, target, external, weights)
    layout.check_unchanged()
    files = [NewFile(target, pieces, size, target)]
    if layout.data is not None and layout.data_pieces:
        files.insert(0, NewFile(layout.data, layout.data_pieces, layout.data_size, target))
    replaced = os.path.lexists(target)
    Commit(files, external is not None, layout.links, layout.check_unchanged, progress).run()
    data = layout.data if layout.data_pieces else None
    return Saved(target, size, data, layout.data_size, tuple(sorted(layout.references)), replaced)


def _to_stream(model: Model, stream: IO[bytes], external: str | None, weights: Weights, *, history: bool) -> Saved:
    """Write a model to standard output or an open file, through a file: its parts lie in any order until it is whole."""
    name = STDIN if stream is sys.stdout.buffer else str(getattr(stream, "name", "the file object"))
    what = "standard output" if name == STDIN else name
    if external is not None or weights != "auto":
        raise ValueError(f"{what} is one file, which holds its weights: leave external and weights out")
    _check_stream(stream, name)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        saved = save(model, path, history=history)
        if saved.data_path is not None:
            raise SaveError("the model has more than 2 GiB, which one file cannot hold", path=name)
        try:
            with open(path, "rb") as file:
                shutil.copyfileobj(file, stream)
            stream.flush()
        except (OSError, ValueError) as error:  # ValueError: it is closed, or not open for writing
            if name == STDIN:
                raise
            raise SaveError(f"{what} cannot be written: {error}", path=name) from error
    return Saved(name, saved.size)


def _check_stream(stream: IO[bytes], name: str) -> None:
    """Refuse what takes no bytes before anything is written.

    Raises:
        SaveError: It is closed, or not open for writing.
        TypeError: It is open for text, or no file at all.
    """
    if not hasattr(stream, "write"):
        raise TypeError(f"a model is written to a path or to an open file, not to {type(stream).__name__}")
    try:
        stream.write(b"")
    except TypeError as error:
        raise TypeError(f"a model is bytes: open the file with 'wb', not for text ({error})") from error
    except (OSError, ValueError) as error:
        raise SaveError(f"{name} cannot be written: {error}", path=name) from error


def _to_address(
    model: ModelLike,
    url: str,
    external: str | None,
    weights: Weights,
    *,
    history: bool,
    progress: BytesProgress | None,
) -> Saved:
    """Write a model to a temporary folder, and put the files at an address."""
    parent, _, name = url.rpartition("/")
    if not name or parent.endswith(":/"):
        raise SaveError(f"cannot write {url}: it names no file", path=url, hint=PLACES)
    if weights != "auto":
        raise SaveError(
            f"weights={weights!r} leaves them in local files, and {url} is none",
            path=url,
            hint=Hint("let them be copied: ", Argument("weights", "auto")),
        )
    with tempfile.TemporaryDirectory(prefix="graphkit-") as folder:
        if external is not None and "/" in external and ".." not in external.split("/") and external[0] != "/":
            os.makedirs(os.path.join(folder, os.path.dirname(external)), exist_ok=True)
        saved = save(model, os.path.join(folder, name), external=external, history=history, progress=progress)
        data = None if saved.data_path is None else os.path.relpath(saved.data_path, os.path.realpath(folder))
        replaced = upload(folder, [*([data] if data is not None else []), name], parent)
    place = None if data is None else f"{parent}/{data}"
    return Saved(url, saved.size, place, saved.data_size, replaced=replaced)


def _target(path: str, external: str | None, weights: str) -> str:
    """The file to write, when the options allow it."""
    if weights not in ("auto", "keep", "link"):
        raise ValueError(f"weights is 'auto', 'keep' or 'link', not {weights!r}")
    if external is not None and weights == "keep":
        raise ValueError("external names a file to write, weights='keep' writes none: give one of them")
    target = target_file(path)
    if external is not None:
        _check_data_name(external, target)
    return target


def _check_data_name(external: str, target: str) -> None:
    if why := no_location(external):
        raise SaveError(f"cannot write weights to {external!r}: {why}", path=external)
    parts = external.split("/")
    if os.path.isabs(external) or ".." in parts or parts[-1] in ("", "."):
        raise ValueError(f"external is the name of a file in the model's folder, not {external!r}")
    folder = os.path.dirname(target)
    data = os.path.normpath(os.path.join(folder, external))
    if data == target:
        raise ValueError(f"external is the name of a second file, not the model's own: {external!r}")
    inside = os.path.realpath(os.path.dirname(data))
    if not os.path.isdir(inside):
        raise SaveError(f"cannot write {data}: there is no folder {inside}", path=data, hint=f"mkdir -p {inside}")
    if os.path.commonpath([inside, folder]) != folder:
        raise SaveError(f"cannot write {data}: it leads out of the model's folder, to {inside}", path=data)
    if os.path.isdir(data):
        raise SaveError(f"cannot write {data}: what is there is not a file", path=data)


def _lay_out(model: Model, target: str, external: str | None, weights: str) -> tuple[_Layout, list[Piece], int]:
    """The first layout that protobuf can hold: as asked for; else the weights in a data file; else also the tensors of
    attributes, which stay in the ``.onnx`` file as long as possible, as with ``onnx.save``.

    Raises:
        SaveError: There is none.
    """
    layout = _Layout(model, target, external, weights)
    pieces, size = layout.join()
    for attributes in (False, True):
        if size > PROTOBUF_LIMIT and weights == "auto":
            layout = _Layout(model, target, external or layout.default_data_name(), weights, attributes=attributes)
            pieces, size = layout.join()
    if size > PROTOBUF_LIMIT:
        raise SaveError(
            f"{target} would have {size} bytes without the weights that can be elsewhere; protobuf ends at 2 GiB",
            path=target,
            hint=None if weights == "auto" else Hint("let the weights be copied: ", Argument("weights", "auto")),
        )
    return layout, pieces, size


class _Layout:
    """Decides where each tensor's bytes go, and collects the pieces of the data file.

    Attributes:
        data: Path of the data file to write, or None.
        sources: Every source that pieces come from, or that the result references.
        references: Paths of files that the result uses in place.
        links: Path -> file, for the hard links that the result needs.
    """

    def __init__(
        self, model: Model, target: str, external: str | None, weights: str, *, attributes: bool = False
    ) -> None:
        self.model = model
        self.target = target
        self.folder = os.path.dirname(target)
        self.weights = weights
        self.attributes = attributes
        self.link_name = external if weights == "link" else None
        self.data = os.path.normpath(os.path.join(self.folder, external)) if external and weights != "link" else None
        self.location = os.path.normpath(external) if external else None
        self.data_pieces: list[Piece] = []
        self.data_size = 0
        self.sources: dict[str, Source] = {}
        self.references: set[str] = set()
        self.bases: dict[str, LocalFile] = {}
        self.links: dict[str, LocalFile] = {}
        self._placed: dict[tuple[int, int, int], int] = {}

    def join(self) -> tuple[list[Piece], int]:
        """The pieces of the ``.onnx`` file and their length."""
        self.bases.clear()
        proto = self.model.proto
        try:
            skeleton = proto.SerializeToString()
            if self.model.path is None:  # made in memory: Python nests deeper than what can be read again
                onnx.ModelProto.FromString(skeleton)
        except (EncodeError, DecodeError) as error:
            raise SaveError(
                f"{self.target}: the graph does not fit into protobuf's 2 GiB, or is nested deeper than 100 messages",
                path=self.target,
            ) from error
        pieces, size = Joiner(skeleton, self._place, INLINE_FROM).pieces()
        if self.bases:
            held = json.dumps({location: base.fingerprint() for location, base in sorted(self.bases.items())})
            # A message goes on where its bytes do: repeated fields that follow are appended (protobuf, "Encoding").
            entry = onnx.StringStringEntryProto(key=BASES_KEY, value=held)
            pieces.append(onnx.ModelProto(metadata_props=[entry]).SerializeToString())
            size += piece_length(pieces[-1])
        return pieces, size

    def default_data_name(self) -> str:
        return os.path.basename(self.target) + ".data"

    def _place(self, tensor: onnx.TensorProto, role: Role) -> tuple[bytes, list[Piece], bytes] | None:
        moves = self.data is not None and role in (Role.INITIALIZER, Role.BODY_INITIALIZER)
        if self.attributes and role == Role.ATTRIBUTE:
            moves = True
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            check_inline(tensor)
            return self._external(tensor, tensor.raw_data) if moves and len(tensor.raw_data) >= INLINE_FROM else None
        source, offset, length = self.model.locate(tensor)
        self.sources[data_range(tensor).location] = source
        if moves and length >= INLINE_FROM:
            return self._external(tensor, Range(source, offset, length))
        if isinstance(source, LocalFile) and role in _IN_PLACE[self.weights]:
            return self._in_place(tensor, source, offset, length)
        return embedded(tensor, source, offset, length)

    def check_unchanged(self) -> None:
        """Every file that bytes come from is what it was when it was loaded.

        Raises:
            WeightsError: Somebody has written into one.
        """
        for source in self.sources.values():
            if isinstance(source, LocalFile):
                source.check_unchanged()

    def _external(self, tensor: onnx.TensorProto, data: Piece) -> tuple[bytes, list[Piece], bytes]:
        """Put a tensor's bytes into the data file; bytes that several tensors share are written once."""
        length = piece_length(data)
        key = (id(data.source), data.offset, length) if isinstance(data, Range) else None
        offset = self._placed.get(key) if key else None
        if offset is None:
            offset = aligned(self.data_size, length)
            self.data_pieces += [bytes(offset - self.data_size), data]
            self.data_size = offset + length
            if key:
                self._placed[key] = offset
        assert self.location is not None
        return _reference(tensor, self.location, offset, length)

    def _in_place(
        self, tensor: onnx.TensorProto, source: LocalFile, offset: int, length: int
    ) -> tuple[bytes, list[Piece], bytes] | None:
        """Reference a tensor's bytes where they lie, or behind a hard link in the target's folder.

        A reference that says so already stays as it is, with its checksum.
        """
        if self.weights == "link":
            name = self.link_name or os.path.basename(source.path)
            path = os.path.join(self.folder, name)
            if path == self.target or self.links.get(path, source) is not source:
                raise SaveError(
                    f"the weights of {source.name} cannot be linked as {path}: that name is taken",
                    path=path,
                    hint=Hint("give the link another name: ", Argument("external", Blank("NAME"))),
                )
            self.links[path] = source
        else:
            path = os.path.realpath(source.path)
            self._check_keep(source)
        if not source.is_at(source.path):
            raise SaveError(
                f"weights={self.weights!r}: {source.name} is no longer the file that was loaded",
                path=source.path,
                hint="load the model again",
            )
        self.references.add(path)
        location = os.path.relpath(path, self.folder)
        if self.weights == "keep":
            self.bases[location.replace(os.sep, "/")] = source
        where = data_range(tensor)
        if where.field is None and where.location == location:
            return None
        return _reference(tensor, location, offset, length)

    def _check_keep(self, source: LocalFile) -> None:
        inside = os.path.commonpath([os.path.realpath(source.path), os.path.realpath(self.folder)])
        if inside != os.path.realpath(self.folder):
            raise SaveError(
                f"weights='keep' would reference {source.path}, which is not in {self.folder} or below it",
                path=source.path,
                hint=Hint(
                    "save beside the weights, or let them be copied (",
                    Argument("weights", "auto"),
                    ") or linked (",
                    Argument("weights", "link"),
                    ")",
                ),
            )
        if source.is_at(self.target):
            raise SaveError(
                f"weights='keep' cannot save over {self.target}: its own bytes are the weights",
                path=self.target,
                hint=Hint("save under another name, or with ", Argument("weights", "auto")),
            )


def _reference(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> tuple[bytes, list[Piece], bytes]:
    stub = onnx.TensorProto()
    stub.CopyFrom(tensor)
    refer(stub, DataRange(location.replace(os.sep, "/"), offset, length))
    return stub.SerializeToString(), [], b""


def _with_history(model: Model, *, history: bool) -> Model:
    """The model to write: with the model's history as the last entry of its metadata, or without one, and without
    what an overlay that it was loaded from says about its bases.
    """
    dropped = {BASES_KEY} | (set() if history and not model.edited else {HISTORY_KEY})
    kept = [entry for entry in model.proto.metadata_props if entry.key not in dropped]
    write = history and model.edited and model.history
    if not write and len(kept) == len(model.proto.metadata_props):
        return model
    proto = model.copy_proto()
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    if write:
        text = History(model.original, model.history).text(versions_written())
        proto.metadata_props.add(key=HISTORY_KEY, value=text)
    return Model(proto, model.sources, path=model.path)


def versions_written() -> dict[str, str]:
    """Who makes the file. A replay gives the same bytes with the same versions."""
    from importlib.metadata import version

    return {"graphkit": version("onnx-graphkit"), "onnx": onnx.__version__}

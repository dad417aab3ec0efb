"""Loading: the skeleton into memory, the weights left where they are."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from typing import IO, Any

import onnx
from google.protobuf.message import DecodeError, EncodeError

from graphkit.arguments import ArgumentTypeError
from graphkit.errors import FormatError, ModelFileError, TensorError, WeightsError
from graphkit.graph import walk
from graphkit.graph.faults import Faults, Report, refuse
from graphkit.model import BASES_KEY, Model, ModelLike, Source, is_own_location, own_location
from graphkit.step import Original
from graphkit.storage.source import Buffer, LocalFile, RemoteFile, is_missing, is_url
from graphkit.storage.split import Checker, Splitter
from graphkit.storage.text import read_text, text_format
from graphkit.tensor import DataRange, check_inline, data_range, expected_bytes, refer, type_name

READINGS = 50
"""How often a pair is read again that is replaced while it is read."""

SMALL_FILE = 64 << 10
"""Files up to this many bytes are parsed whole: there is nothing to save."""

LARGE_PROTO = 64 << 20
"""A ModelProto given in memory is split from its weights when it is larger than this many bytes."""


def load(path: ModelLike | IO[bytes], *, strict: bool = True) -> Model:
    """Load a model without reading its weights.

    Every tensor of 4 KiB or more (32 KiB for remote models) stays in its file and becomes an external-data reference in
    the skeleton; only values in ``int32_data``, ``int64_data``, ``uint64_data`` and ``string_data``, which are no image of
    the numbers, are parsed, and files of up to 64 KiB are parsed whole. External data that the model has is checked, not read: each location must be a regular file inside of
    the model's folder, and each range must lie inside of the file (onnx/docs/ExternalData.md). A data file that is
    missing is no error until its bytes are wanted.

    Args:
        path: ``-`` for standard input; a local path, where ``.onnxtxt``, ``.json`` and ``.textproto`` are text; or an address for fsspec: ``https://``, ``s3://``, ``hf://``, ``memory://``, ... Only the
            ranges that are needed are fetched. External data of a remote model lies beside it, at the same address.
            Also a file that is open for reading bytes (``io.BytesIO``): it is read to its end, and kept in memory; an
            ``onnx.ModelProto``, which is not changed; or a ``Model``, which comes back as it is.
        strict: False opens whatever can be read: tensors that contradict their dims, external data that is cut short,
            lies outside or changed, a missing opset. Such a tensor is refused where its bytes are wanted; ``check``
            says all that is wrong, and edits can repair it.

    Raises:
        ModelFileError: The file cannot be read.
        FormatError: It is not a serialised ONNX model; ``offset`` says where the damage is, as far as that can be seen.
        WeightsError: External data lies outside of the model's folder, is no regular file, or is too short; or the file
            over which an overlay was saved is another one now.
        TensorError: A tensor has a negative dim, or another number of bytes or values than its dims say.
        MissingExtraError: The address needs a package that is not installed.
        TypeError: A file that is open for text, or none of these.

    Cost: time and memory O(skeleton); weights are not read.

    Example:
        >>> import graphkit as gk
        >>> model = gk.load("model.onnx")
        >>> [value.name for value in model.outputs]
        ['logits', 'large', 'kept', 'moved']
    """
    report = refuse if strict else Faults()
    if isinstance(path, str | os.PathLike):
        return _load(os.fspath(path), report)
    if isinstance(path, Model | onnx.ModelProto) or not is_open_file(path):
        return as_model(path)
    return _load(path, report)


def load_with_faults(path: str | os.PathLike[str]) -> tuple[Model, Faults]:
    """``load(path, strict=False)``, and what ``load(path)`` has against the file.

    Raises:
        ModelFileError, FormatError, MissingExtraError: As ``load``.
    """
    faults = Faults()
    return _load(os.fspath(path), faults), faults


def _load(given: str | IO[bytes], report: Report) -> Model:
    """A model as it was at one moment: a pair that a save replaces meanwhile is read again. A save renames another
    ``.onnx`` over the path before it touches the data, so that a path at which the ``.onnx`` still lies once all its data is
    open has had no other data.
    """
    for _ in range(READINGS):
        source = _opened(given)
        try:
            model = _loaded(given, source, report)
        except WeightsError:
            if not _was_replaced(source):
                raise
            continue
        if not _was_replaced(source) or not _refers_outside(model):
            return model
    raise WeightsError(f"{given} was replaced {READINGS} times while it was read", path=str(given))


def _was_replaced(source: Source) -> bool:
    return isinstance(source, LocalFile) and not source.is_at(source.path)


def _refers_outside(model: Model) -> bool:
    """Whether a model has data in other files than its own, be they there or not."""
    external = (t for t in walk.tensors(model.proto) if t.data_location == onnx.TensorProto.EXTERNAL)
    return any(not is_own_location(data_range(tensor).location) for tensor in external)


def _opened(given: str | IO[bytes]) -> Source:
    if not isinstance(given, str):
        name = getattr(given, "name", None)
        text = name if isinstance(name, str) else "the file object"
        return Buffer(_content(given, text), text)
    if given == STDIN:
        return Buffer(_stdin(), "standard input")
    return RemoteFile(given) if is_url(given) else LocalFile(given)


def _loaded(given: str | IO[bytes], source: Source, report: Report) -> Model:
    path = given if isinstance(given, str) and given != STDIN else None
    text = path or source.name
    location = own_location(text, source.size)
    if text_format(text):
        whole = source.read(0, source.size)
        proto, digest = read_text(text, whole), hashlib.sha256(whole).hexdigest()
    else:
        proto, digest = _read_skeleton(source, location, report)
    found = _check_tensors(proto, source, text, location, report)
    return Model(
        proto, found, path=path, identity=Original(os.path.basename(text.rstrip("/")) if path else None, digest)
    )


def is_open_file(given: object) -> bool:
    """Whether something is a file that is open, such as ``io.BytesIO``, and no path."""
    return hasattr(given, "read") and not isinstance(given, str | os.PathLike)


def _content(file: IO[bytes], name: str) -> bytes:
    """What is left in an open file.

    Raises:
        ModelFileError: It cannot be read.
        TypeError: It is open for text.
    """
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed, or not open for reading
        raise ModelFileError(f"{name} cannot be read: {error}") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"a model is bytes: open the file with 'rb', not for {type(data).__name__}")
    return bytes(data)


STDIN = "-"
"""The path that means standard input, and for ``save`` standard output."""


@cache
def _stdin() -> bytes:
    """Standard input, read once: a command may look at its model more than once."""
    return sys.stdin.buffer.read()


def as_model(model: ModelLike | IO[bytes]) -> Model:
    """What a public function was given, as a Model: a path is loaded, a ModelProto is wrapped and not changed.

    Raises:
        TypeError: It is none of these.
        ModelFileError, FormatError, WeightsError, TensorError, MissingExtraError: As ``load``.
    """
    if isinstance(model, Model):
        return model
    if isinstance(model, onnx.ModelProto):
        return from_proto(model)
    if isinstance(model, str | os.PathLike):
        return load(model)
    raise ArgumentTypeError(
        f"expected a path, an onnx.ModelProto or a graphkit.Model, not {type(model).__name__}{_way(model)}"
    )


def _way(given: Any) -> str:
    """How what is no model may become one."""
    if is_open_file(given):
        return "; load it first: graphkit.load(file)"
    if isinstance(given, bytes | bytearray | memoryview):
        return "; bytes are loaded as a file: graphkit.load(io.BytesIO(data))"
    if isinstance(given, onnx.GraphProto):
        return "; a graph becomes a model with onnx.helper.make_model(graph)"
    return ""


def as_valid_model(model: ModelLike) -> Model:
    """``as_model`` for operations that look into nodes: a model that contradicts itself is refused.

    Raises:
        InvalidGraphError: See ``graph.valid``.
        TypeError, ModelFileError, FormatError, WeightsError, TensorError, MissingExtraError: As ``as_model``.

    Cost: O(nodes), about 5 microseconds each.
    """
    from graphkit.semantics.valid import require_valid

    found = as_model(model)
    require_valid(found.proto)
    return found


def from_proto(proto: onnx.ModelProto) -> Model:
    """A ModelProto as a Model. A large one is split from its weights, which are copied once; also one above 2 GiB, which
    protobuf itself can no longer serialise.
    """
    try:
        size = proto.ByteSize()
    except EncodeError:
        return _from_huge_proto(proto)
    proto = _with_own_bytes(proto)
    if size < LARGE_PROTO:
        return Model(proto)
    source = Buffer(proto.SerializeToString(), "the model in memory")
    skeleton, digest = _read_skeleton(source, _IN_MEMORY)
    return Model(skeleton, {_IN_MEMORY: source}, identity=Original(None, digest))


def _with_own_bytes(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose tensors are external or hold their bytes; a copy, where one says the first and does the second.

    That is onnx's own way to external data: ``convert_model_to_external_data`` marks the tensors, and the bytes stay in
    ``raw_data`` until ``onnx.save`` writes them. Until then no file holds them.
    """
    if not any(map(_holds_its_own, walk.tensors(proto))):
        return proto
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for tensor in filter(_holds_its_own, walk.tensors(copy)):
        _mark_own(tensor)
    return copy


def _holds_its_own(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL and bool(tensor.raw_data)


def _mark_own(tensor: onnx.TensorProto) -> None:
    del tensor.external_data[:]
    tensor.ClearField("data_location")


_IN_MEMORY = "graphkit-in-memory"


def _from_huge_proto(proto: onnx.ModelProto) -> Model:
    skeleton = onnx.ModelProto()
    sources: dict[str, Source] = {}
    for field, value in proto.ListFields():
        if field.name != "graph":
            _copy_field(skeleton, field, value)
    for field, value in proto.graph.ListFields():
        if field.name != "initializer":
            _copy_field(skeleton.graph, field, value)
    # First the tensors of bodies, attributes and functions, copied with their bytes; then the initializers, without.
    for tensor in walk.tensors(skeleton):
        _move_out(tensor, tensor.raw_data, sources)
    for tensor in proto.graph.initializer:
        stub = skeleton.graph.initializer.add()
        for field, value in tensor.ListFields():
            if field.name != "raw_data":
                _copy_field(stub, field, value)
        if tensor.HasField("raw_data") and not _move_out(stub, tensor.raw_data, sources):
            stub.raw_data = tensor.raw_data
    for tensor in filter(_holds_its_own, walk.tensors(skeleton)):
        _mark_own(tensor)
    return Model(skeleton, sources)


def _move_out(tensor: onnx.TensorProto, data: bytes, sources: dict[str, Source]) -> bool:
    """Make a tensor a reference to its bytes, where they are many."""
    if len(data) < LocalFile.threshold:
        return False
    location = f"{_IN_MEMORY}-{len(sources)}"
    sources[location] = Buffer(data, f"tensor {tensor.name[:80]!r} in memory")
    refer(tensor, DataRange(location, 0, len(data)))
    return True


def _copy_field(target: Any, field: Any, value: Any) -> None:
    if field.message_type is None and not field.is_repeated:
        setattr(target, field.name, value)
    elif field.is_repeated:
        getattr(target, field.name).extend(value)
    else:
        getattr(target, field.name).CopyFrom(value)


def _read_skeleton(source: Source, location: str, report: Report = refuse) -> tuple[onnx.ModelProto, str]:
    """The skeleton, and its digest."""
    if source.size <= SMALL_FILE:
        data = source.read(0, source.size)
        return _parse(source, data, report), hashlib.sha256(data).hexdigest()
    splitter = Splitter(source, location, report)
    try:
        return _parse(source, splitter.skeleton(), report), splitter.digest
    except FormatError as error:
        raise _not_a_model(source, error) from error


def _parse(source: Source, data: bytes, report: Report) -> onnx.ModelProto:
    try:
        _strict_model_proto().FromString(data)
        proto = onnx.ModelProto.FromString(data)
    except (DecodeError, SystemError) as error:  # upb reports some damage as a SystemError
        raise _not_a_model(source, _damage(source, data) or error) from error
    if not proto.HasField("graph"):
        raise _not_a_model(source, None)
    if not proto.opset_import and proto.ir_version >= 3:  # it stands behind the graph: a file cut short lacks it
        message = f"{source.name} is not a valid ONNX model: it imports no operator set (opset_import)"
        report("opset", _not_a_model(source, FormatError(message, path=source.name)))
    return proto


@cache
def _strict_model_proto() -> Any:
    """ModelProto as a proto3 message, whose parser refuses strings that are no UTF-8.

    onnx.proto is proto2: there such a string parses and comes back as ``bytes``, which breaks whoever meets it later.
    """
    import onnx.onnx_ml_pb2 as generated
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto.FromString(generated.DESCRIPTOR.serialized_pb)
    file.syntax = "proto3"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("onnx.ModelProto"))


DIAGNOSE = 1 << 20
"""Where a skeleton of up to this many bytes is damaged is looked for; in a larger one that would take too long."""


def _damage(source: Source, data: bytes) -> FormatError | None:
    """What is wrong with a model that does not parse, and where; None where that is not found."""
    try:
        where = _undecodable(onnx.ModelProto.FromString(data))
    except (DecodeError, SystemError):
        where = ""
    if where:
        return FormatError(f"{source.name} is not a valid ONNX model: {where} is no UTF-8 text", path=source.name)
    if len(data) <= DIAGNOSE:
        try:
            Checker(source if source.size > SMALL_FILE else Buffer(data, source.name)).skeleton()
        except FormatError as error:
            return error
    return None


def _undecodable(message: Any) -> str:
    """The path of the first string that is no UTF-8, such as ``graph.node[3].name``; "" without one."""
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        for index, item in enumerate(value if field.is_repeated else [value]):
            here = f"{field.name}[{index}]" if field.is_repeated else str(field.name)
            if field.type == field.TYPE_STRING and isinstance(item, bytes):
                return here
            if field.type == field.TYPE_MESSAGE and (inner := _undecodable(item)):
                return f"{here}.{inner}"
    return ""


_OTHER_FORMATS = (
    (0, b"PK\x03\x04", "it is a zip archive, as torch.save writes: export it with graphkit export"),
    (0, b"version https://git-lfs", "it is a Git LFS pointer: fetch the real file with git lfs pull"),
    (0, b"<!DOCTYPE", "it is an HTML page: the download gave a web page, not the model"),
    (0, b"<html", "it is an HTML page: the download gave a web page, not the model"),
    (0, b"\x89HDF", "it is an HDF5 file (Keras)"),
    (4, b"TFL3", "it is a TensorFlow Lite model"),
    (4, b"ORTM", "it is an ORT-format model: convert it back from the .onnx it was made of"),
    (0, b"<ir_version", "it is ONNX text: parse it with onnx.parser.parse_model"),
)


def _not_a_model(source: Source, cause: Exception | None) -> FormatError:
    head = source.read(0, min(source.size, 64))
    hint = next((text for at, magic, text in _OTHER_FORMATS if head[at : at + len(magic)] == magic), None)
    if source.size == 0:
        hint = "the file is empty"
    if isinstance(cause, FormatError):
        return FormatError(cause.message, path=source.name, offset=cause.offset, hint=hint or _CUT_SHORT)
    why = "the bytes do not parse" if cause else "it has no graph"
    return FormatError(f"{source.name} is not an ONNX model: {why}", path=source.name, hint=hint or _CUT_SHORT)


_CUT_SHORT = "the file is another format, damaged, or was cut short while it was copied"


def _check_tensors(
    proto: onnx.ModelProto, source: Source, path: str, own: str, report: Report = refuse
) -> dict[str, Source]:
    """Check every tensor against its data type and dims, and find the files behind external data; none is read.

    Returns:
        location -> Source, for the model's own file and each data file that is there.
    """
    sources: dict[str, Source] = {own: source}
    missing: set[str] = set()
    right: set[tuple[object, ...]] = set()
    for tensor in walk.tensors(proto):
        try:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                held = len(tensor.raw_data)
                if held and (form := (tensor.data_type, tuple(tensor.dims), held)) not in right:
                    check_inline(tensor)
                    right.add(form)
                elif not held:
                    check_inline(tensor)
            else:
                _find_data(tensor, sources, missing, path)
        except (TensorError, WeightsError) as error:
            report("tensor" if isinstance(error, TensorError) else "external-data", error)
    try:
        _check_bases(proto, sources, path)
    except ModelFileError as error:
        report("external-data", error)
    return sources


def _find_data(tensor: onnx.TensorProto, sources: dict[str, Source], missing: set[str], path: str) -> None:
    """Open the file behind a tensor's external data, where there is one, and check the range in it."""
    if tensor.raw_data:
        raise TensorError(
            f"tensor {tensor.name[:80]!r} has both external data and {len(tensor.raw_data)} bytes of its own",
            name=tensor.name,
        )
    where = data_range(tensor)
    if where.location not in sources and where.location not in missing:
        found = _open_location(where.location, path, keep_open=len(sources) <= KEEP_OPEN)
        if found is None:
            missing.add(where.location)
        else:
            sources[where.location] = found
    if where.location in sources:
        _check_range(tensor, where, sources[where.location])


def _check_bases(proto: onnx.ModelProto, sources: Mapping[str, Source], path: str) -> None:
    """The files that an overlay refers to are still those over which it was saved."""
    held = next((entry.value for entry in proto.metadata_props if entry.key == BASES_KEY), None)
    if held is None:
        return
    try:
        bases = json.loads(held)
    except (ValueError, RecursionError):  # also an integer of more digits than Python reads
        bases = None
    if not isinstance(bases, dict):
        raise FormatError(f"{path}: its metadata entry {BASES_KEY!r} is damaged", path=path)
    for location, fingerprint in bases.items():
        source = sources.get(location)
        if isinstance(source, LocalFile) and source.fingerprint() != fingerprint:
            raise WeightsError(
                f"{path} refers to bytes of {source.name}, which is another file than when {path} was saved",
                location=location,
                path=source.name,
                hint="put the old file back, or make the overlay again",
            )


KEEP_OPEN = 64
"""Data files of one model that stay open. A process may have some hundred files open; models with one file per tensor
have more, and open those beyond this number only while they are read."""


def _check_range(tensor: onnx.TensorProto, where: DataRange, source: Source) -> None:
    expected = expected_bytes(tensor)
    length = source.size - where.offset if where.length is None else where.length
    if length < 0 or where.offset + length > source.size:
        raise WeightsError(
            f"tensor {tensor.name[:80]!r} wants bytes {where.offset} to {where.offset + length} of {source.name}, "
            f"which has {source.size}",
            location=where.location,
            path=source.name,
            hint="the data file is cut short or belongs to another model",
        )
    if expected is not None and (length < expected or (where.length is not None and length != expected)):
        raise TensorError(
            f"tensor {tensor.name[:80]!r}: {length} bytes of external data, but a "
            f"{type_name(tensor.data_type)}{list(tensor.dims)[:8]} takes {expected}",
            name=tensor.name,
        )


def _open_location(location: str, path: str, *, keep_open: bool) -> Source | None:
    """The file that a location names, or None where there is none.

    Raises:
        WeightsError: It lies outside of the model's folder, also by ``..``, as an absolute path, or behind a symbolic
            link (onnx/docs/ExternalData.md and its security notes), or it is no regular file.
    """
    parts = location.replace("\\", "/").split("/")
    drive = parts[0][1:2] == ":" and parts[0][0].isalpha()
    if location.startswith(("/", "\\")) or drive or ".." in parts or "\0" in location:
        raise _outside(location, path, "it may not be absolute or contain '..'")
    if is_url(path):
        return _open_remote(f"{path.rpartition('/')[0]}/{location}")
    folder = os.path.dirname(os.path.abspath(path))
    file = os.path.join(folder, location)
    if not os.path.lexists(file):
        return None
    real = os.path.realpath(file)
    if os.path.islink(file) or os.path.commonpath([real, os.path.realpath(folder)]) != os.path.realpath(folder):
        raise _outside(
            location,
            path,
            f"it is, or lies behind, a symbolic link to {real}",
            "put the file itself there; download caches hold links, and download to a folder when asked to",
        )
    try:
        return LocalFile(file, os.path.join(os.path.dirname(path), location), keep_open=keep_open)
    except ModelFileError as error:
        raise WeightsError(error.message, location=location, path=error.path) from error


def _open_remote(url: str) -> Source | None:
    try:
        return RemoteFile(url)
    except ModelFileError as error:
        if is_missing(error.__cause__):
            return None
        raise


def _outside(
    location: str, path: str, why: str, hint: str = "move the data file beside the .onnx file, under its plain name"
) -> WeightsError:
    return WeightsError(
        f"{path}: the external data location {location[:200]!r} leads out of the model's folder: {why}",
        location=location,
        path=path,
        hint=hint,
    )

"""Files that feed an input: .npy, .npz and pictures. Each is measured before it is read, whoever wrote it."""

from __future__ import annotations

import lzma
import math
import os
import stat
import sys
import tokenize
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import FeedError
from graphkit.graph.ports import Port
from graphkit.reading.fits import check_fit
from graphkit.reading.picture_format import WORDS, PictureFormat, split_format
from graphkit.reading.pictures import drops_colours, luma_and_chroma, read_picture, taken_as
from graphkit.tensor import numpy_type, restored

if TYPE_CHECKING:
    from graphkit.tensor import Array

PLENTY = 256 << 20
"""Bytes that a file may unpack to, however small it is."""

GROWTH = 100
"""Times its own size that a larger file may unpack to."""

if sys.version_info >= (3, 14):  # zipfile unpacks Zstandard since then
    from compression.zstd import ZstdError

    ZSTD_ERRORS: tuple[type[Exception], ...] = (ZstdError,)
else:
    ZSTD_ERRORS = ()

_BROKEN = (
    *(ValueError, OSError, EOFError, SyntaxError, NotImplementedError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError, *ZSTD_ERRORS),
)
"""What numpy and zipfile raise for damaged, encrypted and misnamed files; RecursionError is a RuntimeError."""


def read_file(port: Port, path: str) -> Array:
    """An array from a .npy or .npz file, or from a picture (floats in 0..1 or uint8 in 0..255, NCHW or NHWC as declared).

    ``path`` may end in ``.npz:MEMBER``, and that of a picture in words on its numbers (``split_format``); ``~`` is the home
    folder.

    Raises:
        TextError: A mean or deviation behind a picture's path cannot be read.
        FeedError: The file is missing, no regular file, damaged, encrypted or misnamed, or unpacks to far more than it
            is; the archive has no such member; the dtype or shape does not fit the input.
        MissingExtraError: A picture, and pillow is not installed.

    Cost: nothing is unpacked before the header says that it fits.
    """
    name, member, form = _parts(path)
    size = regular(name, port.name)
    suffix = os.path.splitext(name)[1].lower()
    if suffix == ".npz":
        return _from_archive(port, name, member, size)
    if suffix == ".npy":
        with open(name, "rb") as file:
            return _array(port, file, name, size)
    return read_picture(port, name, most=_most(size), form=form)


def read_luma(port: Port, path: str) -> tuple[Array, Any]:
    """The luma of a colour picture as an input of one channel takes it, and its chroma (``luma_and_chroma``).

    Raises:
        TextError, FeedError, MissingExtraError: As ``read_file``; the input takes colours.
    """
    name, _, form = _parts(path)
    return luma_and_chroma(port, name, most=_most(regular(name, port.name)), form=form)


def picture_note(port: Port, value: object) -> str | None:
    """What the numbers of a picture are taken for that feeds an input; None of what is no picture."""
    if not isinstance(value, str) or not value.startswith("@"):
        return None
    name, member, form = _parts(value[1:])
    if member is not None or os.path.splitext(name)[1].lower() in (".npz", ".npy"):
        return None
    return f"input {port.name!r}: {os.path.basename(name)} as {taken_as(port, form)}"


def loses_colours(port: Port, value: object) -> bool:
    """Whether a colour picture feeds an input of one channel, which takes its luma alone. Cost: the picture's header."""
    if picture_note(port, value) is None:
        return False
    return drops_colours(port, _parts(str(value)[1:])[0])


def _parts(path: str) -> tuple[str, str | None, PictureFormat]:
    """(file, member of an archive, what the numbers of a picture are) of a text behind ``@``."""
    name, member = os.path.expanduser(path), None
    archive, colon, wanted = name.rpartition(".npz:")
    if colon and not os.path.exists(name):
        name, member = archive + ".npz", wanted
    name, form = split_format(name)
    return name, member, form


def regular(path: str, name: str | None = None) -> int:
    """The size in bytes of a regular file. A FIFO or device is not opened: it might never end.

    Raises:
        FeedError: It is none, or is not there.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        file, _, word = path.partition(":")
        hint = f"{file} is there; behind a picture can stand {WORDS}" if word and os.path.isfile(file) else None
        message = f"the file {path!r} that input {name!r} is to be fed from {reason}"
        raise FeedError(message, name=name, hint=hint) from error
    if not stat.S_ISREG(found.st_mode):
        raise FeedError(f"{path!r} is no regular file, and input {name!r} cannot be fed from it", name=name)
    return found.st_size


def read_array(path: str, name: str) -> Array:
    """The array of a .npy file that no input declares.

    Raises:
        FeedError: It is no .npy file of numbers, or is damaged.
    """
    with open(path, "rb") as file:
        return _array(Port(name, 0, None, ""), file, path, regular(path, name))


def _most(size: int) -> int:
    return max(PLENTY, GROWTH * size)


def _from_archive(port: Port, path: str, member: str | None, size: int) -> Array:
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _member(archive, port, path, member)
            _measure(port, path, entry, size)
            with archive.open(entry) as file:
                array = _array(port, file, path, entry.file_size)
                file.read(1)  # at the end zipfile compares the checksum
                return array
    except _BROKEN as error:
        raise _unreadable(port, path, "a .npz archive", error) from error


def _member(archive: zipfile.ZipFile, port: Port, path: str, member: str | None) -> zipfile.ZipInfo:
    """The member that was named, the only one, or the one that is called as the input is."""
    there = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    wanted = member or (next(iter(there)) if len(there) == 1 else port.name)
    if wanted not in there:
        listed = ", ".join(map(repr, list(there)[:10]))
        raise FeedError(f"{path} has no array {wanted!r}", name=port.name, hint=f"it has {listed}")
    return there[wanted]


def _measure(port: Port, path: str, entry: zipfile.ZipInfo, size: int) -> None:
    if entry.flag_bits & 1:
        raise FeedError(f"{path}: the array {entry.filename!r} is encrypted", name=port.name)
    if entry.file_size > _most(size):
        raise FeedError(
            f"{path}: the array {entry.filename!r} would unpack to {entry.file_size:,} bytes, from a file of {size:,}",
            name=port.name,
            hint="where that is meant, save it as .npy, which is not compressed",
        )


def _array(port: Port, file: IO[bytes], path: str, size: int) -> Array:
    """The array of an open .npy file of some size; its header is held to the input first."""
    try:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are not read")
        whole = math.prod(shape) * dtype.itemsize
        if whole > size:
            raise ValueError(f"its header promises {whole:,} bytes and the file has {size:,}")
    except _BROKEN as error:
        raise _unreadable(port, path, "a .npy file", error) from error
    dtype = _declared(port, dtype)
    if port.data_type:
        check_fit(port, _read_as(port, dtype), shape)
    try:
        data = file.read(whole)
        if len(data) != whole:
            raise EOFError(f"{whole:,} bytes are promised and {len(data):,} are there")
    except _BROKEN as error:
        raise _unreadable(port, path, "a .npy file", error) from error
    array: Array = np.frombuffer(bytearray(data), dtype=dtype)
    array = array.reshape(shape[::-1]).T if fortran else array.reshape(shape)
    native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return restored(native, port.data_type) if port.data_type else native


def _declared(port: Port, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """numpy writes bfloat16 and its like as bytes without a type (``V2``): the input says what they are."""
    wanted = numpy_type(port.data_type) if port.data_type else None
    if dtype.kind == "V" and wanted is not None and wanted.isbuiltin != 1 and wanted.itemsize == dtype.itemsize:
        return wanted
    return dtype


def _read_as(port: Port, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that an array of the file may have once it is read: ``restored`` makes bfloat16 of float32."""
    wanted = numpy_type(port.data_type)
    lacking = wanted is not None and wanted.isbuiltin != 1 and wanted.kind != "O" and dtype.kind in "fiu"
    return wanted if lacking and wanted is not None else dtype.newbyteorder("=")


def _unreadable(port: Port, path: str, what: str, error: BaseException) -> FeedError:
    said = (str(error) or type(error).__name__).partition("\n")[0][:200]
    return FeedError(f"{path} cannot be read as {what}: {said}", name=port.name)

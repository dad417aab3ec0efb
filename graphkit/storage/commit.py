"""Replacing files so that at every moment either the old ones or the new ones are there, whole.

One file is simple: write it without a name, flush it, rename it over the target. A pair of an ``.onnx`` and its data file
takes two renames, and a process may be killed between them, where the new data would stand under the old ``.onnx``. So the
old model is first made to use its old data under another name, a hard link:

1. link the old data as ``.graphkit-XXXX.data``; 2. rename over ``.onnx`` a copy of the old skeleton that names the link;
3. rename the new data over the data file; 4. rename the new ``.onnx``; 5. remove the link.

Each of these steps leaves a model whose bytes are all there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

import onnx

from graphkit.errors import GraphkitError, SaveError
from graphkit.graph import walk
from graphkit.model import Model
from graphkit.storage.append import Appender
from graphkit.storage.join import Joiner, Place, embedded
from graphkit.storage.load import load
from graphkit.storage.wire import Piece, Range
from graphkit.tensor import data_range, refer

_LINK_PREFIX = ".graphkit-"

Progress = Callable[[int, int], None]


@dataclass
class NewFile:
    """A file to be written: where, of which pieces, and how many bytes they are together."""

    path: str
    pieces: list[Piece]
    size: int
    temporary: str = ""


def target_file(path: str) -> str:
    """The absolute path that a save to ``path`` writes; a symbolic link is followed.

    Raises:
        SaveError: The folder is missing, or something lies there that is no regular file.
    """
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        raise SaveError(f"cannot write {path}: there is no folder {folder}", path=path, hint=f"mkdir -p {folder}")
    if os.path.exists(real) and not stat.S_ISREG(os.stat(real).st_mode):
        raise SaveError(f"cannot write {path}: what is there is not a file", path=path)
    return real


def write_file(path: str, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        SaveError: The target cannot be written.
    """
    commit_pair([NewFile(target_file(path), [data], len(data))], explicit=True, progress=None)


def commit_pair(files: list[NewFile], *, explicit: bool, progress: Progress | None) -> None:
    """Write one file, or a data file and the ``.onnx`` that uses it (in this order), and put them in place together.

    Args:
        files: The data file, if there is one, and then the model.
        explicit: The user named the data file, so that one that is there may be replaced.
        progress: Called with (bytes written, bytes in all).

    Raises:
        SaveError: Writing failed; the temporary files are gone, and what was there before is unchanged.
    """
    target = files[-1].path
    total = sum(file.size for file in files)
    try:
        written = 0
        for file in files:
            written = _write(file, written, total, progress)
        if len(files) == 2 and os.path.lexists(files[0].path):
            _bridge_old_pair(target, files[0].path, explicit=explicit)
        stale = _own_links_of(target)
        for file in files:
            os.rename(file.temporary, file.path)
            file.temporary = ""
        _flush_folder(os.path.dirname(target))
        for link in stale:
            os.unlink(link)
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise SaveError(f"cannot write {target}: {reason}", path=target) from error
    finally:
        for file in files:
            if file.temporary:
                os.unlink(file.temporary)


def _write(file: NewFile, written: int, total: int, progress: Progress | None) -> int:
    """Write a file under a temporary name beside its target. Until it is complete it has no name at all where the file
    system can do that (O_TMPFILE), so that a killed process leaves nothing behind.
    """
    folder = os.path.dirname(file.path)
    name = os.path.join(folder, f"{_LINK_PREFIX}{os.urandom(8).hex()}.tmp")
    unnamed = True
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            raise
        unnamed = False
        fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        file.temporary = name
    try:
        appender = Appender(fd)
        for piece in _merged(file.pieces):
            for done in appender.append(piece):
                if progress:
                    progress(written + done, total)
        if os.path.exists(file.path):
            os.fchmod(fd, stat.S_IMODE(os.stat(file.path).st_mode))
        os.fsync(fd)
        if unnamed:
            # With src_dir_fd (which an absolute path ignores) Python calls linkat with AT_SYMLINK_FOLLOW; without, link.
            os.link(f"/proc/self/fd/{fd}", name, src_dir_fd=fd, follow_symlinks=True)
            file.temporary = name
    finally:
        os.close(fd)
    return written + file.size


def _merged(pieces: list[Piece]) -> list[Piece]:
    """The same bytes in fewer pieces: neighbouring bytes are joined."""
    merged: list[Piece] = []
    waiting: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, Range):
            if waiting:
                merged.append(b"".join(waiting))
                waiting = []
            if piece.length:
                merged.append(piece)
        elif piece:
            waiting.append(piece)
    if waiting:
        merged.append(b"".join(waiting))
    return merged


def _bridge_old_pair(target: str, data: str, *, explicit: bool) -> None:
    """Let the old model use its old data under another name (steps 1 and 2 of this room's docstring).

    Nothing is to be done where the old ``.onnx`` does not use the data file.

    Raises:
        SaveError: The data file's name is our choice and something else already has it.
    """
    folder = os.path.dirname(target)
    location = os.path.relpath(data, folder)
    old = _model_at(target)
    used = _locations(old.proto) if old else set()
    if old is None or location not in used:
        if not explicit and not any(_is_link(name) for name in used):
            raise SaveError(
                f"{data} is already there and {target} does not use it",
                path=data,
                hint="name the data file yourself (external=..., --external NAME)",
            )
        return
    link = os.path.join(os.path.dirname(data), f"{_LINK_PREFIX}{os.urandom(8).hex()}.data")
    os.link(data, link)
    pieces, size = Joiner(
        old.proto.SerializeToString(), _relocated(old, location, os.path.relpath(link, folder)), None
    ).pieces()
    bridge = NewFile(target, pieces, size)
    _write(bridge, 0, size, None)
    os.rename(bridge.temporary, target)


def _relocated(model: Model, location: str, link: str) -> Place:
    """How to write a model that stays what it is but finds one of its data files under another name."""
    own = os.path.basename(model.path or "")

    def place(tensor: onnx.TensorProto, _holder: int) -> tuple[bytes, list[Piece], bytes] | None:
        where = data_range(tensor)
        if where.location == own:
            return embedded(tensor, *model.locate(tensor))
        if where.location != location:
            return None
        refer(tensor, where._replace(location=link))
        return tensor.SerializeToString(), [], b""

    return place


def _model_at(target: str) -> Model | None:
    """The model at a path, or None where there is none, or something that is no model and so uses no data file."""
    if not os.path.exists(target):
        return None
    try:
        return load(target)
    except GraphkitError:
        return None


def _locations(proto: onnx.ModelProto) -> set[str]:
    external = (t for t in walk.tensors(proto) if t.data_location == onnx.TensorProto.EXTERNAL)
    return {data_range(tensor).location for tensor in external}


def _is_link(location: str) -> bool:
    return os.path.basename(location).startswith(_LINK_PREFIX)


def _own_links_of(target: str) -> set[str]:
    """The hard links that the model at ``target`` uses: of this save, or of one that was killed."""
    folder = os.path.dirname(target)
    if not any(_is_link(name) for name in os.listdir(folder)):
        return set()
    old = _model_at(target)
    return {os.path.join(folder, name) for name in _locations(old.proto) if _is_link(name)} if old else set()


def _flush_folder(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

"""Replacing files so that at every moment either the old ones or the new ones are there, whole.

One file is simple: write it without a name, flush it, rename it over the target. A pair of an ``.onnx`` and its data file
takes two renames, and a process may be killed between them, where the new data would stand under the old ``.onnx``. So the
old model is first made to use its old data under another name, ``.graphkit-....data``, a copy or a hard link:

1. copy or link the old data; 2. rename over ``.onnx`` a copy of the old skeleton that names this copy or link;
3. rename the new data over the data file; 4. rename the new ``.onnx``; 5. remove the copy or link.

Each of these steps leaves a model whose bytes are all there. What a killed process left is marked with the target's name,
and the next save to that target removes it. Saves into one folder take turns.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import onnx

from graphkit.errors import GraphkitError, SaveError
from graphkit.graph import walk
from graphkit.hint import Argument, Blank, Hint
from graphkit.model import Model, is_own_location
from graphkit.progress import BytesProgress, tell
from graphkit.storage import system
from graphkit.storage.join import Joiner, Place, Role, embedded
from graphkit.storage.load import load
from graphkit.storage.new_file import NewFile, mark, temporary_name
from graphkit.storage.source import LocalFile
from graphkit.storage.wire import Piece, Range
from graphkit.tensor import data_range, refer

COPIED = 256 << 20
"""Old data of up to this many bytes is copied, not hard-linked, while a pair is replaced: ``onnx.load``, and ONNX Runtime
for weights in bodies, refuse hard-linked data, so that a process killed between two steps would leave them a model that
they refuse. Of a larger file the copy would cost more than that is worth, for some ten microseconds in seconds.
"""

LOCK_SECONDS = 60
"""How long a save waits for another process that puts its files into the same folder; that takes milliseconds."""


@dataclass
class Commit:
    """Files that are put in place together.

    Attributes:
        files: The data file, if there is one, and then the model that uses it.
        explicit: The user named the data file, so that one that is there may be replaced.
        links: Hard links that the model needs: path -> the file.
        check: Called when everything is written, before anything is replaced; raises what speaks against it.
        progress: Called with (bytes written, bytes in all).
    """

    files: list[NewFile]
    explicit: bool = True
    links: Mapping[str, LocalFile] = field(default_factory=dict)
    check: Callable[[], None] | None = None
    progress: BytesProgress | None = None

    def run(self) -> None:
        """Write the files and put them in place.

        Raises:
            SaveError: Writing failed; the temporary files are gone, and what was there before is still there.
            WeightsError: A source cannot be read, or was changed.
        """
        target = self.files[-1].path
        total = sum(file.size for file in self.files)
        try:
            written = 0
            for file in self.files:
                written = file.write(written, total, self.progress or self._tell)
            if self.check:
                self.check()
            with _turn(os.path.dirname(target)):
                self._put_in_place(target)
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
            raise SaveError(f"cannot write {target}: {reason}", path=target) from error
        finally:
            for file in self.files:
                file.close()

    def _tell(self, done: int, total: int) -> None:
        tell(done, total, f"writing {os.path.basename(self.files[-1].path)}")

    def _put_in_place(self, target: str) -> None:
        bridge = None
        made: list[str] = []
        try:
            for path, source in self.links.items():
                if _make_link(source, path):
                    made.append(path)
            for file in self.files:
                file.give_name()
            if len(self.files) == 2 and os.path.lexists(self.files[0].path):
                bridge = _bridge_old_pair(target, self.files[0].path, explicit=self.explicit)
            for file in self.files:
                file.put()
            made.clear()
            for folder in {os.path.dirname(file.path) for file in self.files}:
                _flush_folder(folder)
        finally:
            for path in made:
                os.unlink(path)
        with suppress(OSError):  # the save is done; what cannot be removed now will be the next time
            if bridge:
                os.unlink(bridge)
            for folder in {os.path.dirname(file.path) for file in self.files}:
                _remove_leftovers(folder, [target])


def target_file(path: str) -> str:
    """The absolute path that a save to ``path`` writes; a symbolic link is followed.

    Raises:
        SaveError: The folder is missing, or something lies there that is no regular file.
    """
    if why := system.no_path(path):
        raise SaveError(f"cannot write {path!r}: {why}", path=path)
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
    path = target_file(path)
    Commit([NewFile(path, [data], len(data), path)]).run()


def write_into(folder: str, files: Iterable[tuple[str, bytes]]) -> None:
    """Write many files into a folder, each whole or not at all. The disk is not waited for: there may be thousands.

    Args:
        folder: It is there.
        files: Name and bytes of each.

    Raises:
        SaveError: One cannot be written; those before it are there.
    """
    written = []
    path = folder
    try:
        with _turn(folder):
            for name, data in files:
                path = os.path.join(folder, name)
                file = NewFile(path, [data], len(data), path, lasting=False)
                try:
                    file.write()
                    file.put()
                finally:
                    file.close()
                written.append(path)
            with suppress(OSError):  # what cannot be removed now will be the next time
                _remove_leftovers(folder, written)
    except OSError as error:
        raise SaveError(f"cannot write {path}: {error.strerror or error}", path=path) from error


@contextmanager
def _turn(folder: str) -> Iterator[None]:
    """Wait until no other process is putting files into a folder; where the file system has no locks, do not wait.

    Raises:
        SaveError: Another process does not come to an end.
    """
    fd = system.open_folder(folder)
    if fd is None:
        yield
        return
    try:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                system.lock(fd)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise SaveError(
                        f"cannot write into {folder}: another process has been saving there for {LOCK_SECONDS} s",
                        path=folder,
                    ) from None
                time.sleep(0.01)
        yield
        system.unlock(fd)
    finally:
        os.close(fd)


def _make_link(source: LocalFile, path: str) -> bool:
    """Make a hard link; one that is there already is used.

    Returns:
        Whether a link was made.

    Raises:
        SaveError: Another file is there, or the link cannot be made.
    """
    if source.is_at(path):
        return False
    if os.path.lexists(path):
        raise SaveError(
            f"cannot hard-link {source.path} as {path}: another file is there",
            path=path,
            hint=Hint("give the link another name: ", Argument("external", Blank("NAME"))),
        )
    try:
        os.link(os.path.realpath(source.path), path)
    except OSError as error:
        raise SaveError(
            f"cannot hard-link {source.path} as {path}: {error.strerror}",
            path=path,
            hint=Hint("hard links work within one disk only; use ", Argument("weights", "auto")),
        ) from error
    return True


def _bridge_old_pair(target: str, data: str, *, explicit: bool) -> str | None:
    """Let the old model use its old data under another name (steps 1 and 2 of this room's docstring).

    Returns:
        That name. None where the old ``.onnx`` does not use the data file: nothing is to be done.

    Raises:
        SaveError: The data file's name is our choice and something else already has it.
    """
    folder = os.path.dirname(target)
    location = os.path.relpath(data, folder)
    old = _model_at(target)
    used = _locations(old.proto) if old else set()
    if old is None or location not in used:
        if not explicit and not any(name.startswith(mark(target)) for name in used):
            raise SaveError(
                f"{data} is already there and {target} does not use it",
                path=data,
                hint=Hint("name the data file yourself: ", Argument("external", Blank("NAME"))),
            )
        return None
    link = temporary_name(folder, target, ".data")
    place = _relocated(old, location, os.path.basename(link))
    pieces, size = Joiner(old.proto.SerializeToString(), place, None).pieces()
    bridge = NewFile(target, pieces, size, target)
    try:
        bridge.write()
        bridge.give_name()
        _copy_or_link(data, link, target)
        bridge.put()
    except BaseException:
        with suppress(OSError):
            os.unlink(link)
        raise
    finally:
        bridge.close()
    return link


def _copy_or_link(path: str, link: str, target: str) -> None:
    """The file under a second name: a copy where it is small, else a hard link where the file system has them."""
    source = LocalFile(path)
    if source.size > COPIED:
        try:
            os.link(path, link)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS):
                raise
        else:
            return
    copy = NewFile(link, [Range(source, 0, source.size)], source.size, target)
    try:
        copy.write()
        copy.put()
    finally:
        copy.close()


def _relocated(model: Model, location: str, link: str) -> Place:
    """How to write a model that stays what it is but finds one of its data files under another name."""

    def place(tensor: onnx.TensorProto, _role: Role) -> tuple[bytes, list[Piece], bytes] | None:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return None
        where = data_range(tensor)
        if is_own_location(where.location) and where.location in model.sources:
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


def _remove_leftovers(folder: str, targets: Collection[str]) -> None:
    """Remove what earlier saves to targets left in a folder when they were killed.

    A temporary file is left over when no process holds its lock; a link, when no model in the folder uses it.
    """
    marks, length = {mark(target) for target in targets}, len(mark(folder))
    left = [name for name in os.listdir(folder) if name[:length] in marks]
    for name in left:
        if name.endswith(".tmp"):
            system.remove_unlocked(os.path.join(folder, name))
    links = {name for name in left if name.endswith(".data")}
    if links:
        models = {name for name in os.listdir(folder) if name.endswith(".onnx")} | set(map(os.path.basename, targets))
        for name in models:
            model = _model_at(os.path.join(folder, name))
            links -= _locations(model.proto) if model else set()
        for name in links:
            os.unlink(os.path.join(folder, name))


def _flush_folder(folder: str) -> None:
    fd = system.open_folder(folder)
    if fd is None:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

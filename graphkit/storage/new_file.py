"""A file that is written beside its target and then renamed over it."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from graphkit.progress import BytesProgress
from graphkit.storage import system
from graphkit.storage.append import Appender
from graphkit.storage.source import RemoteFile
from graphkit.storage.wire import Piece, Range


@dataclass
class NewFile:
    """A file to be written: where, of which pieces, how many bytes they are together, which model is being saved, and
    whether the disk is waited for.

    Until it is complete it has no name at all where the file system can do that (O_TMPFILE), so that a killed process
    leaves nothing behind. It stays open, and locked, until ``close``.
    """

    path: str
    pieces: list[Piece]
    size: int
    target: str
    lasting: bool = True
    _temporary: str = ""
    _fd: int = -1

    def write(self, written: int = 0, total: int = 0, progress: BytesProgress | None = None) -> int:
        """Write the pieces and, where they are to last, flush them to the disk.

        Args:
            written: Bytes of other files that were written before.
            total: Bytes of all files.
            progress: Called with (bytes written, total).

        Returns:
            Bytes written, with those before.

        Raises:
            OSError: Writing failed.
            WeightsError: A source cannot be read.
        """
        self._create()
        appender = Appender(self._fd)
        with _expected(self.pieces):
            for piece in _merged(self.pieces):
                for done in appender.append(piece):
                    if progress:
                        progress(written + done, total)
        if os.path.exists(self.path):
            system.keep_mode(self._fd, stat.S_IMODE(os.stat(self.path).st_mode))
        if self.lasting:
            os.fsync(self._fd)
        return written + self.size

    def _create(self) -> None:
        unnamed = system.open_unnamed(os.path.dirname(self.path))
        if unnamed is not None:
            self._fd = unnamed
        else:
            name = temporary_name(os.path.dirname(self.path), self.target, ".tmp")
            self._fd = system.open_new(name)
            self._temporary = name
        system.lock(self._fd)

    def give_name(self) -> None:
        """Give the file a temporary name, where it has none yet."""
        if not self._temporary:
            name = temporary_name(os.path.dirname(self.path), self.target, ".tmp")
            # With src_dir_fd (which an absolute path ignores) Python calls linkat with AT_SYMLINK_FOLLOW; without, link.
            os.link(f"/proc/self/fd/{self._fd}", name, src_dir_fd=self._fd, follow_symlinks=True)
            self._temporary = name

    def put(self) -> None:
        """Rename the file over its target."""
        self.give_name()
        if not system.REPLACES_OPEN:
            os.close(self._fd)
            self._fd = -1
        os.replace(self._temporary, self.path)
        self._temporary = ""

    def close(self) -> None:
        """Close the file, and remove it where it is not in its place."""
        if self._temporary:
            with suppress(OSError):
                os.unlink(self._temporary)
        if self._fd >= 0:
            os.close(self._fd)
        self._temporary, self._fd = "", -1


def temporary_name(folder: str, target: str, suffix: str) -> str:
    """A path that is free in a folder, with the mark of a target."""
    return os.path.join(folder, f"{mark(target)}{os.urandom(8).hex()}{suffix}")


def mark(target: str) -> str:
    """How names begin that saves to a target use for themselves."""
    name = os.fsencode(os.path.basename(target))
    return f".graphkit-{hashlib.sha256(name).hexdigest()[:12]}-"


@contextmanager
def _expected(pieces: list[Piece]) -> Iterator[None]:
    """Tell the remote files among the sources which ranges will be read, so that they ask for neighbours at once."""
    ranges: dict[RemoteFile, list[tuple[int, int]]] = {}
    for piece in pieces:
        if isinstance(piece, Range) and isinstance(piece.source, RemoteFile):
            ranges.setdefault(piece.source, []).append((piece.offset, piece.length))
    for source, wanted in ranges.items():
        source.expect(wanted)
    try:
        yield
    finally:
        for source in ranges:
            source.expect([])


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

"""Appending to a file: bytes, and ranges of other files, without either passing through memory whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

from graphkit.storage.alignment import PAGE
from graphkit.storage.source import REQUEST, LocalFile
from graphkit.storage.wire import Piece, Range

BUFFER = 1 << 20
"""Bytes of a local file that are in memory at once. Larger buffers fall out of the processor's cache and are slower."""

WRITEBACK = 16 << 20
"""After this many bytes the kernel is asked to begin writing them to the disk, so that the last flush finds little to do."""

_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)


class Appender:
    """Writes pieces one after another to an open file.

    Attributes:
        written: Bytes so far.
    """

    def __init__(self, fd: int) -> None:
        self.written = 0
        self._fd = fd
        self._flushed = 0
        self._buffer = memoryview(bytearray(0))

    def append(self, piece: Piece) -> Iterator[int]:
        """Write a piece.

        Yields:
            The bytes written so far, after each step.

        Raises:
            WeightsError: A source became shorter.
            OSError: Writing failed.
        """
        if not isinstance(piece, Range):
            yield from self._write(memoryview(piece))
        elif isinstance(piece.source, LocalFile):
            with piece.source.opened() as source:
                yield from self._copy_local(piece.source, source, piece.offset, piece.length)
        else:
            for offset in range(0, piece.length, REQUEST):
                data = piece.source.read(piece.offset + offset, min(REQUEST, piece.length - offset))
                yield from self._write(memoryview(data))

    def _copy_local(self, source: LocalFile, fd: int, offset: int, length: int) -> Iterator[int]:
        """Copy inside of the kernel where source and target begin at the same place in a page: only there the kernel
        moves (or shares) whole pages. Elsewhere it is slower than a small buffer, by half (measured on Linux 6, ext4).
        """
        end = offset + length
        if (offset - self.written) % PAGE == 0:
            while offset < end:
                try:
                    count = os.copy_file_range(fd, self._fd, min(end - offset, WRITEBACK), offset)
                except OSError as error:
                    if error.errno not in _NO_KERNEL_COPY:
                        raise
                    break
                if not count:
                    break
                offset += count
                yield self._wrote(count)
        if offset < end and not self._buffer:
            self._buffer = memoryview(bytearray(BUFFER))
        while offset < end:
            count = os.preadv(fd, [self._buffer[: min(BUFFER, end - offset)]], offset)
            if not count:
                source.read(offset, end - offset)  # says that the file became shorter
            offset += count
            yield from self._write(self._buffer[:count])

    def _write(self, data: memoryview) -> Iterator[int]:
        while data:
            count = os.write(self._fd, data)
            data = data[count:]
            yield self._wrote(count)

    def _wrote(self, count: int) -> int:
        self.written += count
        if self.written - self._flushed >= WRITEBACK:
            _begin_writeback()(self._fd, self._flushed, self.written - self._flushed)
            self._flushed = self.written
        return self.written


@cache
def _begin_writeback() -> Any:
    """Linux' ``sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE)``: a hint, done by nothing where it is absent."""
    import ctypes

    function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is None:
        return lambda _fd, _offset, _length: None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return lambda fd, offset, length: function(fd, offset, length, 2)

"""Where bytes lie: a local file, a remote object behind fsspec, a buffer in memory. Read by range, never whole."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from graphkit.errors import MissingExtraError, ModelFileError, WeightsError
from graphkit.optional import EXTRAS, optional
from graphkit.storage import system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REQUEST = 16 << 20
"""Bytes that one request to a remote file asks for at most, and that are in memory then."""

GAP = 64 << 10
"""Bytes between two ranges of a remote file that are fetched along, as that is cheaper than a request more."""


class LocalFile:
    """A regular file, as it was when it was opened: once open, renaming another file over its path changes nothing.

    A file that is not kept open is opened again for each read, and compared with what it was.

    Attributes:
        path: The file, absolute.
        name: The file as the user knows it.
        size: Bytes.
    """

    first_read = 4096
    threshold = 4096

    def __init__(self, path: str, name: str | None = None, *, keep_open: bool = True) -> None:
        """Open a file.

        Raises:
            ModelFileError: It is missing, no regular file (a folder, a FIFO, a device), or not readable.
        """
        self.path = os.path.abspath(path)
        self.name = name or path
        self._map: mmap.mmap | None = None
        self._fd = -1
        fd = self._open()
        self._status = os.fstat(fd)
        self.size = self._status.st_size
        if keep_open and system.REPLACES_OPEN:
            self._fd = fd
        else:
            os.close(fd)

    def _open(self) -> int:
        try:
            fd = system.open_to_read(self.path)
        except OSError as error:
            raise ModelFileError(f"cannot read {self.name}: {_reason(error)}", path=self.name) from error
        mode = os.fstat(fd).st_mode
        if not stat.S_ISREG(mode):
            os.close(fd)
            raise ModelFileError(f"cannot read {self.name}: it is {_kind(mode)}, not a file", path=self.name)
        return fd

    def __del__(self, close: Callable[[int], None] = os.close) -> None:  # when Python ends, os may be gone already
        if getattr(self, "_fd", -1) >= 0:
            close(self._fd)

    def __repr__(self) -> str:
        return f"<LocalFile {self.path!r}: {self.size} bytes>"

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A file descriptor of the file; the source closes it.

        Raises:
            WeightsError: The file was not kept open and is no longer what it was, or cannot be opened.
        """
        if self._fd >= 0:
            yield self._fd
            return
        try:
            fd = self._open()
        except ModelFileError as error:
            raise WeightsError(error.message, path=self.name) from error
        try:
            self._hold_against(os.fstat(fd))
            yield fd
        finally:
            os.close(fd)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range.

        Raises:
            WeightsError: The file has become shorter, was changed, or cannot be read.
        """
        with self.opened() as fd:
            data = self._pread(fd, offset, length)
            while len(data) < length:  # Linux reads at most 2 GiB at a time
                more = self._pread(fd, offset + len(data), length - len(data))
                if not more:
                    raise WeightsError(f"{self.name} became shorter while it was read", path=self.name)
                data += more
        return data

    def _pread(self, fd: int, offset: int, length: int) -> bytes:
        try:
            return system.read_at(fd, length, offset)
        except OSError as error:
            raise WeightsError(f"cannot read {self.name}: {_reason(error)}", path=self.name) from error

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes of a range as read-only mapped memory.

        Raises:
            WeightsError: The file has become shorter, was changed, or cannot be mapped.
        """
        if not length:
            return memoryview(b"")
        if not system.REPLACES_OPEN:  # nobody could save over a file that is mapped
            return memoryview(self.read(offset, length))
        with self.opened() as fd:
            # Memory behind the end of a file that became shorter cannot be read: the process would be killed.
            if os.fstat(fd).st_size < offset + length:
                raise WeightsError(f"{self.name} became shorter after it was loaded", path=self.name)
            mapped = self._map
            if mapped is None:
                try:
                    mapped = system.map_to_read(fd)
                except OSError as error:
                    raise WeightsError(f"cannot map {self.name}: {_reason(error)}", path=self.name) from error
            if self._fd >= 0:
                self._map = mapped  # a mapping holds a descriptor of its own
        return memoryview(mapped)[offset : offset + length]

    def release(self) -> None:
        """Let the system have the memory of mapped pages; what is read again is mapped again."""
        if self._map is not None:
            system.release(self._map)

    def check_unchanged(self) -> None:
        """Nobody has written into the file since it was opened.

        Raises:
            WeightsError: Its size or modification time is another one.
        """
        with self.opened() as fd:
            self._hold_against(os.fstat(fd))

    def _hold_against(self, now: os.stat_result) -> None:
        then = self._status
        if (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns) != (
            then.st_dev,
            then.st_ino,
            then.st_size,
            then.st_mtime_ns,
        ):
            raise WeightsError(
                f"{self.name} was changed on disk after it was loaded", path=self.name, hint="load the model again"
            )

    def fingerprint(self) -> str:
        """What tells this file from one that was saved in its place: its size, and a hash of its first and last 64 KiB.

        The graph of an ``.onnx`` file is at its ends. Cost: O(1).
        """
        import hashlib

        ends = min(self.size, 64 << 10)
        both = self.read(0, ends) + self.read(self.size - ends, ends)
        return f"{self.size}:{hashlib.sha256(both).hexdigest()[:32]}"

    def is_at(self, path: str) -> bool:
        """Whether this very file (not another one of the same name) lies at a path now."""
        try:
            there = os.stat(path)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (self._status.st_dev, self._status.st_ino)


class Buffer:
    """Bytes in memory."""

    first_read = 1 << 20
    threshold = 4096

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range."""
        return self.data[offset : offset + length]

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes of a range, without a copy."""
        return memoryview(self.data)[offset : offset + length]


class RemoteFile:
    """An object that fsspec can reach: ``https://``, ``s3://``, ``hf://``, ``memory://``, ... Only ranges are fetched.

    The threshold is higher than for local files: a request costs more than the bytes of a small tensor.
    """

    first_read = 256
    threshold = 32 << 10

    def __init__(self, url: str) -> None:
        """Ask for the object's size.

        Raises:
            MissingExtraError: fsspec, or the package of this protocol, is not installed.
            ModelFileError: There is no such object, or the server does not say how long it is.
        """
        self.name = self.url = url
        self._fs, self._path = _filesystem(url)
        info = self._try(lambda: self._fs.info(self._path))
        size = info.get("size")
        if info.get("type") == "directory" or size is None:
            raise ModelFileError(f"cannot read {url}: it is no object with a known length", path=url)
        self.size = int(size)
        self._spans: dict[int, int] = {}
        self._block = (0, b"")

    def expect(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Announce the (offset, length) that will be read, in this order: neighbours are then fetched in one request.

        An empty list forgets what was fetched.
        """
        spans: list[tuple[int, int]] = []
        for start, length in ranges:
            first, last = spans[-1] if spans else (start, start - GAP - 1)
            if 0 <= start - last <= GAP and start + length - first <= REQUEST:
                spans[-1] = (first, start + length)
            else:
                spans.append((start, start + length))
        self._spans = dict(spans)
        self._block = (0, b"")

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a range, in one request, or in none where they came with the ones before.

        Raises:
            ModelFileError: The request failed, or the server sent something else than the range (no range support).
        """
        begin, block = self._block
        if begin <= offset and offset + length <= begin + len(block):
            return block[offset - begin : offset - begin + length]
        end = self._spans.get(offset, 0)
        if end < offset + length or end - offset > REQUEST:
            return self._fetch(offset, length)
        block = self._fetch(offset, end - offset)
        self._block = (offset, block)
        return block[:length]

    def _fetch(self, offset: int, length: int) -> bytes:
        if not length:
            return b""
        data: bytes = self._try(lambda: self._fetch_range(offset, offset + length))
        if len(data) != length:
            raise ModelFileError(
                f"{self.name}: asked for bytes {offset} to {offset + length}, got {len(data)} bytes", path=self.name
            )
        return data

    def _fetch_range(self, start: int, end: int) -> bytes:
        if "http" not in self._fs.protocol:
            data: bytes = self._fs.cat_file(self._path, start=start, end=end)
            return data
        # cat_file would download everything from a server that ignores ranges; a file object refuses after the header.
        with self._fs.open(self._path, size=self.size, cache_type="none") as file:
            file.seek(start)
            try:
                data = file.read(end - start)
            except ValueError as error:
                raise ModelFileError(
                    f"cannot read {self.url}: the server does not send parts of a file (no range requests)",
                    path=self.url,
                    hint="download the file, and give its path",
                ) from error
        return data

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes of a range, fetched into memory."""
        return memoryview(self.read(offset, length))

    def _try(self, request: Callable[[], Any]) -> Any:
        # fsspec's file systems raise what their clients raise: OSError, ValueError, aiohttp's and botocore's own.
        try:
            return request()
        except ModelFileError:
            raise
        except ImportError as error:
            raise missing_package(error, self.url) from error
        except Exception as error:
            reason = "there is nothing there" if is_missing(error) else str(error.__cause__ or error)
            raise ModelFileError(f"cannot read {self.url}: {reason}", path=self.url) from error


def is_missing(error: BaseException | None) -> bool:
    """Whether a file system says that an object is not there. HTTP's says so also when it cannot connect."""
    cause = error.__cause__ if error else None
    refused = isinstance(cause, OSError) or getattr(cause, "status", 404) != 404
    return isinstance(error, FileNotFoundError) and not refused


def is_url(path: str) -> bool:
    """Whether a path is an address for fsspec. A Windows drive letter is none."""
    scheme, separator, _ = path.partition("://")
    return bool(separator) and len(scheme) > 1


def _filesystem(url: str) -> tuple[Any, str]:
    fsspec = optional("fsspec", f"reading {url}")
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise missing_package(error, url) from error
    except ValueError as error:
        raise ModelFileError(f"cannot read {url}: {error}", path=url) from error
    return filesystem, path


def missing_package(error: ImportError, url: str, doing: str = "reading") -> MissingExtraError:
    """fsspec raises an ImportError of its own from the one that names the module."""
    cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
    package = (cause.name or url).partition(".")[0]
    return MissingExtraError(package, EXTRAS.get(package, ""), f"{doing} {url}")


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "there is no such file"
    return error.strerror or str(error)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a device or a socket"

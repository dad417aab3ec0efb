"""What storage asks of the operating system, and what it does where a system does not have it.

Linux has all of it. Elsewhere less is there: Windows has no ``fcntl``, opens no folders, reads at no offset, and neither
renames over a file that is open nor removes one. Each function here says what its fallback gives up; none gives up that a file is
whole or not there.
"""

from __future__ import annotations

import errno
import importlib
import mmap
import os
import stat
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

fcntl: Any
try:
    fcntl = importlib.import_module("fcntl")
except ImportError:  # Windows
    fcntl = None

REPLACES_OPEN = os.name != "nt"
"""Whether a file that is open, or mapped, can be renamed over and removed: its readers then keep what they opened."""

BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0)
"""Flags of ``os.open``: bytes as they are, and not for processes that are started meanwhile."""

_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)

_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux."""

_seeking = threading.Lock()


def no_path(text: str) -> str:
    """Why no file can have this path, which Python says with a ValueError before it asks the system; "" where one can."""
    if "\0" in text:
        return "no path holds a NUL character"
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return "no path holds half a character"
    return ""


def no_location(text: str) -> str:
    """Why a model cannot name this file as the place of its weights, and the runtime cannot be told of it; "" if it can."""
    if not no_path(text) and not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "the name is no UTF-8"
    return no_path(text)


def open_to_read(path: str) -> int:
    """A descriptor of a file. Opening a FIFO does not wait for somebody who writes to it, where that can be asked for.

    Raises:
        OSError: It cannot be opened.
    """
    if why := no_path(path):
        raise OSError(errno.EINVAL, why, path)
    return os.open(path, os.O_RDONLY | BINARY | getattr(os, "O_NONBLOCK", 0))


def regular_only(path: str, flags: int) -> int:
    """An ``opener`` for ``open``, which takes regular files only: a FIFO or a device might never end.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    fd = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "it is no regular file", path)


def open_unnamed(folder: str) -> int | None:
    """A descriptor of a new file without a name in a folder, or None where the file system has none (Linux has).

    Raises:
        OSError: The folder cannot be written.
    """
    nameless = getattr(os, "O_TMPFILE", None)
    if nameless is None or not os.path.isdir("/proc/self/fd"):  # without it, a file without a name cannot get one
        return None
    try:
        return os.open(folder, nameless | os.O_WRONLY | BINARY, 0o666)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
            raise
    return None


def open_new(path: str) -> int:
    """A descriptor of a new file.

    Raises:
        OSError: Something is there already, or the folder cannot be written.
    """
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY, 0o666)


def read_at(fd: int, length: int, offset: int) -> bytes:
    """Bytes of an open file from an offset on. Fallback: seek and read, one thread at a time.

    Raises:
        OSError: They cannot be read.
    """
    if hasattr(os, "pread"):
        return os.pread(fd, length, offset)
    with _seeking:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, min(length, 1 << 30))  # Windows reads at most 2 GiB at once


def read_into(fd: int, buffer: memoryview, offset: int) -> int:
    """Read into a buffer from an offset on; gives the number of bytes. Fallback: a copy more.

    Raises:
        OSError: They cannot be read.
    """
    if hasattr(os, "preadv"):
        return os.preadv(fd, [buffer], offset)
    data = read_at(fd, len(buffer), offset)
    buffer[: len(data)] = data
    return len(data)


def copy_in_kernel(source: int, target: int, length: int, offset: int) -> int | None:
    """Append a range of one file to another inside of the kernel; gives the bytes copied, or None where that cannot be done.

    Raises:
        OSError: Reading or writing failed.
    """
    if not hasattr(os, "copy_file_range"):
        return None
    try:
        return os.copy_file_range(source, target, length, offset)
    except OSError as error:
        if error.errno not in _NO_KERNEL_COPY:
            raise
    return None


def lock(fd: int) -> None:
    """Lock an open file or folder for this process, without waiting. Fallback: nothing is locked.

    Raises:
        BlockingIOError: Another process has locked it.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # some file systems have no locks
        return


def unlock(fd: int) -> None:
    """End a lock. A process forked meanwhile holds it too: closing the file would not end it."""
    if fcntl is not None:
        try:
            fcntl.flock(fd, fcntl.LOCK_UN)
        except OSError:
            return


def open_folder(folder: str) -> int | None:
    """A descriptor of a folder, or None where the system opens no folders.

    Raises:
        OSError: It is not there.
    """
    try:
        return os.open(folder, os.O_RDONLY | BINARY)
    except PermissionError:
        if REPLACES_OPEN:
            raise
    return None


def is_unlocked(folder: str) -> bool:
    """Whether a folder is there that no process has locked. Where there are no locks, nobody can say: it is not."""
    if fcntl is None:
        return False
    try:
        fd = open_folder(folder)
    except OSError:
        return False
    if fd is None:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def exchange(one: str, other: str) -> bool:
    """Let two paths change places in one step; False where the system or the file system cannot (Linux can)."""
    import ctypes

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return bool(rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


def remove_unlocked(path: str) -> None:
    """Remove a file that no process has locked. Where there are no locks, only Windows can say that a file is in use:
    it refuses to remove it; elsewhere the file stays.

    Raises:
        OSError: It cannot be removed.
    """
    if fcntl is None:
        if not REPLACES_OPEN:
            os.unlink(path)
        return
    fd = open_to_read(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    except BlockingIOError:  # its save is still going on
        pass
    finally:
        os.close(fd)


def map_to_read(fd: int) -> mmap.mmap:
    """A whole file as read-only memory.

    Raises:
        OSError: It cannot be mapped.
    """
    return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)


def release(mapped: mmap.mmap) -> None:
    """Let the system have the memory of mapped pages; what is read again is mapped again. Fallback: the system decides."""
    unneeded = getattr(mmap, "MADV_DONTNEED", None)
    if unneeded is not None and hasattr(mapped, "madvise"):
        mapped.madvise(unneeded)


def keep_mode(fd: int, mode: int) -> None:
    """Give an open file the permissions of the one that it will replace. Fallback: those of a new file."""
    if hasattr(os, "fchmod"):
        os.fchmod(fd, mode)


@cache
def begin_writeback() -> Callable[[int, int, int], Any]:
    """Linux' ``sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE)``: a hint, done by nothing where it is absent."""
    import ctypes

    try:
        function = getattr(ctypes.CDLL(None), "sync_file_range", None)
    except (OSError, TypeError):  # Windows has no library of the process itself
        function = None
    if function is None:
        return lambda _fd, _offset, _length: None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return lambda fd, offset, length: function(fd, offset, length, 2)

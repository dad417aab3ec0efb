"""Workers that are processes of this machine: one thread each, and at most so much memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import ParamSpec, TypeVar

from graphkit.errors import GraphkitError, MissingExtraError, OutdatedPackageError
from graphkit.fleet.outcomes import Outcome
from graphkit.fleet.work import Job
from graphkit.hint import Argument, Hint
from graphkit.operation import operations
from graphkit.runtime.failures import import_runtime
from graphkit.runtime.session import THREADS_VARIABLE

P = ParamSpec("P")
T = TypeVar("T")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", THREADS_VARIABLE)
"""Variables that keep a library to one thread; read when it is imported, so they are set before a worker starts."""


class LocalWorkers:
    """A pool of processes, which is made anew when it breaks.

    They are forked from a server process that has imported what they need and runs no threads; where the system has no
    fork they are spawned. Either way a script that uses them needs ``if __name__ == "__main__":``.
    """

    def __init__(self, count: int, *, memory: int | None = None) -> None:
        """``count`` processes; ``memory`` is the most bytes that one of them may allocate (not counting mapped files).

        Raises:
            GraphkitError: There is a memory limit, and the system has none for a process.
        """
        if memory is not None and not _can_limit():
            raise GraphkitError(
                "this system cannot limit the memory of a process",
                hint=Hint("leave out ", Argument("memory"), "; fewer processes at once take less"),
            )
        self.window = count
        self._memory = memory
        self._pool: ProcessPoolExecutor | None = None
        self._others = set(multiprocessing.active_children())

    def executor(self) -> Executor:
        """The pool."""
        if self._pool is None:
            self._pool = self._made(self.window)
        return _Starting(self._pool)

    def drop(self) -> None:
        """End the pool when what is in work is done; what has not begun is not begun."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def stop(self) -> None:
        """End the pool and its processes."""
        for child in set(multiprocessing.active_children()) - self._others:
            child.terminate()
        self.drop()

    def require(self) -> None:
        """Nothing: a process that ends breaks the pool."""

    def alone(self, work: Callable[[Job], Outcome], job: Job) -> Outcome:
        """Do one job in a process of its own."""
        before = set(multiprocessing.active_children())
        with self._made(1) as pool:
            future = _Starting(pool).submit(work, job)
            started = [child for child in multiprocessing.active_children() if child not in before]
            try:
                return future.result()
            except BrokenExecutor as error:
                for child in started:
                    child.join(5)
                raise BrokenExecutor(_how(started[0].exitcode if started else None)) from error

    def _made(self, count: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(count, _context(), initializer=begin, initargs=(self._memory,))


def _context() -> BaseContext:
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([Job.__module__])
    return context


class _Starting(Executor):
    """A pool whose processes start, at the first job, with one thread each."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand a job out; a process starts for it where all are busy."""
        with one_thread():
            return self._pool.submit(fn, *args, **kwargs)


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes that are started meanwhile keep to one thread."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def begin(memory: int | None) -> None:
    """What a worker does first: leave Ctrl-C to the parent, end where the parent ends, bound its memory where it can."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    if memory is None:
        return
    import resource

    operations()  # what is imported while memory ends is imported in part, and stays so
    with contextlib.suppress(MissingExtraError, OutdatedPackageError):
        import_runtime()
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (_held() + memory, most))


def _held() -> int:
    """Bytes that RLIMIT_DATA counts of this process already; 0 where the system does not say."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmData:")) * 1024
    except (OSError, StopIteration):
        return 0


def _can_limit() -> bool:
    """Whether a process of this system can be given a limit: Windows has no module ``resource``."""
    try:
        import resource
    except ImportError:
        return False
    return hasattr(resource, "RLIMIT_DATA")


def _end_with(sentinel: int) -> None:
    """End this process when another one ends: a parent that is killed tells nobody."""
    wait([sentinel])
    os._exit(1)


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}" if code is not None else "nobody knows how"

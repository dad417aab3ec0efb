"""The work spread over workers: outcomes as they come, and a crash that costs its model a retry and a row."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Protocol

from graphkit.errors import ClusterError
from graphkit.fleet.outcomes import Done, Failed, Outcome
from graphkit.fleet.work import Job

CRASHED = ("KilledWorker",)
"""Exceptions by which a cluster says that workers ended while they had a task, or had it waiting behind another."""

PATIENCE = 10
"""Seconds without an outcome after which the workers are asked whether anybody is left."""


class Workers(Protocol):
    """Where work is done.

    Attributes:
        window: Jobs that are handed out at a time.
    """

    window: int

    def executor(self) -> Executor:
        """The executor; a new one after ``drop``."""

    def drop(self) -> None:
        """Give up an executor that broke, or is not needed any more."""

    def stop(self) -> None:
        """The same, and end what is in work."""

    def require(self) -> None:
        """See that somebody is left who works.

        Raises:
            ClusterError: Nobody is.
        """

    def alone(self, work: Callable[[Job], Outcome], job: Job) -> Outcome:
        """Do one job with nothing beside it.

        Raises:
            BrokenExecutor: The process ended; the message says how.
        """


def spread(work: Callable[[Job], Outcome], jobs: Iterable[Job], workers: Workers) -> Generator[Outcome, None, None]:
    """Do the work on every job; one outcome a job, in the order in which they come.

    Where the executor breaks, what was in flight is done again, one by one with nothing beside it: so the crash has a
    name. A job that ends its process there too is a row ``Failed`` of the kind "Crash".

    Raises:
        ClusterError: The cluster went away.
    """
    waiting = deque(jobs)
    flying: dict[Future[Outcome], Job] = {}
    suspects: deque[Job] = deque()
    done: SimpleQueue[Future[Outcome]] = SimpleQueue()
    while waiting or flying or suspects:
        while suspects and not flying:
            yield _alone(work, suspects.popleft(), workers)
        while waiting and len(flying) < workers.window and not suspects:
            job = waiting.popleft()
            try:
                future = workers.executor().submit(work, job)
            except BrokenExecutor:
                suspects.append(job)
                workers.drop()
            else:
                flying[future] = job
                future.add_done_callback(done.put)
        if not flying:
            continue
        future = _next(done, workers)
        job = flying.pop(future)
        outcome = _outcome(future, job, workers)
        if outcome is None:
            suspects.append(job)
        else:
            yield outcome


def _next(done: SimpleQueue[Future[Outcome]], workers: Workers) -> Future[Outcome]:
    while True:
        try:
            return done.get(timeout=PATIENCE)
        except Empty:
            workers.require()


def _outcome(future: Future[Outcome], job: Job, workers: Workers) -> Outcome | None:
    """What a future gives; None where its process ended."""
    try:
        return future.result()
    except BrokenExecutor:
        workers.drop()
        return None
    except CancelledError as error:
        raise ClusterError(f"the cluster went away while {job.model} was in work", address="") from error
    except Exception as error:  # noqa: BLE001 (whatever the cluster says became of a model is a row)
        if type(error).__name__ in CRASHED:
            return None  # it, or one that was waiting beside it
        return Failed(job.model, type(error).__name__, str(error))


def _alone(work: Callable[[Job], Outcome], job: Job, workers: Workers) -> Outcome:
    try:
        outcome = workers.alone(work, job)
    except BrokenExecutor as error:
        return Failed(job.model, "Crash", f"the process that worked on it ended, twice: {error}", attempts=2)
    return replace(outcome, attempts=2) if isinstance(outcome, Done | Failed) else outcome


@contextlib.contextmanager
def closing(workers: Workers) -> Iterator[Workers]:
    """Workers that are given up at the end, also where the work is interrupted."""
    try:
        yield workers
    except BaseException:
        workers.stop()
        raise
    workers.drop()

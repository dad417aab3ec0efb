"""Workers of a Dask cluster that is there already."""

from __future__ import annotations

import asyncio
import importlib.metadata
import queue
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor
from typing import Any

from graphkit.errors import ClusterError
from graphkit.fleet.outcomes import Outcome
from graphkit.fleet.spread import CRASHED, PATIENCE
from graphkit.fleet.work import Job
from graphkit.optional import optional

TIMEOUT = 3
"""Seconds after which a scheduler that does not answer is not there."""

RESTART = 30
"""Seconds that a worker may take to start again."""

PACKAGE = "onnx-graphkit"


def _knock(distributed: Any, address: str) -> None:
    """See that a scheduler answers, before there is a client: one that cannot connect waits again when it is collected.

    It runs in a thread of its own, since a notebook's has a loop already; a name server that does not answer is not waited for.

    Raises:
        OSError: Nobody answers.
        ValueError: It is no address.
    """
    answers: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    async def knock() -> None:
        arguments = distributed.Security().get_connection_args("client")
        comm = await distributed.comm.connect(address, timeout=TIMEOUT, **arguments)
        comm.abort()

    def answered() -> None:
        try:
            asyncio.run(knock())
        except (OSError, ValueError) as error:
            answers.put(error)
        else:
            answers.put(None)

    threading.Thread(target=answered, daemon=True).start()
    try:
        problem = answers.get(timeout=TIMEOUT + 1)
    except queue.Empty as error:
        raise TimeoutError(f"{address} does not answer") from error
    if problem is not None:
        raise problem


class DaskWorkers:
    """A cluster's workers, through ``Client.get_executor()``.

    Start them with one thread each (``dask worker ADDRESS --nthreads 1``): what warns and what is proved belongs to a
    process as a whole.
    """

    def __init__(self, address: str, version: str) -> None:
        """Connect to the scheduler at an address such as ``tcp://host:8786``.

        Raises:
            ClusterError: Nobody answers within 3 seconds, there are no workers, or one has another graphkit or none.
            MissingExtraError: distributed is not installed.
        """
        distributed = optional("distributed", f"running on {address}")
        try:
            _knock(distributed, address)
            self._client: Any = distributed.Client(address, timeout=TIMEOUT, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            why = f": {error}" if isinstance(error, ValueError) else ""
            raise ClusterError(
                f"no Dask scheduler answers at {address!r}{why}",
                address=address,
                hint="start one with `dask scheduler`, or leave it out to run on this machine",
            ) from error
        self._address = address
        self._executor: Any = None
        try:
            self.window = 4 * self._threads()
            self._check(version)
        except BaseException:
            self._client.close()
            raise

    def _threads(self) -> int:
        threads = self._client.nthreads()
        if not threads:
            raise ClusterError(
                f"the scheduler at {self._address} has no workers",
                address=self._address,
                hint=f"dask worker {self._address} --nthreads 1",
            )
        return int(sum(threads.values()))

    def _check(self, version: str) -> None:
        found = self._client.run(importlib.metadata.version, PACKAGE, on_error="return")
        for worker, there in found.items():
            if there != version:
                said = f"graphkit {there}" if isinstance(there, str) else "no graphkit"
                raise ClusterError(
                    f"the worker {worker} has {said}, and this is graphkit {version}",
                    address=self._address,
                    hint=f"install {PACKAGE}=={version} there",
                )

    def executor(self) -> Executor:
        """The cluster as an executor."""
        if self._executor is None:
            self._executor = self._client.get_executor(pure=False)
        executor: Executor = self._executor
        return executor

    def drop(self) -> None:
        """Let the cluster go; it runs on."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None
        self._client.close()

    def stop(self) -> None:
        """Let the cluster go; what it has begun is cancelled with the client."""
        self.drop()

    def require(self) -> None:
        """See that the cluster has a worker, or gets one within 30 seconds.

        Raises:
            ClusterError: It has none, or the scheduler is gone.
        """
        try:
            if not self._client.nthreads():
                self._client.wait_for_workers(1, timeout=RESTART)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(
                f"no worker is left at {self._address}",
                address=self._address,
                hint="start workers without --no-nanny, which start again where a model ends them, and resume",
            ) from error

    def alone(self, work: Callable[[Job], Outcome], job: Job) -> Outcome:
        """Do one job with nothing beside it; the scheduler gives it to another worker where one ends.

        Raises:
            BrokenExecutor: It ended every worker that it was given to.
            ClusterError: No worker is left.
        """
        future = self.executor().submit(work, job)
        while True:
            try:
                outcome: Outcome = future.result(timeout=PATIENCE)
            except TimeoutError:
                self.require()
            except Exception as error:
                if type(error).__name__ in CRASHED:
                    raise BrokenExecutor(f"it ended every worker that it was given to: {error}") from error
                raise
            else:
                return outcome

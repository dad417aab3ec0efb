"""The same work on many models: who does it, what is kept, and what comes back.

What a thousand workers would meet first is an estimate, from sizes that were measured on a model of two nodes and a recipe
of five steps: a job takes 1.0 KB pickled, its outcome 1.2 KB and its line in the journal 1.4 KB, and a worker that is warm
takes 0.1 s for it. A thousand workers would ask for 10,000 such jobs a second, which is more than a Dask scheduler hands out
(its documentation says a millisecond or less for each): so the scheduler comes first, with models that take less than about
a second. With larger ones it is the storage that they are read from; 4,000 jobs in flight are 4 MB.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing as closed
from dataclasses import replace

from graphkit.fleet.cluster import PACKAGE, DaskWorkers
from graphkit.fleet.journal import Journal
from graphkit.fleet.local import LocalWorkers
from graphkit.fleet.outcomes import Outcome
from graphkit.fleet.spread import Workers, closing, spread
from graphkit.fleet.work import Answer, Guarded, Job, Work
from graphkit.reading.sizes import parse_bytes


def run_fleet(
    work: Work | Callable[[Job], Answer],
    jobs: Iterable[Job],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    memory: int | str | None = None,
    journal: str | None = None,
    resume: bool = False,
) -> Generator[Outcome, None, None]:
    """Do work on many models, and give the outcome of each as it comes.

    Args:
        work: What is done with each: ``Applying``, ``Checking``, ``Comparing``; any picklable function of a Job works.
        jobs: One for each model.
        workers: Processes of this machine, of one thread each.
        scheduler: Address of a Dask scheduler, whose workers do it instead.
        memory: Bytes, or a text such as ``2GB``, that a process of this machine may allocate for models, beside what it
            holds itself (some 200 MB).
        journal: A file that gets a JSON line for each outcome as it comes.
        resume: Leave out what the journal says was done with the same model, the same work and the same graphkit, and
            whose output is still there as it was written.

    Raises:
        ClusterError: The scheduler is not there, its workers have another graphkit, or it went away.
        GraphkitError: There is a memory limit, and this system has none for a process.
        SaveError: The journal cannot be written.
        FormatError: The journal to go on from cannot be read.

    Changes: what the work writes, and the journal.
    Cost: a process costs its start, about 1 s. With a journal every model and output is digested, 1 s a GB.

    Example:
        >>> import graphkit as gk
        >>> jobs = [gk.Job("model.onnx"), gk.Job("custom.onnx")]
        >>> for outcome in gk.run_fleet(gk.Checking("check"), jobs):  # doctest: +SKIP
        ...     print(gk.told(outcome))
    """
    version = importlib.metadata.version(PACKAGE)
    most = None if memory is None else parse_bytes(memory)
    pool: Workers = DaskWorkers(scheduler, version) if scheduler else LocalWorkers(workers, memory=most)
    guarded = Guarded(work, version, keyed=journal is not None)
    given: Sequence[Job] = list(jobs)
    with closing(pool):
        if journal is None:
            yield from spread(guarded, given, pool)
            return
        book = Journal(journal, resume=resume)
        found: list[Outcome] = []
        try:
            with closed(spread(guarded, (replace(j, before=book.before.get(j.model)) for j in given), pool)) as rows:
                for outcome in rows:
                    found.append(outcome)
                    book.add(outcome)
                    yield outcome
        finally:
            there = {outcome.model for outcome in found}
            kept = [old for name, old in book.before.items() if name not in there]
            book.close([*found, *kept])

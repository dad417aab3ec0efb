"""Work for tests of the fleet, in a module that worker processes can import."""

import os
import signal
import time
from dataclasses import dataclass

import numpy as np

import graphkit as gk


@dataclass(frozen=True)
class Crashing:
    """Kill the process where the model is called so, and count every begin in a file."""

    log: str
    name: str = "bad"

    def __call__(self, job):
        with open(self.log, "a", encoding="utf-8") as file:
            file.write(f"{job.model} {os.getpid()}\n")
        if self.name in job.model:
            os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(0.05)
        return gk.Answer(True, "alive")


@dataclass(frozen=True)
class Greedy:
    """Take memory."""

    size: int

    def __call__(self, job):
        taken = np.ones(self.size, np.uint8)
        return gk.Answer(True, f"{taken.nbytes} bytes")


@dataclass(frozen=True)
class Telling:
    """Say what the worker runs with."""

    def __call__(self, job):
        names = ("GRAPHKIT_THREADS", "OMP_NUM_THREADS")
        return gk.Answer(True, " ".join(os.environ.get(name, "-") for name in names), {"pid": os.getpid()})


@dataclass(frozen=True)
class Failing:
    """Raise what the model is called."""

    def __call__(self, job):
        raise {"value": ValueError("a bug"), "name": gk.NameNotFoundError("node", "x", ["x1"])}[job.model]


@dataclass(frozen=True)
class Mixed:
    """Take memory for the model that is called "large", and do other work on the rest."""

    work: gk.Applying
    size: int

    def __call__(self, job):
        return Greedy(self.size)(job) if job.model == "large" else self.work(job)

"""Timing whole processes beside each other: wall-clock seconds and peak memory, in turns, medians."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timed:
    """Medians of a command's counted runs: wall-clock seconds, and peak resident memory in MiB."""

    seconds: float
    mib: float


def run_once(command: Sequence[str], cwd: Path) -> tuple[float, float]:
    """(seconds, MiB) of one run as the kernel accounts for it.

    Raises:
        RuntimeError: The command failed; its output is in the message.
    """
    log = cwd / "bench.log"
    # Modules are compiled once, as an installer does it; without this, graphkit alone would be compiled in each run.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with log.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} failed:\n{log.read_text()[-2000:]}")
    return seconds, usage.ru_maxrss / 1024


def beside(
    commands: dict[str, Sequence[str]], cwd: Path, *, runs: int = 5, after: Callable[[], None] = lambda: None
) -> dict[str, Timed]:
    """Run commands in turns, A B C A B C ..., once without counting and then ``runs`` times.

    Args:
        commands: label -> command line.
        cwd: The folder they run in.
        runs: Counted runs of each.
        after: Called after every run, to take away what it wrote.
    """
    seen: dict[str, list[tuple[float, float]]] = {label: [] for label in commands}
    for turn in range(runs + 1):
        for label, command in commands.items():
            os.sync()
            measured = run_once(command, cwd)
            if turn:
                seen[label].append(measured)
            after()
    return {
        label: Timed(statistics.median(s for s, _ in got), statistics.median(m for _, m in got))
        for label, got in seen.items()
    }


def graphkit(*arguments: str) -> list[str]:
    """The command line of the installed ``graphkit``."""
    found = shutil.which("graphkit", path=os.path.dirname(sys.executable)) or shutil.which("graphkit")
    assert found, "graphkit is not installed in this environment"
    return [found, *arguments]


def python(code: str) -> list[str]:
    """A Python process that runs some code."""
    return [sys.executable, "-c", code]

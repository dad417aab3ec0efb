"""The file of outcomes: a JSON line each as they come, from which a run that was killed goes on."""

from __future__ import annotations

import json
import os
from typing import IO

from graphkit.errors import FormatError, SaveError
from graphkit.fleet.outcomes import Done, Outcome, Skipped, as_row, from_row
from graphkit.report.to_json import to_json
from graphkit.storage.commit import write_file


class Journal:
    """Outcomes in a file: each is with the system before the next one is awaited. A line that was cut short is no outcome."""

    def __init__(self, path: str, *, resume: bool = False) -> None:
        """Begin a file, or go on with one.

        Raises:
            SaveError: It cannot be written.
        """
        self.path = path
        self.before: dict[str, Done] = read_outcomes(path) if resume else {}
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            write(path, list(self.before.values()))
            self._file: IO[str] = open(path, "a", encoding="utf-8")  # noqa: SIM115 (open as long as the run)
        except OSError as error:
            raise SaveError(f"cannot write {path!r}: {error.strerror}", path=path) from error

    def add(self, outcome: Outcome) -> None:
        """Write one outcome down. What was done before stands there already."""
        if isinstance(outcome, Skipped):
            return
        self._file.write(line(outcome))
        self._file.flush()  # to the system, which outlives the process; a machine that falls costs its last lines

    def close(self, outcomes: list[Outcome]) -> None:
        """End the file with one line a model: those of this run, where they did anything, else those of before."""
        self._file.close()
        rows = [self.before.get(o.model, o) if isinstance(o, Skipped) else o for o in outcomes]
        write(self.path, rows)


def line(outcome: Outcome) -> str:
    """An outcome as one line of JSON."""
    return to_json(as_row(outcome), indent=None) + "\n"


def write(path: str, outcomes: list[Outcome] | list[Done]) -> None:
    """Write all outcomes, whole or not at all.

    Raises:
        SaveError: The file cannot be written.
    """
    write_file(path, "".join(map(line, outcomes)).encode())


def read_outcomes(path: str) -> dict[str, Done]:
    """What a journal says was done.

    Args:
        path: The file of ``run_fleet(journal=...)`` and ``--journal``. A line that was cut short is left out.

    Returns:
        Model -> what was done with it, the last time; nothing where there is no file, or where it failed the last time.

    Raises:
        FormatError: The file cannot be read.

    Example:
        >>> import graphkit as gk
        >>> gk.read_outcomes("no such file")
        {}
    """
    found: dict[str, Done] = {}
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.readlines()
    except FileNotFoundError:
        return found
    except (OSError, ValueError) as error:
        raise FormatError(f"the outcomes in {path!r} cannot be read: {error}", path=path) from error
    for text in lines:
        try:
            outcome = from_row(json.loads(text))
        except (ValueError, AttributeError, RecursionError):
            continue  # cut short when the run was killed
        if isinstance(outcome, Done):
            found[outcome.model] = outcome
        else:
            found.pop(outcome.model, None)
    return found

"""Attempts of ``probe`` as text: a table of what was accepted, then why the others were not."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from graphkit.report.columns import Column, lines
from graphkit.report.printable import one_line
from graphkit.verify.probe.attempt import Attempt


def probe_text(probed: Mapping[str, Sequence[Attempt]]) -> str:
    """A table with a row for each model and attempt.

    Args:
        probed: Model -> its attempts.
    """
    rows = [(model, attempt) for model, attempts in probed.items() for attempt in attempts]
    return "\n".join([lines((Column("model", lambda row: row[0]), *ATTEMPTS), rows), *_remedies(rows)])


def attempts_text(attempts: Sequence[Attempt]) -> str:
    """A table with a row for each attempt of one model."""
    rows = [("MODEL", attempt) for attempt in attempts]
    return "\n".join([lines(ATTEMPTS, rows), *_remedies(rows)])


def _remedies(rows: Sequence[tuple[str, Attempt]]) -> list[str]:
    found = [attempt.remedy.replace("MODEL", shlex.quote(model)) for model, attempt in rows if attempt.remedy]
    return [
        one_line(f"to mend it: {text}" if text.startswith(("graphkit ", "graphkit.")) else text)
        for text in dict.fromkeys(found)
    ]


def _outcome(attempt: Attempt) -> str:
    if attempt.accepted:
        return _shapes(attempt.outputs)
    blame = "; ".join(map(str, attempt.blame))
    if attempt.node is None:
        return blame or attempt.problem or ""
    return f"node {attempt.node!r} fails" + (f" when {blame}" if blame else "") + f": {attempt.problem}"


def _shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name}[{','.join(map(str, shape))}]" for name, shape in shapes.items())


ATTEMPTS: tuple[Column[tuple[str, Attempt]], ...] = (
    Column("shapes", lambda row: _shapes(row[1].shapes)),
    Column("", lambda row: "succeeds" if row[1].accepted else "fails"),
    Column("outputs, or why not", lambda row: _outcome(row[1])),
)
"""A row for each (model, attempt)."""

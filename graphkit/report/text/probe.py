"""Attempts of ``probe`` as text: a table of what was accepted, then why the others were not."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from graphkit.report.columns import COPIED_WORD, Column, lines, wrapped
from graphkit.verify.probe.attempt import Attempt


def probe_text(probed: Mapping[str, Sequence[Attempt]]) -> str:
    """A table with a row for each model and attempt.

    Args:
        probed: Model -> its attempts.
    """
    rows = [(model, attempt) for model, attempts in probed.items() for attempt in attempts]
    return _table((Column("model", lambda row: row[0]), *ATTEMPTS), rows)


def attempts_text(attempts: Sequence[Attempt]) -> str:
    """A table with a row for each attempt of one model."""
    rows = [("MODEL", attempt) for attempt in attempts]
    return _table(ATTEMPTS, rows)


def _table(columns: Sequence[Column[tuple[str, Attempt]]], rows: Sequence[tuple[str, Attempt]]) -> str:
    """The rows, below each that fails why, and at the end what mends it."""
    head, *drawn = lines(columns, rows).splitlines()
    found = [head]
    for line, (_, attempt) in zip(drawn, rows, strict=True):
        found += [line] if attempt.accepted else [line, *wrapped(_why(attempt), "    ", hang="    ")]
    return "\n".join([*found, *_remedies(rows)])


def _remedies(rows: Sequence[tuple[str, Attempt]]) -> list[str]:
    found = [attempt.remedy.replace("MODEL", shlex.quote(model)) for model, attempt in rows if attempt.remedy]
    said = (f"to mend it: {t}" if t.startswith(("graphkit ", "graphkit.")) else t for t in dict.fromkeys(found))
    return [line for text in said for line in wrapped(text, "", longest=COPIED_WORD)]


def _why(attempt: Attempt) -> str:
    blame = "; ".join(map(str, attempt.blame))
    if attempt.node is None:
        return blame or attempt.problem or ""
    return f"node {attempt.node!r} fails" + (f" when {blame}" if blame else "") + f": {attempt.problem}"


def _shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name}[{','.join(map(str, shape))}]" for name, shape in shapes.items())


ATTEMPTS: tuple[Column[tuple[str, Attempt]], ...] = (
    Column("shapes", lambda row: _shapes(row[1].shapes)),
    Column("", lambda row: "succeeds" if row[1].accepted else "fails"),
    Column("outputs", lambda row: _shapes(row[1].outputs)),
)
"""A row for each (model, attempt)."""

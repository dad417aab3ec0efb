"""A table of modules, torch beside the model, as text."""

from __future__ import annotations

from graphkit.report.columns import Column, lines, wrapped
from graphkit.report.numbers import number
from graphkit.report.text.tolerances import tolerances
from graphkit.verify.bisect.layers import Layer, Layers


def layers_text(result: Layers) -> str:
    """The verdict, then a line for each output of a module."""
    verdict = "MATCH" if result.match else "MISMATCH"
    where = ", ".join(result.providers)
    head = [
        *wrapped(f"{verdict}: {result.candidate} ({where}) against {result.reference} (torch)", ""),
        *wrapped(f"tolerance: {tolerances(row.metrics for row in result.rows if row.metrics is not None)}", ""),
    ]
    return "\n".join([*head, "", lines(MATCHED if result.match else MODULES, result.rows)])


def _shape(row: Layer) -> str:
    return "" if row.metrics is None else f"[{','.join(map(str, row.metrics.shape))}]"


def _error(row: Layer) -> str:
    return "-" if row.metrics is None else row.metrics.problem or number(row.metrics.max_abs)


MODULES: tuple[Column[Layer], ...] = (
    Column("module", lambda row: row.output),
    Column("class", lambda row: row.kind),
    Column("value", lambda row: row.value or "-"),
    Column("shape", _shape),
    Column("max abs", _error, right=True),
    Column("max rel", lambda row: number(None if row.metrics is None else row.metrics.max_rel), right=True),
    Column("", lambda row: row.remark if row.match is None else "ok" if row.match else "FAILS"),
)
"""A row for each output of a module."""

MATCHED = tuple(column for column in MODULES if column.title != "max rel")
"""What a terminal shows where all of them match: the largest error, for which the tolerance stands above."""

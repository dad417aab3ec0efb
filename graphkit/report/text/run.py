"""A run as text: what came out, in numbers."""

from __future__ import annotations

from typing import Any

from graphkit.report.columns import Column, lines
from graphkit.report.numbers import number
from graphkit.report.printable import one_line
from graphkit.running.run import OutputSummary, Ran

WIDTH = 64
"""Characters of the values themselves; --json and --save give all."""

OUTPUTS: tuple[Column[tuple[str, OutputSummary]], ...] = (
    Column("output", lambda row: row[0]),
    Column("type", lambda row: row[1].type),
    Column("min", lambda row: number(row[1].min), right=True),
    Column("max", lambda row: number(row[1].max), right=True),
    Column("mean", lambda row: number(row[1].mean), right=True),
    Column("", lambda row: _remarks(row[1])),
)


def run_text(result: Ran) -> str:
    """The outputs of a run, a line each."""
    head = one_line(f"{result.model} on {', '.join(result.providers)}")
    return f"{head}\n{lines(OUTPUTS, result.outputs.items())}"


def _remarks(output: OutputSummary) -> str:
    remarks = [f"{count} {word}" for count, word in ((output.nan, "NaN"), (output.inf, "inf")) if count]
    if output.values is not None:
        remarks.append(_short(_listed(output.values)))
    return ", ".join(remarks)


def _listed(values: Any) -> str:
    """Numbers as lists of them; texts and truth values as Python has them."""
    if isinstance(values, list):
        return f"[{', '.join(map(_listed, values))}]"
    return repr(values) if isinstance(values, str | bytes | bool | complex) else number(values)


def _short(text: str) -> str:
    """As much of a list as fits beside the other columns."""
    return text if len(text) <= WIDTH else f"{text[:WIDTH].rpartition(',')[0]}, ..."

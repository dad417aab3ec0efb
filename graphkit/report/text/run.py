"""A run as text: what came out, in numbers."""

from __future__ import annotations

from typing import Any

from graphkit.report.columns import Column, lines, wrapped
from graphkit.report.numbers import number
from graphkit.running.run import OutputSummary, Ran

WIDTH = 72
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
    """The outputs of a run, a line each; below it the numbers, where they are few."""
    head = wrapped(f"{result.model} on {', '.join(result.providers)}", "")
    titles, *rows = lines(OUTPUTS, result.outputs.items()).splitlines()
    found = [*head, titles]
    for row, output in zip(rows, result.outputs.values(), strict=True):
        found += [row] if output.values is None else [row, f"    {_short(_listed(output.values))}"]
    return "\n".join(found)


def _remarks(output: OutputSummary) -> str:
    return ", ".join(f"{count} {word}" for count, word in ((output.nan, "NaN"), (output.inf, "inf")) if count)


def _listed(values: Any) -> str:
    """Numbers as lists of them; texts and truth values as Python has them."""
    if isinstance(values, list):
        return f"[{', '.join(map(_listed, values))}]"
    return repr(values) if isinstance(values, str | bytes | bool | complex) else number(values)


def _short(text: str) -> str:
    """As much of a list as fits into a line."""
    return text if len(text) <= WIDTH else f"{text[:WIDTH].rpartition(',')[0]}, ..."

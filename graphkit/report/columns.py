"""Tables: a column is a title, what it shows of a row, and on which side its cells stand. Text and pages share them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from graphkit.report.printable import printable

T = TypeVar("T")


class Column(NamedTuple, Generic[T]):
    """One column of a table.

    Attributes:
        title: Its title.
        cell: What it shows of a row.
        right: Whether it is aligned to the right, as numbers are.
    """

    title: str
    cell: Callable[[T], str]
    right: bool = False


def lines(columns: Sequence[Column[T]], rows: Iterable[T], *, titles: bool = True) -> str:
    """A table as text: aligned columns, two spaces apart.

    Args:
        columns: The columns.
        rows: The rows.
        titles: Whether the titles stand above them.
    """
    cells = [tuple(column.cell(row) for column in columns) for row in rows]
    heads = [tuple(column.title for column in columns)] if titles else []
    return aligned([*heads, *cells], right=[at for at, column in enumerate(columns) if column.right])


def aligned(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows of cells as lines of aligned columns, two spaces apart; a line feed in a cell is shown escaped.

    Args:
        rows: Cells; every row has the same number of them.
        right: Columns that are aligned to the right.
    """
    if not rows:
        return ""
    rows = [[printable(cell, lines=False) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    found = []
    for row in rows:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        found.append("  ".join(cells).rstrip())
    return "\n".join(found)


def number(value: float | None) -> str:
    """A number in four digits, as people compare them; "-" for None."""
    if value is None:
        return "-"
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e6):
        return str(int(value))
    return f"{value:.4g}"


def shortened(text: str, width: int) -> str:
    """A text of at most ``width`` characters: where it is longer, its middle is left out. Paths and names differ at their ends."""
    if len(text) <= width:
        return text
    kept = width - 3
    return f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"

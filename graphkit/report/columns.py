"""Tables: a column is a title, what it shows of a row, and on which side its cells stand. Text and pages share them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, NamedTuple, TypeVar

from graphkit.report.printable import printable, shortened

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
    """A table as text: aligned columns, two spaces apart, within ``WIDTH`` columns; pages and JSON have every cell whole.

    Args:
        columns: The columns.
        rows: The rows.
        titles: Whether the titles stand above them.
    """
    cells = [tuple(column.cell(row) for column in columns) for row in rows]
    heads = [tuple(column.title for column in columns)] if titles else []
    return fitted([*heads, *cells], indent="", right=[at for at, column in enumerate(columns) if column.right])


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


WIDTH = 80
"""Columns of a terminal that text is made for."""

LONGEST_WORD = 72
"""Characters of a word in running text; of a longer one the ends are left."""

COPIED_WORD = 240
"""The same in a command, which somebody may copy: longer than a line as it may be."""


def wrapped(
    text: str, indent: str, *, hang: str | None = None, trim: bool = True, longest: int = LONGEST_WORD
) -> list[str]:
    """A text as lines of at most ``WIDTH`` characters; steering characters and line feeds in it are shown escaped.

    Args:
        text: The text.
        indent: What the first line begins with.
        hang: What the others begin with; None is four more spaces than the first.
        trim: Drop spaces at the beginning of the text.
        longest: Characters up to which a word is whole.
    """
    if not trim:
        indent += " " * (len(text) - len(text.lstrip()))
    inner = hang if hang is not None else indent + "    "
    room = longest if longest > WIDTH else min(longest, WIDTH - max(len(indent), len(inner)))
    text = printable(text.strip(), lines=False, longest=room)
    lines = textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=inner, break_on_hyphens=False, break_long_words=False
    )
    return lines or [indent]


def fitted(rows: Sequence[Sequence[str]], *, indent: str = "  ", right: Sequence[int] = ()) -> str:
    """``aligned`` within ``WIDTH`` columns: where rows are wider, the widest columns are shortened in their middles."""
    if not rows:
        return ""
    cells = [[printable(cell, lines=False) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    room = WIDTH - len(indent) - 2 * (len(widths) - 1)
    while sum(widths) > room and max(widths) > 8:
        widest = max(range(len(widths)), key=widths.__getitem__)
        others = max((width for at, width in enumerate(widths) if at != widest), default=0)
        over = sum(widths) - room
        widths[widest] = max(
            8, widths[widest] - over if widths[widest] - over >= others else min(widths[widest] - 1, others)
        )
    cut = [
        [shortened(cell, width) if width else cell for cell, width in zip(row, widths, strict=True)] for row in cells
    ]
    return textwrap.indent(aligned(cut, right=right), indent)

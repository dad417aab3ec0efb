"""Results as text: plain lines and aligned columns, the same on a terminal and in a file."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from graphkit.runtime.run import OutputSummary, Ran


@functools.singledispatch
def report_text(result: object) -> str:
    """A result of graphkit as text.

    Args:
        result: What ``run_report``, ``validate``, ``bisect`` or ``layers`` gave.

    Raises:
        TypeError: It is none of these.
    """
    raise TypeError(f"there is no text for {type(result).__name__}")


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows as lines of aligned columns, two spaces apart.

    Args:
        rows: Cells; every row has the same number of them.
        right: Columns that are aligned to the right.
    """
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value: float | None) -> str:
    """A number in four digits, as people compare them; "-" for None."""
    if value is None:
        return "-"
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e6):
        return str(int(value))
    return f"{value:.4g}"


@report_text.register
def _(result: Ran) -> str:
    rows = [("output", "type", "min", "max", "mean", "")]
    rows += [(name, o.type, number(o.min), number(o.max), number(o.mean), _remarks(o)) for name, o in result.outputs.items()]
    return f"{result.model} on {', '.join(result.providers)}\n{columns(rows, right=(2, 3, 4))}"


def _remarks(output: OutputSummary) -> str:
    remarks = [f"{count} {word}" for count, word in ((output.nan, "NaN"), (output.inf, "inf")) if count]
    if output.values is not None:
        remarks.append(str(output.values))
    return ", ".join(remarks)

"""A bisection as text: the verdict, the first value that diverges, the values around it."""

from __future__ import annotations

from collections.abc import Sequence

from graphkit.report.columns import Column, lines, wrapped
from graphkit.report.numbers import number
from graphkit.report.text.tolerances import tolerances
from graphkit.verify.bisect.bisection import Bisection, Row

ROWS_SHOWN = 40
"""Rows of a bisection's table that text shows; the page and JSON have all."""


def what_ran(result: Bisection) -> list[str]:
    """The verdict, and what was run and compared; a sentence each."""
    sides = f"{result.candidate} ({', '.join(result.providers)}) against {result.reference}"
    sides += f" ({', '.join(result.reference_providers)})"
    compared = f"{len(result.rows)} of {result.matched} values that both have ({result.values} in the candidate)"
    return [
        f"{'DIVERGES' if result.diverges else 'AGREES'}: {sides}",
        f"compared {compared}",
        f"tolerance: {tolerances(row.metrics for row in result.rows)}",
        f"ran: {_ran(result)}",
        *([] if result.diverges else [_largest(result.rows)]),
    ]


def bisection_text(result: Bisection) -> str:
    """The verdict, what was run, the first value that diverges, the nodes that introduce error, the values around it."""
    said = [line for fact in what_ran(result) for line in wrapped(fact, "")]
    if result.first is not None:
        said += ["", *(line for fact in first_lines(result) for line in wrapped(fact, "", trim=False))]
    if result.diverges and result.first is None:
        said += ["", "no value differs where each node runs by itself; the whole does, see the notes"]
    if result.introduced_by:
        said += ["", lines(INTRODUCED, result.introduced_by)]
    if any(not row.match for row in result.rows):
        said += ["", lines(VALUES, _around(result))]
    return "\n".join(said)


def _largest(rows: Sequence[Row]) -> str:
    """The value that is farthest off where all agree."""
    far = max(rows, key=lambda row: row.metrics.max_abs or 0.0, default=None)
    if far is None or not far.metrics.max_abs:
        return "no value differs"
    said = number(far.metrics.max_abs)
    return f"largest difference: {said}, at value {far.value!r}, made by {far.op_type} {far.node!r}"


def _ran(result: Bisection) -> str:
    """How much was run: a model in pieces, one after the other, a torch module as a whole."""
    said = []
    for side, providers in (("candidate", result.providers), ("reference", result.reference_providers)):
        count = result.runs[side]
        what = "run" if providers == ("torch",) else "piece"
        said.append(f"{count} {what}{'' if count == 1 else 's'} of the {side}")
    if alone := result.runs["alone"]:
        said.append(f"{alone} with nodes alone on the reference's values")
    return ", ".join(said)


def first_lines(result: Bisection) -> list[str]:
    """What is known of the first value that diverges."""
    first = result.first
    assert first is not None
    said = [f"first difference: value {first.value!r}, made by {first.op_type} {first.node!r}"]
    if first.inside:
        said.append("  inside of " + ", ".join(first.inside))
    if first.module is not None or first.line is not None:
        said.append("  torch: " + ", ".join(filter(None, (first.module, first.line))))
    if first.between:
        said.append("  computed by " + ", ".join(first.between[-8:]) + ", which have no counterpart one by one")
    m = first.metrics
    said.append(
        "  "
        + (
            m.problem
            or f"max abs error {number(m.max_abs)} at {list(m.worst or ())}: {number(m.actual)}, expected {number(m.expected)}"
        )
    )
    if m.rtol is not None and m.atol is not None:
        said.append(f"  tolerance rtol {number(m.rtol)}, atol {number(m.atol)} ({m.tolerance})")
    if first.introduces is not None:
        said.append("  the node is wrong by itself" if first.introduces else "  the node itself is right")
    return said


def _verdict(row: Row) -> str:
    verdict = "ok" if row.match else "FAILS"
    if row.introduces is None:
        return verdict
    return verdict + (" (introduces)" if row.introduces else " (passes on)" if not row.match else "")


def _alone(row: Row) -> str:
    return "-" if row.alone is None else row.alone.problem or number(row.alone.max_abs)


def _error(row: Row) -> str:
    return row.metrics.problem or number(row.metrics.max_abs)


_NODE: tuple[Column[Row], ...] = (
    Column("value", lambda row: row.value),
    Column("node", lambda row: row.node),
    Column("operator", lambda row: row.op_type),
    Column("max abs", _error, right=True),
    Column("max rel", lambda row: number(row.metrics.max_rel), right=True),
    Column("alone", _alone, right=True),
)

_SOURCE: tuple[Column[Row], ...] = (
    Column("module", lambda row: row.module or ""),
    Column("line", lambda row: row.line or ""),
)

VALUES: tuple[Column[Row], ...] = (*_NODE, Column("", _verdict))
"""A row for each value."""

INTRODUCED: tuple[Column[Row], ...] = (
    Column("introduced by", lambda row: row.node),
    Column("operator", lambda row: row.op_type),
    Column("alone", _alone, right=True),
    Column("in place", _error, right=True),
    *_SOURCE,
)
"""A row for each node that is wrong by itself."""

INTRODUCED_WIDE: tuple[Column[Row], ...] = (*_NODE, *_SOURCE)
"""The same with all numbers, where there is room for them."""


def _around(result: Bisection) -> Sequence[Row]:
    """The rows around the first that differs."""
    at = next(i for i, row in enumerate(result.rows) if not row.match)
    start = max(0, min(at - ROWS_SHOWN // 2, len(result.rows) - ROWS_SHOWN))
    return result.rows[start : start + ROWS_SHOWN]

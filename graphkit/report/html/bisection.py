"""A bisection as a page: the verdict, the error along the depth, every value."""

from __future__ import annotations

from graphkit.report.html.page import Links, escape, page, prose, table, verdict, view_link
from graphkit.report.html.plots import curve, figure
from graphkit.report.printable import shown
from graphkit.report.text.bisection import INTRODUCED_WIDE, VALUES, first_lines, what_ran
from graphkit.verify.bisect.bisection import Bisection, Row

LINKS: Links[Row] = {"value": lambda row: row.value, "introduced by": lambda row: row.value}


def bisection_page(result: Bisection, view: str | None = None) -> str:
    """The page of what ``bisect`` gave; ``view`` is the page with the drawing of the candidate, beside this one."""
    title = f"{result.candidate} against {result.reference}"
    said = [*what_ran(result)[1:], *(first_lines(result) if result.first is not None else [])]
    depth = [(float(at), row.error) for at, row in enumerate(result.rows)]
    alone = [(float(at), row.alone.max_abs or 0.0) for at, row in enumerate(result.rows) if row.alone is not None]
    plots = figure(curve(depth, x_title="values in graph order", width=700), "largest absolute error along the depth")
    if len(alone) > 1:
        plots += figure(
            curve(alone, x_title="values in graph order", width=700),
            "the same with every node fed with the reference's values: what the node introduces itself",
        )
    parts = [
        verdict("diverges" if result.diverges else "agrees", title, good=not result.diverges),
        view_link(view),
        *(f"<p>{escape(shown(line.strip()))}</p>" for line in said),
        plots,
    ]
    if result.introduced_by:
        parts += [
            "<h2>Nodes that introduce error</h2>",
            table(INTRODUCED_WIDE, result.introduced_by, name="nodes", view=view, links=LINKS),
        ]
    parts += ["<h2>Every value, in graph order</h2>", table(VALUES, result.rows, name="values", view=view, links=LINKS)]
    if result.notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{prose(note)}</li>" for note in result.notes) + "</ul>")
    return page(title, parts)

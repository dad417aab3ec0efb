"""The table of modules as a page: torch beside the model."""

from __future__ import annotations

from graphkit.report.html.page import escape, page, prose, table, verdict, view_link
from graphkit.report.text.layers import MODULES
from graphkit.report.text.tolerances import tolerances
from graphkit.verify.bisect.layers import Layer, Layers


def layers_page(result: Layers, view: str | None = None) -> str:
    """The page of what ``layers`` gave.

    Args:
        result: What ``layers`` gave.
        view: The page with the model's drawing, beside this one.
    """
    title = f"{result.candidate} against {result.reference}"
    said = tolerances(row.metrics for row in result.rows if row.metrics is not None)
    parts = [
        verdict("match" if result.match else "mismatch", title, good=result.match),
        view_link(view),
        f"<p>Tolerance: {escape(said)}.</p>",
        "<h2>What every module returns</h2>",
        table(MODULES, result.rows, name="modules", view=view, links={"value": _value}),
    ]
    if result.notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{prose(note)}</li>" for note in result.notes) + "</ul>")
    return page(title, parts)


def _value(row: Layer) -> str | None:
    return row.value

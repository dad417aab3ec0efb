"""A difference as a page: both models side by side, what was added, removed and changed in colour."""

from __future__ import annotations

from graphkit.inspection.diff.difference import Change, Difference
from graphkit.inspection.diff.steps import said
from graphkit.report.html.page import escape, page, value_address, verdict, view_link
from graphkit.report.printable import one_line
from graphkit.report.text.diff import cells, sections

SHOWN = 2000
"""Rows that a section of the page has at most."""

STYLE = """<style>
.graphkit table.diff { width: 100%; table-layout: fixed; } .graphkit table.diff col.what { width: 28%; }
.graphkit table.diff td { white-space: normal; overflow-wrap: anywhere; vertical-align: top; font-family: ui-monospace, monospace; }
.graphkit table.diff td:first-child { font-family: inherit; }
.graphkit tr.removed td.before, .graphkit tr.changed td.before { background: #cf222e22; }
.graphkit tr.added td.after, .graphkit tr.changed td.after { background: #1a7f3722; }
.graphkit tr.renamed td, .graphkit tr.moved td { background: #0969da18; }
.graphkit tr:target td { outline: 2px solid #0969da; }
</style>"""


def diff_page(result: Difference, view: str | None = None) -> str:
    """The page of what ``diff`` gave; ``view`` is the page with the drawing of the second model, beside this one."""
    title = one_line(f"{result.before} against {result.after}")
    parts = [
        STYLE,
        verdict(result.verdict, title, good=result.equal),
        view_link(view),
        f"<p>{escape(said(result))}</p>",
    ]
    found = list(sections(result))
    if len(found) > 1:
        links = (f'<a href="#{_anchor(name)}">{escape(name)}</a> ({len(rows)})' for name, rows in found)
        parts.append(f"<p>{' · '.join(links)}</p>")
    for name, rows in found:
        parts += [f'<h2 id="{_anchor(name)}">{escape(name)}</h2>', _table(_anchor(name), rows[:SHOWN], view)]
        if len(rows) > SHOWN:
            parts.append(f"<p>... and {len(rows) - SHOWN} more; the JSON lists them all.</p>")
    if result.steps:
        made = "".join(f"<li>{escape(one_line(step.step))}: {escape(step.said)}</li>" for step in result.steps)
        parts.append(f"<h2>What each step of the history made</h2><ul>{made}</ul>")
    parts += [f"<p>{escape(one_line(note))}</p>" for note in result.notes]
    return page(f"{result.verdict}: {title}", parts)


def _anchor(name: str) -> str:
    return name.replace(" ", "-")


DRAWN = ("node", "input", "output", "value", "weight", "shape")
"""Kinds of differences that are about something that the drawing shows."""


def _table(anchor: str, rows: list[tuple[str, Change]], view: str | None) -> str:
    lines = ['<col class="what"><tr><th>what</th><th>before</th><th>after</th></tr>']
    for at, (name, change) in enumerate(rows):
        _, what, before, after = (escape(one_line(text)) for text in cells(name, change))
        link = f'<a href="#{anchor}-{at}">{escape(name)}</a> {what}'
        if view and name != "removed" and change.kind in DRAWN:
            link += f' <a href="{escape(value_address(view, change.name))}">in the drawing</a>'
        lines.append(
            f'<tr class="{name}" id="{anchor}-{at}"><td>{link}</td><td class="before">{before}</td><td class="after">{after}</td></tr>'
        )
    return '<div class="wide"><table class="diff">' + "".join(lines) + "</table></div>"

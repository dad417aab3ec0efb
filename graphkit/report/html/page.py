"""Pages: one HTML file with everything in it, nothing loaded from the network, no scripts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from graphkit.report.columns import Column, T

STYLE = """
.graphkit { --line: #8884; --good: #1a7f37; --bad: #cf222e; --ink: #0969da; --soft: #8881;
  font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; }
.graphkit h1 { font-size: 1.5rem; } .graphkit h2 { font-size: 1.15rem; margin-top: 2rem; }
.graphkit .verdict { display: inline-block; padding: .15rem .7rem; border-radius: 1rem; color: #fff; font-weight: 600; }
.graphkit .yes { background: var(--good); } .graphkit .no { background: var(--bad); }
.graphkit td.bad { color: var(--bad); font-weight: 600; } .graphkit td.good { color: var(--good); }
.graphkit table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
.graphkit th, .graphkit td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; white-space: nowrap; }
.graphkit td.number, .graphkit th.number { text-align: right; }
.graphkit .wide, .graphkit pre { overflow-x: auto; }
.graphkit figure { margin: 1rem 0; } .graphkit figcaption { color: #888; font-size: 13px; }
.graphkit .plots { display: flex; flex-wrap: wrap; gap: 2rem; align-items: flex-start; }
.graphkit svg text { fill: currentColor; font: 11px system-ui, sans-serif; }
.graphkit code { background: var(--soft); padding: .1rem .3rem; border-radius: .3rem; }
"""
"""Every rule is for what lies in the page alone: in a notebook the page is a part of another one."""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        '<body><main class="graphkit">\n' + "\n".join(parts) + "\n</main></body></html>\n"
    )


def escape(text: object) -> str:
    """Text that may stand in HTML."""
    return html.escape(str(text))


def verdict(word: str, title: str, *, good: bool) -> str:
    """The headline: the verdict in its colour, and what it is about."""
    return f'<h1><span class="verdict {"yes" if good else "no"}">{escape(word)}</span> {escape(title)}</h1>'


def table(columns: Sequence[Column[T]], rows: Iterable[T]) -> str:
    """A table; cells that say "ok" or "FAILS" are coloured."""
    colours = {"ok": "good", "FAILS": "bad"}

    def cell(tag: str, column: Column[T], text: str) -> str:
        kind = colours.get(text.partition(" ")[0], "number" if column.right else "")
        return f'<{tag} class="{kind}">{escape(text)}</{tag}>'

    lines = ["<tr>" + "".join(cell("th", column, column.title) for column in columns) + "</tr>"]
    lines += ["<tr>" + "".join(cell("td", column, column.cell(row)) for column in columns) + "</tr>" for row in rows]
    return '<div class="wide"><table>' + "".join(lines) + "</table></div>"

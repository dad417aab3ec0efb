"""Pages: one HTML file with everything in it, nothing loaded from the network, no scripts."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import quote

from graphkit.report.columns import Column, T
from graphkit.report.foot import foot
from graphkit.report.printable import LONGEST, printable, shown

STYLE = """
.graphkit { color-scheme: light dark; --line: light-dark(#d1d9e0, #3d444d); --good: light-dark(#1a7f37, #3fb950);
  --bad: light-dark(#cf222e, #f85149); --ink: light-dark(#0969da, #58a6ff); --soft: light-dark(#f6f8fa, #161b22);
  --quiet: light-dark(#59636e, #9198a1); color: light-dark(#1f2328, #e6edf3); background: light-dark(#fff, #0d1117);
  font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 0 auto; padding: 2rem clamp(.6rem, 3vw, 2rem);
  overflow-wrap: anywhere; }
.graphkit h1 { font-size: 1.5rem; line-height: 1.3; } .graphkit h2 { font-size: 1.15rem; margin-top: 2rem; }
.graphkit .verdict { display: inline-block; padding: .15rem .7rem; border-radius: 1rem; color: #fff; font-weight: 600; }
.graphkit .yes { background: #1a7f37; } .graphkit .no { background: #cf222e; }
.graphkit td.bad { color: var(--bad); font-weight: 600; } .graphkit td.good { color: var(--good); }
.graphkit table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
.graphkit th, .graphkit td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; white-space: nowrap; }
.graphkit td.long { white-space: normal; min-width: 14rem; }
.graphkit td.number, .graphkit th.number { text-align: right; }
.graphkit tr:target td { background: light-dark(#fff8c5, #4b3a00); }
.graphkit .wide, .graphkit pre { overflow-x: auto; } .graphkit pre { background: var(--soft); padding: .6rem .8rem; }
.graphkit figure { margin: 1rem 0; min-width: 0; } .graphkit figcaption { color: var(--quiet); font-size: 13px; }
.graphkit .plots { display: flex; flex-wrap: wrap; gap: 2rem; align-items: flex-start; }
.graphkit svg { max-width: 100%; height: auto; }
.graphkit svg text { fill: currentColor; font: 11px system-ui, sans-serif; }
.graphkit code { background: var(--soft); padding: .1rem .3rem; border-radius: .3rem; }
.graphkit a { color: var(--ink); }
@media (max-width: 600px) { .graphkit th, .graphkit td { padding: .25rem .35rem; font-size: 12px; } }
.graphkit footer { margin-top: 3rem; padding-top: .6rem; border-top: 1px solid var(--line); color: var(--quiet); font-size: 12px; }
"""
"""Every rule is for what lies in the page alone: in a notebook the page is a part of another one."""

LONG_TABLE = 20
"""Rows from which on a table has a link to its first failure."""

LONG_CELL = 60
"""Characters from which on a cell may have several lines."""

Links = Mapping[str, Callable[[T], str | None]]
"""Title of a column -> the value or node that its cell names, to link to it in the drawing of the model."""


def page(title: str, parts: Iterable[str], *, about: str | None = None) -> str:
    """A whole page.

    Args:
        title: For the title bar.
        parts: What is on it, as HTML.
        about: What stands at the foot; else graphkit's version, the date and the command.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(shown(title))}</title><style>{STYLE}</style></head>\n"
        '<body style="margin:0;color-scheme:light dark;background:light-dark(#fff,#0d1117)"><main class="graphkit">\n'
        + "\n".join(parts)
        + f"\n<footer>{escape(foot() if about is None else about)}</footer>\n</main></body></html>\n"
    )


def escape(text: object) -> str:
    """Text that may stand in HTML; control characters and changes of direction are shown escaped."""
    return html.escape(printable(str(text)))


def prose(text: object) -> str:
    """A message that may stand in HTML: as ``escape``, and of words that nobody reads, names of 10,000 characters, the ends."""
    return html.escape(printable(str(text), longest=LONGEST))


def verdict(word: str, title: str, *, good: bool) -> str:
    """The headline: the verdict in its colour, and what it is about."""
    kind = "yes" if good else "no"
    return f'<h1><span class="verdict {kind}">{escape(word)}</span> {escape(shown(title))}</h1>'


def view_link(view: str | None) -> str:
    """A paragraph that leads to the drawing of the model; "" where there is none."""
    return f'<p><a href="{html.escape(address(view))}">The model as a drawing</a></p>' if view else ""


def value_address(view: str, name: str) -> str:
    """The address of a value, or of a node, in the drawing of the model."""
    return f"{address(view)}#value={quote(shown(name), safe='')}"


def address(path: str) -> str:
    """A file's path as a relative address; a colon in its first part would make a scheme of it."""
    quoted = quote(path)
    return f"./{quoted}" if not quoted.startswith(("/", ".")) else quoted


def table(
    columns: Sequence[Column[T]],
    rows: Iterable[T],
    *,
    name: str = "table",
    view: str | None = None,
    links: Links[T] | None = None,
) -> str:
    """A table; cells that say "ok" or "FAILS" are coloured, and a long one has a link to the first that fails.

    Args:
        columns: The columns.
        rows: The rows.
        name: What tells it from other tables of the page: letters and dashes.
        view: The page with the model's drawing, beside this one.
        links: Which cells lead to it.
    """
    found = list(rows)
    heads = "".join(_cell("th", column, shown(column.title)) for column in columns)
    lines, first = [], None
    for at, row in enumerate(found):
        cells = [shown(column.cell(row)) for column in columns]
        if first is None and any(cell.startswith("FAILS") for cell in cells):
            first = at
        target = f' id="{name}-first-failure"' if first == at else ""
        drawn = (
            _cell("td", column, cell, _link(view, links, column, row))
            for column, cell in zip(columns, cells, strict=True)
        )
        lines.append(f"<tr{target}>{''.join(drawn)}</tr>")
    jump = ""
    if first is not None and len(found) > LONG_TABLE:
        jump = f'<p><a href="#{name}-first-failure">To the first failure, row {first + 1} of {len(found)}</a></p>'
    return f'{jump}<div class="wide"><table><tr>{heads}</tr>{"".join(lines)}</table></div>'


def _link(view: str | None, links: Links[T] | None, column: Column[T], row: T) -> str | None:
    """The address of what a cell names, in the drawing."""
    named = links.get(column.title) if view and links else None
    name = named(row) if named else None
    return value_address(view, name) if view and name else None


def _cell(tag: str, column: Column[T], text: str, address: str | None = None) -> str:
    colours = {"ok": "good", "FAILS": "bad"}
    kind = colours.get(text.partition(" ")[0], "number" if column.right else "long" if len(text) > LONG_CELL else "")
    inside = f'<a href="{html.escape(address)}">{escape(text)}</a>' if address else escape(text)
    return f'<{tag} class="{kind}">{inside}</{tag}>'

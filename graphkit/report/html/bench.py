"""A benchmark as a page: times of each size, optimization and model, memory, and where the time goes."""

from __future__ import annotations

from graphkit.report.columns import Column
from graphkit.report.html.page import escape, page, prose, table
from graphkit.report.html.plots import figure, lengths
from graphkit.report.numbers import number
from graphkit.report.printable import shown
from graphkit.report.text.bench import asked_columns, milliseconds, stem
from graphkit.report.text.summary import size_text
from graphkit.running.bench import Benchmark, OperatorTime, Profile, Timing
from graphkit.running.memory import MemoryUse
from graphkit.runtime.profiling import NodeTime

MOST_BARS = 40
"""Rows that are drawn too."""

MOST_NODES = 200
"""Nodes of a profile that are listed; JSON has all."""

MEMORY: tuple[Column[tuple[str, MemoryUse]], ...] = (
    Column("model", lambda row: stem(row[0])),
    Column("loaded", lambda row: size_text(row[1].loaded), right=True),
    Column("at most", lambda row: size_text(row[1].peak), right=True),
)

OPERATORS: tuple[Column[OperatorTime], ...] = (
    Column("operator", lambda row: row.operator),
    Column("nodes", lambda row: str(row.nodes), right=True),
    Column("ms", lambda row: number(row.milliseconds), right=True),
    Column("share", lambda row: f"{100 * row.share:.1f} %", right=True),
)

NODES: tuple[Column[NodeTime], ...] = (
    Column("node", lambda row: row.node),
    Column("operator", lambda row: row.operator),
    Column("ms", lambda row: number(row.milliseconds), right=True),
)


def bench_page(result: Benchmark, view: str | None = None) -> str:  # noqa: ARG001 (a benchmark of two has no one drawing)
    """The page of what ``bench`` gave."""
    title = " and ".join(result.models)
    threads = f", {result.threads} threads" if result.threads is not None else ""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    parts = [
        f"<h1>{escape(shown(title))}</h1>",
        f"<p>{escape(f'On {result.device}, {versions}{threads}; milliseconds a run.')}</p>",
        "<h2>Times</h2>",
        table(asked_columns(result), result.timings, name="times"),
    ]
    if len(result.timings) <= MOST_BARS:
        drawn = [(_label(row, result), row.median, f"{milliseconds(row.median)} ms") for row in result.timings]
        parts.append(figure(lengths(drawn), "median of a run"))
    if result.memory:
        parts += ["<h2>Memory of a process that loads it and runs it once, above what it held before</h2>"]
        parts.append(table(MEMORY, result.memory.items(), name="memory"))
    for place, profile in enumerate(result.profiles):
        parts += _profile(profile, place)
    if result.notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{prose(note)}</li>" for note in result.notes) + "</ul>")
    return page(title, parts)


def _label(row: Timing, result: Benchmark) -> str:
    sizes = ", ".join(f"{name}={size}" for name, size in row.sizes.items())
    return ", ".join(filter(None, (stem(row.model) if len(result.models) > 1 else "", sizes, row.optimization)))


def _profile(profile: Profile, place: int) -> list[str]:
    head = f"Where the time of {stem(profile.model)} goes (optimization {profile.optimization})"
    return [
        f"<h2>{escape(head)}</h2>",
        table(OPERATORS, profile.operators, name=f"operators-{place}"),
        f"<h2>{escape(f'Slowest nodes of {stem(profile.model)}')}</h2>",
        table(NODES, profile.nodes[:MOST_NODES], name=f"nodes-{place}"),
    ]

"""A benchmark as text."""

from __future__ import annotations

import os

from graphkit.report.columns import Column, fitted, wrapped
from graphkit.report.numbers import number
from graphkit.report.printable import shortened
from graphkit.report.text.summary import size_text
from graphkit.running.bench import Benchmark, Profile, Timing

OPERATORS_SHOWN = 10
NODES_SHOWN = 5


def bench_text(result: Benchmark) -> str:
    """What ran where; a row for each size, optimization and model; memory; where the time goes."""
    threads = f", {result.threads} threads" if result.threads is not None else ""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    lines = wrapped(f"{' and '.join(shortened(name, 60) for name in result.models)}", "", hang="  ")
    lines += [f"  on {result.device}, {versions}{threads}; milliseconds a run", ""]
    columns = [column for column in asked_columns(result) if column.title != "min" or len(result.models) == 1]
    cells = [[column.title for column in columns]]
    cells += [[column.cell(row) for column in columns] for row in result.timings]
    lines.append(fitted(cells, right=[at for at, column in enumerate(columns) if column.right]))
    if result.memory:
        lines += ["", "memory of a process that loads it and runs it once, above what it held before"]
        rows = [
            (stem(name), f"{size_text(use.loaded)} loaded", f"{size_text(use.peak)} at most")
            for name, use in result.memory.items()
        ]
        lines.append(fitted(rows))
    for profile in result.profiles:
        lines += ["", *_profile(profile)]
    lines += [line for note in result.notes for line in wrapped(f"note: {note}", "")]
    return "\n".join(lines)


def asked_columns(result: Benchmark) -> list[Column[Timing]]:
    """The columns of the times that say something of this benchmark."""
    unasked = set() if len(result.models) > 1 else {"model", "times"}
    if not any(row.sizes for row in result.timings):
        unasked.add("sizes")
    return [column for column in TIMINGS if column.title not in unasked]


def _profile(profile: Profile) -> list[str]:
    lines = wrapped(f"where the time of {stem(profile.model)} goes (optimization {profile.optimization})", "")
    rows = [
        (row.operator, str(row.nodes), number(row.milliseconds), f"{100 * row.share:.1f} %")
        for row in profile.operators[:OPERATORS_SHOWN]
    ]
    lines.append(fitted([("operator", "nodes", "ms", "share"), *rows], right=(1, 2, 3)))
    if len(profile.operators) > OPERATORS_SHOWN:
        lines.append(f"  ... and {len(profile.operators) - OPERATORS_SHOWN} more; the JSON lists them all")
    nodes = [(node.node, node.operator, number(node.milliseconds)) for node in profile.nodes[:NODES_SHOWN]]
    lines += ["", "  slowest nodes", fitted(nodes, right=(2,))] if nodes else []
    return lines


def stem(name: str) -> str:
    """What a model is called in a table."""
    return shortened(os.path.basename(name) or name, 40)


def milliseconds(time: float) -> str:
    """A time in three digits."""
    return f"{time:.3g}" if time < 1000 else f"{time:.0f}"


TIMINGS: tuple[Column[Timing], ...] = (
    Column("sizes", lambda row: ", ".join(f"{name}={size}" for name, size in row.sizes.items())),
    Column("optimized", lambda row: row.optimization),
    Column("model", lambda row: stem(row.model)),
    Column("median", lambda row: milliseconds(row.median), right=True),
    Column("times", lambda row: "1" if row.times is None else milliseconds(row.times), right=True),
    Column("90 %", lambda row: milliseconds(row.p90), right=True),
    Column("99 %", lambda row: milliseconds(row.p99), right=True),
    Column("min", lambda row: milliseconds(row.min), right=True),
    Column("runs", lambda row: str(row.runs), right=True),
    Column("load", lambda row: milliseconds(row.load), right=True),
)

"""Parts of a model that were looked up, as text."""

from __future__ import annotations

from graphkit.inspection.look_up import Matches, Neighbours, Statistics, ValueDetails
from graphkit.report.columns import wrapped
from graphkit.report.numbers import number
from graphkit.report.printable import one_line, shortened

SHOWN = 40
"""Entries that a list has at most; ``--json`` lists all."""

LONG = 300


def value_text(result: ValueDetails) -> str:
    """A value: what it is, who makes it, who reads it, its numbers."""
    output = ", an output" if result.is_output else ""
    kinds = {"made": "a value", "constant": "a constant", "weight": "a weight", "input": "an input"}
    lines = wrapped(f"{shortened(result.name, 60)}: {result.type}, {kinds[result.kind]}{output}", "")
    if result.producer is not None:
        lines += wrapped(f"made by  {shortened(result.producer, LONG)}", "  ")
    if result.module:
        lines += wrapped(f"module   {shortened(result.module, 60)}", "  ")
    for at, reader in enumerate(result.readers[:SHOWN]):
        lines += wrapped(f"{'read by ' if not at else '        '} {shortened(reader, LONG)}", "  ", trim=False)
    if len(result.readers) > SHOWN:
        lines.append(f"  ... and {len(result.readers) - SHOWN} more; the JSON lists them all")
    if not result.readers:
        lines.append("  read by  no node")
    if result.kind == "made":
        lines += wrapped("a run that names it as an output shows its numbers", "  ")
    if result.statistics is not None:
        lines += _statistics(result.statistics)
    return "\n".join(lines)


def _statistics(found: Statistics) -> list[str]:
    lines = []
    if found.values is not None:
        lines += wrapped(f"numbers  {shortened(found.values, 1200)}", "  ")
    if found.min is not None:
        lines += wrapped(
            f"of {found.elements:,}: {number(found.min)} to {number(found.max)}, mean {number(found.mean)}, "
            f"standard deviation {number(found.std)}, {found.zeros:,} zeros",
            "  ",
        )
    if found.nan or found.inf:
        lines.append(f"  not finite: {found.nan:,} NaN, {found.inf:,} infinite")
    return lines


def neighbours_text(result: Neighbours) -> str:
    """A node and what is around it, with the number of hops in front."""
    lines = [one_line(f"{shortened(result.name, 60)} and {result.hops} hop{'' if result.hops == 1 else 's'} around it")]
    shown = sorted(result.nodes, key=lambda one: abs(one.distance))[: SHOWN * 2]
    for one in [one for one in result.nodes if one in shown]:
        mark = f"{one.distance:+d}" if one.distance else "->"
        lines += wrapped(f"{mark:>3}  {shortened(one.node, LONG)}", "", hang="       ", trim=False)
    if len(result.nodes) > len(shown):
        lines.append(f"... and {len(result.nodes) - len(shown)} more; the JSON lists them all")
    return "\n".join(lines)


def matches_text(result: Matches) -> str:
    """What holds a text, a line or two each."""
    count = len(result.matches)
    lines = [one_line(f"{count} {'thing holds' if count == 1 else 'things hold'} {shortened(result.text, 40)!r}")]
    for match in result.matches[:SHOWN]:
        said = match.what if match.kind == "node" else f"{shortened(match.name, 60)}  {match.what}"
        lines += wrapped(f"{match.kind:<6}  {shortened(said, LONG)}", "  ", hang="          ")
    if count > SHOWN:
        lines.append(f"  ... and {count - SHOWN} more; the JSON lists them all")
    return "\n".join(lines)

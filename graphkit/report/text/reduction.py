"""A reduction as text: whether the command fails, and the smallest part on which it does."""

from __future__ import annotations

from graphkit.plural import counted
from graphkit.report.printable import one_line
from graphkit.verify.bisect.reduction import Reduction

MOST = 40
"""Nodes that are listed."""


def reduction_text(result: Reduction) -> str:
    """The verdict, the part's boundary and nodes, and what the command said."""
    if not result.fails:
        return one_line(f"PASSES: {result.command} on {result.candidate}")
    how = "runs past the time limit" if result.code is None else f"ends with {result.code}"
    found = [
        one_line(f"FAILS: {result.command} on {result.candidate} {how}"),
        f"smallest part that fails so: {len(result.nodes)} of {counted(result.before, 'node')}, found in {counted(result.runs, 'run')}",
        one_line(f"inputs: {', '.join(result.inputs) or 'none'}"),
        one_line(f"outputs: {', '.join(result.outputs)}"),
        *(one_line(f"  {node}") for node in result.nodes[:MOST]),
    ]
    if len(result.nodes) > MOST:
        found.append(f"  and {len(result.nodes) - MOST} more")
    if result.said:
        found += ["", "the command said of it:", *(one_line(f"  {line}") for line in result.said.splitlines())]
    return "\n".join(found)

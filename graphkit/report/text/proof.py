"""A proof as text."""

from __future__ import annotations

from typing import NamedTuple

from graphkit.report.columns import Column, lines, wrapped
from graphkit.report.numbers import number
from graphkit.report.printable import shortened
from graphkit.verify.compare.metrics import Metrics
from graphkit.verify.laws.proof import Held, Proof

ANSWERS = {"proved": "yes", "broken": "NO", "unproved": "cannot be said"}


def proof_text(result: Proof) -> str:
    """The verdict, the two questions, a line for each law, and the outputs in their worst run."""
    found = [f"{result.verdict.upper()}: {result.edited} against {result.original} ({', '.join(result.steps)})"]
    if result.replayed is not None:
        why = f": {result.replayed.why}" if result.replayed.why else ""
        asked = (
            "are the graph and the weights the same"
            if result.steps == ("copy",)
            else "does the replay give these bytes"
        )
        found.append(f"{asked}? {ANSWERS[result.replayed.verdict]}{why}")
    found.append("do the laws hold?")
    for held in result.laws:
        found += _held(held)
    if result.tolerance:
        found.append(f"tolerance, the loosest: {result.tolerance}")
    found = [line for text in found for line in wrapped(text, "", trim=False)]
    if rows := outputs_of(result):
        found += ["", lines(MATCHED if result else OUTPUTS, rows)]
    found += [line for note in result.notes for line in wrapped(f"note: {note}", "")]
    return "\n".join(found)


def _held(held: Held) -> list[str]:
    what = f"  {' + '.join(held.steps)} ({held.law or 'law not known'}): {ANSWERS[held.verdict]}"
    if held.why:
        what += f": {held.why}"
    found = [what]
    if held.first is not None:
        found.append(f"    the first value that differs: {held.first!r}")
    if held.runs:
        by = f" in {held.evaluator}" if held.evaluator == "onnx.reference" else ""
        found.append(f"    values compared on {held.runs} feeds{by}, at {'; '.join(held.sizes)}")
    return found + [f"    also: {also}" for also in held.also]


class Row(NamedTuple):
    """One output in the worst run of one law."""

    steps: str
    name: str
    metrics: Metrics


def outputs_of(result: Proof) -> list[Row]:
    """The outputs that were compared, law by law."""
    return [Row(" + ".join(held.steps), *row) for held in result.laws for row in held.outputs.items()]


OUTPUTS: tuple[Column[Row], ...] = (
    Column("steps", lambda row: shortened(row.steps, 24)),
    Column("output", lambda row: shortened(row.name, 24)),
    Column("type", lambda row: f"{row.metrics.dtype}[{','.join(map(str, row.metrics.shape))}]"),
    Column("max abs", lambda row: number(row.metrics.max_abs), right=True),
    Column("max rel", lambda row: number(row.metrics.max_rel), right=True),
    Column("", lambda row: "ok" if row.metrics.match else "FAILS"),
)

MATCHED = tuple(column for column in OUTPUTS if column.title != "max rel")
"""What a terminal shows of a proof that succeeds: the largest error, for which the tolerance stands above."""

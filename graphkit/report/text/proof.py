"""A proof as text."""

from __future__ import annotations

from graphkit.report.columns import Column, lines, number
from graphkit.verify.compare.metrics import Metrics
from graphkit.verify.laws.proof import Held, Proof

ANSWERS = {"proved": "yes", "broken": "NO", "unproved": "cannot be said"}


def proof_text(result: Proof) -> str:
    """The verdict, the two questions, a line for each law, and the outputs in their worst run."""
    found = [f"{result.verdict.upper()}: {result.edited} against {result.original} ({', '.join(result.steps)})"]
    if result.replayed is not None:
        why = f": {result.replayed.why}" if result.replayed.why else ""
        found.append(f"does the replay give these bytes? {ANSWERS[result.replayed.verdict]}{why}")
    found.append("do the laws hold?")
    for held in result.laws:
        found += _held(held)
    if result.tolerance:
        found.append(f"tolerance, the loosest: {result.tolerance}")
    outputs = [row for held in result.laws for row in held.outputs.items()]
    if outputs:
        found += ["", lines(OUTPUTS, outputs)]
    found += [f"note: {note}" for note in result.notes]
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


OUTPUTS: tuple[Column[tuple[str, Metrics]], ...] = (
    Column("output", lambda row: row[0]),
    Column("type", lambda row: f"{row[1].dtype}[{','.join(map(str, row[1].shape))}]"),
    Column("max abs", lambda row: number(row[1].max_abs), right=True),
    Column("max rel", lambda row: number(row[1].max_rel), right=True),
    Column("", lambda row: "ok" if row[1].match else "FAILS"),
)

"""A difference as text that reads like a review, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from graphkit.inspection.diff.difference import LISTS, Change, Difference, Movement
from graphkit.inspection.diff.steps import is_beside, said
from graphkit.report.columns import wrapped
from graphkit.report.numbers import number
from graphkit.report.printable import one_line, shortened

SHOWN = 20
"""Differences of a section that the text lists."""

MANY = 3
"""Things that differ beside them in the same entries, from which on one line tells all."""

NAME = 44
"""Characters of a name."""

TEXT = 220
"""Characters of a node or a value."""
NUMBERS = 60
"""Characters of a weight that moved."""

MARKS = {"added": "+", "removed": "-", "renamed": "=", "moved": ">", "changed": "~"}

SECTIONS: dict[str, tuple[str, ...]] = {
    "interface": ("input", "output"),
    "versions and functions": ("model", "opset", "function", "graph"),
    "nodes": ("node",),
    "weights": ("weight", "quantization"),
    "declared shapes": ("shape",),
    "metadata": ("metadata",),
}
"""Section -> kinds of differences in it; renames, and what is written beside a thing, have sections of their own."""


def sections(result: Difference) -> Iterator[tuple[str, list[tuple[str, Change]]]]:
    """Title -> (list, difference) of each section that has some."""
    rows = [(name, change) for name in LISTS for change in getattr(result, name)]
    order = {"removed": 0, "added": 1, "changed": 2, "moved": 3}
    for title, kinds in SECTIONS.items():
        found = [row for row in rows if row[1].kind in kinds and row[0] != "renamed" and not is_beside(row[1])]
        if title == "metadata":
            found = [row for row in rows if row[0] != "renamed" and (is_beside(row[1]) or row[1].kind in kinds)]
        if found:
            yield title, sorted(found, key=lambda row: order[row[0]])
    if result.renamed:
        yield "names", [("renamed", change) for change in result.renamed]


def diff_text(result: Difference) -> str:
    """The verdict, the differences by section, what each step of the history did."""
    lines = [result.verdict, *wrapped(f"{shortened(result.before, 34)} -> {shortened(result.after, 34)}", "  ")]
    if any(result.lists.values()):
        lines += wrapped(said(result), "  ")
    for title, rows in sections(result):
        lines += ["", title]
        grouped, left = _grouped(rows) if title == "metadata" else ([], rows)
        lines += [line for text in grouped for line in wrapped(text, "  ")]
        for name, change in left[:SHOWN]:
            lines += wrapped(f"{MARKS[name]} {sentence(name, change, one_step=len(result.steps) < 2)}", "  ")
        if len(left) > SHOWN:
            lines.append(f"  ... and {len(left) - SHOWN} more; the JSON lists them all")
    if result.steps:
        lines += ["", "what each step of the history made"]
        lines += [line for step in result.steps for line in wrapped(f"{step.step}: {step.said}", "  ")]
    if result.ignored:
        counts = ", ".join(f"{count} of {aspect}" for aspect, count in result.ignored.items())
        lines += ["", f"ignored: {counts}"]
    lines += [line for note in result.notes for line in wrapped(f"note: {note}", "")]
    return "\n".join(lines)


def _grouped(rows: Sequence[tuple[str, Change]]) -> tuple[list[str], list[tuple[str, Change]]]:
    """(a line for each kind of thing of which ``MANY`` or more differ in the same entries, the differences that are left).

    Two exports differ in what the exporter wrote beside each node; one line says more than a hundred.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[Change]] = {}
    for name, change in rows:
        if name == "changed" and is_beside(change):
            entries = tuple(detail.partition(":")[0] for detail in change.details)
            groups.setdefault((change.kind, entries), []).append(change)
    many = {key: changes for key, changes in groups.items() if len(changes) >= MANY}
    told = {id(change) for changes in many.values() for change in changes}
    lines = []
    for (kind, entries), changes in many.items():
        names = ", ".join(shortened(change.name, NAME) for change in changes[:3])
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        lines.append(f"~ {len(changes)} {kind}s: {', '.join(entries)}: {names}{more}")
    return lines, [row for row in rows if id(row[1]) not in told]


def sentence(name: str, change: Change, *, one_step: bool = True) -> str:
    """A difference in one line, without its mark."""
    text = _said(name, change)
    if change.module and name in ("added", "removed"):
        text += f"  [module {shortened(change.module, NAME)}]"
    if place := _place(name, change):
        text += f"  [in {shortened(place, NAME)}]"
    if change.steps and not one_step:
        text += f"  (step {', '.join(change.steps)})"
    return text


def _place(name: str, change: Change) -> str:
    """The body or function that a sentence of this list does not name yet."""
    if name == "renamed" and change.after and change.kind != "function":
        return change.name.removesuffix(change.after).removesuffix("/")
    return change.place


def _said(name: str, change: Change) -> str:
    called = shortened(change.name, NAME)
    subject = called if change.kind in ("node", "weight", "shape") else f"{change.kind} {called}"
    if name == "renamed":
        return f"{change.kind} {shortened(change.before or '(no name)', NAME)} -> {shortened(change.after or '(no name)', NAME)}"
    if name in ("added", "removed"):
        text = (change.after if name == "added" else change.before) or ""
        return shortened(text, TEXT) if change.kind == "node" else f"{subject}: {shortened(text, TEXT)}".rstrip(": ")
    if change.former is not None:
        subject += f" (was {shortened(change.former, NAME)})"
    if change.kind == "node" and name == "changed":
        subject += f" ({(change.after or '').partition('(')[0].partition(' ')[0]})"
    if change.details:
        return f"{subject}: {'; '.join(shortened(detail, TEXT) for detail in change.details)}"
    moved = f"; {movement_text(change.movement)}" if change.movement is not None else ""
    if change.before == change.after:
        return f"{subject} {shortened(change.before or '', TEXT)}{moved}"
    most = NUMBERS if moved else TEXT  # how far they moved says more than sixteen numbers twice
    return f"{subject}: {shortened(change.before or 'none', most)} -> {shortened(change.after or 'none', most)}{moved}"


def movement_text(moved: Movement) -> str:
    """How far a weight moved, in words."""
    if moved.changed is None:
        return f"sha256 {moved.before_sha256[:12]} -> {moved.after_sha256[:12]}"
    if not moved.changed:
        return "no number moved"
    text = f"{moved.changed:,} of {moved.elements:,} numbers moved, by {number(moved.max_abs)} at most"
    if moved.relative is not None:
        text += f", {number(moved.relative)} {'times' if moved.relative >= 1 else 'of'} its norm"
    return text + (f"; {moved.not_finite:,} are not finite on one side" if moved.not_finite else "")


COLUMNS = ("", "what", "before", "after")


def cells(name: str, change: Change) -> tuple[str, str, str, str]:
    """A difference as a row: the list, what it is about, before, after."""
    what = f"{change.kind} {shortened(change.name, 80)}"
    if change.former is not None and name != "renamed":
        what += f" (was {shortened(change.former, 80)})"
    before, after = (shortened(text or "", 400) for text in (change.before, change.after))
    if change.movement is not None:
        after += f"; {movement_text(change.movement)}"
    if change.details:
        what += ": " + "; ".join(shortened(detail, 200) for detail in change.details)
    if change.steps:
        what += f" (step {', '.join(change.steps)})"
    return name, what, before, after


def diff_markdown(result: Difference) -> str:
    """A difference as Markdown: a heading, a table a section; names can neither break a table nor be markup."""
    lines = [f"## {_cell(shortened(result.before, 80))} → {_cell(shortened(result.after, 80))}: {result.verdict}", ""]
    lines.append(f"{said(result)}.")
    for title, rows in sections(result):
        lines += ["", f"### {title}", "", _row(COLUMNS), _row(["---"] * len(COLUMNS))]
        lines += [_row(["" if not text else _cell(text) for text in cells(*row)]) for row in rows[: SHOWN * 10]]
        if len(rows) > SHOWN * 10:
            lines += ["", f"... and {len(rows) - SHOWN * 10} more."]
    if result.steps:
        lines += ["", "### what each step of the history made", ""]
        lines += [f"- {_cell(step.step)}: {step.said}" for step in result.steps]
    lines += ["", *(f"{_cell(note)}" for note in result.notes)] if result.notes else []
    return "\n".join(lines) + "\n"


def _row(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


_SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|~!$@"})


def _cell(text: str) -> str:
    return one_line(text).replace("&", "&amp;").translate(_SPECIAL).replace("\\<", "&lt;").replace("\\>", "&gt;")

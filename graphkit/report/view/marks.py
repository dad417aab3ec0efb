"""Findings of ``check`` and ``lint`` as marks on boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphkit.errors import GraphkitError
from graphkit.inspection.check import check
from graphkit.inspection.lint import lint
from graphkit.model import Model
from graphkit.report.printable import shown
from graphkit.report.view.drawing import Drawing, Place

MOST_CHECKED = 20_000
"""Nodes up to which a page's model is checked; checking takes about 100 microseconds a node."""

MOST_MARKS = 1000
"""Findings that a page has."""

MOST_PLACES = 50
"""Boxes that one finding marks."""


def marks(model: Model, drawing: Drawing, nodes: int) -> tuple[list[dict[str, Any]], list[str]]:
    """The marks, and what the reader should know about them."""
    if nodes > MOST_CHECKED:
        return [], [f"{nodes:,} nodes: graphkit check and graphkit lint were not run for this page"]
    found, notes = [], []
    for findings in (_checked, _linted):
        try:
            found += list(findings(model, drawing))
        except GraphkitError as error:
            notes.append(shown(error.message))
    if len(found) > MOST_MARKS:
        notes.append(f"{len(found):,} findings, of which the page has {MOST_MARKS:,}: graphkit check lists them all")
    return found[:MOST_MARKS], notes


def _checked(model: Model, drawing: Drawing) -> Iterator[dict[str, Any]]:
    for finding in check(model, runtime=False).findings:
        places = boxes_of(drawing, finding.node) if finding.node else boxes_of(drawing, finding.value or "")
        yield _mark("error", "check", finding.kind, finding.message, str(finding.remedy or ""), places)


def _linted(model: Model, drawing: Drawing) -> Iterator[dict[str, Any]]:
    result = lint(model)
    for violation in result.violations:
        places = boxes_of(drawing, violation.node) if violation.node else []
        level = "warning" if violation.severity == "error" else "note"
        yield _mark(level, f"lint ({result.target})", violation.rule, violation.message, violation.remedy, places)


def _mark(level: str, source: str, kind: str, message: str, remedy: str, places: list[Place]) -> dict[str, Any]:
    return {
        "level": level,
        "source": source,
        "kind": kind,
        "message": shown(message),
        "remedy": shown(remedy),
        "places": places[:MOST_PLACES],
    }


def boxes_of(drawing: Drawing, name: str) -> list[Place]:
    """The boxes of a node's name, or of a value's: what makes it, else what reads it."""
    return drawing.places.get(name) or drawing.makers.get(name) or drawing.readers.get(name) or []

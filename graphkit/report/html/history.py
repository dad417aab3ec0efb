"""What was done to a model, as a page."""

from __future__ import annotations

from graphkit.inspection.history import ModelHistory
from graphkit.report.columns import Column
from graphkit.report.html.page import escape, page, table, view_link
from graphkit.report.printable import shown
from graphkit.report.text.history import began, step_words
from graphkit.step import Step

STEPS: tuple[Column[tuple[int, Step]], ...] = (
    Column("", lambda row: str(row[0]), right=True),
    Column("step", lambda row: row[1].operation),
    Column("arguments", lambda row: step_words(row[1])),
    Column("", lambda row: f"cannot be replayed: {row[1].obstacle}" if row[1].obstacle else ""),
)


def history_page(result: ModelHistory, view: str | None = None) -> str:
    """The page of what ``history`` gave; ``view`` is the page with the drawing of the model, beside this one."""
    parts = [
        f"<h1>{escape(shown(result.model))}</h1>",
        view_link(view),
        f"<p>{escape(shown(began(result)))}</p>",
        table(STEPS, enumerate(result.steps, 1), name="steps") if result.steps else "",
    ]
    return page(f"history of {result.model}", parts)

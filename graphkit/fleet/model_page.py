"""One model of many as a page of its own, to which its row leads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

from graphkit.fleet.outcomes import Done, Failed, Outcome
from graphkit.report.columns import Column
from graphkit.report.html.page import escape, page, prose, table, verdict, view_link

LONGEST = 60
"""Characters of a model's name in the name of its page."""


def page_name(model: str) -> str:
    """The file of a model's page: always the same for the same model, and no other's."""
    readable = re.sub(r"[^\w.-]+", "_", model)[-LONGEST:].lstrip(".-_")
    return f"{readable}-{hashlib.sha256(model.encode(errors='surrogatepass')).hexdigest()[:8]}.html"


def model_page(outcome: Done | Failed, said: tuple[str, str], *, about: str, back: str, view: str | None = None) -> str:
    """The page.

    Args:
        outcome: What became of the model.
        said: Its state, and what there is to say, as ``told`` has them.
        about: graphkit's version, the date, the command.
        back: The address of the page with all models.
        view: The path of the model's drawing, from this page's folder.
    """
    parts = [
        verdict(said[0], outcome.model, good=bool(outcome)),
        f"<p>{prose(said[1])}</p>" if said[1] else "",
        view_link(view),
        table((Column("", lambda row: row[0]), Column("", lambda row: row[1])), _facts(outcome)),
        *_result(outcome),
        f'<p><a href="{escape(back)}">All models</a></p>',
    ]
    return page(outcome.model, filter(None, parts), about=about)


def _facts(outcome: Done | Failed) -> list[tuple[str, str]]:
    out = outcome.out if isinstance(outcome, Done) else None
    facts = [("written", out or "nothing"), ("seconds", f"{outcome.seconds:.2f}"), ("attempts", str(outcome.attempts))]
    if isinstance(outcome, Failed):
        facts += [("error", outcome.kind), *([("hint", outcome.hint)] if outcome.hint else [])]
    return facts


def _result(outcome: Outcome) -> list[str]:
    """The whole result: steps, findings and other lists of objects as tables, the rest as JSON."""
    if isinstance(outcome, Failed):
        return [f"<h2>the error</h2><pre>{prose(outcome.message)}</pre>"] if "\n" in outcome.message else []
    result = outcome.result if isinstance(outcome, Done) else None
    if not isinstance(result, dict):
        return [] if result is None else [f"<pre>{prose(_json(result))}</pre>"]
    parts = []
    rest = {}
    for name, value in result.items():
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            parts += [f"<h2>{escape(name)}</h2>", _rows(value, name)]
        else:
            rest[name] = value
    if rest:
        parts.append(f"<h2>the result</h2><pre>{prose(_json(rest))}</pre>")
    return parts


def _rows(rows: Sequence[dict[str, Any]], name: str) -> str:
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = [Column(key, lambda row, key=key: _cell(row.get(key))) for key in keys]  # type: ignore[misc]  # bound now
    return table(columns, rows, name=re.sub(r"[^a-z]+", "-", name.lower()))


def _cell(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "; ".join(value)
    return value if isinstance(value, str) else "" if value is None else _json(value, indent=None)


def _json(value: Any, indent: int | None = 1) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)

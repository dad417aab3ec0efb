"""A proof as a page."""

from __future__ import annotations

from graphkit.report.columns import Column
from graphkit.report.html.page import escape, page, prose, table, verdict, view_link
from graphkit.report.text.proof import ANSWERS, OUTPUTS, outputs_of
from graphkit.verify.laws.proof import Held, Proof


def proof_page(result: Proof, view: str | None = None) -> str:
    """The page of what ``prove`` gave; ``view`` is the page with the drawing of the edited model, beside this one."""
    title = f"{result.edited} against {result.original}"
    parts = [verdict(result.verdict, title, good=bool(result)), view_link(view)]
    if result.replayed is not None:
        why = f": {result.replayed.why}" if result.replayed.why else ""
        parts.append(f"<p>Does the replay give these bytes? {escape(ANSWERS[result.replayed.verdict] + why)}</p>")
    parts += ["<h2>Do the laws hold?</h2>", table(LAWS, result.laws, name="laws")]
    for held in result.laws:
        found = [f"compared at {size}" for size in held.sizes] + list(held.also)
        if held.first is not None:
            found.insert(0, f"the first value that differs: {held.first}")
        if held.why:
            found.insert(0, held.why)
        if found:
            parts.append(f"<h2>{escape(' + '.join(held.steps))}</h2><ul>")
            parts.append("".join(f"<li>{escape(text)}</li>" for text in found) + "</ul>")
    if rows := outputs_of(result):
        parts += ["<h2>Outputs, each in its worst run</h2>", table(OUTPUTS, rows, name="outputs")]
        parts.append(f"<p>Loosest tolerance: {escape(result.tolerance)}.</p>")
    facts = {"seed": str(result.seed), **result.versions}
    fact: tuple[Column[tuple[str, str]], ...] = (Column("", lambda row: row[0]), Column("", lambda row: row[1]))
    parts += ["<h2>Facts</h2>", table(fact, facts.items())]
    parts += [f"<p>{prose(note)}</p>" for note in result.notes]
    return page(f"{result.verdict}: {title}", parts)


LAWS: tuple[Column[Held], ...] = (
    Column("steps", lambda held: " + ".join(held.steps)),
    Column("law", lambda held: held.law or "not known"),
    Column("feeds", lambda held: str(held.runs), right=True),
    Column("", lambda held: {"proved": "ok", "broken": "FAILS"}.get(held.verdict, held.verdict)),
)

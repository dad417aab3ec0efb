"""All outcomes as one page: a row a model, failures first."""

from __future__ import annotations

from collections.abc import Sequence

from graphkit.fleet.outcomes import Done, Failed, Outcome
from graphkit.report.html.page import escape, page

HEAD = (
    '<div class="wide"><table><thead><tr><th>model</th><th>outcome</th><th class="number">seconds</th>'
    '<th class="number">attempts</th><th>out</th><th>what it says</th></tr></thead><tbody>'
)

SORT = """
<script>
document.querySelectorAll('.graphkit th').forEach((head, column) => head.addEventListener('click', () => {
  const body = head.closest('table').tBodies[0], up = head.dataset.up = head.dataset.up === '1' ? '' : '1';
  const value = row => row.cells[column].dataset.sort || row.cells[column].textContent;
  [...body.rows].sort((a, b) => value(a).localeCompare(value(b), undefined, {numeric: true}) * (up ? 1 : -1))
    .forEach(row => body.append(row));
}));
</script>
"""
"""A click on a heading sorts by its column; the page says everything without it."""


def ordered(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Failures first, then answers that are no, then the rest; by name."""
    return sorted(outcomes, key=lambda one: (not isinstance(one, Failed), bool(one), one.model))


def counted(outcomes: Sequence[Outcome]) -> str:
    """How many of each, in a line.

    Example:
        >>> import graphkit as gk
        >>> failed = gk.Failed("model.onnx", "EditError", "no node has that name", None, 0.1, 1, "")
        >>> gk.counted([failed])
        '1 model: 1 failed'
    """
    counts = {
        "failed": sum(isinstance(one, Failed) for one in outcomes),
        "no": sum(not isinstance(one, Failed) and not one for one in outcomes),
        "done": sum(isinstance(one, Done) and bool(one) for one in outcomes),
        "done before": sum(not isinstance(one, Done | Failed) and bool(one) for one in outcomes),
    }
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{len(outcomes)} model{'' if len(outcomes) == 1 else 's'}: {told}"


def told(outcome: Outcome) -> tuple[str, str]:
    """The state of a model in a word, and what there is to say.

    Example:
        >>> import graphkit as gk
        >>> failed = gk.Failed("model.onnx", "EditError", "no node has that name", None, 0.1, 1, "")
        >>> gk.told(failed)
        ('failed: EditError', 'no node has that name')
    """
    if isinstance(outcome, Failed):
        hint = f" (hint: {outcome.hint})" if outcome.hint else ""
        return f"failed: {outcome.kind}", outcome.message.strip().rpartition("\n")[
            2
        ] + hint if outcome.kind == "Bug" else (outcome.message + hint)
    if isinstance(outcome, Done):
        return "done" if outcome else "no", outcome.said
    return "done before" if outcome else "no", outcome.reason


def _steps(outcome: Outcome) -> str:
    """What each step of a recipe did, to be opened."""
    steps = outcome.result.get("steps", ()) if isinstance(outcome, Done) and isinstance(outcome.result, dict) else ()
    lines = [f"{step['number']}. {step['what']}: {'; '.join(step['touched']) or step['state']}" for step in steps]
    return f"<details><summary>steps</summary>{'<br>'.join(map(escape, lines))}</details>" if lines else ""


def outcomes_page(title: str, outcomes: Sequence[Outcome], about: str) -> str:
    """The page.

    Args:
        title: Its title.
        outcomes: One a model.
        about: graphkit's version, the date, the command.

    Example:
        >>> import graphkit as gk
        >>> failed = gk.Failed("model.onnx", "EditError", "no node has that name", None, 0.1, 1, "")
        >>> gk.outcomes_page("nightly", [failed], "graphkit apply").startswith("<!doctype html>")
        True
    """
    rows = []
    for one in ordered(outcomes):
        state, said = told(one)
        kind = "good" if one else "bad"
        seconds = getattr(one, "seconds", 0.0)
        out = getattr(one, "out", None) or ""
        link = f'<a href="{escape(out)}">{escape(out)}</a>' if out else ""
        rows.append(
            f'<tr><td>{escape(one.model)}</td><td class="{kind}">{escape(state)}</td>'
            f'<td class="number" data-sort="{seconds:.6f}">{seconds:.2f}</td>'
            f'<td class="number">{getattr(one, "attempts", 0)}</td><td>{link}</td><td>{escape(said)}{_steps(one)}</td></tr>'
        )
    good = all(outcomes)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p><span class="verdict {"yes" if good else "no"}">{"done" if good else "not all"}</span> {escape(counted(outcomes))}</p>',
        HEAD,
        *rows,
        "</tbody></table></div>",
        SORT,
    ]
    return page(title, parts, about=about)

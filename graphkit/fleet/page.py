"""All outcomes as one page: a row a model, failures first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from graphkit.errors import SaveError
from graphkit.fleet.drawings import addresses
from graphkit.fleet.model_page import model_page, page_name
from graphkit.fleet.outcomes import Done, Failed, Outcome
from graphkit.report.html.page import address, escape, page, prose
from graphkit.storage.commit import write_file, write_into
from graphkit.storage.source import is_url

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
    """What each step of a recipe did, to be opened; the steps of a proof are names, which its own page has."""
    steps = outcome.result.get("steps", ()) if isinstance(outcome, Done) and isinstance(outcome.result, dict) else ()
    lines = [
        f"{step['number']}. {step['what']}: {'; '.join(step['touched']) or step['state']}"
        for step in steps
        if isinstance(step, dict)
    ]
    return f"<details><summary>steps</summary>{'<br>'.join(map(prose, lines))}</details>" if lines else ""


def save_outcomes(
    path: str | os.PathLike[str],
    title: str,
    outcomes: Sequence[Outcome],
    about: str,
    *,
    before: Mapping[str, Outcome] | None = None,
    drawings: Mapping[str, str] | None = None,
) -> None:
    """Write the page, and beside it a folder with a page for each model, to which its row leads.

    Args:
        path: The page; the folder is called like it, with ``_models`` for its suffix.
        title: Its title.
        outcomes: One a model.
        about: graphkit's version, the date, the command.
        before: Model -> what became of it in an earlier run, as ``read_outcomes`` gives it: what was done before gets its
            page from there. What is not in it has the page of that run, if there is one.
        drawings: Model -> the page with its drawing, such as ``save_drawings`` gives, to which its row and its page lead.

    Raises:
        SaveError: A page cannot be written.

    Example:
        >>> import graphkit as gk
        >>> failed = gk.Failed("model.onnx", "EditError", "no node has that name", None, 0.1, 1, "")
        >>> gk.save_outcomes("nightly.html", "nightly", [failed], "graphkit apply")
    """
    target = os.fspath(path)
    folder = f"{os.path.splitext(target)[0]}_models"
    back = f"../{quote(os.path.basename(target))}"
    known = [one if isinstance(one, Done | Failed) else (before or {}).get(one.model) for one in outcomes]
    shown = [one for one in known if isinstance(one, Done | Failed)]
    if shown:
        _make(folder)
        views = addresses(drawings or {}, folder)
        pages = (
            (page_name(one.model), model_page(one, told(one), about=about, back=back, view=views.get(one.model)))
            for one in shown
        )
        write_into(folder, ((name, _bytes(text)) for name, text in pages))
    names = {one.model: page_name(one.model) for one in outcomes}
    there = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    links = {
        model: f"{quote(os.path.basename(folder))}/{quote(name)}" for model, name in names.items() if name in there
    }
    home = os.path.dirname(os.path.abspath(target))
    views = addresses(drawings or {}, home)
    write_file(target, _bytes(outcomes_page(title, outcomes, about, links, home, views)))


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise SaveError(f"cannot make the folder {folder}: {error.strerror}", path=folder) from error


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


def _address(out: str, folder: str) -> str:
    """The address of what was written, from the folder where the page lies."""
    if is_url(out) or not folder:
        return out
    return quote(os.path.relpath(os.path.abspath(out), folder).replace(os.sep, "/"))


def outcomes_page(
    title: str,
    outcomes: Sequence[Outcome],
    about: str,
    links: Mapping[str, str] | None = None,
    folder: str = "",
    drawings: Mapping[str, str] | None = None,
) -> str:
    """The page.

    Args:
        title: Its title.
        outcomes: One a model.
        about: graphkit's version, the date, the command.
        links: Model -> the address of its own page.
        folder: Where the page will lie: files that were written are linked from there.
        drawings: Model -> the path of its drawing, from that folder.

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
        link = f'<a href="{escape(_address(out, folder))}">{escape(out)}</a>' if out else ""
        view = (drawings or {}).get(one.model)
        link += f' <a href="{escape(address(view))}">drawing</a>' if view else ""
        own = (links or {}).get(one.model)
        name = f'<a href="{escape(own)}">{escape(one.model)}</a>' if own else escape(one.model)
        rows.append(
            f'<tr><td>{name}</td><td class="{kind}">{escape(state)}</td>'
            f'<td class="number" data-sort="{seconds:.6f}">{seconds:.2f}</td>'
            f'<td class="number">{getattr(one, "attempts", 0)}</td><td>{link}</td><td class="long">{prose(said)}{_steps(one)}</td></tr>'
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

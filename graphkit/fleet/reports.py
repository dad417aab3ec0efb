"""Outcomes for other programs: JUnit XML for a CI server, Markdown for a pull request."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from graphkit.fleet.outcomes import Done, Failed, Outcome
from graphkit.fleet.page import counted, ordered, told
from graphkit.storage.commit import write_file

_CONTROL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(title: str, outcomes: Sequence[Outcome]) -> str:
    """Outcomes as JUnit XML: a suite a model, with a case a step where steps are known, else one case.

    Args:
        title: Of the whole.
        outcomes: One a model.

    Example:
        >>> import graphkit as gk
        >>> failed = gk.Failed("model.onnx", "EditError", "no node has that name", None, 0.1, 1, "")
        >>> "<failure" in gk.junit("nightly", [failed])
        True
    """
    suites, cases, bad = [], 0, 0
    for one in outcomes:
        lines, failures = _cases(title, one)
        cases, bad = cases + len(lines), bad + failures
        seconds = getattr(one, "seconds", 0.0)
        suites.append(
            f"  <testsuite name={_attribute(one.model)} tests={_attribute(len(lines))} failures={_attribute(failures)} "
            f"errors={_attribute(0)} time={_attribute(f'{seconds:.3f}')}>\n" + "\n".join(lines) + "\n  </testsuite>"
        )
    head = f"<testsuites name={_attribute(title)} tests={_attribute(cases)} failures={_attribute(bad)}>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n' + "\n".join(suites) + "\n</testsuites>\n"


def _cases(title: str, outcome: Outcome) -> tuple[list[str], int]:
    steps = _steps(outcome)
    found = [_case(outcome.model, f"{s['number']} {s['what']}", s["seconds"], s["state"]) for s in steps]
    state, said = told(outcome)
    if not outcome:
        kind = outcome.kind if isinstance(outcome, Failed) else state
        failure = f"<failure type={_attribute(kind)} message={_attribute(said)}>{_text(said)}</failure>"
        found.append(_case(outcome.model, title, getattr(outcome, "seconds", 0.0), "", failure))
        return found, 1
    skipped = "" if isinstance(outcome, Done) else f"<skipped message={_attribute(said)}/>"
    return found or [_case(outcome.model, title, getattr(outcome, "seconds", 0.0), "", skipped)], 0


def _steps(outcome: Outcome) -> list[dict[str, Any]]:
    result = outcome.result if isinstance(outcome, Done) else None
    return list(result.get("steps", ())) if isinstance(result, dict) else []


def _case(model: str, name: str, seconds: float, state: str, inside: str = "") -> str:
    if state in ("left out", "nothing to do"):
        inside = f"<skipped message={_attribute(state)}/>"
    head = f"    <testcase classname={_attribute(model)} name={_attribute(name)} time={_attribute(f'{seconds:.3f}')}"
    return f"{head}>{inside}</testcase>" if inside else f"{head}/>"


def _attribute(value: object) -> str:
    return quoteattr(_CONTROL.sub("\ufffd", str(value)))


def _text(value: str) -> str:
    return escape(_CONTROL.sub("\ufffd", value))


def markdown(title: str, outcomes: Sequence[Outcome]) -> str:
    """Outcomes as Markdown: the count, a table with failures first, and what each step did.

    Args:
        title: Of the whole.
        outcomes: One a model.

    Example:
        >>> import graphkit as gk
        >>> failed = gk.Failed("model.onnx", "EditError", "no node has that name", None, 0.1, 1, "")
        >>> gk.markdown("nightly", [failed]).splitlines()[0]
        '### nightly'
    """
    rows = ["| model | outcome | seconds | what it says |", "|---|---|---:|---|"]
    details = []
    for one in ordered(outcomes):
        state, said = told(one)
        mark = "**" if not one else ""
        seconds = f"{getattr(one, 'seconds', 0.0):.2f}"
        rows.append(f"| {_cell(one.model)} | {mark}{_cell(state)}{mark} | {seconds} | {_cell(said)} |")
        steps = _steps(one)
        if steps:
            lines = [f"{s['number']}. `{s['what']}`: {_cell('; '.join(s['touched']) or s['state'])}" for s in steps]
            details += ["", f"<details><summary>{_cell(one.model)}</summary>", "", *lines, "", "</details>"]
    return "\n".join([f"### {_cell(title)}", "", counted(outcomes), "", *rows, *details]) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", _CONTROL.sub("\ufffd", text)).replace("|", "\\|").replace("<", "&lt;")


def save_reports(
    title: str,
    outcomes: Sequence[Outcome],
    *,
    junit_path: str | os.PathLike[str] | None = None,
    markdown_path: str | os.PathLike[str] | None = None,
) -> None:
    """Write outcomes for other programs, each file whole or not at all.

    Args:
        title: Of the whole.
        outcomes: One a model.
        junit_path: The file for ``gk.junit``, or None.
        markdown_path: The file for ``gk.markdown``, or None.

    Raises:
        SaveError: A file cannot be written.

    Example:
        >>> import graphkit as gk
        >>> failed = gk.Failed("model.onnx", "EditError", "no node has that name", None, 0.1, 1, "")
        >>> gk.save_reports("nightly", [failed], junit_path="nightly.xml", markdown_path="nightly.md")
    """
    for path, written in ((junit_path, junit), (markdown_path, markdown)):
        if path is not None:
            write_file(os.fspath(path), written(title, outcomes).encode("utf-8", "backslashreplace"))

"""Attempts of ``probe`` as text: a table of what was accepted, then why the others were not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from graphkit.report.text import columns
from graphkit.verify.probe.attempt import Attempt


def probe_text(probed: Mapping[str, Sequence[Attempt]]) -> str:
    """A table with a row for each model and attempt.

    Args:
        probed: Model -> its attempts.
    """
    rows = [("model", "shapes", "", "outputs, or why not")]
    remedies = []
    for model, attempts in probed.items():
        for attempt in attempts:
            verdict = "succeeds" if attempt.accepted else "fails"
            rows.append((model, _shapes(attempt.shapes), verdict, _outcome(attempt)))
            if attempt.remedy:
                remedies.append(attempt.remedy.replace("MODEL", model))
    mend = [f"to mend it: {text}" if text.startswith("graphkit ") else text for text in dict.fromkeys(remedies)]
    return "\n".join([columns(rows), *mend])


def _outcome(attempt: Attempt) -> str:
    if attempt.accepted:
        return _shapes(attempt.outputs)
    blame = "; ".join(map(str, attempt.blame))
    if attempt.node is None:
        return blame or attempt.problem or ""
    return f"node {attempt.node!r} fails" + (f" when {blame}" if blame else "") + f": {attempt.problem}"


def _shapes(shapes: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name}[{','.join(map(str, shape))}]" for name, shape in shapes.items())

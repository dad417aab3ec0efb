"""What ``doctor`` found, as text."""

from __future__ import annotations

from graphkit.report.columns import aligned, wrapped
from graphkit.running.doctor import Diagnosis


def diagnosis_text(result: Diagnosis) -> str:
    """A line or more for each thing that was looked at; what mends it is below it."""
    heads = aligned([(check.what, check.state, check.detail) for check in result.checks]).splitlines()
    found = []
    for head, check in zip(heads, result.checks, strict=True):
        found += wrapped(head, "", trim=False)
        found += wrapped(f"-> {check.remedy}", "    ") if check.remedy else []
    return "\n".join(found)

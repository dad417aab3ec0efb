"""What ``doctor`` found, as text."""

from __future__ import annotations

from graphkit.report.columns import aligned
from graphkit.running.diagnosis import Diagnosis


def diagnosis_text(result: Diagnosis) -> str:
    """A line for each thing that was looked at."""
    return aligned(
        [
            (check.what, check.state, check.detail, f"-> {check.remedy}" if check.remedy else "")
            for check in result.checks
        ]
    )

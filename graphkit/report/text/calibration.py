"""How large the values of a model become, as text."""

from __future__ import annotations

from graphkit.report.columns import fitted, wrapped
from graphkit.running.calibration_table import CalibrationTable

SHOWN = 12
"""Values that are listed, the largest first."""


def calibration_text(result: CalibrationTable) -> str:
    """The number of values and runs, and the largest values."""
    runs = f"{result.runs} run{'s' if result.runs != 1 else ''}"
    first = wrapped(f"{result.model}: {len(result.largest)} values over {runs}", "")
    ordered = sorted(result.largest.items(), key=lambda item: -item[1])
    rows = [("value", "largest size"), *((name, f"{size:.6g}") for name, size in ordered[:SHOWN])]
    more = [f"and {len(ordered) - SHOWN} more"] if len(ordered) > SHOWN else []
    return "\n".join([*first, fitted(rows, indent="", right=(1,)), *more])

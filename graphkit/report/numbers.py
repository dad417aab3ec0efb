"""How a number looks, in the terminal and on pages."""

from __future__ import annotations

import math


def number(value: float | None) -> str:
    """A number in four digits, as people compare them; "-" for None."""
    if value is None:
        return "-"
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e6):
        return str(int(value))
    return f"{value:.4g}"

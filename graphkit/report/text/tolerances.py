"""The tolerances that were applied, as text."""

from __future__ import annotations

from collections.abc import Iterable

from graphkit.report.numbers import number
from graphkit.verify.compare.metrics import Metrics


def tolerances(metrics: Iterable[Metrics]) -> str:
    """The tolerances that were applied: ``torch.testing's float32 (rtol 1.3e-06, atol 1e-07 to 1e-05), exact``."""
    kinds: dict[tuple[str, float | None], list[float]] = {}
    found = list(metrics)
    for m in found:
        if m.tolerance and m.tolerance != "identical":
            kinds.setdefault((m.tolerance, m.rtol), []).append(m.atol or 0.0)
    said = []
    for (source, rtol), atols in kinds.items():
        low, high = number(min(atols)), number(max(atols))
        span = low if low == high else f"{low} to {high} by the values' magnitude"
        said.append(f"{source} (rtol {number(rtol)}, atol {span})" if rtol or max(atols) else source)
    if said:
        return ", ".join(said)
    whole = all(m.tolerance for m in found)
    return "none was needed, the values are identical" if whole else "none was applied to what cannot be compared"

"""Plots as SVG: histograms, heat maps, curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphkit.report.html.page import escape
from graphkit.report.printable import shortened


def figure(svg: str, caption: str) -> str:
    """A plot and what it shows."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def bars(counts: Sequence[int], labels: Sequence[str], *, width: int = 480, height: int = 170) -> str:
    """A histogram with a logarithmic height, so that few bad elements show beside many good ones."""
    step = width / max(1, len(counts))
    top = math.log10(1 + max(counts, default=0)) or 1.0
    parts = []
    for at, (count, label) in enumerate(zip(counts, labels, strict=True)):
        tall = (height - 35) * math.log10(1 + count) / top
        x, y = at * step + 2, height - 20 - tall
        parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{step - 4:.1f}" height="{tall:.1f}" fill="var(--ink)"/>')
        if count:
            parts.append(
                f'<text x="{x + step / 2 - 2:.1f}" y="{y - 3:.1f}" text-anchor="middle">{_short(count)}</text>'
            )
        parts.append(f'<text x="{x + step / 2 - 2:.1f}" y="{height - 6}" text-anchor="middle">{escape(label)}</text>')
    return _svg(width, height, parts)


def lengths(rows: Sequence[tuple[str, float, str]], *, width: int = 620) -> str:
    """Horizontal bars from zero.

    Args:
        rows: (label, value, what is written at its end).
        width: Pixels.
    """
    top = max((value for _, value, _ in rows), default=0.0) or 1.0
    left = min(260, 12 + 6 * max((len(shortened(label, 40)) for label, _, _ in rows), default=0))
    parts = []
    for at, (label, value, said) in enumerate(rows):
        y, wide = 4 + 20 * at, (width - left - 70) * value / top
        parts.append(
            f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{escape(shortened(label, 40))}</text>'
            f'<rect x="{left}" y="{y}" width="{wide:.1f}" height="15" fill="var(--ink)"/>'
            f'<text x="{left + wide + 5:.1f}" y="{y + 12}">{escape(said)}</text>'
        )
    return _svg(width, 8 + 20 * len(rows), parts)


def heat(rows: Sequence[Sequence[float]], *, side: int = 320) -> str:
    """A heat map: from the background (no error) to red (the largest)."""
    top = max((max(row, default=0.0) for row in rows), default=0.0) or 1.0
    columns = max((len(row) for row in rows), default=1)
    cell = side / max(columns, len(rows), 1)
    parts = [f'<rect width="{columns * cell:.1f}" height="{len(rows) * cell:.1f}" fill="var(--soft)"/>']
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            if value > 0:
                place = f'x="{x * cell:.1f}" y="{y * cell:.1f}" width="{cell + 0.2:.1f}" height="{cell + 0.2:.1f}"'
                parts.append(f'<rect {place} fill="var(--bad)" opacity="{value / top:.3f}"/>')
    return _svg(round(columns * cell), round(len(rows) * cell), parts)


def curve(
    points: Sequence[tuple[float, float]],
    *,
    limit: float | None = None,
    x_title: str,
    width: int = 480,
    height: int = 220,
) -> str:
    """Positive numbers over x, on a logarithmic axis; zeros lie on a line of their own below. ``limit`` is drawn as a dashed line.

    Args:
        points: (x, y).
        limit: The tolerance, in units of y.
        x_title: What x is.
        width: Pixels.
        height: Pixels.
    """
    shown = [(x, y) for x, y in points if math.isfinite(y)]
    positive = [y for _, y in shown if y > 0] + ([limit] if limit else [])
    low = math.floor(math.log10(min(positive))) if positive else -8
    high = math.ceil(math.log10(max(positive)) + 1e-9) if positive else 0
    high = max(high, low + 1)
    zeros = any(y <= 0 for _, y in shown)
    low -= zeros
    left, bottom = 46, 34
    span_x = max((x for x, _ in shown), default=1) - min((x for x, _ in shown), default=0) or 1
    first_x = min((x for x, _ in shown), default=0)

    def place(x: float, y: float) -> tuple[float, float]:
        level = max(low, math.log10(y)) if y > 0 else low
        across = left + (width - left - 10) * (x - first_x) / span_x
        return across, (height - bottom) - (height - bottom - 10) * (level - low) / (high - low)

    parts = []
    for power in range(low, high + 1, max(1, (high - low) // 6)):
        _, y = place(first_x, 10.0**power)
        label = "0" if zeros and power == low else f"1e{power}"
        parts.append(f'<line x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    if limit:
        _, y = place(first_x, limit)
        parts.append(
            f'<line x1="{left}" x2="{width - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--bad)" stroke-dasharray="5 4"/>'
        )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in shown))
    parts.append(f'<polyline points="{path}" fill="none" stroke="var(--ink)" stroke-width="1.5"/>')
    if len(shown) <= 80:
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="var(--ink)"/>' for x, y in (place(*p) for p in shown)
        ]
    for x in sorted({first_x, first_x + span_x}):
        anchor = "start" if x == first_x else "end"
        parts.append(f'<text x="{place(x, 1)[0]:.1f}" y="{height - 18}" text-anchor="{anchor}">{x:g}</text>')
    parts.append(f'<text x="{(left + width) / 2:.0f}" y="{height - 4}" text-anchor="middle">{escape(x_title)}</text>')
    return _svg(width, height, parts)


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    return f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">{"".join(parts)}</svg>'


def _short(count: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.0f}{unit}"
    return str(count)

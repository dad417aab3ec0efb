"""Results as text: plain lines and aligned columns, the same on a terminal and in a file."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

from graphkit.runtime.run import OutputSummary, Ran
from graphkit.verify.metrics import Metrics
from graphkit.verify.results import Report


@functools.singledispatch
def report_text(result: object) -> str:
    """A result of graphkit as text.

    Args:
        result: What ``run_report``, ``validate``, ``bisect`` or ``layers`` gave.

    Raises:
        TypeError: It is none of these.
    """
    raise TypeError(f"there is no text for {type(result).__name__}")


def columns(rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Rows as lines of aligned columns, two spaces apart.

    Args:
        rows: Cells; every row has the same number of them.
        right: Columns that are aligned to the right.
    """
    if not rows:
        return ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def number(value: float | None) -> str:
    """A number in four digits, as people compare them; "-" for None."""
    if value is None:
        return "-"
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e6):
        return str(int(value))
    return f"{value:.4g}"


@report_text.register
def _(result: Ran) -> str:
    rows = [("output", "type", "min", "max", "mean", "")]
    rows += [
        (name, o.type, number(o.min), number(o.max), number(o.mean), _remarks(o)) for name, o in result.outputs.items()
    ]
    return f"{result.model} on {', '.join(result.providers)}\n{columns(rows, right=(2, 3, 4))}"


def _remarks(output: OutputSummary) -> str:
    remarks = [f"{count} {word}" for count, word in ((output.nan, "NaN"), (output.inf, "inf")) if count]
    if output.values is not None:
        remarks.append(str(output.values))
    return ", ".join(remarks)


@report_text.register
def _(result: Report) -> str:
    verdict = "MATCH" if result.match else "MISMATCH"
    where = ", ".join(result.providers)
    other = f"{result.reference} ({', '.join(result.reference_providers)})"
    lines = [f"{verdict}: {result.candidate} ({where}) against {other}, {len(result.samples)} runs"]
    rows = [METRIC_TITLES]
    rows += [metrics_row(name, m) for name, m in result.outputs.items()]
    lines += ["", columns(rows, right=(2, 3, 4, 5, 6, 7, 8, 9)), ""]
    for name, m in result.outputs.items():
        lines += _explained(name, m, result)
    if any(sample.bind for sample in result.samples):
        lines += ["", _by_case(result)]
    renamed = [f"{name} = {target}" for name, target in result.bindings.items() if name != target]
    if renamed:
        lines += ["", "bound: " + "; ".join(renamed)]
    return "\n".join(lines)


METRIC_TITLES: tuple[str, ...] = (
    "output", "type", "max abs", "max rel", "mean abs", "rms", "cosine", "PSNR dB", "ULP p50/p99/max", "out", "",
)  # fmt: skip
"""The columns of ``metrics_row``."""


def metrics_row(name: str, m: Metrics) -> tuple[str, ...]:
    """The numbers of one output as cells."""
    ulp = "/".join(number(m.ulp[key]) for key in ("p50", "p99", "max")) if m.ulp else "-"
    return (
        name,
        f"{m.dtype}[{','.join(map(str, m.shape))}]",
        number(m.max_abs),
        number(m.max_rel),
        number(m.mean_abs),
        number(m.rms),
        f"{m.cosine:.9f}" if m.cosine is not None else "-",
        f"{m.psnr:.1f}" if m.psnr is not None else "-",
        ulp,
        "-" if m.share_out is None else f"{100 * m.share_out:.3g} %",
        "ok" if m.match else "FAILS",
    )


def _explained(name: str, m: Metrics, result: Report) -> list[str]:
    sample = result.samples[result.worst_sample[name]]
    where = f"sample {sample.number}" + "".join(f", {k}={v}" for k, v in sample.bind.items())
    lines = [f"{name}: {m.problem} ({where})"] if m.problem else []
    if m.worst is not None and m.max_abs:
        lines.append(
            f"{name}: worst at {list(m.worst)}: {number(m.actual)}, expected {number(m.expected)} ({where}); "
            f"tolerance rtol {number(m.rtol)}, atol {number(m.atol)} ({m.tolerance})"
        )
    elif not m.problem:
        lines.append(f"{name}: no difference; tolerance {m.tolerance}")
    return lines


def _by_case(result: Report) -> str:
    """The worst error of each combination of bound dims and given feeds."""
    cases: dict[tuple[tuple[str, object], ...], list[Metrics]] = {}
    for sample in result.samples:
        cases.setdefault(tuple(sample.bind.items()), []).extend(sample.outputs.values())
    names = [name for name, _ in next(iter(cases))]
    rows = [(*names, "max abs", "")]
    for case, found in cases.items():
        errors = [m.max_abs for m in found if m.max_abs is not None]
        verdict = "ok" if all(m.match for m in found) else "FAILS"
        rows.append((*(str(value) for _, value in case), number(max(errors, default=None)), verdict))
    return columns(rows, right=tuple(range(len(names) + 1)))

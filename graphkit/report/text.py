"""Results as text: plain lines and aligned columns, the same on a terminal and in a file."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence

from graphkit.running.diagnosis import Diagnosis
from graphkit.running.run import OutputSummary, Ran
from graphkit.verify.bisect.bisection import Bisection, Row
from graphkit.verify.bisect.layers import Layers
from graphkit.verify.compare.metrics import Metrics
from graphkit.verify.report import Report


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
    lines += [f"the cause may be: {doubt}" for doubt in result.doubts]
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


ROWS_SHOWN = 40
"""Rows of a bisection's table that text shows; the page and JSON have all."""


@report_text.register
def _(result: Bisection) -> str:
    sides = f"{result.candidate} ({', '.join(result.providers)}) against {result.reference}"
    sides += f" ({', '.join(result.reference_providers)})"
    compared = f"{len(result.rows)} of {result.matched} values that both have ({result.values} in the candidate)"
    lines = [
        f"{'DIVERGES' if result.diverges else 'AGREES'}: {sides}",
        f"compared {compared}",
        f"tolerance: {tolerances(row.metrics for row in result.rows)}",
        f"ran: {_ran(result)}",
    ]
    if result.first is not None:
        lines += ["", *_first(result)]
    if result.introduced_by:
        rows: list[tuple[str, ...]] = [("introduced by", "operator", "alone", "in place", "module", "line")]
        rows += [_guilty(row) for row in result.introduced_by]
        lines += ["", columns(rows, right=(2, 3))]
    if result.rows:
        lines += ["", columns([BISECTION_TITLES, *map(bisection_row, _around(result))], right=(3, 4, 5))]
    return "\n".join(lines)


def tolerances(found: Iterable[Metrics]) -> str:
    """The tolerances that were applied: ``torch.testing's float32 (rtol 1.3e-06, atol 1e-07 to 1e-05), exact``."""
    kinds: dict[tuple[str, float | None], list[float]] = {}
    for m in found:
        if m.tolerance and m.tolerance != "identical":
            kinds.setdefault((m.tolerance, m.rtol), []).append(m.atol or 0.0)
    said = []
    for (source, rtol), atols in kinds.items():
        low, high = number(min(atols)), number(max(atols))
        span = low if low == high else f"{low} to {high} by the values' magnitude"
        said.append(f"{source} (rtol {number(rtol)}, atol {span})" if rtol or max(atols) else source)
    return ", ".join(said) or "none was needed, the values are identical"


def _ran(result: Bisection) -> str:
    """How much was run: a model in pieces, one after the other, a torch module as a whole."""
    said = []
    for side, providers in (("candidate", result.providers), ("reference", result.reference_providers)):
        count = result.runs[side]
        what = "run" if providers == ("torch",) else "piece"
        said.append(f"{count} {what}{'' if count == 1 else 's'} of the {side}")
    if alone := result.runs["alone"]:
        said.append(f"{alone} with nodes alone on the reference's values")
    return ", ".join(said)


def _first(result: Bisection) -> list[str]:
    first = result.first
    assert first is not None
    said = [f"first difference: value {first.value!r}, made by {first.op_type} {first.node!r}"]
    if first.inside:
        said.append("  inside of " + ", ".join(first.inside))
    if first.module is not None or first.line is not None:
        said.append("  torch: " + ", ".join(filter(None, (first.module, first.line))))
    if first.between:
        said.append("  computed by " + ", ".join(first.between[-8:]) + ", which have no counterpart one by one")
    m = first.metrics
    said.append(
        "  "
        + (
            m.problem
            or f"max abs error {number(m.max_abs)} at {list(m.worst or ())}: {number(m.actual)}, expected {number(m.expected)}"
        )
    )
    if m.rtol is not None and m.atol is not None:
        said.append(f"  tolerance rtol {number(m.rtol)}, atol {number(m.atol)} ({m.tolerance})")
    if first.introduces is not None:
        said.append("  the node is wrong by itself" if first.introduces else "  the node itself is right")
    return said


BISECTION_TITLES: tuple[str, ...] = ("value", "node", "operator", "max abs", "max rel", "alone", "")
"""The columns of ``bisection_row``."""


def bisection_row(row: Row) -> tuple[str, ...]:
    """One value of a bisection as cells."""
    verdict = "ok" if row.match else "FAILS"
    if row.introduces is not None:
        verdict += " (introduces)" if row.introduces else " (passes on)" if not row.match else ""
    alone = "-" if row.alone is None else row.alone.problem or number(row.alone.max_abs)
    error = row.metrics.problem or number(row.metrics.max_abs)
    return (row.value, row.node, row.op_type, error, number(row.metrics.max_rel), alone, verdict)


def _guilty(row: Row) -> tuple[str, ...]:
    assert row.alone is not None
    alone = row.alone.problem or number(row.alone.max_abs)
    return (
        row.node,
        row.op_type,
        alone,
        row.metrics.problem or number(row.metrics.max_abs),
        row.module or "",
        row.line or "",
    )


def _around(result: Bisection) -> Sequence[Row]:
    """The rows around the first that differs, or the last ones."""
    at = next((i for i, row in enumerate(result.rows) if not row.match), len(result.rows) - 1)
    start = max(0, min(at - ROWS_SHOWN // 2, len(result.rows) - ROWS_SHOWN))
    return result.rows[start : start + ROWS_SHOWN]


@report_text.register
def _(result: Layers) -> str:
    rows: list[tuple[str, ...]] = [("module", "class", "value", "shape", "max abs", "max rel", "")]
    for row in result.rows:
        m = row.metrics
        verdict = row.remark if row.match is None else "ok" if row.match else "FAILS"
        shape = "" if m is None else f"[{','.join(map(str, m.shape))}]"
        error = "-" if m is None else m.problem or number(m.max_abs)
        rows.append((row.output, row.kind, row.value or "-", shape, error, number(m.max_rel if m else None), verdict))
    verdict = "MATCH" if result.match else "MISMATCH"
    where = ", ".join(result.providers)
    lines = [
        f"{verdict}: {result.candidate} ({where}) against {result.reference} (torch)",
        f"tolerance: {tolerances(row.metrics for row in result.rows if row.metrics is not None)}",
    ]
    return "\n".join([*lines, "", columns(rows, right=(4, 5))])


@report_text.register
def _(result: Diagnosis) -> str:
    rows = [
        (check.what, check.state, check.detail, f"-> {check.remedy}" if check.remedy else "") for check in result.checks
    ]
    return columns(rows)

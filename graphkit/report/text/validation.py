"""A validation as text: the verdict, the numbers of each output in its worst run, what explains them."""

from __future__ import annotations

from graphkit.report.columns import Column, aligned, lines
from graphkit.report.numbers import number
from graphkit.report.printable import one_line
from graphkit.verify.compare.metrics import Metrics
from graphkit.verify.report import Report


def validation_text(result: Report) -> str:
    """The verdict, a line for each output, where it is worst, the sizes that were run."""
    verdict = "MATCH" if result.match else "MISMATCH"
    where = ", ".join(result.providers)
    other = f"{result.reference} ({', '.join(result.reference_providers)})"
    said = [one_line(f"{verdict}: {result.candidate} ({where}) against {other}, {len(result.samples)} runs")]
    said += ["", lines(METRICS, result.outputs.items()), ""]
    for name, m in result.outputs.items():
        said += map(one_line, _explained(name, m, result))
    said += [one_line(f"the cause may be: {doubt}") for doubt in result.doubts]
    if any(sample.bind for sample in result.samples):
        said += ["", _by_case(result)]
    renamed = [f"{name} = {target}" for name, target in result.bindings.items() if name != target]
    if renamed:
        said += ["", one_line("bound: " + "; ".join(renamed))]
    return "\n".join(said)


def _ulp(m: Metrics) -> str:
    return "/".join(number(m.ulp[key]) for key in ("p50", "p99", "max")) if m.ulp else "-"


METRICS: tuple[Column[tuple[str, Metrics]], ...] = (
    Column("output", lambda row: row[0]),
    Column("type", lambda row: f"{row[1].dtype}[{','.join(map(str, row[1].shape))}]"),
    Column("max abs", lambda row: number(row[1].max_abs), right=True),
    Column("max rel", lambda row: number(row[1].max_rel), right=True),
    Column("mean abs", lambda row: number(row[1].mean_abs), right=True),
    Column("rms", lambda row: number(row[1].rms), right=True),
    Column("cosine", lambda row: f"{row[1].cosine:.9f}" if row[1].cosine is not None else "-", right=True),
    Column("PSNR dB", lambda row: f"{row[1].psnr:.1f}" if row[1].psnr is not None else "-", right=True),
    Column("ULP p50/p99/max", lambda row: _ulp(row[1]), right=True),
    Column("out", lambda row: "-" if row[1].share_out is None else f"{100 * row[1].share_out:.3g} %", right=True),
    Column("", lambda row: "ok" if row[1].match else "FAILS"),
)
"""A row for each output: (its name, its numbers)."""


def _explained(name: str, m: Metrics, result: Report) -> list[str]:
    sample = result.samples[result.worst_sample[name]]
    where = f"sample {sample.number}" + "".join(f", {k}={v}" for k, v in sample.bind.items())
    said = [f"{name}: {m.problem} ({where})"] if m.problem else []
    if m.worst is not None and m.max_abs:
        said.append(
            f"{name}: worst at {list(m.worst)}: {number(m.actual)}, expected {number(m.expected)} ({where}); "
            f"tolerance rtol {number(m.rtol)}, atol {number(m.atol)} ({m.tolerance})"
        )
    elif not m.problem:
        said.append(f"{name}: no difference; tolerance {m.tolerance}")
    return said


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
    return aligned(rows, right=tuple(range(len(names) + 1)))

"""A validation as text: the verdict, the numbers of each output in its worst run, what explains them."""

from __future__ import annotations

from graphkit.report.columns import Column, fitted, lines, wrapped
from graphkit.report.numbers import number
from graphkit.report.text.tolerances import tolerances
from graphkit.verify.compare.metrics import Metrics
from graphkit.verify.report import Report


def validation_text(result: Report) -> str:
    """The verdict, a line for each output, the sizes that were run; where something differs, by how much and where.

    What matches needs no more than its largest error and the tolerance: all other numbers are on the page and in JSON.
    """
    verdict = "MATCH" if result.match else "MISMATCH"
    where = ", ".join(result.providers)
    other = f"{result.reference} ({', '.join(result.reference_providers)})"
    count = len(result.samples)
    said = wrapped(
        f"{verdict}: {result.candidate} ({where}) against {other}, {count} run{'' if count == 1 else 's'}", ""
    )
    said += ["", lines(MATCHED if result.match else FAILED, result.outputs.items()), ""]
    said += wrapped(f"tolerance: {tolerances(result.outputs.values())}", "")
    for name, m in result.outputs.items():
        if not m.match:
            said += [line for text in _explained(name, m, result) for line in wrapped(text, "")]
    for doubt in result.doubts:
        said += wrapped(f"the cause may be: {doubt}", "")
    if any(sample.bind for sample in result.samples):
        said += ["", _by_case(result)]
    renamed = [f"{name} = {target}" for name, target in result.bindings.items() if name != target]
    if renamed:
        said += ["", *wrapped("bound: " + "; ".join(renamed), "")]
    return "\n".join(said)


def _ulp(m: Metrics) -> str:
    return "/".join(number(m.ulp[key]) for key in ("p50", "p99", "max")) if m.ulp else "-"


_OUTPUT: Column[tuple[str, Metrics]] = Column("output", lambda row: row[0])
_TYPE: Column[tuple[str, Metrics]] = Column("type", lambda row: f"{row[1].dtype}[{','.join(map(str, row[1].shape))}]")
_MAX_ABS: Column[tuple[str, Metrics]] = Column("max abs", lambda row: number(row[1].max_abs), right=True)
_MAX_REL: Column[tuple[str, Metrics]] = Column("max rel", lambda row: number(row[1].max_rel), right=True)
_OUT: Column[tuple[str, Metrics]] = Column("out", lambda row: _share(row[1]), right=True)
_ANSWER: Column[tuple[str, Metrics]] = Column("", lambda row: "ok" if row[1].match else "FAILS")

MATCHED = (_OUTPUT, _TYPE, _MAX_ABS, _ANSWER)
"""What a terminal shows of outputs that match."""

FAILED = (_OUTPUT, _TYPE, _MAX_ABS, _MAX_REL, _OUT, _ANSWER)
"""What it shows where one does not."""

METRICS: tuple[Column[tuple[str, Metrics]], ...] = (
    _OUTPUT,
    _TYPE,
    _MAX_ABS,
    _MAX_REL,
    Column("mean abs", lambda row: number(row[1].mean_abs), right=True),
    Column("rms", lambda row: number(row[1].rms), right=True),
    Column("cosine", lambda row: f"{row[1].cosine:.9f}" if row[1].cosine is not None else "-", right=True),
    Column("PSNR dB", lambda row: f"{row[1].psnr:.1f}" if row[1].psnr is not None else "-", right=True),
    Column("ULP p50/p99/max", lambda row: _ulp(row[1]), right=True),
    _OUT,
    _ANSWER,
)
"""A row for each output: (its name, its numbers), with all of them."""


def _share(m: Metrics) -> str:
    return "-" if m.share_out is None else f"{100 * m.share_out:.3g} %"


def _explained(name: str, m: Metrics, result: Report) -> list[str]:
    sample = result.samples[result.worst_sample[name]]
    where = f"sample {sample.number}" + "".join(f", {k}={v}" for k, v in sample.bind.items())
    said = [f"{name}: {m.problem} ({where})"] if m.problem else []
    if m.worst is not None and m.max_abs:
        said.append(
            f"{name}: worst at {list(m.worst)}: {number(m.actual)}, expected {number(m.expected)} ({where}); "
            f"tolerance rtol {number(m.rtol)}, atol {number(m.atol)} ({m.tolerance})"
        )
        said.append(f"{name}: {_others(m)}")
    return said


def _others(m: Metrics) -> str:
    """The numbers for which the table has no room."""
    said = [f"mean abs {number(m.mean_abs)}", f"rms {number(m.rms)}"]
    said += [f"cosine {m.cosine:.9f}"] if m.cosine is not None else []
    said += [f"PSNR {m.psnr:.1f} dB"] if m.psnr is not None else []
    said += [f"ULP p50/p99/max {_ulp(m)}"] if m.ulp else []
    return ", ".join(said)


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
    return fitted(rows, indent="", right=tuple(range(len(names) + 1)))

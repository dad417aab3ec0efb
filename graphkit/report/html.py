"""Results as one self-contained HTML page."""

from __future__ import annotations

import functools
import os

from graphkit.report.page import bars, curve, escape, figure, heat, page, table
from graphkit.report.text import BISECTION_TITLES, METRIC_TITLES, bisection_row, metrics_row, number, report_text
from graphkit.storage.commit import write_file
from graphkit.verify.bisect.bisection import Bisection
from graphkit.verify.compare.error_picture import BINS, ErrorPicture
from graphkit.verify.report import Report


@functools.singledispatch
def report_html(result: object) -> str:
    """A result of graphkit as one HTML page: nothing in it is loaded from the network.

    Args:
        result: What ``validate`` or ``bisect`` gave.

    Raises:
        TypeError: It is none of these.
    """
    raise TypeError(f"there is no page for {type(result).__name__}")


def save_html(result: object, path: str | os.PathLike[str]) -> None:
    """Write ``report_html`` to a file, whole or not at all.

    Raises:
        SaveError: The file cannot be written.
        TypeError: There is no page for this kind of result.
    """
    write_file(os.fspath(path), report_html(result).encode())


@report_html.register
def _(result: Report) -> str:
    word, kind = ("match", "yes") if result.match else ("mismatch", "no")
    title = f"{result.candidate} against {result.reference}"
    parts = [
        f'<h1><span class="verdict {kind}">{word}</span> {escape(title)}</h1>',
        _facts(result),
        "<h2>Outputs, each in its worst run</h2>",
        table(METRIC_TITLES, [metrics_row(name, m) for name, m in result.outputs.items()], numbers=range(2, 10)),
        _tolerances(result),
    ]
    worst = max(result.outputs, key=lambda name: _order(result, name), default=None)
    for name, picture in result.pictures.items():
        parts.append(_plots(name, picture, result, with_heat=name == worst))
    parts += _by_dim(result)
    parts += ["<h2>Runs</h2>", _runs(result)]
    if result.notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in result.notes) + "</ul>")
    return page(title, parts)


def _order(result: Report, name: str) -> tuple[bool, float]:
    m = result.outputs[name]
    return (not m.match, m.max_abs or 0.0)


def _facts(result: Report) -> str:
    facts = {
        "device": result.device,
        "candidate runs on": ", ".join(result.providers),
        "reference runs on": ", ".join(result.reference_providers),
        "TF32": "allowed" if result.tf32 else "off",
        "runs": str(len(result.samples)),
        "seed": str(result.seed),
        **result.versions,
    }
    bound = {name: target for name, target in result.bindings.items() if name != target}
    facts.update({f"{name} stands for": target for name, target in bound.items()})
    return table(("", ""), list(facts.items()))


def _tolerances(result: Report) -> str:
    lines = [
        f"Tolerance of {name}: rtol {number(m.rtol)}, atol {number(m.atol)} ({m.tolerance})."
        for name, m in result.outputs.items()
        if m.rtol is not None
    ]
    lines += [f"{name}: {m.problem}" for name, m in result.outputs.items() if m.problem]
    lines += [f"The cause may be: {doubt}" for doubt in result.doubts]
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


CAPTION = "number of elements by absolute error, at or above; both on logarithmic scales"


def _plots(name: str, picture: ErrorPicture, result: Report, *, with_heat: bool) -> str:
    lost = f"; {picture.lost} are not in it, NaN or infinite on one side" if picture.lost else ""
    labels = ["<1e-12", *(f"1e{power}" for power in BINS)]
    drawn = figure(bars(picture.histogram, labels, width=620), CAPTION + lost)
    if with_heat:
        m = result.outputs[name]
        place = f"; the largest, {number(m.max_abs)}, is at {list(m.worst)}" if m.worst is not None else ""
        drawn += figure(heat(picture.heat), f"where the error lies in {list(m.shape)}, last two axes{place}")
    return f'<h2>Error of <code>{escape(name)}</code>, run {result.worst_sample[name]}</h2><div class="plots">{drawn}</div>'


def _by_dim(result: Report) -> list[str]:
    """A curve for every bound dim and varied feed: the largest error over its values."""
    parts: list[str] = []
    names = list(dict.fromkeys(name for sample in result.samples for name in sample.bind))
    for name in names:
        worst: dict[object, float] = {}
        for sample in result.samples:
            errors = [m.max_abs for m in sample.outputs.values() if m.max_abs is not None]
            value = str(sample.bind[name])
            worst[value] = max([worst.get(value, 0.0), *errors])
        numeric = all(_is_number(value) for value in worst)
        points = [(float(str(v)) if numeric else at, error) for at, (v, error) in enumerate(worst.items())]
        limits = [m.atol for m in result.outputs.values() if m.atol]
        caption = f"largest absolute error against {name}" + ("" if numeric else f" ({', '.join(map(str, worst))})")
        parts.append(figure(curve(sorted(points), limit=min(limits, default=None), x_title=name), caption))
    return ["<h2>Error against what was varied</h2>", '<div class="plots">', *parts, "</div>"] if parts else []


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True


def _runs(result: Report) -> str:
    names = list(dict.fromkeys(name for sample in result.samples for name in sample.feeds))
    rows = []
    for sample in result.samples:
        errors = [m.max_abs for m in sample.outputs.values() if m.max_abs is not None]
        bound = ", ".join(f"{k}={v}" for k, v in sample.bind.items())
        feeds = [sample.feeds.get(name, "") for name in names]
        rows.append(
            (str(sample.number), bound, *feeds, number(max(errors, default=None)), "ok" if sample.match else "FAILS")
        )
    return table(("run", "bound", *names, "max abs", ""), rows, numbers=(0, len(names) + 2))


@report_html.register
def _(result: Bisection) -> str:
    word, kind = ("diverges", "no") if result.diverges else ("agrees", "yes")
    title = f"{result.candidate} against {result.reference}"
    head = report_text(result).split("\n\n")
    depth = [(float(at), row.error) for at, row in enumerate(result.rows)]
    alone = [(float(at), row.alone.max_abs or 0.0) for at, row in enumerate(result.rows) if row.alone is not None]
    plots = figure(curve(depth, x_title="values in graph order", width=700), "largest absolute error along the depth")
    if len(alone) > 1:
        plots += figure(
            curve(alone, x_title="values in graph order", width=700),
            "the same with every node fed with the reference's values: what the node introduces itself",
        )
    parts = [
        f'<h1><span class="verdict {kind}">{word}</span> {escape(title)}</h1>',
        *(f"<p>{escape(line)}</p>" for line in head[0].splitlines()[1:]),
        *(f"<p>{escape(line)}</p>" for line in (head[1].splitlines() if result.first is not None else [])),
        plots,
    ]
    if result.introduced_by:
        rows = [(*bisection_row(row)[:6], row.module or "", row.line or "") for row in result.introduced_by]
        parts += [
            "<h2>Nodes that introduce error</h2>",
            table((*BISECTION_TITLES[:6], "module", "line"), rows, numbers=(3, 4, 5)),
        ]
    parts += [
        "<h2>Every value, in graph order</h2>",
        table(BISECTION_TITLES, map(bisection_row, result.rows), numbers=(3, 4, 5)),
    ]
    if result.notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{escape(note)}</li>" for note in result.notes) + "</ul>")
    return page(title, parts)

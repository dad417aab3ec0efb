"""A validation as a page: the verdict, the numbers of each output, plots of where the error lies."""

from __future__ import annotations

from graphkit.report.columns import Column
from graphkit.report.html.page import escape, page, prose, table, verdict, view_link
from graphkit.report.html.plots import bars, curve, figure, heat
from graphkit.report.numbers import number
from graphkit.report.printable import shown
from graphkit.report.text.validation import METRICS
from graphkit.verify.compare.error_picture import BINS, ErrorPicture
from graphkit.verify.report import Report, Sample


def validation_page(result: Report, view: str | None = None) -> str:
    """The page of what ``validate`` gave; ``view`` is the page with the drawing of the candidate, beside this one."""
    title = f"{result.candidate} against {result.reference}"
    parts = [
        verdict("match" if result.match else "mismatch", title, good=result.match),
        view_link(view),
        _facts(result),
        "<h2>Outputs, each in its worst run</h2>",
        table(METRICS, result.outputs.items(), name="outputs", view=view, links={"output": lambda row: row[0]}),
        _tolerances(result),
    ]
    worst = max(result.outputs, key=lambda name: _order(result, name), default=None)
    for name, picture in result.pictures.items():
        parts.append(_plots(name, picture, result, with_heat=name == worst))
    parts += _by_dim(result)
    parts += ["<h2>Runs</h2>", _runs(result)]
    if result.notes:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{prose(note)}</li>" for note in result.notes) + "</ul>")
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
    fact: tuple[Column[tuple[str, str]], ...] = (Column("", lambda row: row[0]), Column("", lambda row: row[1]))
    return table(fact, facts.items(), name="facts")


def _tolerances(result: Report) -> str:
    lines = [
        f"Tolerance of {shown(name)}: rtol {number(m.rtol)}, atol {number(m.atol)} ({m.tolerance})."
        for name, m in result.outputs.items()
        if m.rtol is not None
    ]
    lines += [f"{shown(name)}: {m.problem}" for name, m in result.outputs.items() if m.problem]
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
    return f'<h2>Error of <code>{escape(shown(name))}</code>, run {result.worst_sample[name]}</h2><div class="plots">{drawn}</div>'


def _by_dim(result: Report) -> list[str]:
    """A curve for every bound dim and varied feed: the largest error over its values."""
    parts: list[str] = []
    names = list(dict.fromkeys(name for sample in result.samples for name in sample.bind))
    for name in names:
        worst: dict[object, float] = {}
        for sample in result.samples:
            value = str(sample.bind[name])
            worst[value] = max([worst.get(value, 0.0), *_errors(sample)])
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
    columns: list[Column[Sample]] = [
        Column("run", lambda sample: str(sample.number), right=True),
        Column("bound", lambda sample: ", ".join(f"{k}={v}" for k, v in sample.bind.items())),
        *map(_feed, names),
        Column("max abs", lambda sample: number(max(_errors(sample), default=None)), right=True),
        Column("", lambda sample: "ok" if sample.match else "FAILS"),
    ]
    return table(columns, result.samples, name="runs")


def _feed(name: str) -> Column[Sample]:
    return Column(name, lambda sample: sample.feeds.get(name, ""))


def _errors(sample: Sample) -> list[float]:
    return [m.max_abs for m in sample.outputs.values() if m.max_abs is not None]

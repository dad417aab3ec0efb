"""What a model holds, as a page."""

from __future__ import annotations

from collections.abc import Sequence

from graphkit.finding import Finding
from graphkit.inspection.summary import InitializerSummary, ModuleSummary, Summary, ValueSummary
from graphkit.plural import counted
from graphkit.report.columns import Column
from graphkit.report.html.page import Links, escape, page, table, view_link
from graphkit.report.printable import shown
from graphkit.report.text.history import step_words
from graphkit.report.text.summary import facts_of, size_text
from graphkit.step import HISTORY_KEY, Step

MOST = 2000
"""Rows of a table; JSON has all."""

PAIR: tuple[Column[tuple[str, str]], ...] = (Column("", lambda row: row[0]), Column("", lambda row: row[1]))

VALUES: tuple[Column[ValueSummary], ...] = (
    Column("name", lambda value: value.name),
    Column("type", lambda value: value.type),
    Column("", lambda value: "has a default" if value.has_default else ""),
)

WEIGHTS: tuple[Column[InitializerSummary], ...] = (
    Column("weight", lambda weight: weight.name),
    Column("type", lambda weight: weight.type),
    Column("bytes", lambda weight: size_text(weight.bytes), right=True),
    Column("", lambda weight: weight.values or weight.location or ""),
)

MODULES: tuple[Column[ModuleSummary], ...] = (
    Column("module", lambda module: module.path or "(the whole module)"),
    Column("class", lambda module: (module.class_name or "").rpartition(".")[2]),
    Column("nodes", lambda module: str(module.nodes), right=True),
    Column("parameters", lambda module: f"{module.parameters:,}", right=True),
    Column("bytes", lambda module: size_text(module.bytes), right=True),
    Column("", lambda module: f"in {module.folded_into}" if module.folded_into else ""),
)

FINDINGS: tuple[Column[Finding], ...] = (
    Column("finding", lambda finding: finding.message),
    Column("mend", lambda finding: str(finding.remedy or "")),
)

STEPS: tuple[Column[Step], ...] = (Column("step", lambda step: step.operation), Column("", step_words))


def summary_page(result: Summary, view: str | None = None) -> str:
    """The page of what ``inspect`` gave; ``view`` is the page with the drawing of the model, beside this one."""
    title = result.path or result.name or "model"
    links: Links[ValueSummary] = {"name": lambda value: value.name}
    weight_links: Links[InitializerSummary] = {"weight": lambda weight: weight.name}
    parts = [f"<h1>{escape(shown(title))}</h1>", view_link(view)]
    for name, values in (("Inputs", result.inputs), ("Outputs", result.outputs)):
        parts += [_head(name, values), table(VALUES, values[:MOST], name=name.lower(), view=view, links=links)]
    parts += ["<h2>At a glance</h2>", table(PAIR, facts_of(result), name="facts")]
    if result.findings:
        parts += [_head("Findings", result.findings), table(FINDINGS, result.findings, name="findings")]
    operators = [(name, str(count)) for name, count in result.operators.items()]
    parts += [_head("Operators", operators), table(PAIR, operators[:MOST], name="operators")]
    if result.modules:
        parts += [_head("Torch modules", result.modules), table(MODULES, result.modules[:MOST], name="modules")]
    if result.functions:
        told = [(each.name, counted(each.nodes, "node")) for each in result.functions]
        parts += [_head("Functions", told), table(PAIR, told[:MOST], name="functions")]
    if result.initializers:
        ordered = sorted(result.initializers, key=lambda weight: -weight.bytes)[:MOST]
        parts += [
            _head("Weights, the largest first", result.initializers),
            table(WEIGHTS, ordered, name="weights", view=view, links=weight_links),
        ]
    metadata = [(key, text) for key, text in result.metadata.items() if key != HISTORY_KEY]
    if metadata:
        parts += [_head("Metadata", metadata), table(PAIR, metadata[:MOST], name="metadata")]
    if result.history:
        parts += ["<h2>What graphkit did</h2>", table(STEPS, result.history[:MOST], name="history")]
    return page(title, parts)


def _head(title: str, rows: Sequence[object]) -> str:
    more = f", of which {MOST:,} are listed" if len(rows) > MOST else ""
    return f"<h2>{title} ({len(rows):,}{more})</h2>"

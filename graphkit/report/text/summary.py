"""A summary of a model as text: what ``graphkit inspect`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphkit.plural import counted
from graphkit.report.columns import COPIED_WORD, WIDTH, fitted, wrapped
from graphkit.report.printable import one_line, shortened
from graphkit.report.text.history import step_words
from graphkit.step import HISTORY_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphkit.inspection.summary import ModuleSummary, NodeSummary, Summary, ValueSummary
    from graphkit.step import Step

SCREEN = 29
"""Lines that a summary has: one screen, with a line to spare."""

ROWS_SHOWN = 4
"""Inputs and outputs that are shown where there are more than a few, findings, and modules at least."""

LARGEST_SHOWN = 3
METADATA_SHOWN = 100
ROOM = 66
"""Characters of a list that stands beside its title in one line."""


def summary_text(summary: Summary, *, nodes: bool = False, values: bool = False, whole: bool = False) -> str:
    """A Summary as text, on one screen: the interface, whether it runs, how large it is, what is wrong, and what is in it.

    Args:
        summary: What ``inspect`` gave.
        nodes: List every node with its attributes, inputs and outputs.
        values: List every value between the nodes and every weight, with its type.
        whole: Cut no list: all inputs, outputs, operators, functions, modules, metadata and steps.

    Changes: nothing.
    Cost: O(what is listed).
    """
    few = len(summary.inputs) + len(summary.outputs) <= 2 * ROWS_SHOWN
    rows = None if whole or few else ROWS_SHOWN
    lines = [_title(summary)]
    lines += _section("inputs", [_value_row(value) for value in summary.inputs], rows)
    lines += _section("outputs", [(value.name, value.type) for value in summary.outputs], rows)
    lines += ["", *_facts([*facts_of(summary), *([] if whole else _contents(summary))])]
    lines += _findings(summary, None if whole else ROWS_SHOWN)
    lines += _lists(summary) if whole else []
    lines += _modules(summary, None if whole else SCREEN - len(lines))
    if values:
        lines += _section("values", [_value_row(value) for value in summary.values])
        lines += _section("weights", [_weight_row(summary, i) for i in range(len(summary.initializers))])
    if nodes:
        lines += _nodes(summary.nodes)
    return "\n".join(lines)


def _contents(summary: Summary) -> list[tuple[str, str]]:
    """What is in the model, a line each."""
    metadata = [f"{key}={_short(text)}" if text else key for key, text in _metadata(summary)]
    functions = [f"{each.name} ({counted(each.nodes, 'node')})" for each in summary.functions]
    steps = [step.operation for step in summary.history]
    found = [
        ("operators", _some([f"{count} {name}" for name, count in summary.operators.items()], 2 * ROOM - 6)),
        ("functions", _some(functions)),
        ("metadata", _some(metadata)),
        ("edits", _some(steps, ROOM - 24) + "; `graphkit history`" if steps else ""),
    ]
    return [(name, text) for name, text in found if text]


def _lists(summary: Summary) -> list[str]:
    """The same whole."""
    operators = [f"{count} {shortened(name, 30)}" for name, count in summary.operators.items()]
    lines = ["", "operators", *wrapped(", ".join(operators), "  ", hang="  ")] if operators else []
    lines += _section("functions", [_function_row(summary, i) for i in range(len(summary.functions))])
    lines += _section("metadata", [(key, _short(text)) for key, text in _metadata(summary)])
    return lines + _section("edits", [(step.operation, _short(step_words(step))) for step in summary.history])


def _metadata(summary: Summary) -> list[tuple[str, str]]:
    return [(key, text) for key, text in summary.metadata.items() if key != HISTORY_KEY]


def _some(items: Sequence[str], room: int = ROOM) -> str:
    """As many items as a line takes, and how many are left."""
    shown: list[str] = []
    for item in (shortened(each, 40) for each in items):
        left = len(items) - len(shown) - 1
        if shown and sum(len(one) + 2 for one in shown) + len(item) + (len(f" and {left} more") if left else 0) > room:
            break
        shown.append(item)
    left = len(items) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def _title(summary: Summary) -> str:
    name = f"({shortened(summary.name, 30)})" if summary.name else ""
    path = shortened(summary.path, WIDTH - len(name) - 1) if summary.path else None
    return one_line(" ".join(filter(None, (path, name))))


def facts_of(summary: Summary) -> list[tuple[str, str]]:
    """What an engineer asks of a model beyond its interface, as (what, answer); what has no answer is left out."""
    opsets = ", ".join(f"{domain} {version}" for domain, version in summary.opsets.items())
    facts = [
        ("made by", summary.producer),
        ("format", f"IR {summary.ir_version}, opset {opsets or '(none)'}"),
        ("runtime", summary.runtime),
        ("nodes", _node_count(summary)),
        ("weights", _weights(summary)),
        ("types", ", ".join(f"{name} {size_text(count)}" for name, count in summary.dtypes.items())),
        ("largest", _largest(summary)),
        ("one run", _work(summary)),
        ("doc", _short(summary.doc)),
    ]
    return [(name, text) for name, text in facts if text]


def _facts(facts: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in facts)
    hang = " " * (width + 4)
    return [line for name, text in facts for line in wrapped(f"{name:<{width}}  {text}", "  ", hang=hang)]


def _node_count(summary: Summary) -> str:
    parts = [str(summary.node_count)]
    for count, word in ((summary.bodies, "bod"), (len(summary.functions), "function")):
        if count:
            ending = ("y" if count == 1 else "ies") if word == "bod" else ("" if count == 1 else "s")
            parts.append(f"{count} {word}{ending}")
    return ", ".join(parts) + (f"; {size_text(summary.graph_bytes)} without weights" if summary.graph_bytes else "")


def _weights(summary: Summary) -> str:
    places = sorted({weight.location for weight in summary.initializers if weight.location})
    weights = f"{summary.weight_count:,} in {len(summary.initializers)} tensors, {size_text(summary.weight_bytes)}"
    if summary.constant_bytes:
        weights += f", {size_text(summary.constant_bytes)} of them in Constants"
    shown = ", ".join(shortened(place, 40) for place in places[:LARGEST_SHOWN])
    more = f" and {len(places) - LARGEST_SHOWN} more files" if len(places) > LARGEST_SHOWN else ""
    return weights + (f", in {shown}{more}" if places else "")


def _largest(summary: Summary) -> str:
    largest = sorted(summary.initializers, key=lambda weight: -weight.bytes)[:LARGEST_SHOWN]
    if len(summary.initializers) <= 1:
        return ""
    shown = [f"{shortened(weight.name, 40)} {weight.type} ({size_text(weight.bytes)})" for weight in largest]
    return ", ".join(shown if len(", ".join(shown)) <= ROOM else shown[:1])


def _work(summary: Summary) -> str:
    if summary.work is None:
        if not summary.unbound:
            return ""
        open_dims = ", ".join(shortened(dim, 20) for dim in summary.unbound[:LARGEST_SHOWN])
        return f"bind sizes to {open_dims} to be told what it computes and holds"
    work = summary.work
    text = f"{_count(work.macs)} multiply-accumulates"
    if work.uncounted:
        text += f", without {work.uncounted} node{'' if work.uncounted == 1 else 's'} that cannot be counted"
    if work.peak_bytes is None:
        return f"{text}; {work.unsized} value{'' if work.unsized == 1 else 's'} of unknown size, so no peak of memory"
    at = f", at {shortened(work.peak_node, 40)}" if work.peak_node else ""
    return f"{text}; at most {size_text(work.peak_bytes)} of values at once{at}"


def _count(count: int) -> str:
    for size, unit in ((10**12, "T"), (10**9, "G"), (10**6, "M")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:,}"


def _findings(summary: Summary, most: int | None) -> list[str]:
    if not summary.findings:
        return []
    lines = ["", "findings"]
    for finding in summary.findings[:most]:
        lines += wrapped(finding.message, "  ")
        if finding.remedy:
            lines += wrapped(f"mend: {finding.remedy}", "    ", longest=COPIED_WORD)
    return lines + _more(len(summary.findings) - len(summary.findings[:most]))


def _section(title: str, rows: Sequence[Sequence[str]], most: int | None = None) -> list[str]:
    if not rows:
        return []
    shown = rows if most is None else rows[:most]
    return ["", title, *fitted(shown).split("\n"), *_more(len(rows) - len(shown))]


def _more(left: int) -> list[str]:
    return [f"  ... and {left} more"] if left else []


def _value_row(value: ValueSummary) -> tuple[str, ...]:
    about = "has a default" if value.has_default else f"made by {value.producer}" if value.producer else ""
    return (value.name, value.type, about)


def _weight_row(summary: Summary, position: int) -> tuple[str, ...]:
    weight = summary.initializers[position]
    return (weight.name, weight.type, size_text(weight.bytes), weight.values or weight.location or "")


def _function_row(summary: Summary, position: int) -> tuple[str, ...]:
    function = summary.functions[position]
    called = f"({', '.join(function.inputs)}) -> {', '.join(function.outputs)}"
    return (function.name, called, counted(function.nodes, "node"))


def _step_row(step: Step) -> tuple[str, ...]:
    return (step.operation, _short(step_words(step)))


def _modules(summary: Summary, room: int | None) -> list[str]:
    """The modules, or as many as there is room for lines; where there is hardly any, their number."""
    around = len(("", "title", "head", "more"))
    if not summary.modules:
        return []
    if room is not None and room - around < ROWS_SHOWN:
        return [f"  ... and {len(summary.modules)} torch modules"]
    shown = summary.modules if room is None else _outermost(summary.modules, room - around)
    rows = [("nodes", "parameters", "bytes", "module", "class"), *map(_module_row, shown)]
    return _section("torch modules", rows) + _more(len(summary.modules) - len(shown))


def _outermost(modules: Sequence[ModuleSummary], most: int) -> list[ModuleSummary]:
    """As many modules as may be, those first that stand outermost; in the order of the tree."""
    depths = [module.path.count(".") + 1 if module.path else 0 for module in modules]
    first = sorted(range(len(modules)), key=lambda at: (depths[at], at))[:most]
    return [modules[at] for at in sorted(first)]


def _module_row(module: ModuleSummary) -> tuple[str, ...]:
    path = "  " * (module.path.count(".") + 1) + module.path if module.path else "(the whole module)"
    times = f" (called {module.calls} times)" if module.calls > 1 else ""
    if module.folded_into is not None:
        times = f" in {module.folded_into}"
    class_name = (module.class_name or "").rpartition(".")[2]
    return (str(module.nodes), f"{module.parameters:,}", size_text(module.bytes), path, (class_name + times).strip())


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= METADATA_SHOWN else line[: METADATA_SHOWN - 3] + "..."


def _nodes(nodes: Sequence[NodeSummary]) -> list[str]:
    """Two lines a node: what it is called and computes, then what it reads and makes; grouped by scope."""
    lines: list[str] = []
    scope = None
    for node in nodes:
        if node.scope != scope:
            scope = node.scope
            lines += ["", one_line(f"nodes of {scope}" if scope else "nodes")]
        attributes = ", ".join(f"{name}={text}" for name, text in node.attributes.items())
        module = f"  in {node.module}" if node.module else ""
        lines += wrapped(f"{node.operator}({attributes})  {node.name}{module}", "  ", hang="      ")
        inputs = [f"{name}={node.constants[name]}" if name in node.constants else name for name in node.inputs]
        lines += wrapped(f"{_names(inputs)} -> {_names(node.outputs)}", "    ", hang="      ")
    return lines


def _names(names: Sequence[str]) -> str:
    return ", ".join(name or '""' for name in names)


def size_text(count: int) -> str:
    """Bytes in powers of ten, as file managers show them: 912 B, 80.4 kB, 1.72 GB."""
    if count < 1000:
        return f"{count} B"
    value = count / 1000
    for unit in ("kB", "MB"):
        if value < 1000:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"

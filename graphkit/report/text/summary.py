"""A summary of a model as text: what ``graphkit inspect`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphkit.report.columns import COPIED_WORD, WIDTH, fitted, wrapped
from graphkit.report.printable import one_line, shortened
from graphkit.step import HISTORY_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphkit.inspection.summary import ModuleSummary, NodeSummary, Summary, ValueSummary
    from graphkit.step import Step

MODULES_SHOWN = 12
ROWS_SHOWN = 10
"""Inputs, outputs, functions, entries of metadata and steps that are shown; those of one screen."""

OPERATORS_SHOWN = 24
LARGEST_SHOWN = 3
METADATA_SHOWN = 100


def summary_text(summary: Summary, *, nodes: bool = False, values: bool = False) -> str:
    """A Summary as text, some 20 lines: the interface, whether it runs, how large it is, what is wrong, and then what is in it.

    Args:
        summary: What ``inspect`` gave.
        nodes: List every node with its attributes, inputs and outputs.
        values: List every value between the nodes and every weight, with its type.

    Changes: nothing.
    Cost: O(what is listed).
    """
    lines = [_title(summary)]
    lines += _section("inputs", [_value_row(value) for value in summary.inputs], ROWS_SHOWN)
    lines += _section("outputs", [(value.name, value.type) for value in summary.outputs], ROWS_SHOWN)
    lines += ["", *_facts(summary), *_findings(summary)]
    lines += _operators(summary)
    lines += _section("functions", [_function_row(summary, i) for i in range(len(summary.functions))], ROWS_SHOWN)
    lines += _modules(summary)
    metadata = [(key, _short(text)) for key, text in summary.metadata.items() if key != HISTORY_KEY]
    lines += _section("metadata", metadata, ROWS_SHOWN)
    lines += _section("what graphkit did", [_step_row(step) for step in summary.history], ROWS_SHOWN)
    if values:
        lines += _section("values", [_value_row(value) for value in summary.values])
        lines += _section("weights", [_weight_row(summary, i) for i in range(len(summary.initializers))])
    if nodes:
        lines += _nodes(summary.nodes)
    return "\n".join(lines)


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


def _facts(summary: Summary) -> list[str]:
    facts = facts_of(summary)
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
    return ", ".join(f"{shortened(weight.name, 40)} {weight.type} ({size_text(weight.bytes)})" for weight in largest)


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


def _operators(summary: Summary) -> list[str]:
    found = [f"{count} {shortened(name, 30)}" for name, count in summary.operators.items()]
    if not found:
        return []
    more = f", and {len(found) - OPERATORS_SHOWN} more" if len(found) > OPERATORS_SHOWN else ""
    return ["", "operators", *wrapped(", ".join(found[:OPERATORS_SHOWN]) + more, "  ", hang="  ")]


def _findings(summary: Summary) -> list[str]:
    if not summary.findings:
        return []
    lines = ["", "findings"]
    for finding in summary.findings:
        lines += wrapped(finding.message, "  ")
        if finding.remedy:
            lines += wrapped(f"mend: {finding.remedy}", "    ", longest=COPIED_WORD)
    return lines


def _section(title: str, rows: Sequence[Sequence[str]], most: int | None = None) -> list[str]:
    if not rows:
        return []
    shown = rows if most is None else rows[:most]
    more = [f"  ... and {len(rows) - len(shown)} more; the JSON lists them all"] if len(rows) > len(shown) else []
    return ["", title, fitted(shown), *more]


def _value_row(value: ValueSummary) -> tuple[str, ...]:
    about = "has a default" if value.has_default else f"made by {value.producer}" if value.producer else ""
    return (value.name, value.type, about)


def _weight_row(summary: Summary, position: int) -> tuple[str, ...]:
    weight = summary.initializers[position]
    return (weight.name, weight.type, size_text(weight.bytes), weight.values or weight.location or "")


def _function_row(summary: Summary, position: int) -> tuple[str, ...]:
    function = summary.functions[position]
    called = f"({', '.join(function.inputs)}) -> {', '.join(function.outputs)}"
    return (function.name, called, f"{function.nodes} nodes")


def _step_row(step: Step) -> tuple[str, ...]:
    return (step.operation, _short(step_words(step)))


def step_words(step: Step) -> str:
    """The arguments of a step that say something, as a call has them; what is stored as bytes by its kind."""
    said = {name: value for name, value in step.arguments.items() if value not in (None, {}, [], (), "")}
    return ", ".join(f"{name}={_argument(value)}" for name, value in said.items())


def _argument(value: object) -> str:
    if isinstance(value, dict) and len(value) == 2 and "data" in value:
        return f"a {next(iter(value.values()))}"
    return repr(value)


def _modules(summary: Summary) -> list[str]:
    rows = [_module_row(module) for module in summary.modules[:MODULES_SHOWN]]
    if not rows:
        return []
    lines = _section("torch modules", [("nodes", "parameters", "bytes", "module", "class"), *rows])
    if len(summary.modules) > MODULES_SHOWN:
        lines.append(f"  ... and {len(summary.modules) - MODULES_SHOWN} more; the JSON lists them all")
    return lines


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

"""A summary of a model as text: what ``graphkit inspect`` prints."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from graphkit.report.columns import aligned
from graphkit.report.printable import one_line
from graphkit.step import HISTORY_KEY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graphkit.inspection.summary import ModuleSummary, NodeSummary, Summary, ValueSummary
    from graphkit.step import Step

MODULES_SHOWN = 40
METADATA_SHOWN = 100


def summary_text(summary: Summary, *, nodes: bool = False, values: bool = False) -> str:
    """A Summary as text, some 20 lines.

    Args:
        summary: What ``inspect`` gave.
        nodes: List every node with its attributes, inputs and outputs.
        values: List every value between the nodes and every weight, with its type.

    Changes: nothing.
    Cost: O(what is listed).
    """
    lines = [_title(summary), _table(_facts(summary))]
    lines += _section("inputs", [_value_row(value) for value in summary.inputs])
    lines += _section("outputs", [(value.name, value.type) for value in summary.outputs])
    lines += _section("operators", [(str(count), name) for name, count in summary.operators.items()])
    lines += _section("functions", [_function_row(summary, i) for i in range(len(summary.functions))])
    lines += _modules(summary)
    metadata = [(key, _short(text)) for key, text in summary.metadata.items() if key != HISTORY_KEY]
    lines += _section("metadata", metadata)
    lines += _section("what graphkit did", [_step_row(step) for step in summary.history])
    if values:
        lines += _section("values", [_value_row(value) for value in summary.values])
        lines += _section("weights", [_weight_row(summary, i) for i in range(len(summary.initializers))])
    if nodes:
        lines += _nodes(summary.nodes)
    return "\n".join(lines)


def _title(summary: Summary) -> str:
    name = f"({summary.name})" if summary.name else ""
    return one_line(" ".join(filter(None, (summary.path, name))))


def _facts(summary: Summary) -> list[tuple[str, str]]:
    opsets = ", ".join(f"{domain} {version}" for domain, version in summary.opsets.items())
    places = sorted({weight.location for weight in summary.initializers if weight.location})
    weights = f"{summary.weight_count:,} in {len(summary.initializers)} tensors, {_size(summary.weight_bytes)}"
    facts = [
        ("made by", summary.producer),
        ("format", f"IR {summary.ir_version}, opset {opsets or '(none)'}"),
        ("nodes", str(summary.node_count)),
        ("weights", weights + (f", in {', '.join(places)}" if places else "")),
        ("doc", _short(summary.doc)),
    ]
    return [fact for fact in facts if fact[1]]


def _section(title: str, rows: Sequence[Sequence[str]]) -> list[str]:
    return ["", title, _table(rows)] if rows else []


def _table(rows: Sequence[Sequence[str]]) -> str:
    return textwrap.indent(aligned(rows), "  ")


def _value_row(value: ValueSummary) -> tuple[str, ...]:
    about = "has a default" if value.has_default else f"made by {value.producer}" if value.producer else ""
    return (value.name, value.type, about)


def _weight_row(summary: Summary, position: int) -> tuple[str, ...]:
    weight = summary.initializers[position]
    return (weight.name, weight.type, _size(weight.bytes), weight.location or "")


def _function_row(summary: Summary, position: int) -> tuple[str, ...]:
    function = summary.functions[position]
    called = f"({', '.join(function.inputs)}) -> {', '.join(function.outputs)}"
    return (function.name, called, f"{function.nodes} nodes")


def _step_row(step: Step) -> tuple[str, ...]:
    return (step.operation, _short(", ".join(f"{name}={value!r}" for name, value in step.arguments.items())))


def _modules(summary: Summary) -> list[str]:
    rows = [_module_row(module) for module in summary.modules[:MODULES_SHOWN]]
    if not rows:
        return []
    lines = _section("torch modules", [("nodes", "parameters", "bytes", "module", "class"), *rows])
    if len(summary.modules) > MODULES_SHOWN:
        lines.append(f"  ... and {len(summary.modules) - MODULES_SHOWN} more; --json lists them all")
    return lines


def _module_row(module: ModuleSummary) -> tuple[str, ...]:
    path = "  " * (module.path.count(".") + 1) + module.path if module.path else "(the whole module)"
    times = f" (called {module.calls} times)" if module.calls > 1 else ""
    class_name = (module.class_name or "").rpartition(".")[2]
    return (str(module.nodes), f"{module.parameters:,}", _size(module.bytes), path, (class_name + times).strip())


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
        lines.append(one_line(f"  {node.operator}({attributes})  {node.name}{module}".rstrip()))
        lines.append(one_line(f"    {_names(node.inputs)} -> {_names(node.outputs)}"))
    return lines


def _names(names: Sequence[str]) -> str:
    return ", ".join(name or '""' for name in names)


def _size(count: int) -> str:
    """Bytes in powers of ten, as file managers show them: 912 B, 80.4 kB, 1.72 GB."""
    if count < 1000:
        return f"{count} B"
    value = count / 1000
    for unit in ("kB", "MB"):
        if value < 1000:
            return f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"

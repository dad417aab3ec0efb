"""Operators as text: ONNX's table and one operator's history, a torch operator's translations, a module's operators."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from graphkit.edit.patterns.rule_info import RuleInfo, Rules
from graphkit.report.columns import aligned, wrapped
from graphkit.semantics.schemas import Operator, OperatorVersion, Parameter, RulesInForce
from graphkit.torch_export.lowering import Lowering, Rule
from graphkit.torch_export.torch_ops.check import OperatorCheck


def operator_text(result: Operator) -> str:
    """An operator's history and the rule in force."""
    name = f"{result.domain}::{result.name}" if result.domain else result.name
    lines = [f"{name}: changed at opset {', '.join(str(v.since) for v in result.versions)}"]
    for version in result.versions:
        lines += wrapped(f"{version.since}: {'; '.join(version.changes) or 'new'}", "  ", hang="      ")
    if result.rule is None:
        return "\n".join([*lines, "", f"at opset {result.opset} the operator does not exist yet"])
    return "\n".join(
        [*lines, "", f"in force at opset {result.opset}: version {result.rule.since}", *_rule(result.rule)]
    )


def _rule(rule: OperatorVersion) -> list[str]:
    lines = ["  deprecated: may not be used"] if rule.deprecated else []
    for kind, values in (("inputs", rule.inputs), ("outputs", rule.outputs)):
        lines.append(f"  {kind}:")
        for head, value in zip(_parameters(values).splitlines(), values, strict=True):
            lines += [f"    {head}", *_meaning(value.doc)]
    if rule.attributes:
        lines.append("  attributes:")
        rows = [
            (
                a.name,
                a.type.lower(),
                "required" if a.required else "" if a.default is None else f"default {a.default!r}",
            )
            for a in rule.attributes
        ]
        for head, attribute in zip(aligned(rows).splitlines(), rule.attributes, strict=True):
            lines += [f"    {head}", *_meaning(attribute.doc)]
    for variable, types in rule.types.items():
        listed = ", ".join(t.removeprefix("tensor(").removesuffix(")") for t in types)
        lines += wrapped(f"{variable}: {listed}", "  ", hang="      ")
    return lines


def _meaning(doc: str) -> list[str]:
    return wrapped(doc, "        ", hang="        ") if doc else []


def built_in_text(rules: Rules) -> str:
    """The built-in rules of ``rewrite``, one below the other."""
    return "\n".join(rule_text(rule) for rule in rules)


def rule_text(rule: RuleInfo) -> str:
    """A built-in rule: its name with its parameters, and what it does."""
    return textwrap.fill(str(rule), 80, subsequent_indent=" " * 33)


def rules_text(result: RulesInForce) -> str:
    """The operators at an opset: the version in force, inputs and outputs, attributes."""
    rows, told = [("operator", "version")], ["inputs -> outputs; attributes"]
    for name, rule in result.rules.items():
        ports = f"{_names(rule.inputs)} -> {_names(rule.outputs)}"
        attributes = ", ".join(one.name for one in rule.attributes)
        rows.append((name, str(rule.since)))
        told.append("deprecated" if rule.deprecated else ports + (f"; {attributes}" if attributes else ""))
    lines = [f"{len(result.rules)} operators of {result.domain or 'ai.onnx'} at opset {result.opset}"]
    for head, rest in zip(aligned(rows, right=(1,)).splitlines(), told, strict=True):
        lines += wrapped(f"{head}  {rest}", "", hang=" " * 8, trim=False)
    return "\n".join(lines)


def _names(values: Sequence[Parameter]) -> str:
    marks = {"required": "", "optional": "?", "variadic": "..."}
    return ", ".join(f"{value.name}{marks[value.option]}" for value in values)


def _parameters(values: Sequence[Parameter]) -> str:
    return aligned(
        [(str(n), v.name, v.types, "" if v.option == "required" else v.option) for n, v in enumerate(values)]
    )


def table_text(result: Mapping[str, Sequence[int]]) -> str:
    """ONNX's operators, and the opsets that changed them."""
    return aligned([("operator", "changed at opset"), *((name, ", ".join(map(str, s))) for name, s in result.items())])


def lowering_text(result: Lowering) -> str:
    """What each exporter makes of a torch operator."""
    lines = [result.operator + (f"   (also: {', '.join(result.others)})" if result.others else "")]
    for exporter, rules in (("dynamo", result.dynamo), ("torchscript", result.torchscript)):
        lines.append(f"  {exporter}:")
        for head, rule in zip(aligned([_rule_row(rule) for rule in rules]).splitlines(), rules, strict=True):
            lines += [*wrapped(head, "    ", hang="          ", trim=False), *_arguments(rule)]
        if exporter == "dynamo" and result.decomposed:
            taken = f"{', '.join(result.decomposed)}: taken apart into other torch operators; checking a module tells"
            lines += wrapped(f"{taken} whether all of them translate", "    ")
        if not rules and not (exporter == "dynamo" and result.decomposed):
            lines.append("    no translation")
    return "\n".join(lines)


def _arguments(rule: Rule) -> list[str]:
    """A line or more for each operator: ``Resize: X from input, scales from scale_factors, mode = 'cubic'``."""
    found: dict[str, list[str]] = {}
    for use in rule.arguments:
        made = f"{use.name} from {' and '.join(use.arguments)}" if use.arguments else f"{use.name} = {use.value}"
        found.setdefault(use.operator, []).append(made)
    return [
        line
        for name, uses in found.items()
        for line in wrapped(f"{name}: {', '.join(uses)}", "        ", hang="            ")
    ]


def _rule_row(rule: Rule) -> tuple[str, ...]:
    return (rule.operator, f"opset {rule.since}", ", ".join(rule.emits) or "no node of its own", rule.source)


def check_text(result: OperatorCheck) -> str:
    """What each exporter makes of a module's operators, and whether it can export the module."""
    rows = [("exporter", "torch operator", "calls", "kind", "becomes", "smallest opset", "first called at")]
    for use in result.uses:
        since = "-" if use.since is None else str(use.since)
        becomes = ", ".join(use.becomes)
        rows.append((use.exporter, use.operator, str(use.count), use.kind, becomes, since, (*use.sources, "")[0]))
    lines = [aligned(rows, right=(2, 5))] if result.uses else []
    for exporter in result.opset:
        lines += _verdict(result, exporter)
    return "\n".join(lines)


def _verdict(result: OperatorCheck, exporter: str) -> list[str]:
    """What one exporter does with the whole module."""
    if exporter in result.problems:
        return [f"{exporter}: {result.problems[exporter]}"]
    opset, smallest = result.opset[exporter], result.smallest_opset[exporter]
    missing = [use for use in result.unsupported if use.exporter == exporter]
    lines = [f"{exporter}: opset {smallest} or later serves this module; the table shows opset {opset}"]
    if missing:
        names = ", ".join(use.operator for use in missing)
        later = f"; opset {smallest} or later serves" if smallest is not None else ""
        lines = [f"{exporter}: cannot export this module at opset {opset}; no translation for {names}{later}"]
        lines += [f"  {use.operator}: {use.reason}" for use in missing if use.reason]
    if dropped := result.dropped.get(exporter):
        calls = ", ".join(name if count == 1 else f"{name} ({count} calls)" for name, count in dropped.items())
        lines.append(f"  no node is left of {calls}")
    return lines


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]

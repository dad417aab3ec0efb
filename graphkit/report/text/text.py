"""The one function that makes text of any result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from onnx import ModelProto

from graphkit.edit.patterns.rule_info import RuleInfo, Rules
from graphkit.inspection.check import Checked
from graphkit.inspection.diff.difference import Difference
from graphkit.inspection.dims_report import DimsReport
from graphkit.inspection.history import ModelHistory
from graphkit.inspection.lint import Lint
from graphkit.inspection.look_up import Matches, Neighbours, ValueDetails
from graphkit.inspection.summary import Summary
from graphkit.model import Model
from graphkit.report.columns import aligned
from graphkit.report.text.bench import bench_text
from graphkit.report.text.bisection import bisection_text
from graphkit.report.text.calibration import calibration_text
from graphkit.report.text.checked import checked_text
from graphkit.report.text.diagnosis import diagnosis_text
from graphkit.report.text.diff import diff_text
from graphkit.report.text.dims import dims_text
from graphkit.report.text.explanation import explanation_text
from graphkit.report.text.history import history_text, step_text
from graphkit.report.text.layers import layers_text
from graphkit.report.text.lint import lint_text
from graphkit.report.text.look_up import matches_text, neighbours_text, value_text
from graphkit.report.text.operators import (
    built_in_text,
    check_text,
    lowering_text,
    operator_text,
    rule_text,
    rules_text,
    table_text,
)
from graphkit.report.text.probe import attempts_text, probe_text
from graphkit.report.text.proof import proof_text
from graphkit.report.text.reduction import reduction_text
from graphkit.report.text.run import run_text
from graphkit.report.text.summary import summary_text
from graphkit.report.text.validation import validation_text
from graphkit.result import Result, short
from graphkit.running.bench import Benchmark
from graphkit.running.calibration_table import CalibrationTable
from graphkit.running.doctor import Diagnosis
from graphkit.running.explanation import Explanation
from graphkit.running.run import Ran
from graphkit.semantics.schemas import Operator, RulesInForce
from graphkit.step import Step
from graphkit.torch_export.lowering import Lowering
from graphkit.torch_export.torch_ops.check import OperatorCheck
from graphkit.verify.bisect.bisection import Bisection
from graphkit.verify.bisect.layers import Layers
from graphkit.verify.bisect.reduction import Reduction
from graphkit.verify.laws.proof import Proof
from graphkit.verify.probe.attempt import Attempt
from graphkit.verify.report import Report

_WRITERS: dict[type, Callable[[Any], str]] = {
    Benchmark: bench_text,
    Bisection: bisection_text,
    CalibrationTable: calibration_text,
    Checked: checked_text,
    Diagnosis: diagnosis_text,
    Difference: diff_text,
    DimsReport: dims_text,
    Explanation: explanation_text,
    Layers: layers_text,
    Lint: lint_text,
    Lowering: lowering_text,
    Operator: operator_text,
    OperatorCheck: check_text,
    Proof: proof_text,
    Ran: run_text,
    Reduction: reduction_text,
    Report: validation_text,
    Step: step_text,
    RuleInfo: rule_text,
    Rules: built_in_text,
    RulesInForce: rules_text,
    Matches: matches_text,
    ModelHistory: history_text,
    Neighbours: neighbours_text,
    Summary: summary_text,
    ValueDetails: value_text,
}
"""Result -> what writes it. Others have a line a field."""


def text(result: object, *, nodes: bool = False, values: bool = False, whole: bool = False) -> str:
    """A result of graphkit as text, as the command prints it.

    Args:
        result: What a function of graphkit gave: ``inspect``, ``lint``, ``run_report``, ``validate``, ``prove``, ``bisect``,
            ``layers``, ``probe`` (its attempts, or model -> attempts), ``operator``, ``operators``, ``torch_lowering``,
            ``check_operators``, ``doctor`` and the others.
        nodes: Of a ``Summary``: list every node with its attributes, inputs and outputs.
        values: Of a ``Summary``: list every value between the nodes and every weight, with its type.
        whole: Of a ``Summary``: cut no list to one screen.

    Raises:
        TypeError: It is no result, or no ``Summary`` where ``nodes``, ``values`` or ``whole`` is asked for.

    Changes: nothing.
    Cost: O(what is listed).

    Example:
        >>> import graphkit as gk
        >>> gk.text(gk.check("model.onnx", runtime=False))
        'valid; no runtime was asked to load it'
    """
    if isinstance(result, Summary):
        return summary_text(result, nodes=nodes, values=values, whole=whole)
    if nodes or values or whole:
        raise TypeError(f"nodes and values are listed of a Summary, not of {type(result).__name__}")
    writer = next((_WRITERS[kind] for kind in type(result).__mro__ if kind in _WRITERS), None)
    if writer is not None:
        return writer(result)
    if isinstance(result, Mapping):
        first = next(iter(result.values()), ())
        return probe_text(result) if any(isinstance(item, Attempt) for item in first) else table_text(result)
    if isinstance(result, tuple | list) and result and all(isinstance(item, Attempt) for item in result):
        return attempts_text(result)
    if isinstance(result, tuple | list) and result and all(isinstance(item, Result) for item in result):
        return "\n\n".join(text(item) for item in result)
    if isinstance(result, Result):
        return _by_field(result)
    hint = (
        "; gk.inspect(model) gives the result that says what is in it" if isinstance(result, Model | ModelProto) else ""
    )
    raise TypeError(f"there is no text for {type(result).__name__}{hint}")


def _by_field(result: Any) -> str:
    """A line for each field."""
    return aligned([(field.name, short(getattr(result, field.name))) for field in fields(result) if field.repr])

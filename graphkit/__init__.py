"""graphkit: edit ONNX models without losing anything, and prove that the result computes what it should.

Every function takes a path, an ``onnx.ModelProto`` or a ``Model`` and changes none of them.

The names below are imported when they are first used (PEP 562), so that ``import graphkit`` costs what it imports.
``__init__.pyi`` says the same to type checkers; ``python tests/house/write_stub.py`` writes it.
"""

import importlib
from typing import Any

from graphkit.result import draw_with as _draw_with

__version__ = "0.2.0"

_FACE = {
    "graphkit.bridge.graphsurgeon": (
        "from_graphsurgeon",
        "to_graphsurgeon",
    ),
    "graphkit.bridge.onnx_ir": (
        "from_onnx_ir",
        "to_onnx_ir",
    ),
    "graphkit.builder": (
        "RuntimeLimits",
        "build",
        "runtime_limits",
    ),
    "graphkit.errors": (
        "ClusterError",
        "ComparisonError",
        "CutError",
        "EditError",
        "ExpectationError",
        "ExportError",
        "FactoryError",
        "FeedError",
        "FormatError",
        "GraphkitError",
        "GraphkitWarning",
        "InvalidGraphError",
        "MismatchError",
        "MissingExtraError",
        "ModelFileError",
        "NameNotFoundError",
        "NameTakenError",
        "NoResizeError",
        "NothingFoundError",
        "OutdatedPackageError",
        "ProviderError",
        "RecipeError",
        "SaveError",
        "SessionError",
        "TensorError",
        "TextError",
        "TypeUnknownError",
        "WeightsError",
    ),
    "graphkit.edit.following.context": ("SizeFinding",),
    "graphkit.finding": ("Finding",),
    "graphkit.fleet.drawings": ("save_drawings",),
    "graphkit.fleet.fleet": ("run_fleet",),
    "graphkit.fleet.journal": ("read_outcomes",),
    "graphkit.fleet.models": ("Named", "list_lines", "named_models", "output_paths"),
    "graphkit.fleet.outcomes": ("Done", "Failed", "Outcome", "Skipped", "as_row"),
    "graphkit.fleet.page": ("counted", "outcomes_page", "save_outcomes", "told"),
    "graphkit.fleet.reports": ("junit", "markdown", "save_reports"),
    "graphkit.fleet.work": ("Answer", "Applying", "Checking", "Comparing", "Job"),
    "graphkit.hint": (
        "Argument",
        "Blank",
        "Call",
        "Hint",
    ),
    "graphkit.inspection.check": (
        "Checked",
        "check",
    ),
    "graphkit.inspection.diff.diff": ("diff",),
    "graphkit.inspection.diff.difference": (
        "Change",
        "Difference",
        "Movement",
        "StepChanges",
    ),
    "graphkit.inspection.dims_report": (
        "DimsReport",
        "dims_report",
    ),
    "graphkit.inspection.lint": (
        "Lint",
        "Violation",
        "lint",
    ),
    "graphkit.inspection.history": ("ModelHistory", "history"),
    "graphkit.inspection.inspect": ("inspect",),
    "graphkit.inspection.look_up": (
        "Matches",
        "Neighbours",
        "Statistics",
        "ValueDetails",
        "find",
        "look_up_value",
        "neighbours",
    ),
    "graphkit.inspection.summary": (
        "Summary",
        "Work",
    ),
    "graphkit.inspection.trtexec": ("trtexec",),
    "graphkit.model": (
        "Model",
        "ModelLike",
    ),
    "graphkit.operation": ("replay",),
    "graphkit.progress": ("watched",),
    "graphkit.step": ("Step",),
    "graphkit.reading.names": ("read_names", "read_pairs", "unquoted"),
    "graphkit.reading.sizes": ("parse_bytes", "read_shape", "read_sizes"),
    "graphkit.recipe.from_history": ("save_recipe",),
    "graphkit.recipe.recipe": ("Recipe",),
    "graphkit.recipe.running": ("Applied", "Did"),
    "graphkit.recipe.schema": ("recipe_schema",),
    "graphkit.report.html.html": (
        "report_html",
        "save_html",
    ),
    "graphkit.report.markdown": ("save_markdown",),
    "graphkit.report.printable": ("printable",),
    "graphkit.report.text.former": (
        "lint_text",
        "operators_text",
        "probe_text",
        "report_text",
        "summary_text",
    ),
    "graphkit.report.text.text": ("text",),
    "graphkit.report.to_json": ("to_json",),
    "graphkit.running.bench": (
        "Benchmark",
        "OperatorTime",
        "Profile",
        "Timing",
        "bench",
    ),
    "graphkit.running.memory": ("MemoryUse",),
    "graphkit.runtime.profiling": ("NodeTime",),
    "graphkit.running.calibration_table": ("CalibrationTable", "calibrate"),
    "graphkit.running.doctor": (
        "Check",
        "Diagnosis",
        "doctor",
    ),
    "graphkit.running.explanation": (
        "Explanation",
        "explain",
    ),
    "graphkit.running.luma": ("run_luma",),
    "graphkit.running.run": (
        "OutputSummary",
        "Ran",
        "run",
        "run_report",
    ),
    "graphkit.report.view.view": ("View", "view"),
    "graphkit.runtime.save_arrays": ("save_arrays",),
    "graphkit.runtime.session": (
        "Session",
        "session",
    ),
    "graphkit.runtime.tensorrt": ("TensorRT",),
    "graphkit.semantics.schemas": (
        "Operator",
        "RulesInForce",
        "operator",
        "operators",
        "rules_in_force",
    ),
    "graphkit.shapes.exact_scales": ("exact_scale",),
    "graphkit.storage.load": ("load",),
    "graphkit.storage.save": (
        "Saved",
        "save",
    ),
    "graphkit.surgery.deduplicate": ("deduplicate",),
    "graphkit.surgery.define": ("define",),
    "graphkit.surgery.dims": ("dims",),
    "graphkit.surgery.extract": ("extract",),
    "graphkit.surgery.freeze": ("freeze",),
    "graphkit.surgery.image": ("image",),
    "graphkit.surgery.inline": ("inline",),
    "graphkit.surgery.merge": ("merge",),
    "graphkit.surgery.insert": ("insert",),
    "graphkit.surgery.layout": ("layout",),
    "graphkit.surgery.opset": ("opset",),
    "graphkit.surgery.outline": ("outline",),
    "graphkit.surgery.precision.precision": ("precision",),
    "graphkit.surgery.promote": ("promote",),
    "graphkit.surgery.remove": ("remove",),
    "graphkit.surgery.rename": ("rename",),
    "graphkit.surgery.reorder": ("reorder",),
    "graphkit.surgery.replace": ("replace",),
    "graphkit.edit.patterns.rule_info": ("RuleInfo",),
    "graphkit.surgery.rewrite": ("rewrite", "rewrite_rule", "rewrite_rules"),
    "graphkit.surgery.resize": ("resize",),
    "graphkit.surgery.simplify": ("simplify",),
    "graphkit.surgery.retype": ("retype",),
    "graphkit.surgery.set_parts": ("set_parts",),
    "graphkit.surgery.split": ("Split", "Stage", "split"),
    "graphkit.surgery.suggest": (
        "Cut",
        "suggest",
    ),
    "graphkit.surgery.tap": ("tap",),
    "graphkit.torch_export.examples": (
        "Examples",
        "example_inputs",
    ),
    "graphkit.torch_export.export": (
        "Exported",
        "export",
        "export_report",
    ),
    "graphkit.torch_export.factory": (
        "TorchSubject",
        "load_factory",
        "load_translations",
    ),
    "graphkit.torch_export.lowering": (
        "Lowering",
        "torch_lowering",
    ),
    "graphkit.torch_export.mark": ("mark",),
    "graphkit.torch_export.torch_ops.check": (
        "OperatorCheck",
        "check_operators",
    ),
    "graphkit.torch_export.weights": ("load_checkpoint",),
    "graphkit.verify.baked.find_baked": (
        "Baked",
        "find_baked",
    ),
    "graphkit.verify.baked.runs": ("Trial",),
    "graphkit.verify.bisect.bisect": ("bisect",),
    "graphkit.verify.bisect.bisection": (
        "Bisection",
        "First",
        "Row",
    ),
    "graphkit.verify.bisect.layers": (
        "Layer",
        "Layers",
        "layers",
    ),
    "graphkit.verify.bisect.reduction": ("Reduction", "reduce_model"),
    "graphkit.verify.bisect.repro": ("save_repro",),
    "graphkit.verify.compare.metrics": ("Metrics",),
    "graphkit.verify.laws.proof": (
        "Held",
        "Proof",
        "Replayed",
    ),
    "graphkit.verify.laws.copied": ("prove_copy",),
    "graphkit.verify.laws.prove": ("prove",),
    "graphkit.verify.probe.attempt": (
        "Attempt",
        "Blame",
    ),
    "graphkit.verify.probe.probe": ("probe",),
    "graphkit.verify.report": (
        "Report",
        "Sample",
    ),
    "graphkit.verify.saved": ("validate_saved",),
    "graphkit.verify.validate": ("validate",),
}
"""module -> the public names it holds."""

_HOME = {name: module for module, names in _FACE.items() for name in names}

__all__ = [*sorted(_HOME)]  # noqa: PLE0604 (strings all the same)


def __getattr__(name: str) -> Any:
    if name == "testing":
        return importlib.import_module("graphkit.testing")
    if name not in _HOME:
        raise AttributeError(f"module 'graphkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_draw_with(lambda result: str(__getattr__("report_html")(result)))

"""graphkit: edit ONNX models without losing anything, and prove that the result computes what it should.

Every function takes a path, an ``onnx.ModelProto`` or a ``Model`` and changes none of them.
"""

from graphkit.build import RuntimeLimits, build, runtime_limits
from graphkit.errors import (
    ComparisonError,
    CutError,
    EditError,
    ExportError,
    FactoryError,
    FeedError,
    FormatError,
    GraphkitError,
    GraphkitWarning,
    InvalidGraphError,
    MismatchError,
    MissingExtraError,
    ModelFileError,
    NameNotFoundError,
    NameTakenError,
    NoResizeError,
    ProviderError,
    SaveError,
    SessionError,
    TensorError,
    TypeUnknownError,
    WeightsError,
)
from graphkit.finding import Finding
from graphkit.model import Model, ModelLike, Step
from graphkit.report.summary_text import summary_text
from graphkit.report.text import report_text
from graphkit.report.to_json import to_json
from graphkit.runtime.arrays import save_arrays
from graphkit.runtime.run import OutputSummary, Ran, run, run_report
from graphkit.runtime.session import Session, session
from graphkit.storage.load import load
from graphkit.storage.save import Saved, save
from graphkit.summary import Summary, inspect
from graphkit.surgery.extract import extract
from graphkit.surgery.resize import exact_scale, resize
from graphkit.surgery.rename import rename
from graphkit.surgery.suggest import Cut, suggest
from graphkit.surgery.tap import tap
from graphkit.torch_export.examples import Examples, example_inputs
from graphkit.torch_export.export import Exported, export, export_report
from graphkit.torch_export.factory import TorchSubject, load_factory
from graphkit.torch_export.weights import load_checkpoint

__version__ = "0.1.0"

__all__ = [
    "ComparisonError",
    "Cut",
    "CutError",
    "EditError",
    "Examples",
    "ExportError",
    "Exported",
    "FactoryError",
    "FeedError",
    "Finding",
    "FormatError",
    "GraphkitError",
    "GraphkitWarning",
    "InvalidGraphError",
    "MismatchError",
    "MissingExtraError",
    "Model",
    "ModelFileError",
    "ModelLike",
    "NameNotFoundError",
    "NameTakenError",
    "NoResizeError",
    "OutputSummary",
    "ProviderError",
    "Ran",
    "RuntimeLimits",
    "SaveError",
    "Saved",
    "Session",
    "SessionError",
    "Step",
    "Summary",
    "TensorError",
    "TorchSubject",
    "TypeUnknownError",
    "WeightsError",
    "build",
    "exact_scale",
    "example_inputs",
    "export",
    "export_report",
    "extract",
    "inspect",
    "load",
    "load_checkpoint",
    "load_factory",
    "rename",
    "report_text",
    "resize",
    "run",
    "run_report",
    "runtime_limits",
    "save",
    "save_arrays",
    "session",
    "suggest",
    "summary_text",
    "tap",
    "to_json",
]

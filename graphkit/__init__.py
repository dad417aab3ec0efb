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
from graphkit.model import Model, ModelLike, Step
from graphkit.report.to_json import to_json
from graphkit.storage.load import load
from graphkit.storage.save import save

__version__ = "0.1.0"

__all__ = [
    "ComparisonError",
    "CutError",
    "EditError",
    "ExportError",
    "FactoryError",
    "FeedError",
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
    "ProviderError",
    "RuntimeLimits",
    "SaveError",
    "SessionError",
    "Step",
    "TensorError",
    "TypeUnknownError",
    "WeightsError",
    "build",
    "load",
    "runtime_limits",
    "save",
    "to_json",
]

"""What ONNX Runtime makes of a model before it runs it."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

import onnx

from graphkit.runtime.failures import import_runtime, translated
from graphkit.runtime.handover import carry
from graphkit.runtime.session import raw_session, session_settings

if TYPE_CHECKING:
    from graphkit.model import Model
    from graphkit.runtime.session import Optimization


def rewritten(model: Model, optimization: Optimization) -> onnx.ModelProto:
    """The model as the runtime would run it on the CPU at a level, weights included.

    Raises:
        SessionError: The runtime refuses the model.

    Cost: a session, and a file of the size of the model, which goes again.
    """
    runtime = import_runtime()
    settings = session_settings(runtime, optimization)
    with tempfile.TemporaryDirectory(prefix="graphkit-") as folder:
        path = os.path.join(folder, "rewritten.onnx")
        settings.optimized_model_filepath = path
        with translated("loading the model"):
            raw_session(runtime, model.proto, carry(model), settings, [("CPUExecutionProvider", {})])
        return onnx.load(path)

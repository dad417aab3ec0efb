"""The version of ai.onnx that a model is written for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx

if TYPE_CHECKING:
    pass


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ai.onnx that a model imports (1 where it imports none: docs/IR.md)."""
    return next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)

"""The versions of operators that a model is written for."""

from __future__ import annotations

from collections.abc import Iterable

import onnx


def canonical(domain: str) -> str:
    """A domain of operators as ONNX's schemas spell it: the default one is "" also where it is spelt "ai.onnx"."""
    return "" if domain == "ai.onnx" else domain


def imported(opsets: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Domain ("" for ai.onnx) -> version, of a model's or a function's opset imports; of two entries the first counts."""
    found: dict[str, int] = {}
    for entry in opsets:
        found.setdefault(canonical(entry.domain), int(entry.version))
    return found


def opset_of(holder: onnx.ModelProto | onnx.FunctionProto, none: int = 1) -> int:
    """The version of ai.onnx that a model or function imports.

    Args:
        holder: The model or function.
        none: What counts where it imports none: for a model version 1 (docs/IR.md), for a function its model's.
    """
    return imported(holder.opset_import).get("", none)

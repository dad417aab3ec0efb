"""Operators of onnx.reference that add many numbers, computed in float32 where numpy would add them in the values' own type.

A sum of 4,096 bfloat16 squares comes out as half of what it is where each partial sum is rounded to eight bits; no runtime
and no device adds like that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from graphkit.semantics.kinds import NORMS, PRODUCTS, RECURRENT

if TYPE_CHECKING:
    from onnx.reference.op_run import OpRun

SUMS = (
    *(f"Reduce{kind}" for kind in ("Sum", "Mean", "SumSquare", "L1", "L2", "LogSum", "LogSumExp", "Prod")),
    *(*PRODUCTS, *RECURRENT, *NORMS, "Einsum", "Attention", "BatchNormalization", "LpNormalization"),
    *("AveragePool", "GlobalAveragePool", "LpPool", "CumSum", "Mean", "Sum", "LRN"),
    *("Softmax", "LogSoftmax", "SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss", "Resize", "GridSample"),
)
"""Operators whose results are sums of many products or numbers."""

NARROW = tuple(
    np.dtype(getattr(ml_dtypes, name))
    for name in ("bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
)


def widened(known: type[OpRun], op_type: str) -> type[OpRun]:
    """An operator of onnx.reference that takes narrow floats as float32 and rounds its results once."""
    return type(known.__name__, (known,), {"_run": _widened(known, op_type)})


def _widened(known: type[OpRun], op_type: str) -> Any:
    def run(self: OpRun, *values: Any, **attributes: Any) -> tuple[Any, ...]:
        given = next((value.dtype for value in values if _is_narrow(value)), None)
        wide = [value.astype(np.float32) if _is_narrow(value) else value for value in values]
        compute: Any = known._run  # noqa: SLF001  # what a subclass overrides
        results = compute(self, *wide, **_wide(attributes))
        kept = 1 if op_type == "LayerNormalization" else len(results)  # its mean and deviation stay wide
        narrowed = [r.astype(given) if given is not None and _is_wide(r) else r for r in results[:kept]]
        return (*narrowed, *results[kept:])

    return run


def _wide(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.astype(np.float32) if _is_narrow(value) else value for name, value in attributes.items()}


def _is_narrow(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype in NARROW


def _is_wide(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype == np.float32

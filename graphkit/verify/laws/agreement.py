"""How near two values must be for a law, and how near they are over several runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphkit.verify.compare.metrics import Metrics
from graphkit.verify.compare.tolerance import Policy, Tolerance, coarser
from graphkit.verify.laws.binding import Closeness


class Near(Policy):
    """The tolerances of a law: those of the dtype, or of a coarser one that the values went through."""

    def __init__(self, close: Closeness | None, narrow: str | None = None) -> None:
        """Take the tolerances of what a law says, and of the narrowest dtype that values have inside of the model."""
        super().__init__("same" if close is None else "cpu")
        through = [dtype for dtype in (close.dtype if close is not None else None, narrow) if dtype is not None]
        object.__setattr__(self, "through", through)

    def tolerance(self, dtype: str) -> Tolerance:
        """The tolerance of a dtype by its name."""
        for through in getattr(self, "through", ()):
            dtype = coarser(dtype, through)
        return super().tolerance(dtype)


def joined(parts: Sequence[Any], made: Any) -> Any:
    """Outputs of several runs along the batch; None for an output that does not have it."""
    if not all(isinstance(part, np.ndarray) and part.ndim for part in parts):
        return None
    whole = np.concatenate(parts)
    return whole if np.shape(made)[:1] != np.shape(parts[0])[:1] else None


def passed(metrics: Metrics, why: str = "") -> Metrics:
    """The same numbers, that agree by another measure; one that is said stands in place of the tolerances."""
    agreed = replace(metrics, match=True, problem=None)
    return replace(agreed, tolerance=why, rtol=None, atol=None) if why else agreed


@dataclass(frozen=True)
class Total:
    """Squares of errors and of numbers, over several runs."""

    errors: float = 0.0
    numbers: float = 0.0

    def plus(self, actual: Any, expected: Any) -> Total:
        """With one run more; what is not finite is left out."""
        a, e = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
        fine = np.isfinite(e) & np.isfinite(a)
        error, number = float(np.square(a[fine] - e[fine]).sum()), float(np.square(e[fine]).sum())
        return Total(self.errors + error, self.numbers + number)

    @property
    def relative(self) -> float:
        """The relative L2 error."""
        if not self.numbers:
            return math.inf if self.errors else 0.0
        return math.sqrt(self.errors / self.numbers)


def as_finite(actual: Any, expected: Any) -> bool:
    """Whether two arrays of numbers are of one shape and finite in the same places."""
    if isinstance(actual, list) or isinstance(expected, list) or np.shape(actual) != np.shape(expected):
        return False
    arrays = [np.asarray(one) for one in (actual, expected)]
    if any(array.dtype.kind in "OUSTbiuc" for array in arrays):
        return False
    a, e = (np.isfinite(array.astype(np.float64)) for array in arrays)
    return np.array_equal(a, e)


def elements(value: Any) -> int:
    """How many elements an output has; an empty optional counts as one."""
    if isinstance(value, list):
        return sum(map(elements, value))
    return int(np.size(value)) if value is not None else 1


def nans(value: Any) -> int:
    """How many of them are NaN."""
    if isinstance(value, list):
        return sum(map(nans, value))
    array = np.asarray(value)
    if value is None or array.dtype.kind in "biuOUSTm":
        return 0
    return int(np.isnan(array.astype(np.float64 if array.dtype.kind != "c" else array.dtype)).sum())


def why_not(metrics: Metrics) -> str:
    """Why an output does not agree."""
    if metrics.problem:
        return metrics.problem
    if metrics.max_abs is None:
        return "the texts are others"
    return (
        f"max abs error {metrics.max_abs:.3g} at {list(metrics.worst or ())} "
        f"({metrics.actual:.6g} instead of {metrics.expected:.6g}; rtol {metrics.rtol:.3g}, atol {metrics.atol:.3g})"
    )

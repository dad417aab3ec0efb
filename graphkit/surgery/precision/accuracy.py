"""How far a model in a lower precision is from the float32 one: relative L2 error on feeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.model import Model
from graphkit.runtime.session import Session, session

if TYPE_CHECKING:
    from graphkit.tensor import Array

BOUND = 0.1
"""The relative L2 error that a quantized model may have."""

CLOSE = 0.06
"""The error that leaves room for feeds that are farther from those that were seen."""


class Accuracy:
    """The float32 model's answers on some feeds, for others to be compared with."""

    def __init__(self, model: Model, feeds: Sequence[dict[str, Array]]) -> None:
        """Run the float32 model.

        Raises:
            SessionError: The runtime refuses the model, or fails.
        """
        running = session(model, device="cpu")
        self._feeds = feeds
        self._answers = [_floats(running, run) for run in feeds]

    def error(self, proto: onnx.ModelProto) -> float:
        """The largest relative L2 error of an output over the feeds; 0 where no output is a float32 tensor.

        Raises:
            SessionError: The runtime refuses the model, or fails.
        """
        running = session(Model(proto), device="cpu")
        worst = 0.0
        for feeds, answer in zip(self._feeds, self._answers, strict=True):
            got = _floats(running, fitted(feeds, running))
            worst = max([worst, *(relative_error(got[name], want) for name, want in answer.items() if name in got)])
        return worst


def fitted(feeds: Mapping[str, Array], running: Session) -> dict[str, Array]:
    """Feeds of a float32 model for one whose inputs may be float16, or fewer."""
    found = {name: array for name, array in feeds.items() if name in running.inputs}
    half = {name for name in found if running.inputs[name].data_type == onnx.TensorProto.FLOAT16}
    return {name: array.astype(np.float16) if name in half else array for name, array in found.items()}


def _floats(running: Session, feeds: Mapping[str, Array]) -> dict[str, Array]:
    answer = running.run_arrays(feeds)
    kinds = (np.float32, np.float16)
    return {name: np.asarray(a, np.float32) for name, a in answer.items() if getattr(a, "dtype", None) in kinds}


def relative_error(got: Array, want: Array) -> float:
    """The L2 norm of the difference over that of what is right; numbers that are not finite have to be the same."""
    if got.shape != want.shape:
        return float("inf")
    finite = np.isfinite(want)
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
        return float("inf")
    difference = np.linalg.norm(got[finite].astype(np.float64) - want[finite].astype(np.float64))
    size = np.linalg.norm(want[finite].astype(np.float64))
    return float(difference / size) if size > 0 else float("inf") if difference > 0 else 0.0

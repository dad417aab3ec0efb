"""A Loop for onnx.reference: its own joins what the turns scanned along the first axis, where the operator stacks it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx.reference.op_run import OpRun


@functools.cache
def stacking_loop() -> type[OpRun]:
    """The operator, as ``ReferenceEvaluator`` loads it.

    Source: Loop-1 to Loop-25 of onnx: scan outputs are the values of all turns, stacked along a new first axis.
    """
    from onnx.reference.ops.op_loop import Loop as Joining

    class Loop(Joining):
        """onnx's own, but for what it scans."""

        def _run(self, *args: Any, **options: Any) -> tuple[Any, ...]:
            """The values behind the last turn, and those of all turns."""
            if not self.K:
                return tuple(super()._run(*args, **options))  # type: ignore[no-untyped-call]  # onnx's
            turns: list[list[Any]] = []
            body: Any = self._run_body

            def turn(*given: Any, **more: Any) -> list[Any]:
                made = list(body(*given, **more))
                turns.append(made[-self.K :])
                return [*made[: -self.K], *[np.zeros(1)] * self.K]

            self._run_body: Any = turn
            try:
                outputs = list(super()._run(*args, **options))  # type: ignore[no-untyped-call]  # onnx does not annotate it
            finally:
                self._run_body = body
            outputs[self.N : self.N + self.K] = [np.stack(values) for values in zip(*turns, strict=True)]
            return tuple(outputs)

    return Loop

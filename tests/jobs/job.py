"""What a row of the table of jobs is: steps on a small model and a check by running, or the reason why it stays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

Step = Mapping[str, Any]
Net = str | Callable[[], onnx.ModelProto]


@dataclass(frozen=True)
class Out:
    """A job that graphkit does not do.

    Attributes:
        number: Its number.
        what: What the peers do.
        reason: Why it stays out, and what there is instead.
    """

    number: int
    what: str
    reason: str


@dataclass(frozen=True)
class Look:
    """A job that makes no model, or several: a function that does it and checks it."""

    number: int
    what: str
    how: Callable[..., None]


@dataclass(frozen=True)
class Job:
    """A job that is a recipe of at most five steps.

    Attributes:
        number: Its number.
        what: What the peers do.
        net: The model before, as ONNX text or a function.
        steps: The recipe's steps.
        check: Looks at the trial; None: the outputs are the same numbers.
        feeds: What the model before is fed; drawn, where it says nothing.
        opset: Of the text.
        weights: float32 initializers of the text.
        close: The tolerance, relative and absolute.
    """

    number: int
    what: str
    net: Net
    steps: Sequence[Step]
    check: Callable[[Trial], object] | None = None
    feeds: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 18
    weights: Mapping[str, Any] = field(default_factory=dict)
    imports: str = ""
    functions: str = ""
    close: tuple[float, float] = (1e-5, 1e-6)

    def model(self) -> onnx.ModelProto:
        """The model before."""
        if callable(self.net):
            return self.net()
        return parse(self.net, opset=self.opset, ir=10, imports=self.imports, functions=self.functions, **self.weights)

    def run(self) -> None:
        """Do it, and check it."""
        assert 1 <= len(self.steps) <= 5
        before = self.model()
        after = gk.Recipe(self.steps).apply(before)
        trial = Trial(before, after, self.feeds, self.close)
        if self.check is None:
            assert trial.after.proto.graph != before.graph, "nothing was done"
            trial.same()
        else:
            self.check(trial)


class Trial:
    """A model before and after a job, and what both compute.

    Attributes:
        before: The model before.
        after: The model after.
        feeds: What the model before is fed.
    """

    def __init__(
        self, before: onnx.ModelProto, after: Any, feeds: Mapping[str, Any], close: tuple[float, float]
    ) -> None:
        self.before = before
        self.after = after
        self.close = close
        rng = np.random.default_rng(0)
        held = {tensor.name for tensor in before.graph.initializer}
        self.feeds = {
            value.name: np.asarray(feeds[value.name]) if value.name in feeds else _drawn(rng, value.type)
            for value in before.graph.input
            if value.name not in held
        }

    @property
    def ops(self) -> list[str]:
        """The operators of the main graph after."""
        return [node.op_type for node in self.after.nodes]

    @property
    def weights(self) -> list[str]:
        """The initializers after."""
        return [tensor.name for tensor in self.after.proto.graph.initializer]

    def was(self, **feeds: Any) -> dict[str, Any]:
        """What the model before gives."""
        return run_ort(self.before, {**self.feeds, **feeds})

    def now(self, **feeds: Any) -> dict[str, Any]:
        """What the model after gives, fed with what it still takes of the feeds."""
        given = {**self.feeds, **feeds}
        return run_ort(self.after, {v.name: given[v.name] for v in self.after.inputs if v.name in given})

    def same(self) -> bool:
        """The outputs are the same numbers, in order."""
        fed = dict(zip([value.name for value in self.after.inputs], self.feeds.values(), strict=False))
        now, was = list(run_ort(self.after, fed).values()), list(self.was().values())
        assert_same(now, was, rtol=self.close[0], atol=self.close[1])
        return True

    def gives(self, expected: Mapping[str, Any], **feeds: Any) -> bool:
        """The outputs are these numbers."""
        now = {name: array for name, array in self.now(**feeds).items() if name in expected}
        assert_same(now, dict(expected), rtol=self.close[0], atol=self.close[1])
        return True


def _drawn(rng: np.random.Generator, type_proto: onnx.TypeProto) -> np.ndarray:
    shape = [dim.dim_value if dim.dim_value > 0 else 2 for dim in type_proto.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(type_proto.tensor_type.elem_type)
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)

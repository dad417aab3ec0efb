"""What is known of a value without running the model: where its numbers lie, and the inputs whose numbers it holds."""

from __future__ import annotations

import math
from typing import NamedTuple

import onnx

from graphkit.semantics.intervals import ANY, Interval, hull
from graphkit.tensor import decode

SMALL = 1024
"""Elements of a constant that is looked at; larger ones are weights, whose numbers are not read."""


class Trace(NamedTuple):
    """A value that holds slope * x + offset for the numbers x of a graph input."""

    name: str
    slope: float = 1.0
    offset: float = 0.0


class Fact(NamedTuple):
    """What is known of a value.

    Attributes:
        low: Lowest number in it.
        high: Highest.
        sources: The graph inputs that it is computed from, one bit each; none where only their shapes count.
        traces: The graph inputs whose numbers it holds.
    """

    low: float
    high: float
    sources: int = 0
    traces: tuple[Trace, ...] = ()

    @property
    def interval(self) -> Interval:
        """(low, high)."""
        return self.low, self.high

    @property
    def constant(self) -> float | None:
        """The one number that all of its elements are, or None."""
        return self.low if self.low == self.high and not self.sources else None


NOTHING = Fact(*ANY)

WEIGHT = Fact(*ANY)
"""A constant that is too large to be looked at."""


def either(facts: list[Fact]) -> Fact:
    """What is known of a value that is one of several."""
    sources = 0
    for fact in facts:
        sources |= fact.sources
    traces = dict.fromkeys(trace for fact in facts for trace in fact.traces)
    return Fact(*hull(fact.interval for fact in facts), sources, tuple(traces))


def grown(before: Fact, after: Fact) -> Fact:
    """What is known of a value that a loop makes again and again out of itself: what grew once may grow without end."""
    low, high = before.interval
    if after.low < low:
        low = 0.0 if after.low >= 0 else -math.inf
    if after.high > high:
        high = 0.0 if after.high <= 0 else math.inf
    both = either([before, after])
    return Fact(low, high, both.sources, both.traces)


def of_tensor(tensor: onnx.TensorProto) -> Fact:
    """What is known of a constant: where its numbers lie, if it is small. Cost: O(elements), at most ``SMALL``."""
    if math.prod(tensor.dims) > SMALL or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return WEIGHT
    if tensor.data_type in (onnx.TensorProto.STRING, onnx.TensorProto.UNDEFINED):
        return NOTHING
    array = decode(tensor, None)
    if array.dtype.kind == "c" or not array.size:
        return NOTHING
    low, high = float(array.min()), float(array.max())
    return NOTHING if math.isnan(low) or math.isnan(high) else Fact(low, high)

"""What the readers of an input say about it: a range that they want, a switch that it is, a mask."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import onnx

from graphkit.feeds.accepted_values import is_ramp, up_to
from graphkit.feeds.facts import Fact, Trace
from graphkit.feeds.ranges import Range
from graphkit.feeds.reader import Dims
from graphkit.graph.values import attribute_value
from graphkit.semantics.kinds import SELECTS, SHAPE_ONLY

MASKED = -1000.0
"""What is added to a score, or put in its place, to mask it: this or less (-1e4, -1e9, -inf)."""

VANISHING = -1e8
"""Added to scores, this or less leaves nothing of them in any float type: no sum tells them apart."""

Sign = Literal["switch", "keeps", "drops", "vanish", "counted", "other"]
"""``switch``: taken as true or false. ``keeps``, ``drops``: what a one does to the scores that are masked by it.
``vanish``: nothing is left of a score that it masks, so that a row without any other is one for every implementation.
``counted``: summed up, or multiplied by other numbers, as masks are. ``other``: what nobody does with a mask."""

Given: TypeAlias = Sequence["Fact | None"]

_FIRST = SELECTS | {"Cast", "CastLike", "Clip", "Dropout", "Pad", "Trilu", "Upsample"}
"""Operators that hand on numbers of their first input, most of them unchanged."""

_ALL = frozenset("Concat SequenceConstruct SequenceInsert Max Min And Or Xor".split())
"""Operators that hand on numbers of every input; the logical ones the truth of each, which decides with the others."""

_SOME = {"Where": (1, 2), "ScatterElements": (0, 2), "ScatterND": (0, 2)}

_LOOKED_AT = frozenset(
    (*SHAPE_ONLY, "IsNaN", "IsInf", "ConstantOfShape", "EyeLike", "RandomNormalLike", "RandomUniformLike")
)
"""Operators for which the numbers do not count."""

_COUNTING = frozenset("Mul ReduceSum ReduceMean CumSum Sum".split())

_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "Equal": operator.eq,
    "Greater": operator.gt,
    "GreaterOrEqual": operator.ge,
    "Less": operator.lt,
    "LessOrEqual": operator.le,
}

_MASKS = {("Attention", 3): "keeps", ("Compress", 1): "keeps", ("NonZero", 0): "keeps"}
"""Readers that take a one for what is kept."""


class Signs:
    """Collects what readers say about inputs.

    Attributes:
        wants: Input -> ranges that its readers want.
        said: Input -> signs.
    """

    def __init__(self) -> None:
        self.wants: dict[str, list[Range]] = {}
        self.said: dict[str, set[Sign]] = {}

    def want(self, traces: Sequence[Trace], wanted: Range) -> None:
        """A reader of traced numbers wants a range."""
        for trace in traces:
            if (found := wanted.behind(trace.slope, trace.offset)) is not None:
                self.wants.setdefault(trace.name, []).append(found)

    def say(self, traces: Sequence[Trace], sign: Sign) -> None:
        """A reader of traced numbers shows what they are."""
        for trace in traces:
            self.said.setdefault(trace.name, set()).add(sign)

    def read(
        self, node: onnx.NodeProto, given: Given, free: Sequence[int], dims_of: Callable[[str], Dims]
    ) -> tuple[Trace, ...]:
        """Note what a node does with traced numbers, and say what its first output holds of them.

        Args:
            node: The node.
            given: What is known of its inputs.
            free: The inputs with traces of which it wants no range.
            dims_of: The dims of a value as far as they are known.
        """
        op = node.op_type if node.domain in ("", "ai.onnx", "com.microsoft") else ""
        if op in _COMPARED and len(given) > 1:
            return self._compared(node, given, dims_of)
        if op == "Cast" and attribute_value(node, "to", 0) == onnx.TensorProto.BOOL:
            return self._switched(given[0], lambda x: x != 0)
        if op == "Not":
            return tuple(Trace(t.name, -t.slope, 1 - t.offset) for t in _traces(given, 0))
        if op == "Where" and 0 in free:
            self._chosen(given)
        traces: dict[Trace, None] = {}
        for place in free:
            handed = self._handed(op, place, given)
            traces.update(dict.fromkeys(handed))
        return tuple(traces)[:16]

    def _handed(self, op: str, place: int, given: Given) -> tuple[Trace, ...]:
        """What the output holds of the numbers of one input, its traces noted where it holds none."""
        traces = _traces(given, place)
        if (op in _FIRST and place == 0) or op in _ALL or place in _SOME.get(op, ()):
            return traces
        if op in ("Add", "Sub", "Mul", "Neg"):
            moved = _moved(op, place, given)
            for trace in moved:
                self._masked(trace)
            if moved:
                return moved
        if (sign := _MASKS.get((op, place))) is not None:
            self.say(traces, "keeps" if sign == "keeps" else "drops")
            if op == "Attention":
                self.say(traces, "vanish")
        elif op in _COUNTING:
            self.say(traces, "counted")
        elif op not in _LOOKED_AT and not (op == "Where" and place == 0):
            self.say(traces, "other")
        return ()

    def _masked(self, trace: Trace) -> None:
        """(1 - m) * -1e9: one of the two numbers of a mask comes to nothing, the other to a lot less."""
        zero, one = trace.offset, trace.offset + trace.slope
        if min(zero, one) <= MASKED and max(zero, one) > -1:
            self.say([trace], "keeps" if one > zero else "drops")
            if min(zero, one) <= VANISHING:
                self.say([trace], "vanish")

    def _compared(self, node: onnx.NodeProto, given: Given, dims_of: Callable[[str], Dims]) -> tuple[Trace, ...]:
        compare = _COMPARED[node.op_type]
        for place in (0, 1):
            own, other = given[place], given[1 - place]
            if own is None or other is None or not own.traces:
                continue
            if (number := other.constant) is not None:
                return self._switched(own, functools.partial(_holds, compare, number, flipped=place == 1))
            if not other.sources and is_ramp(other.interval):
                self.want(own.traces, up_to(other.interval, dims_of(node.input[1 - place])))
            else:
                self.say(own.traces, "other")
        return ()

    def _switched(self, fact: Fact | None, is_true: Callable[[float], bool]) -> tuple[Trace, ...]:
        """Numbers become true or false: a switch, if that tells 0 from 1."""
        made = []
        for trace in fact.traces if fact is not None else ():
            zero, one = is_true(trace.offset), is_true(trace.offset + trace.slope)
            self.say([trace], "other" if zero == one else "switch")
            if zero != one:
                made.append(Trace(trace.name, float(one) - float(zero), float(zero)))
        return tuple(made)

    def _chosen(self, given: Given) -> None:
        """Where: what it puts in the place of scores says what its condition masks."""
        true, false = (fact is not None and fact.high <= MASKED for fact in given[1:3])
        if true == false:
            return
        masked, other = (given[1], given[2]) if true else (given[2], given[1])
        added = other is not None and other.constant is not None  # 0 or -1e4, which is added to scores later
        for trace in _traces(given, 0):
            self.say([trace], "keeps" if (trace.slope > 0) == false else "drops")
            if masked is not None and (not added or masked.high <= VANISHING):
                self.say([trace], "vanish")


def _holds(compare: Callable[[float, float], bool], number: float, x: float, *, flipped: bool) -> bool:
    return compare(number, x) if flipped else compare(x, number)


def _traces(given: Given, place: int) -> tuple[Trace, ...]:
    fact = given[place] if place < len(given) else None
    return () if fact is None else fact.traces


def _moved(op: str, place: int, given: Given) -> tuple[Trace, ...]:
    """Traces behind the addition of a constant, or the multiplication by one; none where it is no constant."""
    traces = _traces(given, place)
    if op == "Neg":
        return tuple(Trace(t.name, -t.slope, -t.offset) for t in traces)
    other = given[1 - place] if len(given) == 2 else None
    number = other.constant if other is not None else None
    if number is None:
        return ()
    if op == "Mul":
        return tuple(Trace(t.name, t.slope * number, t.offset * number) for t in traces)
    if op == "Add":
        return tuple(Trace(t.name, t.slope, t.offset + number) for t in traces)
    if place == 0:
        return tuple(Trace(t.name, t.slope, t.offset - number) for t in traces)
    return tuple(Trace(t.name, -t.slope, number - t.offset) for t in traces)

"""The range that each input of a model is drawn from, read from what the graph does with it."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

import onnx

from graphkit.feeds.dataflow import Uses, Walk
from graphkit.feeds.evidence import Sign
from graphkit.feeds.ranges import FACTORS, PIXELS, POSITIVE, Range, together
from graphkit.graph import values, walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.upstream import upstream
from graphkit.model import Model
from graphkit.semantics.intervals import ANY, TINY, Interval, has_rule
from graphkit.semantics.kinds import PRODUCTS
from graphkit.shapes.exact_scales import drives_resize
from graphkit.tensor import numpy_type

FAR = 6.0
"""Beyond this a standard normal number hardly ever lies."""

CANDIDATES = (POSITIVE, Range(-0.9, 0.9), Range(0.1, 0.9), Range(1.1, 3.0), Range(-2.0, -0.1))
"""What is tried, in this order, for a real input that could leave the domain of an operator downstream."""

TOGETHER = 8
"""Inputs that are tried one by one too; more are given the same range."""


def input_ranges(model: Model, index: GraphIndex, names: Collection[str]) -> dict[str, Range]:
    """The ranges of graph inputs, from what becomes of their numbers, their types and, last, their names.

    - Indices, sizes, axes and lengths: what their readers can run on (``graphkit.feeds.accepted_values``).
    - What is only taken as true or false, or masks scores by way of a large negative number, is a mask: zeros and ones,
      a whole row of what is dropped only in some samples. So is what is called a mask and has no other reader.
    - Numbers: a standard normal distribution; 0 to 1 for pictures (4 dims, 1 or 3 channels); small whole numbers, all of
      an 8-bit type. Where these could leave the domain of a Log, Sqrt, Pow, Acosh, ... or make a divisor 0 (found by
      interval arithmetic), the first of ``CANDIDATES`` that cannot; where that cannot be decided for a Log or its like,
      positive numbers.

    Args:
        model: The model.
        index: Its main graph.
        names: The inputs to draw.

    Scope: main graph, bodies and functions.
    Cost: O(nodes), once, and some of them again where an input could leave a domain. Constants of up to a thousand
        numbers are read, weights are not.
    """
    kinds = {name: index.inputs[name].type.tensor_type.elem_type for name in names}
    usual = {name: _usual(index, name) for name in names}
    reader = Walk(model.proto, index)
    uses = reader.over({name: _interval(usual[name], kinds[name]) for name in names})
    fixed = {name: found for name in names if (found := _settled(model, index, name, uses, kinds[name])) is not None}
    if not uses.violations:
        return usual | fixed
    choices = {name: _choices(usual[name], kinds[name], fixed.get(name)) for name in names}
    return _Choice(model.proto, reader, choices, kinds).best()


def normalised(model: Model, index: GraphIndex, names: Collection[str]) -> list[str]:
    """Those of the inputs that are drawn as pictures of 0 to 1, and may be as well what mean and deviation make of them.

    No operator leaves its domain where their numbers are of a standard normal distribution.
    """
    pictures = [name for name, found in input_ranges(model, index, names).items() if found == PIXELS]
    if not pictures or Walk(model.proto, index).over(dict.fromkeys(pictures, (-FAR, FAR))).violations:
        return []
    return pictures


def _usual(index: GraphIndex, name: str) -> Range:
    info = index.inputs[name].type
    dims, dtype = values.dims(info), numpy_type(info.tensor_type.elem_type)
    if dims is None or len(dims) != 4 or dtype is None or dtype.kind in "biu":
        return Range()
    return PIXELS if dims[1] in (1, 3, None) or dims[3] == 3 else Range()


def _settled(model: Model, index: GraphIndex, name: str, uses: Uses, kind: int) -> Range | None:
    """The range of an input that is no plain number: something wants indices or sizes, or it is a mask."""
    dims = values.dims(index.inputs[name].type)
    if dims is not None and len(dims) == 1 and drives_resize(model.proto, name):
        if kind == onnx.TensorProto.INT64:
            return together([Range(8, 24), *uses.signs.wants.get(name, ())])
        if all(index.nodes[position].op_type == "Expand" for position in index.consumers.get(name, ())):
            return replace(FACTORS, length=1)  # what gk.resize makes: one factor for all axes, or one for each
    if name in uses.signs.wants:
        return together(uses.signs.wants[name])
    return _mask(uses.signs.said.get(name, set()), name, kind)


def _mask(said: set[Sign], name: str, kind: int) -> Range | None:
    dtype = numpy_type(kind)
    if dtype is None or dtype.kind not in "biuf":
        return None
    if dtype.kind == "f" and {"switch", "other"} <= said:
        return None  # data that is cut off somewhere: its own sign decides, and its numbers go on
    if "keeps" in said or "drops" in said:
        if {"keeps", "drops"} <= said:
            return Range(mask="either")
        return Range(mask="keeps" if "keeps" in said else "drops", empties="vanish" in said)
    if dtype.kind == "b":
        return None
    if "switch" in said and said <= ({"switch", "counted"} if dtype.kind in "iu" else {"switch"}):
        return Range(mask="either")
    return Range(mask="keeps") if re.search(r"mask(?!ed)", name, re.IGNORECASE) else None


def _choices(usual: Range, kind: int, fixed: Range | None) -> tuple[Range, ...]:
    """What may be drawn for an input: its usual range first."""
    if fixed is not None:
        return (fixed,)
    dtype = numpy_type(kind)
    if dtype is None or dtype.kind not in "iuf":
        return (usual,)
    if dtype.kind == "f":
        return (usual, *CANDIDATES)
    _, high = usual.integers(dtype)
    return (usual, Range(1, high), Range(2, high))


def _interval(drawn: Range, kind: int) -> Interval:
    """Where the numbers lie that are drawn from a range."""
    dtype = numpy_type(kind)
    if dtype is None or dtype.kind not in "biuf":
        return ANY
    if drawn.mask or dtype.kind == "b":
        return 0.0, 1.0
    if drawn.below:
        return drawn.low or 0.0, math.inf
    if dtype.kind in "iu":
        low, high = drawn.integers(dtype)
        return float(low), float(high)
    return (-FAR, FAR) if drawn.low is None or drawn.high is None else (drawn.low, drawn.high)


_Score: TypeAlias = tuple[int, int]
"""(nodes that may be given numbers for which they are undefined, divisors that may be 0)."""


class _Choice:
    """Chooses, for every input, the first of its ranges that keeps the nodes downstream defined."""

    def __init__(
        self,
        model: onnx.ModelProto,
        reader: Walk,
        choices: Mapping[str, tuple[Range, ...]],
        kinds: Mapping[str, int],
    ) -> None:
        self._model = model
        self._reader = reader
        self._choices = choices
        self._kinds = kinds
        self._uses = reader.over(self._intervals(dict.fromkeys(choices, 0)))
        self._nodes, reached = self._upstream()
        self._open = [name for name in choices if name in reached and len(choices[name]) > 1]

    def best(self) -> dict[str, Range]:
        """The range of every input."""
        chosen = dict.fromkeys(self._choices, 0)
        if self._uses.violations:
            chosen = self._tried(chosen)
            chosen = self._doubted(chosen)
        return {name: self._choices[name][place] for name, place in chosen.items()}

    def _tried(self, chosen: dict[str, int]) -> dict[str, int]:
        """All of them changed at once, then one by one."""
        longest = max((len(self._choices[name]) for name in self._open), default=0)
        trials = [chosen | {n: min(at, len(self._choices[n]) - 1) for n in self._open} for at in range(longest)]
        best = self._least(trials) if trials else chosen
        if 1 < len(self._open) <= TOGETHER:
            for name in self._open:
                best = self._least([best | {name: at} for at in range(len(self._choices[name]))])
        return best

    def _least(self, trials: list[dict[str, int]]) -> dict[str, int]:
        return min(trials, key=lambda trial: self._score(self._walked(trial)))

    def _doubted(self, chosen: dict[str, int]) -> dict[str, int]:
        """Positive numbers for what goes into a Log or its like of which it cannot be decided whether it is defined.

        Not where it would be, did all weights that are not read have positive numbers only: nothing is gained then.
        """
        uses = self._walked(chosen)
        sources = 0
        for kind, inputs in uses.violations.values():
            sources |= inputs if kind == "undefined" else 0
        doubtful = [n for n in chosen if self._reader.bits[n] & sources and self._may_be_negative(n, chosen[n])]
        trial = chosen | dict.fromkeys(doubtful, 1)
        if not doubtful or self._score(self._walked(trial)) > self._score(uses):
            return chosen
        hopeful = Walk(self._model, self._reader.index, weights=(TINY, math.inf)).over(self._intervals(chosen))
        return trial if self._score(hopeful)[0] else chosen

    def _may_be_negative(self, name: str, at: int) -> bool:
        return len(self._choices[name]) > 1 and _interval(self._choices[name][at], self._kinds[name])[0] < 0

    def _walked(self, chosen: Mapping[str, int]) -> Uses:
        """What is undefined with some choice, in the nodes that can tell."""
        return self._reader.again(self._intervals(chosen), self._uses.facts, self._nodes)

    def _intervals(self, chosen: Mapping[str, int]) -> dict[str, Interval]:
        return {name: _interval(self._choices[name][at], self._kinds[name]) for name, at in chosen.items()}

    def _score(self, uses: Uses) -> _Score:
        found = [kind for kind, _ in uses.violations.values()]
        return found.count("undefined"), found.count("pole")

    def _upstream(self) -> tuple[list[int], set[str]]:
        """The nodes before those where something may go wrong, as far as anything is known of them; inputs among them."""
        index = self._reader.index
        ends = {path[0] for path in self._uses.violations}
        read = [name for position in ends for name in index.reads(position)]
        found = upstream(index, read, enter=lambda place: _may_tell(index.nodes[place], self._known(index, place)))
        return sorted(ends.union(found.nodes)), {name for name in found.values if name not in index.producer}

    def _known(self, index: GraphIndex, position: int) -> list[bool]:
        """Of every input of a node, whether it is a weight of which nothing is known."""
        facts = [self._uses.facts.get(name) for name in index.nodes[position].input]
        return [fact is None or (fact.interval == ANY and not fact.sources) for fact in facts]


_PRODUCTS = (*PRODUCTS, "Einsum")


def _may_tell(node: onnx.NodeProto, unknown: Iterable[bool]) -> bool:
    """Whether another range of an input may change what is known of a node's output."""
    if node.op_type in _PRODUCTS and any(unknown):
        return False
    return has_rule(node.op_type) or node.domain not in ("", "ai.onnx") or any(True for _ in walk.bodies(node))

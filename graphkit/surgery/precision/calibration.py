"""What values a model has on feeds: their ranges, and whether 255 levels over such a range say anything.

The reductions are nodes of the model that runs, so that no value is ever held: only five numbers of each come out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.feeds.feeds import complete
from graphkit.feeds.input_ranges import normalised
from graphkit.graph.index import GraphIndex
from graphkit.graph.ports import input_ports
from graphkit.model import Model
from graphkit.progress import told
from graphkit.runtime.session import session

if TYPE_CHECKING:
    from graphkit.model import Source
    from graphkit.tensor import Array

LEVELS = 127
"""int8, symmetric: levels on each side of 0."""


class Margin(NamedTuple):
    """How far a range of few numbers is widened: the next numbers are likely to lie outside of it.

    Attributes:
        few: Ranges of fewer numbers than this are widened ...
        wide: ... to this many standard deviations from the mean ...
        most: ... and to this many times the largest number at most.
    """

    few: int
    wide: float
    most: float


GIVEN, DRAWN = Margin(1024, 4.5, 2.0), Margin(4096, 6.0, 2.5)
"""For feeds of the user's, and for random ones: products of few terms have long tails, and a number that is cut off costs more
than coarser levels do."""

SMALL, UNSEEN = 1 << 14, 8
"""Feeds of at most this many numbers are compared on this many runs, as one says little; larger ones on two."""

_LARGEST = float(np.finfo(np.float32).max)

_ABSURD = ((1000.0, 0.05), (50.0, 0.25))
"""(largest size from, share): a range is absurd where this share of the numbers, or more, would all become 0."""

_REDUCTIONS = ("ReduceMin", "ReduceMax", "ReduceSum", "ReduceSumSquare", "Size")


@dataclass
class Range:
    """What is known of a value's numbers."""

    lowest: float = np.inf
    highest: float = -np.inf
    total: float = 0.0
    squares: float = 0.0
    count: int = 0

    def add(self, lowest: float, highest: float, total: float, squares: float, count: int) -> None:
        """Take in a run's."""
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, highest)
        self.total, self.squares, self.count = self.total + total, self.squares + squares, self.count + count

    @property
    def largest(self) -> float:
        """The largest size of a number; infinity where one is not finite. A total may overflow, and is NaN where one is."""
        finite = np.isfinite([self.lowest, self.highest]).all() and not np.isnan(self.total)
        return float(max(abs(self.lowest), abs(self.highest))) if finite else float("inf")

    def widened(self, margin: Margin) -> tuple[float, float]:
        """The range to quantize by: wider than the numbers where there were few."""
        if not 0 < self.count < margin.few:
            return self.lowest, self.highest
        mean = self.total / self.count
        reach = margin.wide * max(self.squares / self.count - mean * mean, 0.0) ** 0.5
        most = margin.most * self.largest
        if not np.isfinite((mean, reach)).all():  # sums of a mask's numbers overflow
            return self.lowest, self.highest
        most = min(most, _LARGEST)
        lowest = min(self.lowest, max(mean - reach, -most)) if self.lowest < 0 else self.lowest
        return lowest, max(self.highest, min(mean + reach, most)) if self.highest > 0 else self.highest


class Calibration:
    """The runs that ranges come from, one at a time, and others that they do not come from."""

    def __init__(self, model: Model, feeds: Mapping[str, Any], *, samples: int, seed: int) -> None:
        """See how many runs there are.

        Args:
            model: The model.
            feeds: Input -> what to feed, or a list of texts or arrays of which each is a run; all else is random.
            samples: Runs where no input has a list and something is random.
            seed: Where random feeds start.

        Raises:
            ValueError: Lists of different lengths, or ``samples`` below 1.
        """
        if samples < 1:
            raise ArgumentValueError(f"samples is 1 or more, not {samples}")
        self._model, self._feeds, self._seed = model, feeds, seed
        self._lists = {name: list(value) for name, value in feeds.items() if _alternatives(value)}
        lengths = {len(values) for values in self._lists.values()}
        if len(lengths) > 1:
            raise ArgumentValueError(
                f"feeds for one run each: lists of {' and '.join(map(str, sorted(lengths)))} were given"
            )
        self._ports = input_ports(model.proto)
        self.random = sorted(name for name, port in self._ports.items() if port.required and name not in feeds)
        runs = lengths.pop() if lengths else samples if self.random else 1
        self.normal = normalised(model, GraphIndex(model.proto.graph), self.random) if self.random else []
        self._held_out = 1 if self._lists and runs >= 4 else 0
        self.every, self.count = runs, runs - self._held_out

    def runs(self, *, every: bool = False) -> Iterator[dict[str, Array]]:
        """The feeds of each run; of the one that is held out too where ``every`` is asked for.

        Raises:
            FeedError, NameNotFoundError: A feed does not fit.
        """
        count = self.every if every else self.count
        return told((self._run(i, self._seed + i) for i in range(count)), count, "calibrating")

    def unseen(self) -> tuple[list[dict[str, Array]], str]:
        """At most two runs that ``runs`` has not, or ``UNSEEN`` small ones, and what they are."""
        if self._held_out:
            return [self._run(self.count, self._seed + self.count)], "the last feed, which was held out"
        if self.random:
            first = self._run(0, self._seed + self.count + 1)
            count = UNSEEN if sum(array.size for array in first.values()) <= SMALL else 2
            others = [self._run(number, self._seed + self.count + 1 + number) for number in range(1, count)]
            return [first, *others], "feeds that calibration did not see"
        return [{k: _reversed(v) for k, v in self._run(0, self._seed).items()}], "the feed with its axes reversed"

    def _run(self, number: int, seed: int) -> dict[str, Array]:
        random = dict.fromkeys(self.random, "random")
        own = {name: values[number % len(values)] for name, values in self._lists.items()}
        feeds = complete(self._model, self._ports, {**random, **self._feeds, **own}, seed=seed)
        if number % 2:
            generator = np.random.default_rng(seed)
            feeds |= {
                name: generator.standard_normal(feeds[name].shape).astype(feeds[name].dtype) for name in self.normal
            }
        return feeds

    @property
    def drawn(self) -> str:
        """What was random, as the end of a sentence; "" where nothing was."""
        if not self.random:
            return ""
        said = f", random numbers for {', '.join(map(repr, self.random))}"
        if self.normal:
            said += f" ({', '.join(map(repr, self.normal))}: 0 to 1 and standard normal in turns)"
        return said + ": feed your own for ranges that fit them"


def _alternatives(value: Any) -> bool:
    """Whether a feed is a list of feeds, and not one that is written as a list of numbers."""
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(v, str | np.ndarray) for v in value)


def _reversed(array: Array) -> Array:
    """Numbers in another order; masks, whose order means something, as they are."""
    is_data = (
        array.dtype == np.float32 and array.ndim > 1 and np.isfinite(array).all() and np.abs(array).max(initial=0) < 1e3
    )
    return np.ascontiguousarray(np.flip(array, tuple(range(1, array.ndim)))) if is_data else array


def ranges(
    proto: onnx.ModelProto,
    values: Sequence[str],
    runs: Iterator[dict[str, Array]],
    sources: Mapping[str, Source] | None = None,
) -> dict[str, Range]:
    """The range of each of some float32 values of the main graph over some runs; its weights may lie in ``sources``.

    Raises:
        FeedError: A feed does not fit.
        SessionError: The runtime refuses the model, or fails.

    Cost: a run of the model each, with five reductions a value.
    """
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    del model.graph.output[:], model.graph.value_info[:]
    for value in values:
        for op in _REDUCTIONS:
            name = f"{value}:{op}"
            options: dict[str, Any] = {} if op == "Size" else {"keepdims": 0}
            model.graph.node.append(onnx.helper.make_node(op, [value], [name], **options))
            kind = onnx.TensorProto.INT64 if op == "Size" else onnx.TensorProto.FLOAT
            model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, []))
    found = {value: Range() for value in values}
    running = session(Model(model, sources), device="cpu", optimize=False)
    for feeds in runs:
        answer = running.run_arrays(feeds)
        for value in values:
            lowest, highest, total, squares, count = (answer[f"{value}:{op}"].item() for op in _REDUCTIONS)
            found[value].add(lowest, highest, total, squares, int(count))
    return found


def absurd(found: Mapping[str, Range], proto: onnx.ModelProto, runs: Iterator[dict[str, Array]]) -> dict[str, float]:
    """The values whose ranges say nothing of most of their numbers, as a mask's do, with the number farthest from 0.

    Cost: a second run each, in which only the values with a large range are looked at number by number.
    """
    result = {name: r.largest for name, r in found.items() if not np.isfinite(r.largest)}
    suspects = {name: r.largest for name, r in found.items() if name not in result and r.largest >= _ABSURD[-1][0]}
    if not suspects:
        return result
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    del model.graph.output[:], model.graph.value_info[:]
    for name in suspects:
        copied = f"{name}:"
        model.graph.node.append(onnx.helper.make_node("Identity", [name], [copied]))
        model.graph.output.append(onnx.helper.make_tensor_value_info(copied, onnx.TensorProto.FLOAT, None))
    running = session(Model(model), device="cpu", optimize=False)
    for feeds in runs:
        for name, largest in suspects.items():
            if name not in result:
                [array] = running.run_arrays(feeds, [f"{name}:"]).values()
                if is_absurd(array, largest):
                    result[name] = largest
    return result


def is_absurd(array: Array, largest: float) -> bool:
    """Whether most of what numbers say is lost on levels that reach to the largest of them."""
    if not np.isfinite(largest):
        return True
    size = np.abs(array[array != 0])
    lost = float(np.mean(size < largest / LEVELS / 2)) if size.size else 0.0
    return any(largest >= least and lost >= share for least, share in _ABSURD)


def absurd_weights(proto: onnx.ModelProto, names: Collection[str]) -> dict[str, float]:
    """``absurd`` for weights."""
    result = {}
    for tensor in proto.graph.initializer:
        if tensor.name in names and tensor.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(tensor)
            largest = float(np.abs(array).max(initial=0)) if np.isfinite(array).all() else float("inf")
            if is_absurd(array, largest):
                result[tensor.name] = largest
    return result

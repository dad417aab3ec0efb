"""Laws of an axis that became free, tried in ONNX Runtime: samples stacked in one run, the old size, other sizes.

``before`` and ``after`` are a model and the same model with free axes. Nothing here knows how the axes were made free:
the laws bind inputs and outputs by name, draw the feeds, run both and compare.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import GraphkitError
from graphkit.feeds.random import RandomFeeds
from graphkit.graph.names import title
from graphkit.model import Model
from graphkit.runtime.session import Session, session

if TYPE_CHECKING:
    from graphkit.tensor import Array

Feeds = Mapping[str, "Array"]
Axes = Mapping[str, int]
"""Value -> the axis of it along which samples lie."""

SAMPLES = 3
"""Samples that are stacked: two could be right by chance where one is repeated."""

TOLERANCE = 1e-3
"""How far a number may be off, as a part of the largest: the same kernels sum in another order for another batch."""


@dataclass(frozen=True)
class Broken:
    """A law that does not hold.

    Attributes:
        output: The output that shows it, "" where the model does not run.
        why: What is wrong, as an end of a sentence.
        node: The first node at which it shows, None where that is not known.
    """

    output: str
    why: str
    node: onnx.NodeProto | None = None

    def __str__(self) -> str:
        where = f", first at {title(self.node)}" if self.node is not None else ""
        return f"{self.why}{where}"


def same_at_old_size(before: Session, after: Session, feeds: Feeds) -> Broken | None:
    """Whether two models give the same on the same feeds. Cost: one run of each."""
    wanted = before.run_arrays(feeds)
    try:
        got = after.run_arrays({name: feeds[name] for name in after.inputs if name in feeds})
    except GraphkitError as error:
        return Broken("", f"it does not run at the old size: {_short(error)}")
    for name, array in wanted.items():
        if name in got and (why := difference(got[name], array)):
            return Broken(name, f"the output {name!r} is another at the old size: {why}")
    return None


def stacked(before: Session, after: Session, samples: Sequence[Feeds], inputs: Axes, outputs: Axes) -> Broken | None:
    """Whether several samples in one run give what each gives alone.

    Args:
        before: The model that takes one sample at a time.
        after: The model that takes several.
        samples: The feeds of each; inputs that are not stacked are taken from the first.
        inputs: Input -> the axis along which samples are stacked.
        outputs: Output -> the axis along which their results are.

    Cost: a run of ``before`` for each sample, and one of ``after``.
    """
    shared = {name: array for name, array in samples[0].items() if name not in inputs}
    alone = [before.run_arrays({**feeds, **shared}, list(outputs)) for feeds in samples]
    joined = {name: np.concatenate([feeds[name] for feeds in samples], axis) for name, axis in inputs.items()}
    fed = {**shared, **joined}
    try:
        together = after.run_arrays({name: fed[name] for name in after.inputs if name in fed}, list(outputs))
    except GraphkitError as error:
        return Broken("", f"it does not run with {len(samples)} samples: {_short(error)}")
    for name, axis in outputs.items():
        wanted = np.concatenate([results[name] for results in alone], axis)
        if why := difference(together[name], wanted):
            return Broken(name, f"{len(samples)} samples in one run are not what each is alone in {name!r}: {why}")
    return None


def runs_at(after: Session, feeds: Feeds, shapes: Mapping[str, Sequence[int | str | None] | None]) -> Broken | None:
    """Whether a model runs at other sizes, and its outputs have the shapes that it declares.

    Args:
        after: The model.
        feeds: Feeds of the other sizes.
        shapes: What is declared for inputs and outputs; a symbol has one size.

    Cost: one run.
    """
    try:
        got = after.run_arrays(feeds)
    except GraphkitError as error:
        sizes = ", ".join(f"{name}{list(array.shape)}" for name, array in feeds.items())
        return Broken("", f"it does not run with {sizes}: {_short(error)}")
    symbols: dict[str, int] = {}
    for name, array in [*feeds.items(), *got.items()]:
        declared = shapes.get(name)
        if declared is None:
            continue
        if len(declared) != len(array.shape):
            return Broken(name, f"{name!r} has {len(array.shape)} axes and declares {len(declared)}")
        for axis, (dim, size) in enumerate(zip(declared, array.shape, strict=True)):
            expected = symbols.setdefault(dim, size) if isinstance(dim, str) and dim.isidentifier() else dim
            if isinstance(expected, int) and expected != size:
                return Broken(name, f"axis {axis} of {name!r} has the size {size} and declares {dim}")
    return None


def first_difference(
    before: Model, after: Model, samples: Sequence[Feeds], inputs: Axes, values: Axes
) -> onnx.NodeProto | None:
    """The first node whose result for stacked samples is not what each gives alone; None where none shows it.

    Args:
        before: The model that takes one sample at a time.
        after: The model that takes several.
        samples: The feeds of each.
        inputs: Input -> the axis along which samples are stacked.
        values: Values that both models make -> the axis along which results are stacked.

    Cost: as ``stacked``, with every value kept.
    """
    try:
        one, many = (
            session(_with_outputs(m, values), device="cpu", optimize=False, threads=1) for m in (before, after)
        )
        for node in after.proto.graph.node:
            for name in node.output:
                if name in values and name in one.outputs and stacked(one, many, samples, inputs, {name: values[name]}):
                    return node
    except GraphkitError:
        return None  # values between cannot be looked at: the outputs have told already
    return None


def _with_outputs(model: Model, names: Collection[str]) -> Model:
    proto = model.copy_proto()
    has = {value.name for value in proto.graph.output}
    made = {name for node in proto.graph.node for name in node.output}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name in made and name not in has)
    return Model(proto, model.sources, path=model.path)


def difference(got: Any, wanted: Any) -> str:
    """What is other in an array, "" where nothing is but rounding."""
    if not isinstance(got, np.ndarray) or not isinstance(wanted, np.ndarray):
        return ""
    if got.shape != wanted.shape:
        return f"shape {list(got.shape)} for {list(wanted.shape)}"
    if not got.size or got.dtype.kind in "OUS":
        return "" if np.array_equal(got, wanted) else "another text"
    a, b = got.astype(np.float64), wanted.astype(np.float64)
    if got.dtype.kind in "iub":
        part = float((a != b).mean())
        return "" if part <= 0.01 else f"{part:.0%} of the numbers are others"
    nan = np.isnan(a) != np.isnan(b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    finite = np.abs(b[np.isfinite(b)])
    scale = float(finite.max()) if finite.size else 1.0
    with np.errstate(invalid="ignore"):
        far = np.where(same, 0.0, np.abs(a - b))
    worst = float(far.max()) if not nan.any() else float("nan")
    return "" if worst <= TOLERANCE * max(scale, 1e-6) else f"off by {worst:.3g} of {scale:.3g}"


def drawn(model: Model, count: int, bind: Mapping[str, int] | None = None) -> list[dict[str, Array]]:
    """Feeds for a model, so many samples.

    Raises:
        FeedError: An input is no tensor, or its rank is unknown.
    """
    feeds = RandomFeeds(model, seed=0, bind=bind)
    return [feeds.draw_all(sample) for sample in range(count)]


def _short(error: GraphkitError) -> str:
    text = " ".join(str(error).split())
    return text if len(text) < 240 else f"{text[:100]} ... {text[-120:]}"

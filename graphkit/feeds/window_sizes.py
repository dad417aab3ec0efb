"""Sizes of open dims that leave room for the windows of a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import onnx

from graphkit.semantics.windows import misfit
from graphkit.shapes.inference import at_shapes

FACTORS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""By how much a size that turned out too small is multiplied, smallest first."""


def with_room(
    model: onnx.ModelProto, sizes: Mapping[str, int], shapes: Callable[[Mapping[str, int]], dict[str, tuple[int, ...]]]
) -> dict[str, int]:
    """Sizes with which every window of the main graph fits into what it is moved over; the given ones where these do.

    One size is made larger where that is enough, else all of them.

    Args:
        model: The model.
        sizes: Symbolic dims whose sizes may be chosen -> what they usually are.
        shapes: The shapes of the inputs at such sizes.

    Cost: one shape inference (40 microseconds a node); one more for each trial where windows do not fit.
    """
    for trial in _trials(sizes):
        if misfit(at_shapes(model, shapes(trial)).graph) is None:
            return trial
    return dict(sizes)


def _trials(sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    yield dict(sizes)
    groups: list[Sequence[str]] = [*([name] for name in sizes)]
    if len(groups) > 1:
        groups.append(list(sizes))
    for factor in FACTORS:
        for group in groups:
            yield {name: size * factor if name in group else size for name, size in sizes.items()}

"""Token ids, class labels and other indices: the random ones lie below the rows of the table that they choose from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from graphkit.feeds.ranges import Range
from graphkit.feeds.reader import Reader, Want
from graphkit.graph.values import attribute_value


def below(sizes: Iterable[int | str | None]) -> Range:
    """Indices below every one of some sizes; 0 where one is unknown."""
    known = list(sizes)
    if not known or not all(isinstance(size, str) or (size is not None and size > 0) for size in known):
        return Range(0, 0)
    fixed = [size for size in known if isinstance(size, int)]
    return Range(
        0,
        min(fixed) - 1 if fixed else None,
        below=tuple(dict.fromkeys(size for size in known if isinstance(size, str))),
    )


def _rows(reader: Reader, data: int = 0) -> Range:
    """Indices along one axis of another input."""
    dims = reader.dims(data)
    axis = int(attribute_value(reader.node, "axis", 0))
    return below([dims[axis]]) if dims and -len(dims) <= axis < len(dims) else Range(0, 0)


def _first_rows(place: int) -> Callable[[Reader], Range]:
    return lambda reader: below((reader.dims(place) or [None])[:1])


def _tuples(reader: Reader) -> Range:
    """Indices that are tuples, one number for each of the leading axes of the data (GatherND, ScatterND)."""
    dims, indices = reader.dims(0), reader.dims(1)
    if not dims or not indices or not isinstance(indices[-1], int):
        return below(dims or [None])
    first = int(attribute_value(reader.node, "batch_dims", 0))
    return below(dims[first : first + indices[-1]])


def _one_hot(reader: Reader) -> Range | None:
    depth = reader.number(1)
    return None if depth is None else Range(0, depth - 1)


def _classes(reader: Reader) -> Range:
    return below((reader.dims(0) or [None, None])[1:2])


INDICES: dict[tuple[str, int], Want] = {
    **{(op, 1): _rows for op in ("Gather", "GatherElements", "ScatterElements", "Scatter")},
    **{(op, 1): _tuples for op in ("GatherND", "ScatterND")},
    **{(op, 1): _classes for op in ("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")},
    ("OneHot", 0): _one_hot,
    ("RoiAlign", 2): _first_rows(0),
}
"""(operator of ai.onnx, which input) -> the indices that it takes there."""

CONTRIB_INDICES: dict[tuple[str, int], Want] = {
    ("EmbedLayerNormalization", 0): _first_rows(2),
    ("EmbedLayerNormalization", 1): _first_rows(4),
    ("EmbedLayerNormalization", 8): _first_rows(3),
    ("GatherBlockQuantized", 1): _first_rows(0),
    ("RotaryEmbedding", 1): _first_rows(2),
}
"""The same for the operators that ONNX Runtime adds (com.microsoft)."""

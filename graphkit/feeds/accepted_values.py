"""What a node wants of the numbers that it is given as sizes, axes, lengths: the range that it can run on.

Indices, token ids among them, have their rules in ``graphkit.feeds.token_ids``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from graphkit.feeds.ranges import FACTORS, POSITIVE, Range
from graphkit.feeds.reader import Dims, Reader, Want
from graphkit.feeds.token_ids import CONTRIB_INDICES, INDICES
from graphkit.graph.values import attribute_value
from graphkit.semantics.intervals import Interval
from graphkit.semantics.kinds import RECURRENT, REDUCTIONS


def wanted(reader: Reader) -> Range | None:
    """The range of numbers that a node can run on at one of its inputs, or None for any.

    Indices stay below the rows that they choose from, 0 where these are unknown. What makes a size is small: 1 to 4.

    Cost: O(1), and what ``dims_of`` costs.
    """
    node = reader.node
    rule = (_WANTS if node.domain in ("", "ai.onnx") else CONTRIB_INDICES).get((node.op_type, reader.place))
    return rule(reader) if callable(rule) else rule


def _most(reader: Reader) -> Range:
    """How many of the best to find along an axis (TopK), not more than there are."""
    dims = reader.dims(0)
    axis = int(attribute_value(reader.node, "axis", -1))
    size = dims[axis] if dims and -len(dims) <= axis < len(dims) else None
    return reader.vector(Range(1, min(3, size) if isinstance(size, int) else 3), 1)


def lengths(size: int | str | None) -> Range:
    """Lengths of sequences that are padded to a size; the first is the full one, as packing them demands."""
    if isinstance(size, str):
        return Range(1, None, below=(size,), shift=-1, order="falling")
    return Range(1, 4 if size is None else max(size, 1), order="falling")


def _sequence_lengths(reader: Reader) -> Range:
    axis = 1 if attribute_value(reader.node, "layout", 0) else 0
    return lengths((reader.dims(0) or [None, None])[axis])


def _reversed_lengths(reader: Reader) -> Range:
    return lengths((reader.dims(0) or [None, None])[int(attribute_value(reader.node, "time_axis", 0))])


def _squeezed(reader: Reader) -> Range:
    dims = reader.dims(0) or []
    axis = dims.index(1) if 1 in dims else -1
    return reader.vector(Range(axis, axis), 1)


def _sized(wanted: Range, per_axis: int = 1) -> Callable[[Reader], Range]:
    """A vector with so many numbers for each axis of the first input."""
    return lambda reader: reader.vector(wanted, per_axis * len(reader.dims(0) or ()) or None)


def _one(wanted: Range) -> Callable[[Reader], Range]:
    return lambda reader: reader.vector(wanted, 1)


def _reshaped(reader: Reader) -> Range:
    """The target of Reshape: dims are kept by 0, the last one stands for the rest, ones follow. For a part of it: 1 to 4."""
    if not reader.whole:
        return Range(1, 4)
    rank, target = len(reader.dims(0) or (0,)), reader.dims(1)
    length = target[0] if target and isinstance(target[0], int) else rank
    kept = 0 if attribute_value(reader.node, "allowzero", 0) else min(length, rank) - 1
    return Range(1, 1, leading=(*[0] * kept, -1), length=length)


def _expanded(reader: Reader) -> Range:
    """The target of Expand: ones leave every tensor as it is."""
    return reader.vector(Range(1, 1), len(reader.dims(0) or ()) or None) if reader.whole else Range(1, 4)


def _parts(reader: Reader) -> Range | None:
    """The sizes of equal parts (Split)."""
    dims, parts = reader.dims(0), len(reader.node.output)
    axis = int(attribute_value(reader.node, "axis", 0))
    size = dims[axis] if dims and -len(dims) <= axis < len(dims) else None
    if not isinstance(size, int) or size % parts:
        return None
    return reader.vector(Range(size // parts, size // parts), parts)


def _attended_lengths(reader: Reader) -> Range:
    return lengths((reader.dims(1) or [None, None])[-2])


def _grid(reader: Reader) -> Range:
    first = (reader.dims(0) or [None])[0]
    return Range(2, 4, leading=() if first is None else (first,))


def _sizes(reader: Reader) -> Range:
    """Sizes to resize to: batch and channels stay as they are where the input is the whole vector."""
    first = [dim for dim in (reader.dims(0) or [])[:2] if dim is not None]
    if not reader.whole or len(first) < 2 or attribute_value(reader.node, "axes"):
        return Range(8, 24)
    return Range(8, 24, leading=tuple(first), length=len(reader.dims(0) or ()))


def _scales(place: int) -> Callable[[Reader], Range | None]:
    """Scales: 1 for batch and channels where the input is the whole vector, a factor elsewhere."""

    def rule(reader: Reader) -> Range | None:
        node = reader.node
        if node.op_type == "Resize" and place == 1 and len(node.input) > 2:
            return None  # the region of interest
        if not reader.whole:
            return replace(FACTORS, length=1)  # on its way to be expanded: one number counts for every axis
        axes = list(attribute_value(node, "axes", ()))
        rank = len(axes) or len(reader.dims(0) or ()) or None
        return replace(FACTORS, leading=() if axes else (1, 1), length=rank)

    return rule


def _axes(reader: Reader) -> Range:
    return reader.vector(Range(0, 0, order="counting"), 1)


_WANTS: dict[tuple[str, int], Want] = {
    **INDICES,
    **{(op, 4): _sequence_lengths for op in RECURRENT},
    **{(op, 1): _axes for op in REDUCTIONS},
    **{(op, 1): POSITIVE for op in ("QuantizeLinear", "DequantizeLinear")},
    **{(f"{kind}Window", 0): Range(4, 8) for kind in ("Blackman", "Hamming", "Hann")},
    ("AffineGrid", 1): _grid,
    ("Attention", 6): _attended_lengths,
    ("BatchNormalization", 4): POSITIVE,
    ("BitShift", 1): Range(0, 3),
    ("CenterCropPad", 1): Range(1, 4),
    ("ConstantOfShape", 0): Range(1, 4),
    ("CumProd", 1): Range(-1, -1),
    ("CumSum", 1): Range(-1, -1),
    ("DFT", 1): Range(4, 8),
    ("Dropout", 1): Range(0, 0.5),
    ("Dropout", 2): Range(0, 0),
    ("Expand", 1): _expanded,
    ("GridSample", 1): Range(-1, 1),
    ("Loop", 0): Range(1, 3),
    ("Loop", 1): Range(1, 1),
    ("MaxRoiPool", 1): Range(0, 0),
    ("NonMaxSuppression", 0): Range(0, 1, order="corners"),
    ("NonMaxSuppression", 2): _one(Range(3, 9)),
    ("NonMaxSuppression", 3): _one(Range(0.3, 0.7)),
    ("NonMaxSuppression", 4): _one(Range(0, 0.2)),
    ("OneHot", 1): _one(Range(2, 8)),
    ("Pad", 1): _sized(Range(0, 2), per_axis=2),
    ("Pad", 3): _axes,
    ("Range", 0): Range(0, 0),
    ("Range", 1): Range(3, 5),
    ("Range", 2): Range(1, 1),
    ("Reshape", 1): _reshaped,
    ("Resize", 1): _scales(1),
    ("Resize", 2): _scales(2),
    ("Resize", 3): _sizes,
    ("ReverseSequence", 1): _reversed_lengths,
    ("RoiAlign", 1): Range(0, 16, order="corners"),
    ("STFT", 1): Range(4, 4),
    ("STFT", 3): Range(8, 8),
    ("SequenceAt", 1): Range(0, 0),
    ("Slice", 1): _one(Range(0, 0)),
    ("Slice", 2): _one(Range(1, 4)),
    ("Slice", 3): _axes,
    ("Slice", 4): _one(Range(1, 1)),
    ("Split", 1): _parts,
    ("Squeeze", 1): _squeezed,
    ("TensorScatter", 2): Range(0, 0),
    ("Tile", 1): _sized(Range(1, 3)),
    ("TopK", 1): _most,
    ("Trilu", 1): Range(0, 1),
    ("Unsqueeze", 1): _axes,
    ("Upsample", 1): _scales(1),
}
"""(operator of ai.onnx, which input) -> what it wants there."""


def is_ramp(interval: Interval) -> bool:
    """Whether an interval may be that of 0, 1, 2, ... which lengths are compared with."""
    return interval[0] == 0 and interval[1] > 1


def up_to(interval: Interval, dims: Dims) -> Range:
    """Lengths for a ramp: up to its end, from its numbers or its size; up to 9 where neither is known."""
    if not math.isinf(interval[1]):
        return lengths(int(interval[1]) + 1)
    return lengths((dims or [None])[-1] or 9)

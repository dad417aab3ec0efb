"""What the page says about weights: their size, where they lie, a few numbers and a histogram; bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import onnx

from graphkit.errors import GraphkitError
from graphkit.tensor import bits, decode, expected_bytes, is_stripped, stored_bytes

if TYPE_CHECKING:
    from graphkit.model import Model
    from graphkit.tensor import Array

BINS = 24
"""Columns of a histogram."""

MOST_READ = 1 << 28
"""Bytes that are read for all statistics of a page together."""

MOST_TENSORS = 3000
"""Tensors whose statistics are computed, the largest first."""

WHOLE = 1 << 20
"""Bytes up to which a tensor is read as a whole; of a larger one, ``PIECES`` pieces that come to as much."""

PIECES = 16

SHOWN = 12
"""Elements up to which a tensor's values are written out."""

_NUMBERS = "fiub"


def statistics(model: Model, tensors: Sequence[onnx.TensorProto]) -> list[dict[str, Any] | str | None]:
    """For each tensor its statistics, a word why there are none, or None where the bound was reached before.

    Cost: at most ``MOST_READ`` bytes are read, at most ``WHOLE`` of one tensor.
    """
    found: list[dict[str, Any] | str | None] = [None] * len(tensors)
    left = MOST_READ
    for at in sorted(range(len(tensors)), key=lambda at: -_size(tensors[at]))[:MOST_TENSORS]:
        wanted = min(WHOLE, _size(tensors[at]))
        if wanted > left:
            continue
        left -= wanted
        try:
            found[at] = _summary(*_values(model, tensors[at]))
        except GraphkitError as error:
            found[at] = error.message
    return found


def _size(tensor: onnx.TensorProto) -> int:
    try:
        return stored_bytes(tensor)
    except GraphkitError:
        return 0


def _values(model: Model, tensor: onnx.TensorProto) -> tuple[Array, int]:
    """A tensor's elements, flat, or some of them, and how many it has."""
    size = expected_bytes(tensor)
    if size is None or size <= WHOLE or is_stripped(tensor):
        array = decode(tensor, model.payload(tensor)).reshape(-1)
        return array, array.size
    return _sampled(model, tensor, size), size * 8 // bits(tensor.data_type)


def _sampled(model: Model, tensor: onnx.TensorProto, size: int) -> Array:
    """Pieces at equal distances. A piece begins at a multiple of 48 bytes, where an element of every type begins."""
    import numpy as np

    piece = WHOLE // PIECES // 48 * 48
    step = (size - piece) // (PIECES - 1) // 48 * 48
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        source, offset, _ = model.locate(tensor)
        blocks = [bytes(source.view(offset + at * step, piece)) for at in range(PIECES)]
    elif tensor.HasField("raw_data"):
        held = memoryview(tensor.raw_data)
        blocks = [bytes(held[at * step : at * step + piece]) for at in range(PIECES)]
    else:
        return decode(tensor, None).reshape(-1)[:: max(1, size // WHOLE)]
    count = piece * 8 // bits(tensor.data_type)
    kind = tensor.data_type
    parts = [onnx.TensorProto(data_type=kind, dims=[count], raw_data=block, name=tensor.name) for block in blocks]
    return np.concatenate([decode(part, None) for part in parts])


def _summary(values: Array, count: int) -> dict[str, Any] | str:
    import numpy as np

    if not count:
        return "no elements"
    if values.dtype.kind in "OSU":
        return "texts: " + ", ".join(repr(_text(value))[:40] for value in values[:SHOWN].tolist())
    if values.dtype.kind == "c":
        return "complex numbers"
    plain = values.astype(np.float64) if values.dtype.kind not in _NUMBERS or values.dtype.itemsize < 8 else values
    numbers = plain.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    said: dict[str, Any] = {"read": int(values.size), "of": count, "zeros": int((numbers == 0).sum())}
    if nan := int(np.isnan(numbers).sum()):
        said["nan"] = nan
    if infinite := int(np.isinf(numbers).sum()):
        said["inf"] = infinite
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        with np.errstate(over="ignore"):  # float64 that come to more than float64 has
            said |= {"min": low, "max": high, "mean": _json(finite.mean()), "std": _json(finite.std())}
        said["bins"] = _histogram(finite, low, high)
    if count <= SHOWN:
        said["values"] = ", ".join(_short(value) for value in values.tolist())
    return said


def _histogram(finite: Array, low: float, high: float) -> list[int]:
    """Counts in ``BINS`` columns of equal width; one column where all are equal."""
    import numpy as np

    if not low < high or not math.isfinite(high - low):
        return [int(finite.size)]
    places = np.minimum((finite - low) * (BINS / (high - low)), BINS - 1)
    return [int(number) for number in np.bincount(places.astype(np.int64), minlength=BINS)]


def _json(number: Any) -> float | None:
    return float(number) if math.isfinite(number) else None


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)

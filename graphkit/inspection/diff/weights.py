"""Whether two tensors hold the same values, and how far one moved from the other; both are read in pieces."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.inspection.diff.difference import Movement
from graphkit.tensor import bits, decode, expected_bytes, is_stripped, numpy_type

if TYPE_CHECKING:
    from graphkit.model import Model

CHUNK = 1 << 22
"""Bytes of a tensor that are read at a time."""

GLANCE = 512
"""Bytes that tell weights apart while nodes are matched; what is said of them is decided by all their bytes."""


def glance(model: Model, tensor: onnx.TensorProto) -> Any:
    """Type, dims and the first bytes of a tensor: what tells most weights apart."""
    return (*outline(tensor), next(_pieces(model, tensor, GLANCE), b""))


def outline(tensor: onnx.TensorProto) -> Any:
    """Type and dims of a tensor."""
    return (tensor.data_type, tuple(tensor.dims))


def same_values(before: Model, one: onnx.TensorProto, after: Model, two: onnx.TensorProto) -> bool:
    """Whether two tensors of one type and shape hold the same bytes, wherever and however they are stored.

    Raises:
        WeightsError, TensorError: The bytes are not where a tensor says, or contradict its dims.

    Cost: O(bytes) up to the first difference, ``CHUNK`` of each in memory.
    """
    if _place(before, one) == _place(after, two) is not None:
        return True
    if one.raw_data and two.raw_data:
        return bool(one.raw_data == two.raw_data)
    if is_stripped(one) or is_stripped(two):
        return is_stripped(one) == is_stripped(two)
    left, right = _pieces(before, one, CHUNK), _pieces(after, two, CHUNK)
    return all(a == b for a, b in _aligned(left, right))


def movement(before: Model, one: onnx.TensorProto, after: Model, two: onnx.TensorProto) -> Movement | None:
    """How far a tensor moved; None where one of the two has no values.

    Raises:
        WeightsError, TensorError: As ``same_values``.

    Cost: O(bytes): both are read once and digested, ``CHUNK`` of each in memory; types of less than 8 bits and texts are
        decoded whole.
    """
    if is_stripped(one) or is_stripped(two):
        return None
    digests = hashlib.sha256(), hashlib.sha256()
    sums = _Sums()
    alike = list(one.dims) == list(two.dims) and _is_whole(before, one) and _is_whole(after, two)
    streamed = alike and one.data_type == two.data_type and bits(one.data_type) >= 8
    for left, right in _aligned(_pieces(before, one, CHUNK), _pieces(after, two, CHUNK)):
        digests[0].update(left)
        digests[1].update(right)
        if streamed:
            dtype = numpy_type(one.data_type)
            sums.take(np.frombuffer(left, dtype), np.frombuffer(right, dtype))
    if alike and not streamed:
        sums.take(decode(one, before.payload(one)).reshape(-1), decode(two, after.payload(two)).reshape(-1))
    said = digests[0].hexdigest(), digests[1].hexdigest()
    elements = math.prod(two.dims)
    if not alike:
        return Movement(elements, None, None, None, 0, *said)
    return Movement(elements, sums.changed, sums.max_abs, sums.relative, sums.not_finite, *said)


@dataclass
class _Sums:
    changed: int = 0
    not_finite: int = 0
    max_abs: float = 0.0
    moved: float = 0.0
    size: float = 0.0

    def take(self, left: Any, right: Any) -> None:
        if left.dtype == right.dtype and left.tobytes() == right.tobytes():
            wide = left.astype(_wide(left))
            self.size += _squares(wide[np.isfinite(wide)])
            return
        same_bits = left.dtype == right.dtype and left.dtype.kind != "V"
        one, two = left.astype(_wide(left)), right.astype(_wide(right))
        with np.errstate(all="ignore"):
            other = (left != right) if same_bits else (one != two)
            other &= ~(np.isnan(one) & np.isnan(two))
            finite = np.isfinite(one) & np.isfinite(two)
            step = np.abs(two[finite] - one[finite])
        self.changed += int(np.count_nonzero(other))
        self.not_finite += int(np.count_nonzero(other & ~finite))
        self.max_abs = max(self.max_abs, float(step.max(initial=0.0)))
        self.moved += _squares(step)
        self.size += _squares(one[finite])

    @property
    def relative(self) -> float | None:
        return math.sqrt(self.moved / self.size) if self.size else None


def _wide(array: Any) -> Any:
    return np.complex128 if array.dtype.kind == "c" else np.float64


def _squares(array: Any) -> float:
    return float(np.vdot(array, array).real)


def _is_whole(model: Model, tensor: onnx.TensorProto) -> bool:
    """Whether a tensor holds numbers, as many bytes of them as its dims say."""
    if not bits(tensor.data_type) or numpy_type(tensor.data_type) is None:
        return False
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return model.locate(tensor)[2] == expected_bytes(tensor)
    return not tensor.raw_data or len(tensor.raw_data) == expected_bytes(tensor)


def _place(model: Model, tensor: onnx.TensorProto) -> Any:
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return None
    source, offset, length = model.locate(tensor)
    return (id(source), offset, length)


def _pieces(model: Model, tensor: onnx.TensorProto, size: int) -> Iterator[bytes]:
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        source, offset, length = model.locate(tensor)
        for at in range(0, length, size):
            yield source.read(offset + at, min(size, length - at))
        return
    if is_stripped(tensor):
        return
    if tensor.data_type == onnx.TensorProto.STRING:
        whole = b"".join(len(text).to_bytes(8, "little") + text for text in tensor.string_data)
    elif tensor.raw_data:
        whole = tensor.raw_data
    elif bits(tensor.data_type) < 8:
        whole = onnx.numpy_helper.from_array(decode(tensor, None)).raw_data
    else:
        whole = decode(tensor, None).tobytes()
    for at in range(0, len(whole), size):
        yield whole[at : at + size]


def _aligned(left: Iterator[bytes], right: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    while True:
        one, two = next(left, b""), next(right, b"")
        if not one and not two:
            return
        yield one, two

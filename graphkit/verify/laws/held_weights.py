"""close, for weights: in 16 bits they are what they were, rounded; in integers, scaled back, within a step of their scale."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import onnx

from graphkit.graph import walk
from graphkit.graph.values import attribute_value, constant_tensor, is_constant_node
from graphkit.model import Model

if TYPE_CHECKING:
    from graphkit.tensor import Array

STEP = 1.01
"""Steps by which a weight may be off: half of one by rounding, and as much at the ends of a range whose zero was rounded."""

HALF = 0.51
"""Steps by which a weight in 4 bits may be off where its number is none of the two at the ends."""

SPAN = (14.9, 15.1)
"""Steps from the smallest weight of a block of 4 bits to its largest, its zero among them: longer ones would lose numbers."""

ROUNDED: dict[int, tuple[float, float]] = {
    onnx.TensorProto.FLOAT: (math.inf, 0.0),
    onnx.TensorProto.FLOAT16: (65504.0, 2.0**-10),
    onnx.TensorProto.BFLOAT16: (math.inf, 2.0**-8),
}
"""Type -> its largest number, and by how much rounding to it may be off, relative to the number."""

LEAST = 1.2e-7
"""By how much in any case: two of float16's smallest steps."""

INTEGERS = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.INT32)

Told: TypeAlias = "dict[str, list[onnx.TensorProto]]"
"""Name -> the tensors of that name; bodies may use a name twice."""


def wrong_half(before: Model, after: Model, names: Mapping[str, str]) -> str | None:
    """The first weight that is not what it was, rounded to the 16 bits that it has now; None where all are.

    Args, Cost: as ``wrong_integers``.
    """
    held = _told(after.proto)
    new = {old: name for name, old in names.items()}
    for name, tensors in _floats(before.proto):
        now = new.get(name, name)
        for other in held.get(now, ()):
            olds = _of_its_shape(before, tensors, other)
            if other.data_type in ROUNDED and olds and not any(_rounded(old, after, other) for old in olds):
                return f"{now!r} is not what {name!r} was, rounded"
    return None


def wrong_integers(before: Model, after: Model, names: Mapping[str, str]) -> str | None:
    """The first weight that is not what it was; None where all are that can be told by their names.

    Quantizers call the integers of a weight ``W_quantized``, and their scale and zero point likewise; those that
    MatMulNBits reads are ``W_int4``. A weight that keeps its name and its type keeps its numbers.

    Args:
        before: The model with the floats.
        after: The model with the integers.
        names: Value of after -> its name before, where the two differ.

    Cost: O(weights), one at a time.
    """
    held = _told(after.proto)
    for name, old in names.items():
        if name in held:
            held[old] = held[name]
    products = _products(after.proto, names)
    new = {old: name for name, old in names.items()}
    for name, tensors in _floats(before.proto):
        stems = list(dict.fromkeys((name, new.get(name, name))))
        for other in (tensor for stem in stems for tensor in held.get(stem, ())):
            olds = _of_its_shape(before, tensors, other)
            if (
                other.data_type == tensors[0].data_type
                and olds
                and not any(_rounded(old, after, other) for old in olds)
            ):
                return f"{name!r} is another weight than it was"
        for integers, scale, zero in (group for stem in stems for group in _groups(held, stem)):
            wide, step, offset = (None if each is None else after.array_of(each) for each in (integers, scale, zero))
            olds = _laid_out(before, tensors, list(integers.dims))
            if olds and not any(_near(old, wide, step, offset) for old in olds):
                return f"{integers.name!r}, scaled back, is not what {name!r} was"
        for node in (node for stem in stems for node in products.get(stem, ())):
            blocks = _blocks(after, node, held)
            if blocks is not None and not any(_near_blocks(old, *blocks) for old in _columns(before, tensors, node)):
                return f"{node.input[1]!r}, scaled back, is not what {name!r} was"
    return None


def error_of_blocks(before: Model, after: Model) -> float:
    """The root of the sum of the squares of the relative L2 errors of weights in 4 bits; those of products add up so.

    A block of b weights has 16 levels, so its step s is a fifteenth of its range, and rounding makes s / sqrt(12) of it
    for each weight: about 0.08 of Gaussian weights in blocks of 32, and 0.07 in blocks of 16.

    Cost: O(weights), one at a time.
    """
    held, products = _told(after.proto), _products(after.proto, {})
    total = 0.0
    for name, tensors in _floats(before.proto):
        for node in products.get(name, ()):
            blocks = _blocks(after, node, held)
            if blocks is None:
                continue
            numbers, scale, zero = blocks
            wide = ((numbers - zero) * scale).reshape(len(numbers), -1)
            errors = [
                float(np.square(wide[:, : old.shape[1]] - old).sum() / max(float(np.square(old).sum()), 1e-30))
                for old in _columns(before, tensors, node)
            ]
            total += min(errors, default=0.0)
    return math.sqrt(total)


def _told(proto: onnx.ModelProto) -> Told:
    """The initializers and Constant nodes of the main graph and of bodies."""
    found: Told = defaultdict(list)
    for graph in walk.graphs(proto.graph):
        for tensor in graph.initializer:
            found[tensor.name].append(tensor)
        for node in graph.node:
            constant = constant_tensor(node) if is_constant_node(node) else None
            if constant is not None:
                found[node.output[0]].append(constant)
    return dict(found)


def _floats(proto: onnx.ModelProto) -> Iterator[tuple[str, list[onnx.TensorProto]]]:
    for name, tensors in _told(proto).items():
        floats = [tensor for tensor in tensors if tensor.data_type == onnx.TensorProto.FLOAT]
        if len(floats) == len(tensors):
            yield name, floats


def _of_its_shape(model: Model, tensors: Iterable[onnx.TensorProto], other: onnx.TensorProto) -> list[Array]:
    return [np.asarray(model.array_of(tensor)) for tensor in tensors if list(tensor.dims) == list(other.dims)]


def _rounded(old: Array, model: Model, tensor: onnx.TensorProto) -> bool:
    """Whether a tensor of a model is a float array, rounded to its type."""
    most, step = ROUNDED[tensor.data_type]
    was, now = np.asarray(old, np.float64), np.asarray(model.array_of(tensor), np.float64)
    was = np.where(np.isfinite(was), np.clip(was, -most, most), was)
    return bool(np.allclose(now, was, rtol=step, atol=LEAST, equal_nan=True))


def _laid_out(model: Model, tensors: Iterable[onnx.TensorProto], dims: list[int]) -> list[Array]:
    """Weights that have a shape, or have it once they lie as DynamicQuantizeLSTM takes them."""
    arrays = [np.asarray(model.array_of(tensor)) for tensor in tensors]
    turned = [a.transpose(0, 2, 1) if a.ndim == 3 and list(a.shape) != dims else a for a in arrays]
    return [array for array in turned if list(array.shape) == dims]


def _groups(held: Told, stem: str) -> Iterator[tuple[onnx.TensorProto, onnx.TensorProto, onnx.TensorProto | None]]:
    """The integers of a weight, their scale and zero point: one group for each of the weights that have the name."""
    for number in count():
        ending = f"_{number}" if number else ""
        integers = held.get(f"{stem}_quantized{ending}", ())
        if not integers:
            return
        scale, zero = (
            next((held[n][0] for n in (f"{stem}_quantized_{what}", f"{stem}_{what}{ending}") if n in held), None)
            for what in ("scale", "zero_point")
        )
        if scale is not None and integers[0].data_type in INTEGERS:
            yield integers[0], scale, zero


def _near(array: Array, integers: Array | None, scale: Array | None, zero: Array | None) -> bool:
    assert integers is not None
    assert scale is not None
    wide, step = np.asarray(integers, np.float64), np.asarray(scale, np.float64).reshape(-1)
    offset = np.zeros(1) if zero is None else np.asarray(zero, np.float64).reshape(-1)
    count = max(step.size, offset.size)
    axes = [axis for axis, size in enumerate(wide.shape) if size == count] if count > 1 else [-1]
    for axis in axes:
        shape = [count if place == axis else 1 for place in range(wide.ndim)]
        steps = np.broadcast_to(step, count).reshape(shape) if count > 1 else step.reshape([1] * wide.ndim)
        offsets = np.broadcast_to(offset, count).reshape(shape) if count > 1 else offset.reshape([1] * wide.ndim)
        if (np.abs((wide - offsets) * steps - array) <= STEP * np.abs(steps) + 1e-6 * np.abs(array)).all():
            return True
    return not axes


def _products(proto: onnx.ModelProto, names: Mapping[str, str]) -> dict[str, list[onnx.NodeProto]]:
    """Weight -> the nodes that read it in blocks of 4 bits."""
    found = defaultdict(list)
    for node in walk.nodes(proto.graph):
        if node.op_type == "MatMulNBits" and len(node.input) > 3:
            stem, _, ending = names.get(node.input[1], node.input[1]).rpartition("_int4")
            if not ending or ending[1:].isdecimal():
                found[stem].append(node)
    return found


def _blocks(model: Model, node: onnx.NodeProto, held: Told) -> tuple[Array, Array, Array] | None:
    """The numbers [N, blocks, block], scales and zero points [N, blocks, 1] of a product.

    None where they are no constants, or do not fit the node, so that nothing runs it.
    """
    tensors = [held[name][0] for name in node.input[1:4] if name in held]
    if len(tensors) < 3 or attribute_value(node, "bits", 4) != 4:
        return None
    packed, scale, zeros = (np.asarray(model.array_of(tensor)) for tensor in tensors)
    columns, rows, block = (int(attribute_value(node, what, 0)) for what in ("N", "K", "block_size"))
    parts = -(-rows // max(block, 1))
    if (packed.size * 2, scale.size, zeros.size) != (
        columns * parts * block,
        columns * parts,
        columns * -(-parts // 2),
    ):
        return None
    numbers = _unpacked(packed).reshape(columns, parts, block)
    offset = _unpacked(zeros.reshape(columns, -1))[:, :parts, None]
    return numbers, np.asarray(scale, np.float64).reshape(columns, parts, 1), offset


def _unpacked(packed: Array) -> Array:
    """Two numbers of 4 bits for each byte, the lower ones first."""
    return np.stack([packed & 15, packed >> 4], -1).reshape(*packed.shape[:-1], -1).astype(np.float64)


def _columns(model: Model, tensors: Sequence[onnx.TensorProto], node: onnx.NodeProto) -> Iterator[Array]:
    """The weights that a product may stand for, [N, K] each: of MatMul, and of a Gemm that has them transposed."""
    rows, columns = (int(attribute_value(node, what, 0)) for what in ("K", "N"))
    for tensor in tensors:
        array = np.asarray(model.array_of(tensor), np.float64)
        if array.shape == (rows, columns):
            yield array.T
        if array.shape == (columns, rows):
            yield array


def _near_blocks(array: Array, numbers: Array, scale: Array, zero: Array) -> bool:
    """Whether each number is its weight, counted in steps of its block's scale and rounded, and the steps are long enough.

    A number at an end of the range stands for weights up to a step beyond it, as the zero was rounded too.
    """
    columns, parts, block = numbers.shape
    if not (np.isfinite(scale) & (scale > 0)).all():
        return False
    padded = np.zeros((columns, parts * block))
    padded[:, : array.shape[1]] = array
    steps = padded.reshape(numbers.shape) / scale
    off = numbers - (steps + zero)
    ends = ((numbers == 0) & (off > 0)) | ((numbers == 15) & (off < 0))
    span = np.maximum(steps.max(2), 0) - np.minimum(steps.min(2), 0)
    spanned = ((SPAN[0] <= span) & (span <= SPAN[1])) | (span == 0)
    return bool((np.abs(off) <= np.where(ends, STEP, HALF)).all() and spanned.all())

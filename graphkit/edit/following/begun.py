"""Positions that go on where a cache ends: lines and rotary tables that begin at a size."""

from __future__ import annotations

import numpy as np
import onnx

from graphkit.edit.following.context import EXPORT, Following
from graphkit.graph.values import attribute_value
from graphkit.shapes.points import Sizes

READS_POSITIONS = frozenset(
    (
        *("Add", "Cast", "Cos", "Einsum", "Equal", "Expand", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
        *("MatMul", "Mul", "Sin", "Sub", "Unsqueeze"),
    )
)
"""Operators that read numbers as numbers, and not as sizes or axes."""

SMALLEST = 3
"""A size below this is met by chance too often."""

ROTARY_BASES = (10_000.0, 500_000.0, 1_000_000.0)
"""What frequencies of rotary positions are powers of: RoFormer's, Llama 3's, and that of models for long texts."""


def follow_begun(state: Following, node: onnx.NodeProto) -> None:
    """Let positions that begin at the length of a cache, an axis that varies, begin there at every size. Changes the node."""
    places = (1,) if node.op_type == "Gather" else range(len(node.input)) if node.op_type in READS_POSITIONS else ()
    caches = [sizes for sizes in state.freed if sizes[0] >= SMALLEST and _is_cache(state, sizes)] if places else []
    for place in places if caches else ():
        name = node.input[place] if place < len(node.input) else ""
        array = state.baked(name) if name else None
        if array is None and node.op_type == "Mul" and name:
            array = state.array(name)
        if array is None or not array.size or array.dtype not in (np.float32, np.int64, np.int32):
            continue
        for sizes in caches:
            made = _begun(state, node, place, array, sizes)
            if made is None:
                continue
            node.input[place] = made
            value, axis = state.inference.origins[sizes]
            text = (
                f"reads positions {name!r} that begin at {sizes[0]}, the size of axis {axis} of {value!r} in the file"
            )
            state.find("follows", node, text, value=value, axis=axis, done="they begin at that size now")
            break


def _is_cache(state: Following, sizes: Sizes) -> bool:
    """Whether what has a size is joined with something along that axis: what is new stands behind it."""
    value, axis = state.inference.origins.get(sizes, ("", 0))
    rank = len(state.get(value).dims or ())
    joins = (node for node in state.readers(value) if node.op_type == "Concat" and node.input[0] == value)
    return any(attribute_value(node, "axis", 0) % max(rank, 1) == axis for node in joins)


def _begun(state: Following, node: onnx.NodeProto, place: int, array: np.ndarray, sizes: Sizes) -> str | None:
    if _is_line(array, sizes[0]) or _is_position(state, node, place, array, sizes[0]):
        return _from_size(state, np.asarray(array - array.reshape(-1)[0], array.dtype), sizes)
    if node.op_type in ("Mul", "Unsqueeze", "Expand") and (found := _rotary(array, sizes[0])) is not None:
        function, counts, frequencies = found
        angles = state.add("Mul", [_from_size(state, counts, sizes), state.constant(frequencies)], "angles")
        return state.add(function, [angles], "rotary")
    if node.op_type == "Gather" and array.size == 1 and int(array.reshape(-1)[0]) == sizes[0]:
        table = state.get(node.input[0])
        if not table.varies and state.tensor(node.input[0]) is not None:
            text = f"looks up the row {sizes[0]} of {node.input[0]!r}, as many as an axis that becomes free has places"
            state.find("held", node, text, value=node.input[1], remedy=EXPORT)
    return None


def _is_line(array: np.ndarray, first: int) -> bool:
    """Whether numbers are first, first + 1, ... along one axis."""
    line = array.reshape(-1)
    if line.size < 2 or max(array.shape) != line.size or line[0] != first:
        return False
    return (line.size > 2 or array.dtype.kind == "f") and np.array_equal(line, np.arange(first, first + line.size))


def _is_position(state: Following, node: onnx.NodeProto, place: int, array: np.ndarray, first: int) -> bool:
    """Whether one number is the position of the only step: it is multiplied with frequencies that fall from 1."""
    if array.size != 1 or array.dtype != np.float32 or float(array.reshape(-1)[0]) != first:
        return False
    if node.op_type not in ("Einsum", "MatMul", "Mul") or len(node.input) != 2:
        return False
    other = state.baked(node.input[1 - place])
    row = other.reshape(-1).astype(np.float64) if other is not None else np.zeros(0)
    return row.size > 1 and row[0] == 1 and bool((row > 0).all()) and np.allclose(row, row[1] ** np.arange(row.size))


def _rotary(array: np.ndarray, first: int) -> tuple[str, np.ndarray, np.ndarray] | None:
    """(function, counts, frequencies) of a table cos((first + row) * frequency), or sin; None for any other."""
    wide = [axis for axis, size in enumerate(array.shape) if size > 1]
    if array.dtype != np.float32 or not 1 <= len(wide) <= 2 or array.ndim < 2 or wide[-1] != array.ndim - 1:
        return None
    width = array.shape[-1]
    rows = array.reshape(-1, width)
    counts = np.arange(len(rows), dtype=np.float64)[:, None]
    for half in {width, width // 2} - {0, 1}:
        for base in ROTARY_BASES:
            row = base ** (-np.arange(half) / half)
            for order in [row] if half == width else [np.concatenate([row, row]), np.repeat(row, 2)]:
                if order.size != width:
                    continue
                for function, made in (("Cos", np.cos), ("Sin", np.sin)):
                    table = made((first + counts) * order)
                    if np.abs(table - rows).max() < 2e-7 * (4 + first + len(rows)):
                        shape = [
                            size if axis == wide[0] and len(wide) > 1 else 1 for axis, size in enumerate(array.shape)
                        ]
                        return function, counts.astype(np.float32).reshape(shape), order.astype(np.float32)
    return None


def _from_size(state: Following, counts: np.ndarray, sizes: Sizes) -> str:
    """Numbers with a size added."""
    size = state.scalar(state.size(*state.inference.origins[sizes]))
    if counts.dtype != np.int64:
        size = state.add("Cast", [size], "size", to=onnx.helper.np_dtype_to_tensor_dtype(counts.dtype))
    return state.add("Add", [state.constant(np.ascontiguousarray(counts), "count"), size], "positions")

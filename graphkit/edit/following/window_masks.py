"""Masks of shifted windows (Swin): places that the shift brought together from two ends of the picture do not see each other."""

from __future__ import annotations

import math

import numpy as np
import onnx

from graphkit.edit.following.context import Following, Want
from graphkit.edit.following.evident import Wants


def window_mask(state: Following, array: np.ndarray, wants: Wants) -> str | None:
    """A mask [..., windows, ..., places, places] for other numbers of windows; None where it is not evidently one.

    The windows are rows times columns. In all but the last row and the last column every place sees every other; there,
    places of two regions do not (Liu et al. 2021, section 3.2, as in the authors' code). Each number has to agree.

    Cost: O(table).
    """
    if len(wants) != 1 or array.ndim < 3 or array.shape[-1] != array.shape[-2] or array.shape[-1] < 4:
        return None
    axis, want = next(iter(wants.items()))
    if axis >= array.ndim - 2 or array.size != array.shape[axis] * array.shape[-1] ** 2 or state.opset < 9:
        return None
    sides = [sizes for sizes in want.factors if any(size != 1 for size in sizes)]
    bases = [sizes[0] for sizes in sides]
    if len(bases) != 2 or min(bases) < 1 or math.prod(bases) != array.shape[axis]:
        return None
    own = state.merged_of(want, bases)
    table = array.reshape(*bases, *array.shape[-2:])
    if own is None or not _is_mask(table):
        return None
    return _made(state, array, table, own)


def _is_mask(table: np.ndarray) -> bool:
    rows, columns, count, _ = table.shape
    seen = table[0, 0, 0, 0]
    other = table[-1, -1].reshape(-1)[np.flatnonzero(table[-1, -1].reshape(-1) != seen)[:1]]
    if not other.size or rows < 2 or columns < 2:
        return False
    for width in (w for w in range(1, count + 1) if count % w == 0):
        height = count // width
        place = np.arange(count)
        for down in range(height):
            for right in range(width):
                if not down and not right:
                    continue
                low, far = place // width >= height - down, place % width >= width - right
                made = np.full(table.shape, seen, table.dtype)
                apart_down, apart_right = low[:, None] != low[None], far[:, None] != far[None]
                made[-1, :, apart_down] = other[0]
                made[:, -1, apart_right] = other[0]
                if np.array_equal(made, table):
                    return True
    return False


def _made(state: Following, array: np.ndarray, table: np.ndarray, own: list[Want]) -> str:
    plain = array.dtype in (np.float32, np.int32, np.int64, np.uint8)
    work = table if plain else table.astype(np.float32)
    last = []
    for place, want in enumerate(own):
        end = state.wanted(want) if want.varies else state.constant([want.sizes[0]])
        is_last = state.add(
            "Equal", [state.counted(end), state.add("Sub", [end, state.constant([1])], "last")], "is_last"
        )
        last.append(state.unsqueezed(is_last, [a for a in range(4) if a != place], "is_last"))

    def corner(row: int, column: int) -> str:
        return state.constant(np.ascontiguousarray(work[row : row + 1 or None, column : column + 1 or None]), "mask")

    upper = state.add("Where", [last[1], corner(0, -1), corner(0, 0)], "mask")
    lower = state.add("Where", [last[1], corner(-1, -1), corner(-1, 0)], "mask")
    made = state.add("Where", [last[0], lower, upper], "mask")
    if not plain:
        made = state.add("Cast", [made], "mask", to=onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
    target = [size if size == 1 else -1 for size in array.shape[:-2]]
    return state.add("Reshape", [made, state.constant([*target, *array.shape[-2:]])], "mask")

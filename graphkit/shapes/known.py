"""What is known of a value at several points: its type, its dims, and what it holds where it is small."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.graph.values import tensor_type
from graphkit.shapes.points import UNKNOWN, Dim

if TYPE_CHECKING:
    from graphkit.tensor import Array


@dataclass
class Known:
    """What is known of one value.

    Attributes:
        elem: Its element type, 0 where it is not known or no tensor.
        dims: Its dims, None where the rank is not known.
        data: What it holds at each point, where it is small and made of constants and shapes.
        types: Its type at each point where it is no tensor.
        constant: Whether it is made of constants alone.
    """

    elem: int = 0
    dims: tuple[Dim, ...] | None = None
    data: tuple[Array, ...] | None = None
    types: tuple[onnx.TypeProto, ...] = ()
    constant: bool = False

    @property
    def varies(self) -> bool:
        """Whether a dim of it has more than one size."""
        return self.dims is not None and any(dim.varies for dim in self.dims)

    @property
    def complete(self) -> bool:
        """Whether every dim is known."""
        return self.dims is not None and all(dim.sizes for dim in self.dims)

    def type_at(self, point: int) -> bytes:
        """Its type at a point, serialised; nothing where nothing is known."""
        if self.types:
            return self.types[point].SerializeToString()
        if not self.elem:
            return b""
        if self.dims is None:
            return _typed(self.elem, None)
        return _typed(self.elem, tuple([dim.sizes[point] if dim.sizes else None for dim in self.dims]))

    def shape_at(self, point: int) -> tuple[int, ...] | None:
        """Its shape at a point, None where a dim is not known."""
        if self.dims is None or not self.complete:
            return None
        return tuple(dim.sizes[point] for dim in self.dims)


NOTHING = Known()


@functools.lru_cache(maxsize=4096)
def _typed(elem: int, shape: tuple[int | None, ...] | None) -> bytes:
    return tensor_type(elem, shape).SerializeToString()


def moves(known: Known) -> bool:
    """Whether what a value holds is another at another point."""
    data = known.data
    return data is not None and any(a is not data[0] and not np.array_equal(a, data[0]) for a in data)


def without_data(known: Known) -> Known:
    """The same type and shape of a value that holds other numbers."""
    return Known(known.elem, known.dims, None, known.types)


def either(a: Known, b: Known) -> Known:
    """What is known of a value that is one or the other."""
    if a.types or b.types or a.elem != b.elem:
        return Known(a.elem if a.elem == b.elem else 0, types=a.types)
    if a.dims is None or b.dims is None or len(a.dims) != len(b.dims):
        return Known(a.elem)
    dims = tuple(x if x.sizes == y.sizes else UNKNOWN for x, y in zip(a.dims, b.dims, strict=True))
    return Known(a.elem, dims)


def stacked(known: Known, count: Dim, axis: int) -> Known:
    """So many values of this shape along a new axis: what a Loop or a Scan makes of its turns."""
    if known.dims is None:
        return Known(known.elem)
    place = axis % (len(known.dims) + 1)
    return Known(known.elem, (*known.dims[:place], count, *known.dims[place:]))

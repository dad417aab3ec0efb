"""What conditions and computed values may ask about a match: types, constants, attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.edit.function_graph import refers_anywhere
from graphkit.edit.patterns.expressions import UnknownError, evaluate
from graphkit.graph import values
from graphkit.graph.scopes import Scope, scopes
from graphkit.model import Model
from graphkit.shapes.inference import inferred
from graphkit.tensor import numpy_type, stored_bytes, type_name

if TYPE_CHECKING:
    from graphkit.edit.patterns.rule import Condition
    from graphkit.tensor import Array

SMALL = 1 << 16
"""Bytes of a constant that a condition may look at; only a fold reads larger ones."""

MOST_ELEMENTS = 1 << 24
"""Elements of a constant that a rule may ask for: a bias has a few thousand."""


class Types:
    """The types of values of a graph: as declared, else as inferred, which is done where it is first needed."""

    def __init__(
        self, model: Model, proto: onnx.ModelProto, whole: list[list[Scope]], number: int, scope: Scope
    ) -> None:
        self.model = model
        self.scope = scope
        self._proto = proto
        self._whole = whole
        self._number = number

    def of(self, name: str) -> onnx.TypeProto | None:
        """A value's type with its shape, or what is known of it."""
        known = self.scope.type_of(name)
        if known is not None and values.has_shape(known):
            return known
        tensor = self.scope.constant(name)
        if tensor is not None:
            return values.tensor_type(tensor.data_type, list(tensor.dims))
        if not self._whole:
            typed = self._proto if refers_anywhere(self._proto.graph) else inferred(self._proto)
            self._whole.append(list(scopes(typed.graph)))
        return self._whole[0][self._number].type_of(name) or known

    def array(self, tensor: onnx.TensorProto) -> Array:
        """A tensor's numbers."""
        result: Array = self.model.array_of(tensor)
        return result


class Value(str):
    """A value of the graph, as conditions pass it around; "" where the model leaves it out."""

    __slots__ = ()


class Facts:
    """The facts about one match; a condition in Python gets this object.

    Attributes:
        opset: The model's version of ai.onnx.
        names: What the rule's names stand for: values, attributes, parameters, computed values.
    """

    def __init__(self, types: Types, opset: int, names: Mapping[str, Any]) -> None:
        self.opset = opset
        self.names: dict[str, Any] = {"opset": opset, **names}
        self._types = types

    @cached_property
    def functions(self) -> dict[str, Callable[..., Any]]:
        """What an expression may call."""
        return {name: getattr(self, name) for name in FUNCTIONS} | _PLAIN

    def ask(self, condition: Condition) -> Any:
        """The value of an expression, or of a function of these facts.

        Raises:
            UnknownError: Something that it needs is not known.
        """
        return condition(self) if callable(condition) else evaluate(condition, self.names, self.functions)

    def given(self, value: str) -> bool:
        """Whether the model has an operand that may be left out."""
        return bool(value)

    def dims(self, value: str) -> list[int | str | None]:
        """A tensor's dims: size, symbol, or None for one that is not known."""
        found = self._types.of(value) if value else None
        dims = values.dims(found) if found is not None else None
        if dims is None:
            raise UnknownError(f"the shape of {value!r} is not known")
        return dims

    def rank(self, value: str) -> int:
        """How many axes a tensor has."""
        return len(self.dims(value))

    def shape(self, value: str) -> list[int]:
        """A tensor's sizes, all of which have to be known."""
        dims = self.dims(value)
        if any(not isinstance(dim, int) for dim in dims):
            raise UnknownError(f"not all sizes of {value!r} are known")
        return [dim for dim in dims if isinstance(dim, int)]

    def dim(self, value: str, axis: int) -> int:
        """One size of a tensor, which has to be known."""
        dims = self.dims(value)
        if not -len(dims) <= axis < len(dims):
            raise UnknownError(f"{value!r} has no axis {axis}")
        size = dims[axis]
        if not isinstance(size, int):
            raise UnknownError(f"the size of axis {axis} of {value!r} is not known")
        return size

    def dtype(self, value: str) -> str:
        """A tensor's data type, such as "float32"."""
        return type_name(self._data_type(value))

    def size(self, value: str) -> int:
        """How many elements a tensor has."""
        return math.prod(self.shape(value))

    def same_shape(self, one: str, other: str) -> bool:
        """Whether two tensors are known to have the same dims; a symbol is as good as a size."""
        mine, theirs = self.dims(one), self.dims(other)
        return mine == theirs and None not in mine

    def broadcasts_into(self, one: str, other: str) -> bool:
        """Whether a tensor can be broadcast to the shape of another one, which it does not change."""
        mine, theirs = self.dims(one), self.dims(other)
        if len(mine) > len(theirs):
            return False
        return all(a == 1 or (a == b and a is not None) for a, b in zip(reversed(mine), reversed(theirs), strict=False))

    def constant(self, *named: str) -> bool:
        """Whether values are constant in every run; those that are left out do not count."""
        for name in named:
            if name and self._types.scope.constant(name) is None:
                raise UnknownError(f"{name!r} is no constant")
        return True

    def value(self, value: Any) -> Any:
        """The numbers of a small constant, as an array; a number or list that an attribute holds as it is."""
        if not isinstance(value, Value):
            return value
        tensor = self._types.scope.constant(value) if value else None
        if tensor is None:
            raise UnknownError(f"{value!r} is no constant")
        if stored_bytes(tensor) > SMALL:
            raise UnknownError(f"{value!r} is larger than the {SMALL} bytes that a condition looks at")
        return self._types.array(tensor)

    def numbers(self, value: Any) -> list[Any]:
        """A small constant or an attribute as a flat list."""
        if value is None:
            raise UnknownError("an attribute is not given")
        held = self.value(value)
        return [each.item() for each in np.ravel(held)]

    def number(self, value: Any) -> Any:
        """The only number of a constant or attribute."""
        found = self.numbers(value)
        if len(found) != 1:
            raise UnknownError(f"{value!r} is not one number but {len(found)}")
        return found[0]

    def axes(self, value: Any, tensor: str) -> list[int]:
        """Axes of a tensor counted from the front, sorted."""
        rank = self.rank(tensor)
        found = self.numbers(value)
        if any(not -rank <= axis < rank for axis in found):
            raise UnknownError(f"the axes {found} are none of {tensor!r}")
        return sorted(axis % rank for axis in found)

    def like(self, tensor: str, value: Any) -> Array:
        """Numbers as an array of a tensor's data type."""
        numpy = numpy_type(self._data_type(tensor))
        if numpy is None:
            raise UnknownError(f"the data type of {tensor!r} is none of numpy's")
        return np.asarray(value).astype(numpy)

    def zeros(self, tensor: str, shape: list[int]) -> Array:
        """Zeros of a tensor's data type."""
        return np.zeros(_bounded(shape), self.like(tensor, 0).dtype)

    def ones(self, tensor: str, shape: list[int]) -> Array:
        """Ones of a tensor's data type."""
        return np.ones(_bounded(shape), self.like(tensor, 0).dtype)

    def _data_type(self, value: str) -> int:
        found = self._types.of(value) if value else None
        if found is None or not found.HasField("tensor_type"):
            raise UnknownError(f"the type of {value!r} is not known")
        return found.tensor_type.elem_type


def _all_near(held: Any, wanted: Any, within: float = 0.0) -> bool:
    return bool(np.all(np.abs(np.asarray(held, np.float64) - np.asarray(wanted, np.float64)) <= within))


def _bounded(shape: list[int]) -> list[int]:
    if math.prod(shape) > MOST_ELEMENTS:
        raise UnknownError(f"a constant of the shape {shape} would be too large")
    return shape


def _added(one: list[Any], other: list[Any]) -> list[Any]:
    """Two lists, added element by element."""
    return [a + b for a, b in zip(one, other, strict=True)]


def _sizes(dims: list[Any]) -> list[int]:
    """Dims, all of which have to be sizes."""
    if not all(isinstance(dim, int) for dim in dims):
        raise UnknownError(f"not all of the sizes {dims} are known")
    return dims


def _joined_axes(gone: list[int], others: list[int], rank: int) -> list[int]:
    """Axes of a tensor of some rank, and others that are counted among those that are left: all as axes of the tensor."""
    left = [axis for axis in range(rank) if axis not in gone]
    return sorted([*gone, *(left[axis] for axis in others)])


FUNCTIONS = (
    *(
        "given",
        "dims",
        "rank",
        "shape",
        "dim",
        "dtype",
        "size",
        "same_shape",
        "broadcasts_into",
        "constant",
        "value",
        "numbers",
    ),
    *("number", "axes", "like", "zeros", "ones"),
)
"""What an expression may ask about a match."""

_PLAIN: dict[str, Callable[..., Any]] = {
    **{f.__name__: f for f in (len, abs, int, float, list, sorted, round)},
    "min": lambda *each: np.min(each[0] if len(each) == 1 else each).item(),
    "max": lambda *each: np.max(each[0] if len(each) == 1 else each).item(),
    "all": lambda each: bool(np.all(each)),
    "any": lambda each: bool(np.any(each)),
    "sum": lambda each: np.sum(each).item(),
    "prod": math.prod,
    "sqrt": math.sqrt,
    "range": lambda *ends: list(range(*ends)) if all(abs(end) < 1 << 16 for end in ends) else [],
    "near": _all_near,
    "added": _added,
    "sizes": _sizes,
    "joined_axes": _joined_axes,
    "ints": lambda value: np.asarray(value, np.int64),
    "floats": lambda value: np.asarray(value, np.float32),
    "dtype_id": values.data_type_named,
}
"""What an expression may call beside that."""

KNOWN = (*FUNCTIONS, *_PLAIN)

"""Where a constant that differs between two exports of a module comes from: an argument, an element, sizes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphkit.graph.module_paths import stack_trace
from graphkit.torch_export.arguments import Arguments
from graphkit.torch_export.source_line import stack_line
from graphkit.verify.baked.differences import Difference

if TYPE_CHECKING:
    from graphkit.tensor import Array

SMALL = 16
"""Elements of an argument up to which its values are compared with a constant's, and numbers that a message shows."""

MANY = 12
"""Varying axes of which products are tried."""


@dataclass(frozen=True)
class Reason:
    """Where a difference between two exports comes from.

    Attributes:
        difference: The difference.
        argument: The argument that the constant is, or None.
        element: The element of an argument that it is, or None.
        axes: The axes of inputs whose sizes it is made of: (input, axis).
    """

    difference: Difference
    argument: str | None = None
    element: str | None = None
    axes: tuple[tuple[str, int], ...] = ()

    @property
    def parted(self) -> bool:
        """Whether the graphs part here, or a constant has another number of elements: something was unrolled."""
        before, after = self.difference.constants
        if before is None or after is None:
            return before is after
        return before.shape != after.shape

    @property
    def origin(self) -> str | None:
        """What the constant is, in words."""
        if self.argument:
            return f"argument {self.argument!r}"
        if self.axes:
            return "made of " + " and ".join(f"the size of {name!r} on axis {axis}" for name, axis in self.axes)
        return f"element {self.element}" if self.element else None

    @property
    def node(self) -> str:
        """The name of the node, or of its output."""
        node = self.difference.node
        return node.name or (node.output[0] if node.output else node.op_type)

    @property
    def source(self) -> str | None:
        """The line of the user's source."""
        return stack_line(stack_trace(self.difference.node))

    @property
    def what(self) -> str:
        """Which constant it is and what it is in the two exports."""
        difference = self.difference
        before, after = (_shown(constant) for constant in difference.constants)
        what = f"input {difference.slot}" if difference.slot >= 0 else "attribute"
        if difference.value in difference.node.output:
            what = "output"
        return (
            f"{what} {difference.value!r} of node {self.node!r} ({difference.node.op_type}) is {before}, and {after} "
            "with other arguments"
        )


def reason(difference: Difference, first: Arguments, other: Arguments) -> Reason:
    """Where a difference comes from."""
    argument = _same_argument(difference, first, other)
    if argument:
        return Reason(difference, argument)
    axes = tuple(_same_dims(difference, first, other))
    return Reason(difference, None, None if axes else _same_element(difference, first, other), axes)


def _same_argument(difference: Difference, first: Arguments, other: Arguments) -> str | None:
    """The argument that a constant is equal to with both sets, where that can be no accident."""
    for mine, theirs in zip(first.leaves, other.leaves, strict=False):
        old, new = _numbers(mine.value), _numbers(theirs.value)
        before, after = difference.constants
        if old is None or new is None or before is None or after is None or np.array_equal(old, new):
            continue
        if _is_or_holds(before, after, old, new):
            return mine.name
    return None


def _same_element(difference: Difference, first: Arguments, other: Arguments) -> str | None:
    """The element of an argument that a single number is, with both sets: ``x[0]``."""
    before, after = difference.constants
    if before is None or after is None or before.size != 1 or after.size != 1 or before.dtype.kind not in "fiub":
        return None
    for mine, theirs in zip(first.leaves, other.leaves, strict=False):
        old, new = _numbers(mine.value), _numbers(theirs.value)
        if old is None or new is None or old.shape != new.shape or not old.ndim:
            continue
        places = np.argwhere(np.isclose(old, float(before.ravel()[0])) & np.isclose(new, float(after.ravel()[0])))
        if len(places):
            return f"{mine.name}{places[0].tolist()}"
    return None


def _numbers(value: Any) -> Array | None:
    if isinstance(value, int | float):
        return np.asarray(value, np.float64)
    if hasattr(value, "detach") and value.numel() <= SMALL and not value.is_complex():
        return np.asarray(value.detach().cpu().tolist(), np.float64)
    return None


def _is_or_holds(before: Array, after: Array, old: Array, new: Array) -> bool:
    """Whether a constant is an argument, or all of it that differs is one: the scales of a Resize, pads."""
    if before.dtype.kind not in "fiub" or before.shape != after.shape:
        return False
    one, two = before.astype(np.float64).ravel(), after.astype(np.float64).ravel()
    if one.size == old.size == new.size:
        return bool(np.allclose(one, old.ravel(), rtol=1e-6) and np.allclose(two, new.ravel(), rtol=1e-6))
    differs = one != two
    if old.shape != new.shape or old.size not in (1, int(differs.sum())):
        return False
    return bool(np.allclose(one[differs], old.ravel(), rtol=1e-6) and np.allclose(two[differs], new.ravel(), rtol=1e-6))


class _Axis(NamedTuple):
    """An axis whose size differs between two sets of arguments."""

    input: str
    axis: int
    before: int
    after: int


def _same_dims(difference: Difference, first: Arguments, other: Arguments) -> Iterator[tuple[str, int]]:
    """The axes of inputs whose sizes the differing elements of a constant are, with both sets."""
    before, after = difference.constants
    if before is None or after is None or before.shape != after.shape or before.dtype.kind not in "iu":
        return
    sizes = [
        _Axis(mine.name, axis, int(size), int(theirs.value.shape[axis]))
        for mine, theirs in zip(first.tensors, other.tensors, strict=False)
        for axis, size in enumerate(mine.value.shape)
        if theirs.value.dim() == mine.value.dim() and size != theirs.value.shape[axis]
    ]
    found: dict[tuple[str, int], None] = {}
    for one, two in zip(before.ravel().tolist(), after.ravel().tolist(), strict=True):
        if one != two:
            found.update(((axis.input, axis.axis), None) for axis in _made_of(one, two, sizes[:MANY]))
    yield from found


def _made_of(one: int, two: int, sizes: Sequence[_Axis]) -> Sequence[_Axis]:
    """The axes that a number follows: their size, product, a multiple or fraction of it, or by as much."""
    choices = [choice for count in (1, 2, 3) for choice in itertools.combinations(sizes, count)]
    for equal in (True, False):
        for choice in choices:
            before, after = math.prod(axis.before for axis in choice), math.prod(axis.after for axis in choice)
            if (one, two) == (before, after) if equal else one * after == two * before:
                return choice
    return next(([axis] for axis in sizes if two - one == axis.after - axis.before), ())


def _shown(constant: Array | None) -> str:
    if constant is None:
        return "computed"
    if constant.size > SMALL:
        return f"{constant.dtype}{list(constant.shape)}".replace(" ", "")
    if constant.dtype.kind != "f":
        return str(constant.tolist())
    numbers = [f"{number:g}" for number in constant.ravel().tolist()]
    return numbers[0] if not constant.ndim else "[" + ", ".join(numbers) + "]"

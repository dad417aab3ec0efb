"""Numbers that are a size: the divisor of a mean, the width that coordinates are divided by or kept below."""

from __future__ import annotations

import math

import numpy as np
import onnx

from graphkit.edit.following.context import EXPORT, Following, in_short
from graphkit.edit.following.places import follow_coordinate, follow_place
from graphkit.edit.nodes import set_input
from graphkit.graph.values import attribute_value
from graphkit.semantics.kinds import SAME_NUMBERS
from graphkit.shapes.points import Sizes, product
from graphkit.shapes.value_rules import axes_of

SMALLEST = 3
"""A number below this is a size too rarely to be told."""

MOST_SIZES = 32
"""Numbers of a constant that are looked at one by one: two for each level of a pyramid of pictures."""

MOST_VALUES = 4
"""Different numbers of a table of logarithms."""

LONGEST_LINE = 1 << 16
"""Numbers of a table that are looked at for what they are."""

PLACES_ONLY = frozenset(("Add", "Sub", "Mod", "Min", "Max", "Clip", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"))
"""Operators in which a whole number beside whole numbers is a size; in floats they mean one where a picture's edge is meant."""

HANDS_ON = frozenset((*SAME_NUMBERS, "Mul", "Sqrt", "Abs", "Sign", "Relu"))
"""Operators behind a reduction that leave its count in force."""


def follow_numbers(state: Following, node: onnx.NodeProto) -> None:
    """A number that is the size of an axis that becomes free, or one less, or how many numbers a mean is of."""
    limit = attribute_value(node, "max") if node.op_type == "Clip" else None
    if limit is not None:
        _tell(state, node, np.array(limit), "", node.input[0])
    for place, name in enumerate(node.input):
        number = state.baked(name) if name else None
        other = node.input[1 if place == 0 and len(node.input) > 1 else 0]
        if number is None or number.size != 1 or number.dtype.kind not in "iuf" or other == name:
            continue
        if (
            place == 1
            and node.op_type in ("Div", "Mod")
            and follow_place(state, node, round(float(number.reshape(-1)[0])))
        ):
            return
        if node.op_type == "Mul" and _as_variance(state, node, place, float(number.reshape(-1)[0])):
            return
        if number.dtype.kind == "f" and follow_coordinate(state, node, place, float(number.reshape(-1)[0])):
            return
        _tell(state, node, number, name, other)


def _tell(state: Following, node: onnx.NodeProto, number: np.ndarray, name: str, other: str) -> None:
    value = abs(float(number.reshape(-1)[0]))
    if not state.depends(other) or state.baked(other) is not None:
        return
    size = next((size for size in state.moving_sizes() if _is_size(value, size, node.op_type)), None)
    if size is None and (half := next((s for s in state.moving_sizes() if _is_half(value, s, node.op_type)), None)):
        size = half[0], f"half of {half[1]}"
    counted = _count(state, other)
    if counted is not None and round(value) in (counted[0], counted[0] - 1) and value == round(value) >= SMALLEST:
        size = counted[0], "that of" if round(value) == counted[0] else "one below"
    if size is None and number.dtype.kind in "iu" and state.is_product(round(value)):
        size = round(value), "that of"
    if size is None and number.dtype.kind == "f" and (made := _made_of(state, node, other, value)) is not None:
        _say(state, node, name, value, made)
        return
    if size is None or _is_scale(state, other, value) or not _means_places(node, number, name):
        return
    _say(state, node, name, value, size)


def _say(state: Following, node: onnx.NodeProto, name: str, value: float, size: tuple[int, str]) -> None:
    text = f"computes with the number {value:g}, which is {size[1]} {size[0]}, the size in the file: it stays as it is"
    state.find("property", node, text, value=name, remedy=EXPORT)


def tell_sizes_side_by_side(state: Following, node: onnx.NodeProto) -> None:
    """Numbers that are several sizes, widths and heights that places are divided by, or the logarithm of one."""
    if node.op_type not in ("Add", "Sub", "Div", "Mul") or len(node.input) != 2:
        return
    for name, other in (tuple(node.input), tuple(node.input)[::-1]):
        numbers = state.baked(name)
        if numbers is None or numbers.size < 2 or other == name:
            continue
        if node.op_type in ("Add", "Sub"):
            _tell_logarithms(state, node, numbers, name, other)
        elif node.op_type == "Mul" or name == node.input[1]:
            _tell_several(state, node, numbers, name, other)


def follow_joined_numbers(state: Following, node: onnx.NodeProto) -> None:
    """A number that is joined to what varies as one more feature: how many steps there are."""
    if not any(state.depends(name) and state.get(name).data is None for name in node.input):
        return
    for name in node.input:
        data = state.get(name).data
        if data is None or data[0].dtype.kind != "f" or not data[0].size or any(np.ptp(array) for array in data):
            continue
        value = float(data[0].reshape(-1)[0])
        if (round(value), "that of") in state.moving_sizes() and value == round(value) >= SMALLEST:
            _say(state, node, name, value, (round(value), "that of"))


def _made_of(state: Following, node: onnx.NodeProto, other: str, value: float) -> tuple[int, str] | None:
    """A size whose root or logarithm a number is, or which it is a multiple of where a product was summed over that size."""
    summed = _summed(state, other)
    if summed is not None and node.op_type in ("Div", "Mul") and value:
        count = value if node.op_type == "Div" else 1 / value
        if round(count) and abs(count - round(count)) < 1e-5 * count and round(count) % summed == 0:
            return (summed, "that of") if round(count) == summed else (summed, f"{round(count) // summed} times")
    fixed = {dim.base for dim in state.get(other).dims or () if not dim.varies}
    for number, word in rooted(value):
        explained = any(base % number == 0 for base in fixed if base) or _is_scale(state, other, value)
        if (number, "that of") in state.moving_sizes() and (node.op_type in ("Div", "Mul") or "logarithm" in word):
            if "root" in word and explained:
                continue
            return number, word
    return None


def _tell_logarithms(state: Following, node: onnx.NodeProto, table: np.ndarray, name: str, other: str) -> None:
    """Logarithms of a size, or of two sizes together, in a table of a few numbers: weights of so many places."""
    if table.dtype.kind != "f" or table.size > LONGEST_LINE or not state.depends(other):
        return
    bases = {dim.base for info in state.places[0].graph.input for dim in state.get(info.name).dims or ()}
    moving = {sizes[0] for sizes in state.freed} - {0, 1, 2}
    values = np.unique(table)
    for value in values if values.size <= MOST_VALUES else ():
        for number, word in rooted(float(value)):
            if word == "the logarithm of" and (number in moving or any(number - size in bases for size in moving)):
                _say(state, node, name, float(value), (number, word))
                return


def rooted(value: float) -> list[tuple[int, str]]:
    """The whole numbers whose root or logarithm a number is, each with what it is of it."""
    if not 1e-4 < abs(value) < 20 or value == round(value):
        return []
    square = value * value
    made = (
        (square, "the root of"),
        (1 / square, "the inverse root of"),
        (math.exp(abs(value)), "the logarithm of"),
        (math.exp(min(1 / abs(value), 20)), "the inverse logarithm of"),
        (2.0 ** abs(value), "the logarithm to 2 of"),
    )
    return [(round(n), word) for n, word in made if SMALLEST <= n < 1e6 and abs(n - round(n)) < 3e-6 * n]


def _summed(state: Following, name: str) -> int | None:
    """How many products each number of a MatMul behind a value is the sum of, where that varies."""
    node = state.maker(name)
    for _ in range(4):
        if node is None or not node.input or not node.input[0]:
            return None
        if node.op_type == "MatMul":
            length = (state.get(node.input[0]).dims or (None,))[-1]
            return length.base if length is not None and length.varies and length.base >= SMALLEST else None
        if node.op_type not in HANDS_ON:
            return None
        node = state.maker(node.input[0])
    return None


def _tell_several(state: Following, node: onnx.NodeProto, numbers: np.ndarray, name: str, other: str) -> None:
    if not 1 < numbers.size <= MOST_SIZES or numbers.dtype.kind not in "iuf" or not state.depends(other):
        return
    if state.baked(other) is not None:
        return
    wide = np.abs(numbers.astype(np.float64).reshape(-1))
    if node.op_type == "Mul" and wide.min() > 0 and wide.max() < 1:
        wide = 1 / wide
    whole = {int(n) for n in np.round(wide)}
    if len(whole) < 2 or np.abs(wide - np.round(wide)).max() > 1e-4 or min(whole) < SMALLEST - 1:
        return
    for less in (0, 1):
        moving, beside = state.sizes_seen()
        told = {n + less for n in whole}
        if told & moving and told <= moving | beside:
            size = max(told & moving)
            text = (
                f"computes with {in_short(numbers)}, numbers of sizes in the file such as {size}: they stay as they are"
            )
            state.find("property", node, text, value=name, remedy=EXPORT)
            return


def _means_places(node: onnx.NodeProto, number: np.ndarray, name: str) -> bool:
    """Whether an operator uses a number as a size, and not as any number."""
    if node.op_type not in PLACES_ONLY or number.dtype.kind in "iu":
        return True
    if node.op_type == "Sub":
        return name == node.input[0]
    return node.op_type in ("Clip", "Min", "Max", "Mod") and float(number.reshape(-1)[0]) != 6  # ReLU6


def _as_variance(state: Following, node: onnx.NodeProto, place: int, value: float) -> bool:
    """Mean of squares * n / (n - 1), as torch writes an unbiased variance: both numbers follow."""
    other = node.input[1 - place]
    counted, reduction = _count(state, other), state.maker(other)
    readers = state.readers(node.output[0])
    if counted is None or reduction is None or reduction.op_type != "ReduceMean" or value != counted[0]:
        return False
    for reader in readers:
        divisor = (
            state.baked(reader.input[1]) if reader.op_type == "Div" and reader.input[0] == node.output[0] else None
        )
        if divisor is None or divisor.size != 1 or float(divisor.reshape(-1)[0]) != counted[0] - 1:
            return False
    if not readers:
        return False
    data, axes = reduction.input[0], _axes(state, reduction)
    count = ""
    for axis in axes:
        count = state.add("Mul", [count, state.size(data, axis)], "size") if count else state.size(data, axis)
    elem = state.get(other).elem
    number = state.add("Cast", [state.scalar(count)], "count", to=elem)
    one = state.constant(np.array(1, onnx.helper.tensor_dtype_to_np_dtype(elem)), "one")
    less = state.add("Sub", [number, one], "count")
    text = f"computes a variance with the number {value:g}, the size in the file"
    state.find("follows", node, text, value=data, axis=axes[0], done=f"it follows {data!r} now")
    set_input(node, place, number)
    for reader in readers:
        set_input(reader, 1, less)
    return True


def _axes(state: Following, node: onnx.NodeProto) -> list[int]:
    """The axes that a reduction goes over; none where they are not known."""
    dims = state.get(node.input[0]).dims
    given = axes_of(node, [None, *(state.baked(name) if name else None for name in node.input[1:])])
    if dims is None:
        return []
    if given is None:
        left_out = len(node.input) < 2 or not node.input[1]
        return list(range(len(dims))) if left_out and not attribute_value(node, "noop_with_empty_axes", 0) else []
    return sorted({axis % len(dims) for axis in given}) if dims else []


def _count(state: Following, name: str) -> Sizes | None:
    """How many numbers each result of a reduction behind a value is of, where that varies."""
    node = state.maker(name)
    for _ in range(6):
        if node is None or not node.input or not node.input[0]:
            return None
        if node.op_type in ("ReduceSum", "ReduceMean", "ReduceSumSquare", "GlobalAveragePool"):
            dims = state.get(node.input[0]).dims or ()
            axes = list(range(2, len(dims))) if node.op_type == "GlobalAveragePool" else _axes(state, node)
            if not axes or any(not dims[axis].sizes for axis in axes):
                return None
            count = product([dims[axis].sizes for axis in axes], state.points)
            return count if any(size != count[0] for size in count) else None
        if node.op_type not in HANDS_ON:
            return None
        node = state.maker(node.input[0])
    return None


def _is_size(value: float, size: tuple[int, str], op_type: str) -> bool:
    number = size[0] - 1 if size[1] == "one below" else size[0]
    if number < SMALLEST:
        return False
    return abs(value - number) < 1e-6 or (op_type == "Mul" and abs(value * number - 1) < 1e-6)


def _is_half(value: float, size: tuple[int, str], op_type: str) -> bool:
    """Whether places from -1 to 1 are made with a number: they are divided by half of the size, or of one below."""
    number = size[0] - 1 if size[1] == "one below" else size[0]
    if number < SMALLEST or op_type not in ("Div", "Mul"):
        return False
    if op_type == "Mul":
        return abs(value * number - 2) < 1e-6 and math.frexp(value)[0] != 0.5
    return abs(2 * value - number) < 1e-6 and (number % 2 == 1 or number >= 12)


def _is_scale(state: Following, name: str, value: float) -> bool:
    """Whether a number scales a product of attention: its square is the length of the vectors."""
    node, length = state.maker(name), None
    for _ in range(4):
        if node is None:
            return False
        if node.op_type in ("MatMul", "Einsum"):
            length = (state.get(node.input[0]).dims or (None,))[-1]
            break
        node = state.maker(node.input[0]) if node.input and node.input[0] else None
    if length is None or not length.sizes or length.varies or not value:
        return False
    return any(math.isclose(x * x, length.base, rel_tol=1e-3) for x in (value, value * value, 1 / value))

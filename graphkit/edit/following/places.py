"""Numbers that places are divided by: those in an axis that was merged from several, and those in a picture that is sampled."""

from __future__ import annotations

import numpy as np
import onnx

from graphkit.edit.following.context import Following
from graphkit.edit.nodes import set_input
from graphkit.graph.values import attribute_value
from graphkit.semantics.elementwise import BROADCASTING, ONE_BY_ONE
from graphkit.semantics.kinds import RANKING, SAME_NUMBERS
from graphkit.shapes.points import product

BEHIND_PLACES = frozenset((*SAME_NUMBERS, "Mod", "Slice", "Gather", "Floor"))
"""Operators that hand places on."""


def follow_place(state: Following, node: onnx.NodeProto, value: int) -> bool:
    """A place in an axis that was merged from several is taken apart: what it is divided by follows their sizes.

    Returns:
        Whether it is known what the number is; it may be one of a size that does not vary.
    """
    maker = state.maker(node.input[0])
    for _ in range(8):
        if maker is None or maker.op_type not in BEHIND_PLACES or not maker.input:
            break
        maker = state.maker(maker.input[0])
    if maker is None or maker.op_type not in RANKING:
        return False
    dims = state.get(maker.input[0]).dims or ()
    axis = attribute_value(maker, "axis", -1 if maker.op_type == "TopK" else 0) % max(len(dims), 1)
    factors = dims[axis].factors if axis < len(dims) else ()
    for first in range(1, len(factors)):
        sizes = product(factors[first:], state.points)
        if sizes[0] != value:
            continue
        if all(size == value for size in sizes):
            return True
        number = state.product_of(factors[first:])
        if number is None:
            return False
        known = state.get(node.input[1])
        number = state.scalar(number) if known.dims == () else number
        number = (
            state.add("Cast", [number], "number", to=known.elem) if known.elem != onnx.TensorProto.INT64 else number
        )
        set_input(node, 1, number)
        text = f"takes places in {maker.input[0]!r} apart by the number {value}, the size in the file"
        state.find("follows", node, text, value=maker.input[0], axis=axis, done="it follows now")
        return True
    return False


SCALES = (
    ("Div", 0.0, 1.0),
    ("Div", 0.0, 2.0),
    ("Mul", 1.0, 1.0),
    ("Mul", 2.0, 1.0),
)
"""How a number is made of a size: size / part for a divisor, share / size for a factor: (operator, share, part)."""

SHORTEST = 3
"""A size below this is met by chance too often."""


def follow_coordinate(state: Following, node: onnx.NodeProto, place: int, value: float) -> bool:
    """A number that turns places in a picture into places from -1 to 1, for a GridSample of it, follows the picture's size.

    Returns:
        Whether it is known what the number is; it may be one of a size that does not vary.
    """
    if node.op_type not in ("Div", "Mul") or (node.op_type == "Div" and place != 1) or not value:
        return False
    picture, component = _sampled(state, node.output[0])
    dims = state.get(picture).dims or () if picture else ()
    found: list[tuple[int, int, float, float]] = []
    for axis in range(2, len(dims)):
        if component is not None and axis != len(dims) - 1 - component:
            continue
        for less in (0, 1):
            size = dims[axis].base - less
            for op_type, share, part in SCALES:
                near = share / size if share and size > 0 else size / part
                if op_type == node.op_type and size >= SHORTEST and abs(near - abs(value)) < 1e-6:
                    found.append((axis, less, share, part))
    if len(found) != 1:
        return False
    if not dims[found[0][0]].varies:
        return True
    axis, less, share, part = found[0]
    known = state.get(node.input[place])
    dtype = onnx.helper.tensor_dtype_to_np_dtype(known.elem)

    def number(of: float) -> str:
        return state.constant(np.array(of, dtype), "number")

    length = state.size(picture, axis)
    length = state.add("Cast", [state.scalar(length) if known.dims == () else length], "size", to=known.elem)
    if less:
        length = state.add("Sub", [length, number(1)], "size")
    made = (
        state.add("Div", [number(np.copysign(share, value)), length], "factor")
        if share
        else state.add("Div", [length, number(np.copysign(part, value))], "size")
    )
    set_input(node, place, made)
    text = f"makes places in {picture!r} with the number {value:g}, the size in the file"
    state.find("follows", node, text, value=picture, axis=axis, done=f"it follows axis {axis} now")
    return True


def _sampled(state: Following, name: str) -> tuple[str, int | None]:
    """The picture that a GridSample further on samples at a value, and which coordinate the value is, where that is seen."""
    component = None
    for _ in range(12):
        readers = state.readers(name)
        if len(readers) != 1:
            return "", None
        node = readers[0]
        if node.op_type == "GridSample":
            return (node.input[0], component) if node.input[1] == name else ("", None)
        if node.op_type == "Concat":
            if len(node.input) not in (2, 3) or list(node.input).count(name) != 1:
                return "", None
            component = list(node.input).index(name)
        elif node.op_type not in (*BROADCASTING, *ONE_BY_ONE, "Unsqueeze", "Transpose", "Cast", "Reshape", "Slice"):
            return "", None
        name = node.output[0]
    return "", None

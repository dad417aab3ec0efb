"""Nodes that change nothing: for each operator, when its result is its input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from graphkit.edit.simplification.view import View

Rule = Callable[[View, onnx.NodeProto], bool]


def passes_through(view: View, node: onnx.NodeProto) -> str | None:
    """The input that a node's only result equals, or None."""
    if node.domain not in ("", "ai.onnx") or not node.input or not node.output or any(node.output[1:]):
        return None
    if node.op_type == "Where":
        return _one_choice(view, node)
    rule = _RULES.get(node.op_type)
    if rule is not None and node.input[0] and rule(view, node):
        return node.input[0]
    neutral = _NEUTRAL.get(node.op_type)
    return None if neutral is None else _without_neutral(view, node, *neutral)


def _always(_view: View, _node: onnx.NodeProto) -> bool:
    return True


def _same_type(view: View, node: onnx.NodeProto) -> bool:
    return view.elem(node.input[0]) == view.attribute(node, "to")


def _in_order(view: View, node: onnx.NodeProto) -> bool:
    perm = view.attribute(node, "perm")
    if not isinstance(perm, list):
        dims = view.dims(node.input[0])
        return dims is not None and len(dims) < 2
    return perm == sorted(perm)


def _same_shape(view: View, node: onnx.NodeProto) -> bool:
    """The elements stay as they are, and so do the dims: all sizes are known, or all but one and the rank."""
    before, after = view.dims(node.input[0]), view.dims(node.output[0])
    if before is None or after is None or len(before) != len(after):
        return False
    return before == after and sum(not isinstance(dim, int) for dim in before) <= 1


def _same_sizes(view: View, node: onnx.NodeProto) -> bool:
    before = view.shape(node.input[0])
    return before is not None and before == view.shape(node.output[0])


def _no_pads(view: View, node: onnx.NodeProto) -> bool:
    pads = (
        view.attribute(node, "pads")
        if view.opset < 11
        else view.numbers(node.input[1])
        if len(node.input) > 1
        else None
    )
    return isinstance(pads, list) and not any(pads)


def _one_input(_view: View, node: onnx.NodeProto) -> bool:
    return len(node.input) == 1


def _one_output(_view: View, node: onnx.NodeProto) -> bool:
    return len(node.output) == 1


def _no_dropout(view: View, node: onnx.NodeProto) -> bool:
    if view.opset < 7:
        return bool(view.attribute(node, "is_test", 0))
    if view.opset < 12 or len(node.input) < 3 or not node.input[2]:
        return True
    training = view.array(node.input[2], 1 << 12)
    return training is not None and not training.any()


def _repeats_once(view: View, node: onnx.NodeProto) -> bool:
    repeats = view.numbers(node.input[1]) if view.opset >= 6 and len(node.input) == 2 else None
    return repeats is not None and set(repeats) <= {1}


def _forwards(view: View, node: onnx.NodeProto) -> bool:
    steps = view.numbers(node.input[4]) if len(node.input) > 4 and node.input[4] else [1]
    return _same_sizes(view, node) and steps is not None and all(step > 0 for step in steps)


_RULES: dict[str, Rule] = {
    "Identity": _always,
    "Cast": _same_type,
    "Transpose": _in_order,
    "Reshape": _same_shape,
    "Flatten": _same_shape,
    "Expand": _same_sizes,
    "Squeeze": _same_shape,
    "Slice": _forwards,
    "Pad": _no_pads,
    "Concat": _one_input,
    "Split": _one_output,
    "Sum": _one_input,
    "Max": _one_input,
    "Min": _one_input,
    "Mean": _one_input,
    "Dropout": _no_dropout,
    "Tile": _repeats_once,
}
"""Operator -> whether its result is its first input."""

_NEUTRAL = {"Add": (0, True), "Sub": (0, False), "Mul": (1, True), "Div": (1, False), "Pow": (1, False)}
"""Operator -> (the operand that changes nothing, whether it may stand first)."""


def _without_neutral(view: View, node: onnx.NodeProto, neutral: int, commutes: bool) -> str | None:  # noqa: FBT001 (a row of the table)
    if len(node.input) != 2:
        return None
    for constant, other in ((1, 0), (0, 1)) if commutes else ((1, 0),):
        array = view.array(node.input[constant], 1 << 16)
        if array is None or array.dtype.kind not in "iufV" or not array.size or not bool(np.all(array == neutral)):
            continue
        if view.same_type(node.input[other], node.output[0]) or _fits_into(array.shape, view.dims(node.input[other])):
            return node.input[other]
    return None


def _fits_into(shape: tuple[int, ...], dims: list[int | str | None] | None) -> bool:
    """Whether a tensor keeps its dims where one of another shape is added to it."""
    if not shape:
        return True
    if dims is None or len(dims) < len(shape):
        return False
    return all(size in (1, dim) for size, dim in zip(shape, dims[len(dims) - len(shape) :], strict=True))


def _one_choice(view: View, node: onnx.NodeProto) -> str | None:
    """What a Where gives whose condition is the same everywhere."""
    condition = view.array(node.input[0], 1 << 16)
    if condition is None or not condition.size or condition.any() != condition.all():
        return None
    chosen = node.input[1 if condition.all() else 2]
    return chosen if view.same_type(chosen, node.output[0]) else None

"""Two nodes in a row that one node says as well: the second reads what the first one read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from graphkit.edit.nodes import set_inputs
from graphkit.edit.simplification.view import View
from graphkit.semantics.kinds import REGROUPS
from graphkit.tensor import numpy_type

Rule = Callable[[View, onnx.NodeProto, onnx.NodeProto], bool]


def merged(view: View, node: onnx.NodeProto) -> bool:
    """Let a node do the work of the node before it too, where one can; changes the node. True where it did."""
    if node.domain not in ("", "ai.onnx") or not node.input:
        return False
    before = view.maker.get(node.input[0])
    if before is None or before.domain not in ("", "ai.onnx") or not before.input or not before.input[0]:
        return False
    if node.input[0] in view.annotated or before.output[0] != node.input[0]:
        return False
    rule = _RULES.get((before.op_type, node.op_type))
    return rule is not None and rule(view, before, node)


def _read_through(before: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    set_inputs(node, [before.input[0], *node.input[1:]])
    return True


def _set_ints(node: onnx.NodeProto, name: str, numbers: list[int]) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in (name, "axes")]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, numbers)])


def _two_transposes(view: View, before: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    first, second = view.attribute(before, "perm"), view.attribute(node, "perm")
    rank = len(first) if isinstance(first, list) else len(second) if isinstance(second, list) else None
    if rank is None:
        return False
    first = first if isinstance(first, list) else list(reversed(range(rank)))
    second = second if isinstance(second, list) else list(reversed(range(rank)))
    _set_ints(node, "perm", [first[axis] for axis in second])
    return _read_through(before, node)


def _shape_then_reshape(view: View, before: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    """A Reshape takes the elements in order, whatever shape they had: unless it copies a size of it by a 0."""
    target = view.numbers(node.input[1]) if len(node.input) > 1 else None
    if target is None or (0 in target and not view.attribute(node, "allowzero", 0)):
        return False
    return _read_through(before, node)


def _two_casts(view: View, before: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    """What the first Cast gives holds every number that it was given exactly, so the second may take them itself."""
    given, between = numpy_type(view.elem(before.input[0]) or 0), numpy_type(view.elem(node.input[0]) or 0)
    if given is None or between is None or not (given.isbuiltin and between.isbuiltin):
        return False
    if given.kind not in "iufb" or between.kind not in "iuf" or not np.can_cast(given, between, "safe"):
        return False
    return _read_through(before, node)


def _two_relus(_view: View, before: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    return _read_through(before, node)


def _there_and_back(view: View, before: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    """Axes of size 1 go and come back at the same places, or the other way round."""
    first, second = _axes(view, before), _axes(view, node)
    if first is None or second is None:
        return False
    larger = view.dims(node.input[0] if before.op_type == "Unsqueeze" else before.input[0])
    if larger is not None:
        first, second = [axis % len(larger) for axis in first], [axis % len(larger) for axis in second]
    if sorted(first) != sorted(second) or len({axis < 0 for axis in first}) > 1:
        return False  # the rank would have to be known
    node.op_type = "Identity"
    del node.attribute[:]
    set_inputs(node, [before.input[0]])
    return True


def _moved_past_an_axis(view: View, transpose: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    """Unsqueeze, Transpose, Squeeze of the axis that the first one put in: a Transpose of the others."""
    unsqueeze = view.maker.get(transpose.input[0])
    perm, gone = view.attribute(transpose, "perm"), _axes(view, node)
    if unsqueeze is None or unsqueeze.op_type != "Unsqueeze" or not isinstance(perm, list) or gone is None:
        return False
    added = _axes(view, unsqueeze)
    if added is None:
        return False
    rank = len(perm)
    added, gone = sorted(axis % rank for axis in added), sorted(axis % rank for axis in gone)
    if sorted(perm[axis] for axis in gone) != added:
        return False
    left = [axis for axis in range(rank) if axis not in added]
    node.op_type = "Transpose"
    _set_ints(node, "perm", [left.index(axis) for axis in perm if axis in left])
    set_inputs(node, [unsqueeze.input[0]])
    return True


def _only_ones_move(view: View, before: onnx.NodeProto, node: onnx.NodeProto) -> bool:
    """A Transpose that moves axes of size 1 only is a Reshape too, and does the work of the Reshape before it."""
    perm, dims = view.attribute(node, "perm"), view.dims(node.input[0])
    if not isinstance(perm, list) or dims is None or len(perm) != len(dims) or view.opset < 5:
        return False
    moved = [axis for axis in perm if dims[axis] != 1]
    target = [dim if isinstance(dim, int) else -1 for dim in (dims[axis] for axis in perm)]
    if moved != sorted(moved) or target.count(-1) > 1 or 0 in target or view.proto.ir_version < 4:
        return False
    node.op_type = "Reshape"
    del node.attribute[:]
    set_inputs(node, [before.input[0], view.constant(f"{node.output[0]}_shape", target)])
    return True


def _axes(view: View, node: onnx.NodeProto) -> list[int] | None:
    """The axes of a Squeeze or Unsqueeze, an attribute before opset 13."""
    held = (
        view.attribute(node, "axes")
        if view.opset < 13
        else view.numbers(node.input[1])
        if len(node.input) > 1
        else None
    )
    return held if isinstance(held, list) else None


_RULES: dict[tuple[str, str], Rule] = {
    ("Transpose", "Transpose"): _two_transposes,
    ("Cast", "Cast"): _two_casts,
    ("Relu", "Relu"): _two_relus,
    ("Transpose", "Squeeze"): _moved_past_an_axis,
    ("Squeeze", "Unsqueeze"): _there_and_back,
    ("Unsqueeze", "Squeeze"): _there_and_back,
    **{(first, "Reshape"): _shape_then_reshape for first in REGROUPS},
    **{(first, "Transpose"): _only_ones_move for first in REGROUPS},
}
"""(operator, the operator behind it) -> how the second one does both."""

"""What breaks when a size that was fixed becomes free: found by inferring the shapes of the model twice.

The model is taken at its old size and at three times that size (with every free dim set to some number), and the shapes
that onnx infers are compared: nodes that fit together at the old size only, and constants that spell the old size out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence

import onnx

from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import label, title
from graphkit.graph.opset import opset_of
from graphkit.graph.scopes import Scope, scopes
from graphkit.graph.values import constant, dims, value_type
from graphkit.semantics.kinds import GLOBAL_POOLS, SHAPE_ONLY
from graphkit.shapes.dependents import dependents
from graphkit.shapes.inference import CONSEQUENCE, Chain, may_propagate, strictly_inferred
from graphkit.tensor import decode

GROWTH = 3
"""How much larger the second size is: whole, so that halving and windowing divide it where they divided the first."""

FORGETS_SIZE = (*SHAPE_ONLY, *GLOBAL_POOLS)
"""Operators behind which a size that changed is seen no more."""

Change = Callable[[onnx.ModelProto, int], None]
"""Fixes, in a model, what is about to become free, at so many times its old size."""

_FAILURE = re.compile(r"\(op_type:(?P<op>\w+), node name: (?P<name>\d+)\): (?:\[\w+\] )?(?P<why>[^\n]*)")


def sizes_with_free_dims_set(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Static dims of the values of the main graph, as far as onnx infers them when every free dim is set to some number.

    Cost: O(graph), two runs of onnx.shape_inference; weights are not read.
    """
    return _static_dims(_inferred(model, lambda _: None, propagate=may_propagate(model))[0])


class Comparison:
    """The shapes of a model at the old size and at a larger one.

    Attributes:
        index: The index of the model as it is.
        old: value -> dims at the old size, for values all of whose dims are known.
        new: The same at the larger size.
        failures: Positions of nodes that fit at the old size only -> what onnx says about it.
    """

    def __init__(self, model: onnx.ModelProto, change: Change) -> None:
        self.index = GraphIndex(model.graph)
        propagate = may_propagate(model)
        old, failed = _inferred(model, lambda copy: change(copy, 1), propagate=propagate)
        new, fails = _inferred(model, lambda copy: change(copy, GROWTH), propagate=propagate)
        self.old, self.new = _static_dims(old), _static_dims(new)
        self._larger = Scope(new.graph)
        self._opset = opset_of(model)
        self.failures = {position: why for position, why in fails.items() if position not in failed}

    def varies(self, name: str) -> tuple[int, ...]:
        """The axes of a value whose size changes."""
        old, new = self.old.get(name), self.new.get(name)
        if old is None or new is None or len(old) != len(new):
            return ()
        return tuple(axis for axis, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)

    def constant_ints(self, name: str) -> list[int] | None:
        """A constant int64 list of the model, or None."""
        tensor = constant(self.index, name)
        if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return [int(value) for value in decode(tensor, None).reshape(-1).tolist()]

    def computed(self, name: str) -> tuple[Chain, int]:
        """The nodes that compute a value from shapes at the larger size, and the opset they are written in."""
        return Chain(self._larger, name), self._opset


def breaking(comparison: Comparison, *, cause: str) -> list[str]:
    """A sentence for each node that works at the old size only, in graph order.

    Args:
        comparison: The model at two sizes.
        cause: What makes the size free, for the message: "another factor".

    Scope: nodes of the main graph; what bodies do inside is not looked at.
    Cost: O(nodes).
    """
    found = []
    for position, node in enumerate(comparison.index.nodes):
        why = _why(comparison, position, node)
        if why:
            found.append(f"{title(node)} {why}: it fails, or is wrong, at {cause}")
    return found


def breaking_in_bodies(model: onnx.ModelProto, changed: Iterable[str], *, cause: str) -> list[str]:
    """A sentence for each Reshape and Expand of a body that has a fixed target and follows what changes its size.

    Shapes in bodies are rarely known, so it may be said of a node whose input keeps its size after all.

    Scope: bodies, not the main graph.
    Cost: O(nodes).
    """
    growing = dependents(model.graph, changed, stop=FORGETS_SIZE)
    found = []
    for scope in scopes(model.graph):
        if (owner := scope.owner) is None:
            continue
        for node in scope.index.nodes:
            if node.op_type not in ("Reshape", "Expand") or len(node.input) < 2 or node.input[0] not in growing:
                continue
            target = scope.constant_array(node.input[1])
            sizes = [int(size) for size in target.reshape(-1).tolist()] if target is not None else []
            if sizes and -1 not in sizes and any(size > 1 for size in sizes):
                where = f"{title(node)} in a body of {label(owner)!r}"
                found.append(f"{where} has the fixed target {sizes}: it may fail, or be wrong, at {cause}")
    return found


def _why(comparison: Comparison, position: int, node: onnx.NodeProto) -> str | None:
    if node.domain in ("", "ai.onnx"):
        if node.op_type == "Reshape" and not reshape_adapts(comparison, node):
            return f"has the fixed target {comparison.constant_ints(node.input[1])} (constant {node.input[1]!r})"
        if node.op_type == "Reshape" and (measured := _left_behind(comparison, node)):
            return f"computes its target from the size of {', '.join(map(repr, measured))} alone"
        if node.op_type == "Expand" and _expand_is_fixed(comparison, node):
            return f"has the fixed target {comparison.constant_ints(node.input[1])} (constant {node.input[1]!r})"
        if node.op_type == "Gemm" and 1 in comparison.varies(node.input[0]):
            return f"multiplies by {node.input[1]!r}, which has one fixed size"
    if position in comparison.failures:
        return f"joins values whose sizes match now only ({_short(comparison.failures[position])})"
    return None


def _short(why: str) -> str:
    """What onnx says about two sizes, in a few words."""
    sizes = re.search(r"Inferred=(\d+) Declared=(\d+) Dimension=(\d+)", why)
    return f"{sizes[1]} beside {sizes[2]} on axis {sizes[3]}" if sizes else why.rstrip(".").lower()


def reshape_adapts(comparison: Comparison, node: onnx.NodeProto) -> bool:
    """Whether a Reshape goes along with its input: every axis that varies ends up in the -1 of the target, or in a 0.

    Axes of input and target belong together where their sizes have the same product, from the front.
    """
    varies = comparison.varies(node.input[0])
    target = comparison.constant_ints(node.input[1]) if len(node.input) > 1 else None
    old = comparison.old.get(node.input[0])
    if not varies or target is None or old is None:
        return True
    zero_copies = not any(a.name == "allowzero" and a.i for a in node.attribute)
    copied = {axis for axis, size in enumerate(target) if size == 0 and zero_copies and axis < len(old)}
    result = [old[axis] if axis in copied else size for axis, size in enumerate(target)]
    if -1 in result:
        rest = math.prod(size for size in result if size != -1)
        result[result.index(-1)] = math.prod(old) // rest if rest else 0
    for sources, targets in reshape_groups(old, result):
        moving = [axis for axis in sources if axis in varies]
        if moving and not (set(moving) <= copied or any(target[axis] == -1 for axis in targets)):
            return False
    return True


def _left_behind(comparison: Comparison, node: onnx.NodeProto) -> tuple[str, ...]:
    """The values whose shapes make the target of a Reshape, where these do not grow along with its input."""
    new = comparison.new.get(node.input[0])
    if not comparison.varies(node.input[0]) or new is None or comparison.constant_ints(node.input[1]) is not None:
        return ()
    chain, opset = comparison.computed(node.input[1])
    target = comparison.new.get(node.output[0])
    if target is None and (found := chain.evaluate(opset)) is not None:
        target = [int(size) for size in found.reshape(-1).tolist()]
    if target is None or 0 in target or 0 in new:
        return ()
    needed, given = math.prod(new), math.prod(size for size in target if size != -1)
    return chain.measured() if (needed % given if -1 in target else needed != given) else ()


def reshape_groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Axes of two shapes of the same number of elements that belong together: the finest split of equal products."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        sources: list[int] = []
        targets: list[int] = []
        left = right = 1
        while not (sources and targets and left == right):
            if i < len(old) and (not sources or left < right or j == len(new)):
                left *= old[i]
                sources.append(i)
                i += 1
            elif j < len(new):
                right *= new[j]
                targets.append(j)
                j += 1
            else:
                break
        groups.append((sources, targets))
    return groups


def _expand_is_fixed(comparison: Comparison, node: onnx.NodeProto) -> bool:
    """Whether the constant target of an Expand has a size other than 1 on an axis that varies."""
    target = comparison.constant_ints(node.input[1]) if len(node.input) > 1 else None
    old = comparison.old.get(node.input[0])
    if target is None or old is None:
        return False
    offset = len(target) - len(old)
    return any(axis + offset >= 0 and target[axis + offset] != 1 for axis in comparison.varies(node.input[0]))


def _inferred(
    model: onnx.ModelProto, change: Callable[[onnx.ModelProto], None], *, propagate: bool
) -> tuple[onnx.ModelProto, dict[int, str]]:
    """A copy after a change, with the types that onnx infers, and the nodes at which inference fails."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for position, node in enumerate(copy.graph.node):
        node.name = str(position)
    change(copy)
    _set_free_dims(copy.graph)
    for graph in walk.graphs(copy.graph):
        del graph.value_info[:]
        for output in graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
    found, why = strictly_inferred(copy, propagate=propagate)
    failures = {int(m["name"]): m["why"].strip() for m in _FAILURE.finditer(why)}
    return found, {position: why for position, why in failures.items() if CONSEQUENCE not in why}


def _static_dims(model: onnx.ModelProto) -> dict[str, list[int]]:
    index = GraphIndex(model.graph)
    shapes: dict[str, list[int]] = {}
    for name in index.values():
        known = value_type(index, name)
        sizes = dims(known) if known is not None else None
        if sizes is not None and all(isinstance(size, int) for size in sizes):
            shapes[name] = [size for size in sizes if isinstance(size, int)]
    return shapes


def _set_free_dims(graph: onnx.GraphProto) -> None:
    """Give every free dim of the inputs a size: 2 for a batch, 64 for the others, the same for the same symbol."""
    sizes: dict[str, int] = {}
    for value in graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                usual = 2 if axis == 0 else 64
                dim.dim_value = sizes.setdefault(dim.dim_param, usual) if dim.dim_param else usual

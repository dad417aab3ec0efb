"""Nodes whose result has the axes of their inputs, made again with other sizes: elementwise, reductions, moves of axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import onnx

from graphkit.edit.following.context import Following, GrowRule, Want
from graphkit.edit.following.evident import Wants
from graphkit.edit.following.growing import grow, regrown, remade, wider
from graphkit.edit.following.reshapes import follow_reshape
from graphkit.edit.following.triangles import diagonal
from graphkit.graph.values import attribute_value
from graphkit.semantics.elementwise import BROADCASTING
from graphkit.semantics.kinds import REDUCTIONS
from graphkit.shapes.known import Known
from graphkit.shapes.points import align, product
from graphkit.shapes.value_rules import axes_of


def _elementwise(
    state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int
) -> str | None:
    rank = len(known.dims or ())
    own: dict[int, dict[int, Want]] = {}
    for position, name in enumerate(node.input):
        dims = state.get(name).dims if name else None
        own[position] = {}
        for axis, want in wants.items():
            place = axis - rank + len(dims or ())
            if dims is not None and place >= 0 and dims[place].base != 1:
                own[position][place] = want
        if not own[position] and name and _holds(state, name, wants):
            return None
    inputs: list[str | None] = list(node.input)
    for position in sorted(own, key=lambda p: -len(own[p])):  # the widest first: others may be made of the same value
        name = node.input[position]
        if name:
            inputs[position] = grow(state, name, own[position], depth) if own[position] else regrown(state, name, depth)
    return remade(state, node, inputs)


def _holds(state: Following, name: str, wants: Wants) -> bool:
    """Whether a value is one number that a wanted size has at the first point, or one less: a divisor."""
    array = state.baked(name)
    if array is None or array.size != 1 or array.dtype.kind not in "iuf":
        return False
    number = abs(float(array.reshape(-1)[0]))
    sizes = {float(size) for want in wants.values() for size in (want.sizes[0], want.sizes[0] - 1) if size > 1}
    return any(abs(number - size) < 1e-6 or abs(number * size - 1) < 1e-6 for size in sizes)


def _reduce(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """The axes that are left of a reduction."""
    dims = state.get(node.input[0]).dims
    given = axes_of(node, [None, *(state.baked(name) if name else None for name in node.input[1:])])
    if dims is None or given is None or known.dims is None:
        return None
    gone = {axis % len(dims) for axis in given}
    if attribute_value(node, "keepdims", 1):
        own = dict(wants)
    else:
        kept = [axis for axis in range(len(dims)) if axis not in gone]
        own = {kept[axis]: want for axis, want in wants.items()}
    if gone & own.keys():
        return None
    return remade(state, node, [wider(state, node.input[0], own, depth), *node.input[1:]])


def _triangle(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    del known
    data = grow(state, node.input[0], wants, depth)
    number = diagonal(state, node, data) if data is not None else None
    return None if number is None else remade(state, node, [data, number] if number else [data])


def _along(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """The first input has the axes of the result."""
    del known
    return remade(state, node, [grow(state, node.input[0], wants, depth), *node.input[1:]])


def _eye_like(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """A square stays one: both axes are given the size."""
    dims = known.dims or ()
    want = next(iter(wants.values()))
    both = {0: wants.get(0, want), 1: wants.get(1, want)} if len(dims) == 2 and dims[0].base == dims[1].base else wants
    return remade(state, node, [grow(state, node.input[0], both, depth)])


def _transpose(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    perm = attribute_value(node, "perm") or range(len(known.dims or ()))[::-1]
    return remade(state, node, [grow(state, node.input[0], {perm[a]: w for a, w in wants.items()}, depth)])


def _moved_axes(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """Squeeze and Unsqueeze."""
    axes = axes_of(node, [None, *(state.baked(name) if name else None for name in node.input[1:])])
    inner = state.get(node.input[0]).dims
    if axes is None and inner is not None and node.op_type == "Squeeze" and len(node.input) < 2:
        axes = [axis for axis, dim in enumerate(inner) if dim.base == 1]
    if axes is None or inner is None:
        return None
    rank = len(known.dims or ()) if node.op_type == "Unsqueeze" else len(inner)
    gone = {axis % rank for axis in axes}
    kept = [axis for axis in range(rank) if axis not in gone]
    if node.op_type == "Unsqueeze":
        if gone & wants.keys():
            return None
        own = {kept.index(axis): want for axis, want in wants.items()}
    else:
        own = {kept[axis]: want for axis, want in wants.items()}
    return remade(state, node, [grow(state, node.input[0], own, depth), *node.input[1:]])


def _reshape(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    source = state.get(node.input[0])
    if source.dims is None or known.dims is None or source.varies or not source.complete:
        return None
    points = state.points
    own: dict[int, Want] = {}
    for axis, want in wants.items():
        found = align(source.dims, [dim.base for dim in known.dims], None, points)
        if found is None:
            return None
        if len(found.sources[axis]) > 1:
            several = [place for place in found.sources[axis] if source.dims[place].base != 1]
            merged = state.merged_of(want, [source.dims[place].base for place in several])
            if merged is None:
                return None
            own.update((p, w) for p, w in zip(several, merged, strict=True) if any(s != w.sizes[0] for s in w.sizes))
            continue
        place = found.sources[axis][0]
        parts = [a for a, sources in enumerate(found.sources) if sources == (place,) and known.dims[a].base > 1]
        if source.dims[place].base == known.dims[axis].base:
            own[place] = want
        elif math.prod(known.dims[a].base for a in parts) == source.dims[place].base:
            own[place] = _product_of_parts(state, known, parts, wants)
        else:
            return None
    name = grow(state, node.input[0], own, depth)
    if name is None:
        return None
    copy = state.copied(node, [name, *node.input[1:]])
    if copy.op_type == "Reshape":
        follow_reshape(state, copy)
    state.put(copy)
    return copy.output[0]


def _product_of_parts(state: Following, known: Known, axes: Sequence[int], wants: Wants) -> Want:
    """The size of an axis that is cut into several."""
    dims = known.dims or ()
    factors = tuple(wants[a].sizes if a in wants else dims[a].sizes for a in axes)
    sizes = product(factors, state.points)
    value, axis = state.inference.origins.get(sizes, ("", 0))
    return Want(sizes, value, axis, factors=factors)


def _concat(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    axis = attribute_value(node, "axis", 0) % max(len(known.dims or ()), 1)
    if axis not in wants:
        return remade(state, node, [grow(state, name, wants, depth) for name in node.input])
    parts = state.parts(wants[axis])
    dims = [(state.get(name).dims or ())[axis : axis + 1] for name in node.input]
    if [part.sizes[0] for part in parts] != [dim[0].base if dim else -1 for dim in dims]:
        return None
    own = zip(node.input, parts, strict=True)
    return remade(state, node, [grow(state, name, {**wants, axis: part}, depth) for name, part in own])


def _matmul(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    rank = len(known.dims or ())
    inputs: list[str | None] = []
    for side, name in enumerate(node.input):
        dims = state.get(name).dims
        own = {}
        for axis, want in wants.items():
            place = axis - rank + len(dims or ())
            other = rank - 1 if side == 0 else rank - 2
            if dims is not None and len(dims) > 1 and place >= 0 and axis != other and dims[place].base != 1:
                own[place] = want
        inputs.append(grow(state, name, own, depth) if own else name)
    return remade(state, node, inputs)


def _einsum(state: Following, node: onnx.NodeProto, known: Known, wants: dict[int, Want], depth: int) -> str | None:
    """Each input that has the letter of a wanted axis is given its size."""
    del known
    before, arrow, after = attribute_value(node, "equation", "").replace(" ", "").partition("->")
    terms = before.split(",")
    if not arrow or "." in before or len(terms) != len(node.input):
        return None
    letters = {after[axis]: want for axis, want in wants.items()}
    inputs: list[str | None] = []
    for term, name in zip(terms, node.input, strict=True):
        own = {axis: letters[letter] for axis, letter in enumerate(term) if letter in letters}
        inputs.append(grow(state, name, own, depth) if own else name)
    return remade(state, node, inputs)


GROWN_AXES: Mapping[str, GrowRule] = {
    **dict.fromkeys(BROADCASTING, _elementwise),
    **dict.fromkeys(("CumSum", "Dropout", "Identity", "CastLike", "LayerNormalization"), _along),
    **dict.fromkeys(REDUCTIONS, _reduce),
    "Concat": _concat,
    "Einsum": _einsum,
    "EyeLike": _eye_like,
    "Flatten": _reshape,
    "MatMul": _matmul,
    "Reshape": _reshape,
    "Squeeze": _moved_axes,
    "Transpose": _transpose,
    "Trilu": _triangle,
    "Unsqueeze": _moved_axes,
}
"""Operator -> how a node of it is made again."""

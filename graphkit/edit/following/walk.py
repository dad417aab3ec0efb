"""The walk through a model whose axes become free: each node is made to follow, then its sizes are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx

from graphkit.edit.following.agreement import agree
from graphkit.edit.following.begun import follow_begun
from graphkit.edit.following.context import EXPORT, Following, Place, SizeFinding
from graphkit.edit.following.grown_axes import GROWN_AXES
from graphkit.edit.following.grown_sizes import GROWN_SIZES
from graphkit.edit.following.holders import hold
from graphkit.edit.following.numbers import tell_sizes_side_by_side
from graphkit.edit.nodes import set_nodes
from graphkit.edit.prune import prune
from graphkit.graph import walk
from graphkit.graph.symbols import LARGEST, substituted
from graphkit.graph.values import dims as dims_of_type
from graphkit.graph.values import is_constant_node
from graphkit.shapes.at_points import PointInference
from graphkit.shapes.dependents import dependents
from graphkit.shapes.known import Known
from graphkit.shapes.points import UNKNOWN, Dim, Sizes, fixed, whole
from graphkit.tensor import decode, is_stripped

if TYPE_CHECKING:
    from graphkit.tensor import Array

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
"""How many times its size an axis has at a point: axes differ, and what divided the size divides these."""


@dataclass(frozen=True)
class Followed:
    """What the walk found.

    Attributes:
        findings: In graph order.
        inference: What is known of values now.
        symbols: The sizes of every symbol.
        alone: A symbol that became free -> a point at which it alone has another size.
    """

    findings: tuple[SizeFinding, ...]
    inference: PointInference
    symbols: Mapping[str, Sizes]
    alone: Mapping[str, int]


def follow(
    model: onnx.ModelProto,
    freed: Mapping[tuple[str, int], str],
    read: Callable[[onnx.TensorProto], Array | None],
    given_sizes: Mapping[str, int] | None = None,
) -> Followed:
    """Make what holds the size of some axes follow these axes. Changes the model.

    Args:
        model: The skeleton, with the sizes that the axes have in it.
        freed: (input, axis) -> the name that the axis is given.
        read: Reads a small tensor that lies elsewhere.
        given_sizes: Names of ``freed`` that do not vary, but get another size -> that size.

    Scope: main graph and bodies; functions are followed and not changed.
    Cost: O(graph): each node is inferred three times, and once more for each further axis.
    """

    def values(tensor: onnx.TensorProto) -> Array | None:
        if is_stripped(tensor):
            return None
        return read(tensor) if tensor.data_location == onnx.TensorProto.EXTERNAL else decode(tensor, None)

    symbols = _symbols(model, freed, given_sizes or {})
    points = len(next(iter(symbols.values()))) if symbols else 1
    inference = PointInference(model, points, values)
    cause = ", ".join(f"{name}:{axis}" for name, axis in freed)
    state = Following(model, inference, values, cause, {**GROWN_AXES, **GROWN_SIZES})
    fixed_inputs = {tensor.name for tensor in model.graph.initializer} if model.ir_version < 4 else set()
    inputs = [info for info in model.graph.input if info.name not in fixed_inputs]
    state.freed = tuple(symbols[name] for name in freed.values() if name in symbols)
    given = {info.name: _input(info, symbols, freed, points) for info in inputs}
    state.reached = dependents(model.graph, {name for name, _ in freed})
    state.apart = dependents(model.graph, given.keys() - {name for name, _ in freed}) - state.reached
    inference.visit = lambda graph: _visit(state, graph)
    inference.start(model.graph, given)
    _visit(state, model.graph)
    _say_misfits(state)
    prune(model, state.replaced)
    names = list(dict.fromkeys(name for name in freed.values() if name in symbols))
    alone = {name: 3 + place for place, name in enumerate(names[:4])} if len(symbols) > 1 else dict.fromkeys(names, 1)
    return Followed(_in_force(state, model), inference, symbols, alone)


def _in_force(state: Following, model: onnx.ModelProto) -> tuple[SizeFinding, ...]:
    """The findings without those of nodes that were made again and are gone."""
    gone = state.remade - {node.name or node.output[0] for node in walk.nodes(model.graph) if node.output}
    return tuple(finding for finding in state.findings if finding.kind != "held" or finding.node not in gone)


def _visit(state: Following, graph: onnx.GraphProto) -> None:
    """Walk one graph, and write back the nodes that came of it."""
    place = Place(graph, tensors={tensor.name: tensor for tensor in graph.initializer})
    if state.overridable:
        inputs = {info.name for info in graph.input}
        place.tensors = {name: tensor for name, tensor in place.tensors.items() if name not in inputs}
    state.places.append(place)
    before = [tuple(node.input) for node in graph.node]
    nodes = list(graph.node)
    for node in nodes:
        for name in dict.fromkeys(node.input):
            place.readers.setdefault(name, []).append(node)
        if is_constant_node(node):
            state.inference.infer(node)  # a rule may look at what comes behind a node
    for node in nodes:
        if node.domain in ("", "ai.onnx"):
            follow_begun(state, node)
            if _concerns(state, node):
                agree(state, node)
                hold(state, node)
        tell_sizes_side_by_side(state, node)
        state.put(node)
    state.places.pop()
    changed = len(place.nodes) != len(nodes) or any(a != tuple(n.input) for a, n in zip(before, nodes, strict=True))
    if changed:
        set_nodes(graph, place.nodes)
        state.replaced.update(
            name for names, node in zip(before, nodes, strict=True) for name in names if name not in node.input
        )


def _concerns(state: Following, node: onnx.NodeProto) -> bool:
    """Whether a node may depend on the axes that become free: it has more than other inputs, free before or not, to read."""
    return state.apart.isdisjoint(node.input) or not state.reached.isdisjoint(node.input)


def _symbols(
    model: onnx.ModelProto, freed: Mapping[tuple[str, int], str], given_sizes: Mapping[str, int]
) -> dict[str, Sizes]:
    """The sizes of every symbol at every point: of the axes that become free, and of those that were free before."""
    bases: dict[str, int] = {}
    for info in model.graph.input:
        for axis, dim in enumerate(dims_of_type(info.type) or ()):
            name = freed.get((info.name, axis))
            if name is not None and isinstance(dim, int):
                bases.setdefault(name, dim)
    moving = list(bases)
    for info in model.graph.input:
        for axis, dim in enumerate(dims_of_type(info.type) or ()):
            if isinstance(dim, str) and dim.isidentifier():
                bases.setdefault(dim, 2 if axis == 0 else 64)
    names = list(bases)
    rows = [{name: PRIMES[(place + turn) % len(PRIMES)] for place, name in enumerate(names)} for turn in range(2)]
    if len(names) > 1:
        rows += [{name: PRIMES[0]} for name in moving[:4]]
    return {
        name: (base, *(given_sizes.get(name, _larger(base, row.get(name, 1))) for row in rows))
        for name, base in bases.items()
    }


def _larger(base: int, times: int) -> int:
    """A size so many times as large; an empty axis has so many places, and the largest dims stay what they are."""
    return (times - 1 if base == 0 else base * times) if base * times < LARGEST else base


def _input(
    info: onnx.ValueInfoProto, symbols: Mapping[str, Sizes], freed: Mapping[tuple[str, int], str], points: int
) -> Known:
    shape = dims_of_type(info.type)
    if info.type.WhichOneof("value") != "tensor_type":
        return Known(types=(info.type,) * points)
    elem = info.type.tensor_type.elem_type
    if shape is None:
        return Known(elem)
    dims = tuple(_dim(dim, freed.get((info.name, axis)), symbols, points) for axis, dim in enumerate(shape))
    return Known(elem, dims)


def _dim(dim: int | str | None, name: str | None, symbols: Mapping[str, Sizes], points: int) -> Dim:
    if name is not None and name in symbols:
        return whole(symbols[name])
    if isinstance(dim, int):
        return fixed(dim, points)
    if isinstance(dim, str):
        if dim in symbols:
            return whole(symbols[dim])
        sizes = [substituted(dim, {name: sizes[point] for name, sizes in symbols.items()}) for point in range(points)]
        if all(isinstance(size, int) for size in sizes):
            return whole(tuple(size for size in sizes if isinstance(size, int)))
    return UNKNOWN


def _say_misfits(state: Following) -> None:
    for misfit in state.inference.misfits:
        if not state.was_found(misfit.node) and _concerns(state, misfit.node):
            why = misfit.why.rpartition("] ")[2].strip().rstrip(".").lower()
            text = f"joins values whose sizes match now only ({why})"
            state.find("held", misfit.node, text, value=next(filter(None, misfit.node.input), ""), remedy=EXPORT)
    for node in state.inference.lost:
        if not state.was_found(node):
            state.find(
                "lost", node, "hides sizes: they cannot be followed past it", value=next(filter(None, node.output), "")
            )

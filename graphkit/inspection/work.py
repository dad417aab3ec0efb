"""What one run of a model computes and holds, at given sizes: multiply-accumulates and living values."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx

from graphkit.errors import NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.liveness import living
from graphkit.graph.names import title
from graphkit.graph.values import dims
from graphkit.inspection.summary import Work
from graphkit.shapes.inference import at_shapes
from graphkit.shapes.macs import macs
from graphkit.tensor import bits


def unbound_dims(proto: onnx.ModelProto, index: GraphIndex, bind: Mapping[str, int]) -> tuple[str, ...]:
    """The dims of inputs that have no size and are given none: symbols, and ``INPUT:AXIS`` where a dim has no name."""
    found: dict[str, None] = {}
    for shape in _shapes(proto, index, bind).values():
        found.update(dict.fromkeys(size for size in shape if isinstance(size, str)))
    return tuple(found)


def _shapes(proto: onnx.ModelProto, index: GraphIndex, bind: Mapping[str, int]) -> dict[str, list[int | str]]:
    """Input that has to be fed -> its dims: sizes, and names of what has none."""
    found = {}
    for value in proto.graph.input:
        known = dims(value.type)
        if known is None or index.is_overridable(value.name):
            continue
        named = [size if size is not None else f"{value.name}:{axis}" for axis, size in enumerate(known)]
        found[value.name] = [
            bind.get(f"{value.name}:{axis}", bind.get(size, size) if isinstance(size, str) else size)
            for axis, size in enumerate(named)
        ]
    return found


def _check(proto: onnx.ModelProto, index: GraphIndex, bind: Mapping[str, int]) -> None:
    known: dict[str, None] = {}
    for name, shape in _shapes(proto, index, {}).items():
        known.update(dict.fromkeys(size for size in shape if isinstance(size, str)))
        known.update(dict.fromkeys(f"{name}:{axis}" for axis in range(len(shape))))
    for name, size in bind.items():
        if name not in known:
            raise NameNotFoundError("dim", name, known)
        if size < 0:
            raise ValueError(f"the size of {name!r} is {size}; sizes are 0 or more")


def work(proto: onnx.ModelProto, index: GraphIndex, bind: Mapping[str, int]) -> Work | None:
    """What a run computes and holds; None where an input has a dim without a size.

    Args:
        proto: The model.
        index: Its main graph.
        bind: Symbolic dim, or ``INPUT:AXIS`` -> size.

    Raises:
        NameNotFoundError: ``bind`` names no dim of an input.
        ValueError: A size is less than 0.

    Scope: the main graph.
    Cost: one run of shape inference, 40 microseconds a node; weights are not read.
    """
    _check(proto, index, bind)
    if unbound_dims(proto, index, bind):
        return None
    inputs = {name: [int(size) for size in shape] for name, shape in _shapes(proto, index, bind).items()}
    types = _types(at_shapes(proto, inputs))

    def shape_of(name: str) -> tuple[int, ...] | None:
        return types[name][1] if name in types else None

    functions = {walk.function_key(function) for function in proto.functions}
    counts: list[int | None] = []
    for node in index.nodes:
        nested = any(True for _ in walk.bodies(node)) or walk.call_key(node) in functions
        counts.append(None if nested else macs(node, shape_of))
    sizes = {name: _bytes(*known) for name, known in types.items()}
    made = [*inputs, *(name for node in index.nodes for name in node.output if name)]
    unsized = sum(1 for name in made if name not in sizes)
    peak, at = _peak(index, list(inputs), sizes)
    return Work(
        inputs={name: ",".join(map(str, shape)) for name, shape in inputs.items()},
        macs=sum(count or 0 for count in counts),
        uncounted=sum(count is None for count in counts),
        peak_bytes=None if unsized else peak,
        peak_node=None if unsized else at,
        unsized=unsized,
    )


def _peak(index: GraphIndex, inputs: list[str], sizes: Mapping[str, int]) -> tuple[int, str | None]:
    steps = [(inputs, ()), *((node.output, index.reads(at)) for at, node in enumerate(index.nodes))]
    held = living([*steps, ((), tuple(index.outputs))], sizes, ())
    titles = {name: title(node) for node in index.nodes for name in node.output}
    most = max(held.items(), key=lambda item: item[1][1], default=None)
    return (0, None) if most is None else (most[1][1], titles.get(most[0]))


def _types(model: onnx.ModelProto) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Value -> (data type, sizes), where all are known."""
    found = {}
    infos = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    for info in infos:
        known = dims(info.type)
        if known is not None and all(isinstance(size, int) for size in known):
            found[info.name] = (info.type.tensor_type.elem_type, tuple(int(size or 0) for size in known))
    for tensor in model.graph.initializer:
        found[tensor.name] = (tensor.data_type, tuple(tensor.dims))
    return found


def _bytes(data_type: int, shape: tuple[int, ...]) -> int:
    return (math.prod(shape) * bits(data_type) + 7) // 8

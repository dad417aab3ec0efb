"""freeze: a graph input becomes a constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.folding import FOLD_LIMIT, fold_constants
from graphkit.edit.frozen import note_frozen
from graphkit.edit.stale import sharpen
from graphkit.errors import FeedError, NameNotFoundError
from graphkit.graph.ports import input_ports
from graphkit.graph.values import dims, format_type
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.plural import counted
from graphkit.reading.values import value_for

if TYPE_CHECKING:
    from graphkit.tensor import Array


@operation(law="bound")
def freeze(
    model: Model,
    values: Mapping[str, Any] | None = None,
    *,
    defaults: bool = False,
    fold: bool = False,
    fold_limit: int = FOLD_LIMIT,
) -> Edit:
    """Bind graph inputs to values: each becomes an initializer, and nobody is asked for it any more.

    ``promote`` takes it back: the declaration of the input, with its symbolic dims and its position, is kept as the
    initializer's value_info.

    Args:
        model: A path, a ModelProto or a Model.
        values: Input -> value, as ``run`` takes feeds: an array must have the declared dtype, rank and sizes; numbers and
            lists are converted if nothing is lost by it, and one number fills a declared shape (symbolic dims count 1); a
            text is ``@x.npy``, ``@x.npz``, ``@photo.png``, or a number or list.
        defaults: Bind every input that has a default value to that; such models come from exporters that list each weight
            as an input. The IR version is raised to 4, the first that allows it.
        fold: Compute, once and now, what depends on nothing but constants any more, and fill in the shapes that follow.
        fold_limit: With ``fold``: nodes whose result would take more bytes than this are left as they are.

    Raises:
        NameNotFoundError: The model has no such input.
        ValueError: Neither ``values`` nor ``defaults`` is given.
        FeedError: A value does not fit the declared type, or two values contradict each other about a symbolic dim.

    Changes: nothing; returns a new model.
    Scope: inputs of the main graph; what bodies read of them follows. Folding goes through the main graph.
    Cost: O(graph + values); ``fold`` reads constants up to ``fold_limit`` and runs onnx.reference.
    Law: bound: the same numbers once the model before is fed the values.

    Example:
        >>> gk.freeze("model.onnx", {"mask": True}).save("out.onnx")  # doctest: +SKIP
    """
    if not values and not defaults:
        raise ArgumentValueError("freeze needs at least one input, or defaults=True")
    values = values or {}
    proto = model.copy_proto()
    graph = proto.graph
    declared = {value.name: value for value in graph.input}
    ports = input_ports(proto)
    symbols: dict[str, tuple[int, str]] = {}
    notes = []
    arrays: dict[str, Array] = {}
    for name, value in values.items():
        if name not in declared:
            raise NameNotFoundError("input", name, declared)
        array = value_for(ports[name], value)
        arrays[name] = array
        _agree(symbols, declared[name], array)
        _bind(proto, declared[name], array)
        notes.append(f"{name!r} is fixed: {format_type(declared[name].type)}, {_shown(array)}")
    notes += [
        f"the symbolic dim {symbol!r} is {size} in {name!r}; where else it occurs it stays symbolic"
        for symbol, (size, name) in symbols.items()
        if _occurs(graph, symbol)
    ]
    bound = _bind_defaults(proto) if defaults else []
    if bound:
        notes.append(
            counted(
                len(bound),
                "input with a default value is a constant now",
                "inputs with a default value are constants now",
            )
        )
    if fold:
        notes += fold_constants(model, proto, [*values, *bound], fold_limit)
        sharpen(proto)
    return Edit(proto, notes, arguments={"values": _written(values, arrays)} if values else {})


def _bind_defaults(proto: onnx.ModelProto) -> list[str]:
    """Take inputs that have a default value out of the interface; their names. Changes the model."""
    graph = proto.graph
    held = {tensor.name for tensor in graph.initializer} | {sparse.values.name for sparse in graph.sparse_initializer}
    bound = [value.name for value in graph.input if value.name in held]
    if bound:
        proto.ir_version = max(proto.ir_version, 4)
        kept = [value for value in graph.input if value.name not in held]
        del graph.input[:]
        graph.input.extend(kept)
    return bound


def _written(values: Mapping[str, Any], arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The values as the history keeps them: what came from a file, or is a tensor, as the array that it was."""
    plain = (bool, int, float, list, tuple, str)
    return {
        name: value
        if isinstance(value, plain) and not (isinstance(value, str) and value.startswith("@"))
        else arrays[name]
        for name, value in values.items()
    }


def _agree(symbols: dict[str, tuple[int, str]], declared: onnx.ValueInfoProto, array: Array) -> None:
    """A symbol means one size in the whole graph (docs/IR.md)."""
    for dim, size in zip(dims(declared.type) or (), array.shape, strict=False):
        if isinstance(dim, str):
            known, other = symbols.setdefault(dim, (size, declared.name))
            if known != size:
                raise FeedError(
                    f"the symbolic dim {dim!r} would be {known} in {other!r} and {size} in {declared.name!r}",
                    name=declared.name,
                )


def _bind(proto: onnx.ModelProto, declared: onnx.ValueInfoProto, array: Array) -> None:
    graph = proto.graph
    name = declared.name
    tensor = onnx.numpy_helper.from_array(array, name)
    for kept in graph.initializer:
        if kept.name == name:
            kept.CopyFrom(tensor)
            break
    else:
        graph.initializer.append(tensor)
    for position in range(len(graph.sparse_initializer) - 1, -1, -1):
        if graph.sparse_initializer[position].values.name == name:
            del graph.sparse_initializer[position]
    if proto.ir_version < 4:  # there every initializer is listed as an input too
        return
    position = next(i for i, value in enumerate(graph.input) if value.name == name)
    note_frozen(proto, declared, position)
    del graph.input[position]


def _occurs(graph: onnx.GraphProto, symbol: str) -> bool:
    infos = (*graph.input, *graph.output)
    return any(dim.dim_param == symbol for info in infos for dim in info.type.tensor_type.shape.dim)


def _shown(array: Array) -> str:
    """A value in a few words."""
    if array.size <= 8:
        return str(array.tolist())
    return f"an array of shape {list(array.shape)}"

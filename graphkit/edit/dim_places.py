"""The dims of inputs and outputs that a user names, and symbols: found, checked, set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import onnx

from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.ports import input_ports, output_ports
from graphkit.graph.symbols import LARGEST, names_in, substituted, tensor_types
from graphkit.graph.values import dim as dim_of
from graphkit.hint import Argument, Hint
from graphkit.reading.names import Axis, axis_or_symbol

Place = tuple[str, int]
"""(input or output, axis)."""


class Asked(NamedTuple):
    """What was asked for.

    Attributes:
        symbols: Symbols that change everywhere.
        places: Dims of inputs that change there.
        outputs: Dims of outputs that are named.
    """

    symbols: dict[str, int | str]
    places: dict[Place, int | str]
    outputs: dict[Place, int | str]
    named: dict[Place, int | str]


def sorted_out(proto: onnx.ModelProto, values: Mapping[str, int | str]) -> Asked:
    """Read what ``dims`` was asked for.

    Raises:
        NameNotFoundError: No input, output or symbol has the name.
        EditError: The axis does not exist, a shape is not declared, a value is no name and no size, or two dims of two
            sizes are given one name.
    """
    known, inputs = _symbols(proto), input_ports(proto)
    ports = inputs | {name: port for name, port in output_ports(proto).items() if name not in inputs}
    symbols: dict[str, int | str] = {}
    places: dict[Place, int | str] = {}
    outputs: dict[Place, int | str] = {}
    named: dict[Place, int | str] = {}
    for key, value in values.items():
        _check_value(key, value)
        target: str | Place = axis_or_symbol(key, ports, known, value)
        if isinstance(target, Axis):
            now = dim_at(proto, target)
            if target[0] not in inputs:
                named[target] = value
            if target[0] not in inputs and not (isinstance(now, str) and now.isidentifier()):
                outputs[target] = value
                continue
            target = now if isinstance(now, str) and now.isidentifier() else target
        if isinstance(target, str):
            if symbols.setdefault(target, value) != value:
                raise EditError(f"the symbol {target!r} cannot be both {symbols[target]!r} and {value!r}")
        else:
            places[target] = value
    _check_names(proto, places)
    return Asked(symbols, places, outputs, named)


def _check_names(proto: onnx.ModelProto, places: Mapping[Place, int | str]) -> None:
    """One name is one size: axes of two sizes cannot share it, nor an axis and a symbol that is fixed elsewhere."""
    first: dict[str, Place] = {}
    for place, value in places.items():
        if not isinstance(value, str):
            continue
        other = first.setdefault(value, place)
        one, two = dim_at(proto, other), dim_at(proto, place)
        if isinstance(one, int) and isinstance(two, int) and one != two:
            raise EditError(
                f"{other[0]}:{other[1]} has the size {one} and {place[0]}:{place[1]} the size {two}: both cannot be {value!r}",
                hint="give axes of two sizes two names",
            )


def shared_names(proto: onnx.ModelProto, places: Mapping[Place, int | str]) -> list[str]:
    """A sentence for each axis with a size that gets the name which another axis of its input has already."""
    said = []
    for (name, axis), value in places.items():
        tensor = next(tensor_types(_port(proto, name).type))
        others = [f"{name}:{at}" for at, dim in enumerate(tensor.shape.dim) if dim.dim_param == value]
        if others and isinstance(dim_at(proto, (name, axis)), int):
            every = " and ".join([*others, f"{name}:{axis}"])
            said.append(f"{every} are both {value!r} now: the model is for inputs in which they have one size")
    return said


def _check_value(key: str, value: Any) -> None:
    if isinstance(value, Mapping):
        flat = {f"{key}:{axis}": size for axis, size in value.items()}
        raise EditError(
            f"{key!r} cannot be {value!r}", hint=Hint("write one entry an axis: ", Argument("values", flat))
        )
    if not isinstance(value, int | str):
        raise EditError(f"{key!r} cannot be {value!r}", hint="a dim is a size, 0 or more, or a name")
    if isinstance(value, bool) or (isinstance(value, int) and not 0 <= value < LARGEST) or value == "":
        raise EditError(f"{key!r} cannot be {value!r}", hint="a dim is a size, 0 or more, or a name")
    if isinstance(value, str) and not value.isidentifier():
        raise EditError(
            f"{key!r} cannot be {value!r}", hint="a name has letters, digits and _, and begins with a letter"
        )


def spelt(dim: int | str | None) -> str:
    """A dim as it is said."""
    return "unknown" if dim is None else str(dim)


def _port(proto: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    return next(value for value in (*proto.graph.input, *proto.graph.output) if value.name == name)


def proto_dim(proto: onnx.ModelProto, place: Place) -> onnx.TensorShapeProto.Dimension:
    """The dim of an input or output, as it stands in the model."""
    return next(tensor_types(_port(proto, place[0]).type)).shape.dim[place[1]]


def dim_at(proto: onnx.ModelProto, place: Place) -> int | str | None:
    """The size or symbol of a dim of an input or output, None for an unknown one."""
    return dim_of(proto_dim(proto, place))


def set_dim(dim: onnx.TensorShapeProto.Dimension, value: int | str | None) -> None:
    """Give a dim a size or a name, or make it unknown. Changes the dim."""
    if isinstance(value, int):
        dim.dim_value = value
    elif value is not None:
        dim.dim_param = value
    else:
        dim.Clear()


def set_place(proto: onnx.ModelProto, place: Place, value: int | str | None) -> None:
    """Give a dim of an input or output a size or a name, or make it unknown; a value may be both. Changes the model."""
    for info in (*proto.graph.input, *proto.graph.output):
        for tensor in tensor_types(info.type) if info.name == place[0] else ():
            if place[1] < len(tensor.shape.dim):
                set_dim(tensor.shape.dim[place[1]], value)


def _every_dim(proto: onnx.ModelProto) -> list[onnx.TensorShapeProto.Dimension]:
    return [
        dim
        for graph in walk.graphs(proto.graph)
        for info in (*graph.input, *graph.output, *graph.value_info)
        for tensor in tensor_types(info.type)
        for dim in tensor.shape.dim
    ]


def _symbols(proto: onnx.ModelProto) -> set[str]:
    spelt = {dim.dim_param for dim in _every_dim(proto) if dim.dim_param}
    return spelt | {name for symbol in spelt for name in names_in(symbol)}


def substitute(proto: onnx.ModelProto, symbols: Mapping[str, int | str]) -> list[str]:
    """Give symbols a size or another name, everywhere. Changes the model."""
    if not symbols:
        return []
    taken = _symbols(proto) - symbols.keys()
    notes = []
    for old, new in symbols.items():
        same = f", the same as {new!r} elsewhere in the model" if new in taken else ""
        notes.append(f"the symbolic dim {old!r} is {new!r} now{same}")
    for dim in _every_dim(proto):
        if dim.dim_param:
            set_dim(dim, substituted(dim.dim_param, symbols))
    return notes

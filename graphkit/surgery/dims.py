"""dims: set, rename and fix the dims of graph inputs, everywhere they occur."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import onnx

from graphkit.edit.folding import fold_sizes
from graphkit.edit.following.walk import Followed, follow
from graphkit.edit.stale import refresh, sharpen
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.graph.ports import input_ports
from graphkit.graph.symbols import LARGEST, names_in, substituted, tensor_types
from graphkit.graph.values import dim as dim_of
from graphkit.hint import Argument, Hint
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.reading.names import Axis, axis_or_symbol

Place = tuple[str, int]
"""(input, axis)."""


class _Said(NamedTuple):
    notes: list[str]
    warnings: list[str]


@operation(law="bound")
def dims(
    model: Model,
    values: Mapping[str, int | str],
    *,
    repair_shapes: bool = False,
    strict: bool = False,
    fold: bool = False,
) -> Edit:
    """Set dims of graph inputs: give a free dim a name or a size, make a fixed dim free.

    What happens depends on what the dim was:

    - a symbol gets another name: it is renamed everywhere, in expressions such as ``2*h`` too;
    - a symbol gets a size: it has that size everywhere, expressions are computed, and what follows is inferred;
    - a size becomes a symbol or another size: every shape that depends on the input is cleared or inferred anew, and nodes
      that hold the old size (a Reshape or Expand with a fixed target, an Add with a fixed tensor) are named in warnings;
    - an unknown dim gets a name or a size.

    Args:
        model: A path, a ModelProto or a Model.
        values: ``"INPUT:AXIS"`` -> name or size (axes may count from behind), or ``"SYMBOL"`` -> name or size.
        repair_shapes: Make what holds the size of an axis that becomes free follow it, where it is certain what it has to
            follow: targets of Reshape and Expand, sizes of Resize, ends of Slice, numbers of TopK and Split, turns of a
            Loop, windows of a pool, initial states, masks and ranges.
        strict: Refuse where a size does not follow, instead of warning.
        fold: Compute, once and now, what depends on nothing but sizes of inputs: Shape nodes and what is made of them.

    Raises:
        NameNotFoundError: No input and no symbol has the name.
        EditError: The axis does not exist, the shape of the input is not declared, or the value is no name and no size;
            with ``strict`` also: something holds a size and does not follow.

    Changes: nothing; returns a new model. Only declarations change, and nodes that ``fold`` computes: the numbers a model
        computes stay what they are.
    Scope: inputs, outputs and value_info of the main graph and of bodies.
    Cost: O(graph), and up to eight runs of onnx.shape_inference; weights are not read.
    """
    if not values:
        raise ValueError("dims needs at least one dim to set")
    proto = model.copy_proto()
    symbols, places = _sorted_out(proto, values)
    notes = _substitute(proto, symbols)
    freed = {place: value for place, value in places.items() if isinstance(_dim(proto, place), int)}
    said: list[str] = []
    if freed:
        found = _follow(model, proto, freed, repair=repair_shapes)
        notes, said = notes + found.notes, found.warnings
        if said and strict:
            _refuse(said)
    for place, value in places.items():
        notes.append(f"{place[0]}:{place[1]} was {_dim(proto, place) or 'unknown'} and is {value}")
        _set(_proto_dim(proto, place), value)
    if freed:
        refresh(proto, {name for name, _ in freed})
    if fold:
        notes += fold_sizes(model, proto, [value.name for value in proto.graph.input])
    if fold or places or any(isinstance(value, int) for value in symbols.values()):
        sharpen(proto)
    return Edit(proto, notes, said)


def _sorted_out(
    proto: onnx.ModelProto, values: Mapping[str, int | str]
) -> tuple[dict[str, int | str], dict[Place, int | str]]:
    """(symbols that change everywhere, dims of inputs that change there)."""
    known, ports = _symbols(proto), input_ports(proto)
    symbols: dict[str, int | str] = {}
    places: dict[Place, int | str] = {}
    for key, value in values.items():
        _check_value(key, value)
        target: str | Place = axis_or_symbol(key, ports, known, value)
        if isinstance(target, Axis):
            now = _dim(proto, target)
            target = now if isinstance(now, str) and now.isidentifier() else target
        if isinstance(target, str):
            if symbols.setdefault(target, value) != value:
                raise EditError(f"the symbol {target!r} cannot be both {symbols[target]!r} and {value!r}")
        else:
            places[target] = value
    return symbols, places


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


def _input(proto: onnx.ModelProto, name: str) -> onnx.ValueInfoProto:
    return next(value for value in proto.graph.input if value.name == name)


def _proto_dim(proto: onnx.ModelProto, place: Place) -> onnx.TensorShapeProto.Dimension:
    return next(tensor_types(_input(proto, place[0]).type)).shape.dim[place[1]]


def _dim(proto: onnx.ModelProto, place: Place) -> int | str | None:
    return dim_of(_proto_dim(proto, place))


def _set(dim: onnx.TensorShapeProto.Dimension, value: int | str | None) -> None:
    if isinstance(value, int):
        dim.dim_value = value
    elif value is not None:
        dim.dim_param = value
    else:
        dim.Clear()


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


def _substitute(proto: onnx.ModelProto, symbols: Mapping[str, int | str]) -> list[str]:
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
            _set(dim, substituted(dim.dim_param, symbols))
    return notes


def _follow(model: Model, proto: onnx.ModelProto, freed: Mapping[Place, int | str], *, repair: bool) -> _Said:
    """Make what holds a size that is about to become free follow it where that is asked, and say what does not."""
    names = {place: name if isinstance(name, str) else f"{place[0]}_{place[1]}" for place, name in freed.items()}
    subject = proto
    if not repair:
        subject = onnx.ModelProto()
        subject.CopyFrom(proto)
    followed = follow(subject, names, model.array_of)
    cause = "another size of " + ", ".join(f"{name}:{axis}" for name, axis in freed)
    notes: list[str] = []
    said: list[str] = []
    for finding in followed.findings:
        if finding.done:
            notes.append(str(finding) if repair else Hint("with ", Argument("repair_shapes"), f" {finding}"))
        if not finding.done or not repair or finding.kind == "choice":
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            doubt = "may be wrong" if finding.kind == "choice" and repair else "fails, or is wrong,"
            said.append(f"{finding.text}: it {doubt} at {cause}{remedy}")
    return _Said(notes, said + _outputs_left_behind(proto, followed, names))


def _refuse(said: list[str]) -> None:
    listed = "; ".join(said[:5]) + (f"; and {len(said) - 5} more" if len(said) > 5 else "")
    raise EditError(
        f"not every size follows: {listed}",
        hint=Hint(
            "leave out ", Argument("strict"), " to have warnings instead, or export the model with these axes dynamic"
        ),
    )


def _outputs_left_behind(proto: onnx.ModelProto, followed: Followed, names: Mapping[Place, str]) -> list[str]:
    """A sentence for each output that has the size of a freed axis and does not vary with it, where none does."""
    said = []
    known = {value.name: followed.inference.get(value.name) for value in proto.graph.output}
    for (name, axis), symbol in names.items():
        sizes = followed.symbols.get(symbol)
        if sizes is None or any(value.dims is None or value.varies for value in known.values()):
            continue
        for output, value in known.items():
            dims = value.dims or ()
            if (axis < len(dims) and dims[axis].base == sizes[0]) or (
                sizes[0] > 1 and sizes[0] in [d.base for d in dims]
            ):
                said.append(
                    f"the output {output!r} does not vary with {name}:{axis}: it has the same size at every one"
                )
    return said

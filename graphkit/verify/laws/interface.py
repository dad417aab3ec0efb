"""bound, for changes of the interface: an input of another type or layout is cast or transposed for the model before."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.edit.interface import chosen_ports
from graphkit.edit.picture_body import picture_body
from graphkit.graph.opset import opset_of
from graphkit.graph.ports import input_ports
from graphkit.graph.values import data_type_named
from graphkit.surgery.image import free_sizes, pictures_of
from graphkit.surgery.layout import PAIRS
from graphkit.surgery.retype import named_by_type
from graphkit.tensor import numpy_type
from graphkit.verify.laws.binding import Binding, Change, Closeness, Fed, Link, Outcome
from graphkit.verify.laws.expected import inserted
from graphkit.verify.laws.pictures import check_preparation, prepared, sizes_of_pictures
from graphkit.verify.laws.same import identity

if TYPE_CHECKING:
    from graphkit.edit.picture_body import Pictures
    from graphkit.tensor import Array


def retype(change: Change) -> Binding:
    """Before is fed the array cast to its own type; its outputs are cast to the new one."""
    wanted = {name: str(data_type_named(text)) for name, text in change.arguments["io"].items()}
    chosen = chosen_ports(change.before.proto.graph, wanted, named_by_type)
    plain = identity(change)
    inputs: dict[str, Link] = dict(plain.inputs)
    outputs = dict(plain.outputs)
    for name, number in chosen.items():
        if name in outputs:
            outputs[name] = Outcome(name, partial(_cast, numpy_type(int(number))))
        if name in inputs:
            inputs[name] = Fed(name, types=frozenset((int(number),)))
    return replace(plain, inputs=inputs, outputs=outputs)


def _cast(dtype: np.dtype[Any] | None, array: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(array).astype(dtype)


def layout(change: Change) -> Binding:
    """Before is fed the array transposed or without the new axes; its outputs are transposed, or have them."""
    other = {name: pair[1 - place] for pair in PAIRS for place, name in enumerate(pair)}
    plain = identity(change)
    inputs: dict[str, Link] = dict(plain.inputs)
    outputs = dict(plain.outputs)
    for name, wanted in chosen_ports(change.before.proto.graph, change.arguments["io"]).items():
        if wanted not in other:
            axes = tuple(int(step[1:]) for step in wanted.split(","))
            if name in input_ports(change.before.proto):
                inputs[name] = Fed(name, partial(np.squeeze if wanted[0] == "+" else np.expand_dims, axis=axes))
            else:
                outputs[name] = Outcome(name, partial(np.expand_dims if wanted[0] == "+" else np.squeeze, axis=axes))
            continue
        now = other[wanted]
        if name in input_ports(change.before.proto):
            inputs[name] = Fed(name, partial(_transposed, [wanted.index(axis) for axis in now]))
        else:
            outputs[name] = Outcome(name, partial(_transposed, [now.index(axis) for axis in wanted]))
    return replace(plain, inputs=inputs, outputs=outputs)


def _transposed(perm: list[int], array: Array) -> Array:
    return np.ascontiguousarray(np.transpose(array, perm))


def image(change: Change) -> Binding:
    """Before is fed ``(x / 255 - mean) / std`` of the pictures, in its own layout.

    Pictures that are resized have any size. The nodes that do it are run alone, beside what is reckoned in NumPy, and stand
    in front of the model before, which takes the same pictures then.
    """
    given = {name: value for name, value in change.arguments.items() if name != "input"}
    name = str(change.arguments["input"])
    pictures = pictures_of(change.before, name, **given)
    plain = identity(change)
    if pictures.resize is not None:
        return _resizing(change, name, pictures, plain)
    dtype = numpy_type(pictures.given)

    def convert(array: Array) -> Array:
        return np.ascontiguousarray(prepared(pictures, array)[0].astype(dtype))

    first = pictures.dims
    size = (first[0], *first[2:], first[1]) if pictures.channels_last else tuple(first)
    inputs: dict[str, Link] = {**plain.inputs, name: Fed(name, convert, size, frozenset((pictures.taken,)))}
    close = Closeness(dtype=str(dtype), why="rounding of the preparation")
    return replace(plain, inputs=inputs, close=close)


def _resizing(change: Change, name: str, pictures: Pictures, plain: Binding) -> Binding:
    """The nodes are what they should be, and the model after is the model before behind them, at several sizes."""
    check_preparation(pictures, change.before)
    body = picture_body(pictures, opset_of(change.before.proto), free_sizes(name))
    expected = inserted(change.before, {"at": [name], "body_model": body})
    axes = (1, 2) if pictures.channels_last else (2, 3)
    height, width = (int(size or 0) for size in pictures.dims[2:])
    sizes = [{(name, axis): n for axis, n in zip(axes, size, strict=True)} for size in sizes_of_pictures(height, width)]
    return replace(plain, before=expected, sizes=sizes)

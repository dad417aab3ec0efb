"""bound, for changes of the interface: an input of another type or layout is cast or transposed for the model before."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.edit.interface import chosen_ports
from graphkit.graph.ports import input_ports
from graphkit.graph.values import data_type_named
from graphkit.surgery.layout import PAIRS
from graphkit.surgery.retype import named_by_type
from graphkit.tensor import numpy_type
from graphkit.verify.laws.binding import Binding, Change, Closeness, Fed, Link, Outcome
from graphkit.verify.laws.same import identity

if TYPE_CHECKING:
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


CHANNELS = (1, 3, 4)
"""Sizes of an axis of channels."""


def image(change: Change) -> Binding:
    """Before is fed ``(x / 255 - mean) / std`` of the pictures, in its own layout; pictures have the model's size."""
    given = change.arguments
    name = str(given["input"])
    port = input_ports(change.before.proto)[name]
    shape = port.dims or ()
    last = shape[1] not in CHANNELS and shape[3] in CHANNELS
    pictures_last = given.get("layout", "NHWC") == "NHWC"
    numbers = [np.asarray(given.get(what, usual), np.float64).reshape(-1) for what, usual in (("mean", 0), ("std", 1))]
    dtype = numpy_type(port.data_type)

    def prepared(array: Array) -> Array:
        found = np.asarray(array, np.float64)
        found = found if pictures_last else np.moveaxis(found, 1, 3)
        if given.get("order") == "bgr":
            found = found[..., [2, 1, 0, *range(3, found.shape[3])]]
        found = (found / 255 - numbers[0]) / numbers[1]
        return np.ascontiguousarray((found if last else np.moveaxis(found, 3, 1)).astype(dtype))

    first = (shape[0], shape[3], *shape[1:3]) if last else tuple(shape)
    size = (first[0], *first[2:], first[1]) if pictures_last else first
    plain = identity(change)
    types = frozenset((int(data_type_named(str(given.get("dtype", "uint8")))),))
    inputs: dict[str, Link] = {**plain.inputs, name: Fed(name, prepared, size, types)}
    close = Closeness(dtype=str(dtype), why="rounding of the preparation")
    return replace(plain, inputs=inputs, close=close)

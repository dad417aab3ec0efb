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
from graphkit.verify.laws.binding import Binding, Change, Fed, Link, Outcome
from graphkit.verify.laws.same import identity

if TYPE_CHECKING:
    from graphkit.tensor import Array


def retype(change: Change) -> Binding:
    """Before is fed the array cast to its own type; its outputs are cast to the new one."""
    wanted = {name: str(data_type_named(text)) for name, text in change.arguments["io"].items()}
    chosen = chosen_ports(change.before.proto.graph, wanted, named_by_type)
    plain = identity(change)
    outputs = dict(plain.outputs)
    for name, number in chosen.items():
        if name in outputs:
            outputs[name] = Outcome(name, partial(_cast, numpy_type(int(number))))
    return replace(plain, outputs=outputs)


def _cast(dtype: np.dtype[Any] | None, array: Array) -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(array).astype(dtype)


def layout(change: Change) -> Binding:
    """Before is fed the array transposed; its outputs are transposed."""
    other = {name: pair[1 - place] for pair in PAIRS for place, name in enumerate(pair)}
    plain = identity(change)
    inputs: dict[str, Link] = dict(plain.inputs)
    outputs = dict(plain.outputs)
    for name, wanted in chosen_ports(change.before.proto.graph, change.arguments["io"]).items():
        now = other[wanted]
        if name in input_ports(change.before.proto):
            inputs[name] = Fed(name, partial(_transposed, [wanted.index(axis) for axis in now]))
        else:
            outputs[name] = Outcome(name, partial(_transposed, [now.index(axis) for axis in wanted]))
    return replace(plain, inputs=inputs, outputs=outputs)


def _transposed(perm: list[int], array: Array) -> Array:
    return np.ascontiguousarray(np.transpose(array, perm))

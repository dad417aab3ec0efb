"""close: the same within the tolerance of the coarser dtype, or within the bound that the rule brings."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.edit.patterns.library import find_rules
from graphkit.errors import FeedError
from graphkit.graph.ports import input_ports
from graphkit.graph.values import data_type_named
from graphkit.reading.values import value_for
from graphkit.verify.laws.binding import Binding, Change, Closeness, Fed, Link
from graphkit.verify.laws.held_weights import error_of_blocks, wrong_half, wrong_integers
from graphkit.verify.laws.same import identity

if TYPE_CHECKING:
    from graphkit.tensor import Array

QUANTIZED = 0.1
"""The relative L2 error that quantization may make on feeds that calibration did not see (DESIGN: law "close")."""


MOST = 0.5
"""The relative L2 error that no weights in 4 bits excuse."""

HELD = {"float16": wrong_half, "bfloat16": wrong_half} | dict.fromkeys(
    ("int8", "int8-dynamic", "int8-weights", "int4-weights"), wrong_integers
)
"""Precision -> what its weights must be."""


def precision(change: Change) -> Binding:
    """Inputs in the dtype that the model after declares, each cast for the model before; outputs compared as numbers.

    Integers may be off by a relative L2 error of ``QUANTIZED``. Weights in 4 bits have 16 levels a block, which takes more
    than that by itself. Where the weights are off by a relative error e, a share e / pi of Gaussian sums turns its sign, and
    an activation that saturates makes of that an error of 2 sqrt(e / pi): that is allowed, and ``MOST`` at most.
    """
    to = str(change.arguments["to"])
    plain = identity(change)
    close = (
        Closeness(dtype=to, why=f"precision {to}")
        if "float" in to
        else Closeness(relative=_bound(change, to), why=f"precision {to}")
    )
    gone = _quantized_defaults(change) if "int" in to else frozenset()
    inputs: dict[str, Link] = {name: Fed(name) for name in plain.inputs if name not in gone}
    if "float" in to and not change.arguments.get("keep_io"):
        ports = input_ports(change.before.proto)
        number = int(data_type_named(to))
        floats = [name for name in inputs if ports[name].data_type == onnx.TensorProto.FLOAT]
        inputs |= {name: Fed(name, types=frozenset((onnx.TensorProto.FLOAT, number))) for name in floats}
    return replace(plain, inputs=inputs, close=close, held=HELD.get(to), seen=_seen(change) if to == "int8" else {})


def _bound(change: Change, to: str) -> float:
    """The relative L2 error that outputs may have."""
    if to != "int4-weights":
        return QUANTIZED
    return min(max(QUANTIZED, 2 * math.sqrt(error_of_blocks(change.before, change.after) / math.pi)), MOST)


def _seen(change: Change) -> dict[str, list[Array]]:
    """Input -> the arrays that calibration was given for it; none for what was random, or lies in a file that is gone."""
    ports = input_ports(change.before.proto)
    found: dict[str, list[Array]] = {}
    for name, given in (change.arguments.get("feeds") or {}).items():
        several = isinstance(given, list | tuple) and all(isinstance(one, str | np.ndarray) for one in given)
        with contextlib.suppress(FeedError):
            found[name] = [value_for(ports[name], one) for one in (given if several else [given])]
    return {name: arrays for name, arrays in found.items() if len({array.shape for array in arrays}) == 1}


def _quantized_defaults(change: Change) -> frozenset[str]:
    """Inputs that are none any more because the default value that they had is quantized: both sides take that."""
    before, after = (input_ports(model.proto) for model in (change.before, change.after))
    held = {tensor.name for tensor in change.after.proto.graph.initializer}
    gone = [name for name, port in before.items() if not port.required and name not in after]
    return frozenset(name for name in gone if held.intersection((f"{name}_quantized", f"{name}_int4")))


def simplify(change: Change) -> Binding:
    """The same up to the rounding of weights that other weights were multiplied into, through any number of layers."""
    return replace(identity(change), close=Closeness(dtype="float32", why="the rounding of folded weights"))


def rewrite(change: Change) -> Binding:
    """The same up to the rounding of other operators; for rules that approximate, within the sum of their own bounds."""
    rules = change.arguments.get("rules") or ()
    found = [rule for text in ([rules] if isinstance(rules, str) else rules) for rule, _ in find_rules(str(text))]
    bound = sum(getattr(rule, "tolerance", None) or 0.0 for rule in found)
    close = (
        Closeness(relative=bound, why="rules that approximate")
        if bound
        else Closeness(dtype="float32", why="the rounding of other operators")
    )
    return replace(identity(change), close=close)

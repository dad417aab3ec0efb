"""close: the same within the tolerance of the coarser dtype, or within the bound that the rule brings."""

from __future__ import annotations

from dataclasses import replace

from graphkit.edit.patterns.library import find_rules
from graphkit.graph.ports import input_ports
from graphkit.verify.laws.binding import Binding, Change, Closeness, Fed, Link
from graphkit.verify.laws.held_weights import wrong_half, wrong_integers
from graphkit.verify.laws.same import identity

QUANTIZED = 0.1
"""The relative L2 error that quantization may make on feeds that calibration did not see (DESIGN: law "close")."""


HELD = {"float16": wrong_half, "bfloat16": wrong_half} | dict.fromkeys(
    ("int8", "int8-dynamic", "int8-weights", "int4-weights"), wrong_integers
)
"""Precision -> what its weights must be."""


def precision(change: Change) -> Binding:
    """Inputs in the dtype that the model after declares, each cast for the model before; outputs compared as numbers."""
    to = str(change.arguments["to"])
    plain = identity(change)
    close = (
        Closeness(dtype=to, why=f"precision {to}")
        if "float" in to
        else Closeness(relative=QUANTIZED, why=f"precision {to}")
    )
    gone = _quantized_defaults(change) if "int" in to else frozenset()
    inputs: dict[str, Link] = {name: Fed(name) for name in plain.inputs if name not in gone}
    calibrated = to == "int8" and bool(change.arguments.get("feeds"))
    return replace(plain, inputs=inputs, close=close, held=HELD.get(to), normalised=not calibrated)


def _quantized_defaults(change: Change) -> frozenset[str]:
    """Inputs that are none any more because the default value that they had is quantized: both sides take that."""
    before, after = (input_ports(model.proto) for model in (change.before, change.after))
    held = {tensor.name for tensor in change.after.proto.graph.initializer}
    gone = [name for name, port in before.items() if not port.required and name not in after]
    return frozenset(name for name in gone if held.intersection((f"{name}_quantized", f"{name}_int4")))


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

"""close: the same within the tolerance of the coarser dtype, or within the bound that the rule brings."""

from __future__ import annotations

from dataclasses import replace

from graphkit.edit.patterns.library import find_rules
from graphkit.verify.laws.binding import Binding, Change, Closeness, Fed, Link
from graphkit.verify.laws.same import identity

QUANTIZED = 0.1
"""The relative L2 error that quantization may make on feeds that calibration did not see (DESIGN: law "close")."""


def precision(change: Change) -> Binding:
    """Inputs in the dtype that the model after declares, each cast for the model before; outputs compared as numbers."""
    to = str(change.arguments["to"])
    plain = identity(change)
    close = (
        Closeness(dtype=to, why=f"precision {to}")
        if "float" in to
        else Closeness(relative=QUANTIZED, why=f"precision {to}")
    )
    inputs: dict[str, Link] = {name: Fed(name) for name in plain.inputs}
    return replace(plain, inputs=inputs, close=close)


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

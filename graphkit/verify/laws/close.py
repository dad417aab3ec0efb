"""close: the same within the tolerance of the coarser dtype, or within the bound that the rule brings."""

from __future__ import annotations

from dataclasses import replace

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

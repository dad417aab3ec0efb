"""The numbers for which operators are defined: Log above 0, Sqrt from 0 on, Div by anything but 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import onnx

from graphkit.semantics.intervals import ANY, Interval

Violation = Literal["undefined", "pole"]
"""``undefined``: numbers of the interval give NaN; ``pole``: one number of it, 0, gives infinity or cannot be divided by."""


def violation(node: onnx.NodeProto, given: Sequence[Interval | None]) -> Violation | None:
    """What may go wrong in a node of ai.onnx whose inputs lie in some intervals; None where nothing can.

    Cost: O(1).
    """
    if not given:
        return None
    if node.op_type == "Log":
        low, _ = given[0] or ANY
        return "undefined" if low < 0 else "pole" if low == 0 else None
    if (defined := _DEFINED.get(node.op_type)) is not None:
        return None if defined(given[0] or ANY) else "undefined"
    if (place := _DIVISOR.get(node.op_type)) is not None and place < len(given):
        low, high = given[place] or ANY
        return "pole" if low <= 0 <= high else None
    if node.op_type == "Pow" and len(given) > 1:
        return _of_power(given[0] or ANY, given[1] or ANY)
    return None


def _of_power(base: Interval, exponent: Interval) -> Violation | None:
    if base[0] < 0 and (exponent[0] != exponent[1] or not float(exponent[0]).is_integer()):
        return "undefined"
    return "pole" if exponent[0] < 0 and base[0] <= 0 <= base[1] else None


_DEFINED: dict[str, Callable[[Interval], bool]] = {
    "Acos": lambda x: x[0] >= -1 and x[1] <= 1,
    "Acosh": lambda x: x[0] >= 1,
    "Asin": lambda x: x[0] >= -1 and x[1] <= 1,
    "Atanh": lambda x: x[0] > -1 and x[1] < 1,
    "ReduceLogSum": lambda x: x[0] >= 0,
    "Sqrt": lambda x: x[0] >= 0,
}

_DIVISOR = {"Div": 1, "Mod": 1, "Reciprocal": 0}

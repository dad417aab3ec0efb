"""A Trilu over axes that vary: its diagonal is how long a cache is."""

from __future__ import annotations

import numpy as np
import onnx

from graphkit.edit.following.context import EXPORT, Following
from graphkit.edit.nodes import set_input
from graphkit.graph.values import attribute_value


def diagonal(state: Following, node: onnx.NodeProto, data: str) -> str | None:
    """The diagonal of a Trilu whose data has other sizes: as it is, or counted from the last corner; None where it is neither.

    A triangle over a cache and what is new begins as far right as the cache is long.
    """
    old = node.input[1] if len(node.input) > 1 else ""
    baked = state.baked(old) if old else np.array(0)
    dims = state.get(data).dims
    if baked is None or dims is None or len(dims) < 2 or not (dims[-1].sizes and dims[-2].sizes):
        return None
    number, rows, columns = int(baked.reshape(-1)[0]), dims[-2], dims[-1]
    apart = [c - r for c, r in zip(columns.sizes, rows.sizes, strict=True)]
    if all(offset == apart[0] for offset in apart):
        near = abs(number) < max(rows.base - 2, 2) or number in (apart[0], apart[0] + 1)
        return old if near else None
    upper = attribute_value(node, "upper", 1)
    if not apart[0] or number not in ((apart[0] + 1, apart[0]) if upper else (apart[0], apart[0] - 1)):
        return old if abs(number) <= 1 else None
    offset = state.add("Sub", [state.size(data, len(dims) - 1), state.size(data, len(dims) - 2)], "offset")
    if number != apart[0]:
        offset = state.add("Add", [offset, state.constant([number - apart[0]])], "offset")
    return state.scalar(offset)


def follow_triangle(state: Following, node: onnx.NodeProto) -> None:
    """A triangle over an axis that varies, whose diagonal is how long a cache is."""
    known = state.get(node.input[0])
    if not known.varies or known.dims is None or len(known.dims) < 2:
        return
    old = node.input[1] if len(node.input) > 1 else ""
    number = diagonal(state, node, node.input[0])
    if number is None:
        text = f"has a fixed diagonal{state.spelt(old)} over {node.input[0]!r}, which varies: it stays as it is"
        state.find("held", node, text, value=old, remedy=EXPORT)
    elif number != old:
        set_input(node, 1, number)
        text = f"has a fixed diagonal{state.spelt(old)} over {node.input[0]!r}"
        state.find("follows", node, text, value=node.input[0], done="it ends in the last corner now")

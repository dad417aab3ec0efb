"""What an error of ONNX Runtime names: the input and its axis, the node, the types."""

from __future__ import annotations

import re
from typing import NamedTuple

_INPUT = re.compile(r"nvalid dimensions for input: (?P<input>.+?) for the following indices")
_AXIS = re.compile(r"index: (?P<axis>\d+) Got: (?P<got>-?\d+) Expected: (?P<expected>\d+)")
_RANK = re.compile(r"nvalid rank for input: (?P<input>.+?) Got: (?P<got>\d+) Expected: (?P<expected>\d+)")
_NODE = re.compile(r"while running (?P<op>\w+) node\. Name:'(?P<node>[^']*)'")


class RefusedAxis(NamedTuple):
    """An axis of an input that was fed another size than the model declares.

    Attributes:
        input: The input.
        axis: Its axis; None where the number of axes is another one.
        got: The size, or the number of axes, that was fed.
        expected: The one that is declared.
    """

    input: str
    axis: int | None
    got: int
    expected: int


def refused_axes(text: str) -> list[RefusedAxis]:
    """The axes that ONNX Runtime names where it refuses a feed."""
    if match := _RANK.search(text):
        return [RefusedAxis(match["input"], None, int(match["got"]), int(match["expected"]))]
    if match := _INPUT.search(text):
        axes = _AXIS.finditer(text, match.end())
        return [RefusedAxis(match["input"], int(a["axis"]), int(a["got"]), int(a["expected"])) for a in axes]
    return []


def failed_node(text: str) -> tuple[str, str] | None:
    """(operator, name) of the node at which a run failed."""
    match = _NODE.search(text)
    return (match["op"], match["node"]) if match else None

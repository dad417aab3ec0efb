"""What the nodes of a graph hold, read for all of them at once: their inputs, outputs and attributes.

Each access to a list of protobuf costs a microsecond. An edit of 100,000 nodes is made of such accesses, and so they are
made once, in C, and kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

_whole = itemgetter(slice(None))
_input, _output, _attribute = attrgetter("input"), attrgetter("output"), attrgetter("attribute")


def inputs_of(nodes: Iterable[onnx.NodeProto]) -> list[list[str]]:
    """The names of each node's inputs, "" for one that is left out."""
    return [*map(_whole, map(_input, nodes))]


def outputs_of(nodes: Iterable[onnx.NodeProto]) -> list[list[str]]:
    """The names of each node's outputs, "" for one that is left out."""
    return [*map(_whole, map(_output, nodes))]


def attributes_of(nodes: Iterable[onnx.NodeProto]) -> list[list[onnx.AttributeProto]]:
    """Each node's attributes."""
    return [*map(_whole, map(_attribute, nodes))]


class Columns:
    """The nodes of a graph, and what they hold, each read once when it is asked for. The nodes must not change meanwhile.

    Attributes:
        nodes: The nodes.
    """

    def __init__(self, nodes: Sequence[onnx.NodeProto]) -> None:
        self.nodes = nodes

    @cached_property
    def inputs(self) -> list[list[str]]:
        """As ``inputs_of``."""
        return inputs_of(self.nodes)

    @cached_property
    def outputs(self) -> list[list[str]]:
        """As ``outputs_of``."""
        return outputs_of(self.nodes)

    @cached_property
    def attributes(self) -> list[list[onnx.AttributeProto]]:
        """As ``attributes_of``."""
        return attributes_of(self.nodes)

"""The graph while it is simplified: its nodes in order, what each value is now called, and what is known of it."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import onnx

from graphkit.edit.nodes import set_inputs
from graphkit.graph import values, walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names
from graphkit.graph.opset import opset_of
from graphkit.graph.order import is_ordered, topological_order
from graphkit.model import Model
from graphkit.shapes.inference import inferred
from graphkit.tensor import is_stripped, stored_bytes

if TYPE_CHECKING:
    from graphkit.tensor import Array

READ = 1 << 24
"""Bytes of a constant that is read to compute with it; a gather from a larger table is left to the runtime."""


class View:
    """One round over the main graph.

    Attributes:
        proto: The model that is simplified; it changes when the round is over (``passes``).
        opset: The version of ai.onnx.
        nodes: The nodes that stay, in topological order, as far as the round has come.
        alias: Value that is gone -> value that its readers read now.
        renamed: Value -> the graph output whose name it takes: the node behind it had nothing to do.
        known: Values that were computed.
        partly: Integer vectors of which some elements are known: a list of numbers and None.
    """

    def __init__(self, model: Model, proto: onnx.ModelProto, names: Names | None = None, *, infer: bool = True) -> None:
        self.model = model
        self._taken = names
        self.proto = proto
        self.opset = opset_of(proto)
        graph = proto.graph
        nodes = list(graph.node)
        self.waiting = nodes if is_ordered(nodes) else [nodes[position] for position in topological_order(nodes)]
        self.nodes: list[onnx.NodeProto] = []
        self.alias: dict[str, str] = {}
        self.renamed: dict[str, str] = {}
        self.known: dict[str, Array] = {}
        self.partly: dict[str, list[int | None]] = {}
        self.maker: dict[str, onnx.NodeProto] = {}
        self.outputs = {value.name for value in graph.output}
        self.given = {value.name for value in graph.input}
        self.annotated = {entry.tensor_name for entry in graph.quantization_annotation}
        self.inner = {name for body in walk.nested(nodes) for name in walk.defined_names(body)}
        self.captured = {name for node in nodes if node.attribute for name in walk.captures(node)}
        typed = inferred(proto) if infer else onnx.ModelProto.FromString(proto.SerializeToString())
        self._index = GraphIndex(typed.graph)
        self._own = GraphIndex(graph)
        self._dims: dict[str, list[int | str | None] | None] = {}
        self._made: dict[tuple[int, ...], str] = {}

    @cached_property
    def _names(self) -> Names:
        if self._taken is not None:
            return self._taken
        training = [graph for part in self.proto.training_info for graph in (part.initialization, part.algorithm)]
        return Names(self.proto.graph, *training)

    def name(self, value: str) -> str:
        """What a value is called now."""
        while value in self.alias:
            value = self.alias[value]
        return value

    def type(self, value: str) -> onnx.TypeProto | None:
        """A value's type as declared or inferred."""
        return values.value_type(self._index, value)

    def dims(self, value: str) -> list[int | str | None] | None:
        """A tensor's dims: size, symbol, or None for unknown; None for an unknown rank."""
        if value not in self._dims:
            found = self.type(value)
            self._dims[value] = values.dims(found) if found is not None else None
        return self._dims[value]

    def shape(self, value: str) -> tuple[int, ...] | None:
        """A tensor's sizes, where all are known."""
        dims = self.dims(value)
        if dims is None or any(not isinstance(dim, int) for dim in dims):
            return None
        return tuple(dim for dim in dims if isinstance(dim, int))

    def elem(self, value: str) -> int:
        """A tensor's data type; 0 where it is not known."""
        found = self.type(value)
        return found.tensor_type.elem_type if found is not None and found.HasField("tensor_type") else 0

    def same_type(self, one: str, other: str) -> bool:
        """Whether two tensors are known to be of one type and shape; a symbol is as good as a size."""
        mine, theirs = self.dims(one), self.dims(other)
        return (
            self.elem(one) == self.elem(other) != 0
            and mine is not None
            and mine == theirs
            and all(dim is not None for dim in mine)
        )

    def tensor(self, value: str) -> onnx.TensorProto | None:
        """The constant tensor that a value is in the file, or None."""
        return values.constant(self._own, value)

    def lifted(self, tensor: onnx.TensorProto) -> None:
        """A constant is an initializer now."""
        self._own.producer.pop(tensor.name, None)
        self._own.initializers[tensor.name] = tensor

    def constant(self, wish: str, numbers: list[int]) -> str:
        """The name of a new initializer of int64; equal ones are one."""
        name = self._made.get(tuple(numbers))
        if name is None:
            name = self._made[tuple(numbers)] = self._names.fresh(wish)
            kept = self.proto.graph.initializer.add()
            kept.CopyFrom(onnx.numpy_helper.from_array(np.array(numbers, np.int64), name))
            self.lifted(kept)
        return name

    def array(self, value: str, most: int = READ) -> Array | None:
        """The numbers of a constant of at most so many bytes, computed ones included; None for anything else."""
        if value in self.known:
            return self.known[value]
        tensor = self.tensor(value)
        if tensor is None or is_stripped(tensor) or stored_bytes(tensor) > most:
            return None
        array: Array = self.model.array_of(tensor)
        return array

    def numbers(self, value: str) -> list[int] | None:
        """A constant as a list of integers, for axes, sizes and the like."""
        array = self.array(value, 1 << 12) if value else None
        return [int(number) for number in array.ravel()] if array is not None and array.dtype.kind in "iu" else None

    def is_constant(self, value: str) -> bool:
        """Whether a value is constant, however large."""
        return value in self.known or self.tensor(value) is not None

    def attribute(self, node: onnx.NodeProto, name: str, default: object = None) -> object:
        """An attribute's value."""
        return values.attribute_value(node, name, default)

    def count(self, value: str) -> int | None:
        """How many elements a tensor has, where all sizes are known."""
        shape = self.shape(value)
        return None if shape is None else math.prod(shape)

    def may_replace(self, gone: str, stays: str) -> bool:
        """Whether readers of one value may read another one, as far as names go."""
        if gone in self.annotated or gone in self.inner or stays in self.inner or stays in self.renamed:
            return False
        if gone not in self.outputs:
            return True
        return stays not in self.outputs and stays in self.maker and stays not in self.annotated

    def replace(self, gone: str, stays: str) -> None:
        """Let a value be another one. Where it is a graph output, the other one takes its name."""
        if gone in self.outputs:
            self.renamed[stays] = gone
        else:
            self.alias[gone] = stays

    def keep(self, node: onnx.NodeProto) -> None:
        """Let a node stay."""
        self.nodes.append(node)
        self.maker.update((name, node) for name in node.output if name)

    def connect(self, node: onnx.NodeProto) -> None:
        """Let a node, and what is in its bodies, read values by what they are called now."""
        if not self.alias:
            return
        for reader in (node, *(inner for body in walk.nested([node]) for inner in body.node)):
            if any(name in self.alias for name in reader.input):
                set_inputs(reader, [self.name(name) for name in reader.input])
        for body in walk.nested([node]):
            for output in body.output:
                output.name = self.name(output.name)


def integers(array: Array) -> list[int | None]:
    """An array of integers as a list."""
    return [int(number) for number in np.ravel(array)]

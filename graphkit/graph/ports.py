"""The inputs and outputs of a model as the runtime wants them fed: dtype, dims, what may be left out."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from graphkit.graph import values
from graphkit.tensor import numpy_type


@dataclass(frozen=True)
class Port:
    """One graph input or output.

    Attributes:
        name: The value.
        data_type: TensorProto data type of a tensor; 0 for sequences, maps and optionals, and where there is no such type.
        dims: Sizes, symbols, None for unknown; None as a whole for an unknown rank.
        text: The type as users write it, such as ``float32[n,3]``.
        required: False for an input with a default value.
    """

    name: str
    data_type: int
    dims: tuple[int | str | None, ...] | None
    text: str
    required: bool = True


def input_ports(proto: onnx.ModelProto) -> dict[str, Port]:
    """The inputs of the main graph in order, overridable initializers included as not required.

    Cost: O(inputs + initializers).
    """
    wanted = {value.name for value in proto.graph.input}
    given = {tensor.name for tensor in proto.graph.initializer if tensor.name in wanted}
    given.update(sparse.values.name for sparse in proto.graph.sparse_initializer)
    return {value.name: _port(value, required=value.name not in given) for value in proto.graph.input}


def output_ports(proto: onnx.ModelProto) -> dict[str, Port]:
    """The outputs of the main graph in order."""
    return {value.name: _port(value) for value in proto.graph.output}


def _port(value: onnx.ValueInfoProto, *, required: bool = True) -> Port:
    kind = value.type.WhichOneof("value")
    data_type = value.type.tensor_type.elem_type if kind == "tensor_type" else 0
    dims = values.dims(value.type) if kind == "tensor_type" else None
    return Port(
        name=value.name,
        data_type=data_type if numpy_type(data_type) is not None else 0,
        dims=None if dims is None else tuple(dims),
        text=values.format_type(value.type),
        required=required,
    )

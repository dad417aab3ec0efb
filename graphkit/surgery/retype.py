"""retype: inputs and outputs of another element type."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.interface import Attributes, Conversion, Interface, chosen_ports, ports
from graphkit.errors import EditError
from graphkit.graph.index import GraphIndex
from graphkit.graph.opset import opset_of
from graphkit.graph.values import attribute_value, data_type_named, dims, format_type, tensor_type
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.semantics.schemas import schema_of
from graphkit.shapes.types_of import types_of
from graphkit.tensor import numpy_type, type_name


@operation(law="bound", valid=False)
def retype(model: Model, io: Mapping[str, str]) -> Edit:
    """Give inputs and outputs another element type; a Cast stands between them and what the model computes.

    A Cast that stands there already takes the new one in where the numbers stay the same (the type in the middle holds
    all that it is given), and goes where nothing is left to cast.

    Args:
        model: A path, a ModelProto or a Model.
        io: Input or output -> element type, ``{"image": "uint8"}``. ``*`` in a name stands for any text, and the name of
            an element type means all inputs and outputs of it: ``{"int64": "int32"}``.

    Raises:
        NameNotFoundError: The model has no such input or output.
        EditError: It is no tensor, or has a default value; Cast of the model's opset does not know a type, or
            ONNX does not.
        ValueError: Nothing is to be done.

    Changes: nothing; returns a new model. The notes count the Casts.
    Scope: inputs and outputs of the main graph.
    Cost: O(graph); weights are not read.
    Law: bound: the same numbers once each input is fed the array cast, and each output is cast.

    Example:
        >>> gk.retype("model.onnx", {"image": "uint8"}).save("out.onnx")  # doctest: +SKIP
    """
    if not io:
        raise ArgumentValueError("retype needs at least one input or output")
    proto = model.copy_proto()
    try:
        wanted = {name: data_type_named(text) for name, text in io.items()}
    except ValueError as error:
        raise EditError(str(error)) from error
    chosen = chosen_ports(proto.graph, {name: str(number) for name, number in wanted.items()}, named_by_type)
    known = ports(proto.graph)
    interface = Interface(proto)
    index = GraphIndex(model.proto.graph)
    notes = []
    for name, number in ((name, int(text)) for name, text in chosen.items()):
        info, is_input = known[name]
        old = info.type.tensor_type.elem_type if info.type.WhichOneof("value") == "tensor_type" else 0
        if not old:
            raise EditError(f"{name!r} is {format_type(info.type)}; only tensors can be cast")
        if old == number:
            continue
        _require_cast(opset_of(proto), old, number)
        notes.append(f"{name!r} is {type_name(number)}, it was {type_name(old)}")
        new = tensor_type(number, dims(info.type))
        if is_input:
            interface.input(name, new, Conversion("Cast", {"to": old}, partial(_behind, number, old)))
        else:
            fold = partial(_before, model.proto, index, old, number)
            interface.output(name, new, Conversion("Cast", {"to": number}, fold))
    return Edit(proto, [*notes, *interface.finish()])


def named_by_type(name: str, type_proto: onnx.TypeProto) -> bool:
    """Whether a name is that of a tensor's element type."""
    try:
        return type_proto.tensor_type.elem_type == data_type_named(name)
    except ValueError:
        return False


def _require_cast(opset: int, *numbers: int) -> None:
    schema = schema_of("Cast", opset)
    allowed = {
        text for rule in (schema.type_constraints if schema is not None else ()) for text in rule.allowed_type_strs
    }
    for number in numbers:
        known = number in onnx.TensorProto.DataType.values()
        if not known or f"tensor({onnx.TensorProto.DataType.Name(number).lower()})" not in allowed:
            raise EditError(f"Cast of opset {opset} does not know {type_name(number)}")


def _holds(wide: int, narrow: int) -> bool:
    """Whether an element type holds every number of another."""
    if wide == narrow:
        return True
    one, other = numpy_type(narrow), numpy_type(wide)
    if one is None or other is None or "V" in (one.kind, other.kind) or one.kind in "OUS" or other.kind in "OUS":
        return (narrow, wide) == (onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT)
    return bool(np.can_cast(one, other, "safe"))


def _behind(new: int, old: int, cast: onnx.NodeProto) -> Attributes | None:
    """A Cast that reads an input, with the new one before it."""
    to = attribute_value(cast, "to")
    if not _holds(old, new):
        return None
    return {} if to == new else {a.name: onnx.helper.get_attribute_value(a) for a in cast.attribute}


def _before(proto: onnx.ModelProto, index: GraphIndex, old: int, new: int, cast: onnx.NodeProto) -> Attributes | None:
    """A Cast that makes an output, with the new one behind it."""
    found = types_of(proto, index, [cast.input[0]]).get(cast.input[0])
    source = found.tensor_type.elem_type if found is not None else 0
    if not source or not _holds(old, source):
        return None
    if source == new:
        return {}
    return {a.name: onnx.helper.get_attribute_value(a) for a in cast.attribute} | {"to": new}

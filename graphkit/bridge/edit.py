"""edit: a graph handed to other tools to be changed, and taken back as a step of the model's history."""

from __future__ import annotations

import onnx

from graphkit.arguments import ArgumentTypeError
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.model import Model
from graphkit.operation import Edit, operation


def put_back(source: Model, proto: onnx.ModelProto) -> Model:
    """The model that another tool made of one: its skeleton is the step, which a replay puts in place.

    A tensor that the tool left where it lay is written as its position among those of ``source``: the same tensor may lie
    elsewhere in the file that the step is replayed on.
    """
    places = {_place(tensor): position for position, tensor in enumerate(walk.tensors(source.proto))}
    places.pop((), None)
    result = onnx.ModelProto()
    result.CopyFrom(proto)
    for tensor in walk.tensors(result):
        position = places.get(_place(tensor))
        if position is not None:
            del tensor.external_data[:]
            tensor.external_data.add(key="location", value=f"{_POSITION}{position}")
    return edit(source, result=result)


_POSITION = "#"


def _place(tensor: onnx.TensorProto) -> tuple[tuple[str, str], ...]:
    """What a tensor says of where its bytes lie; () where it holds them."""
    return tuple((entry.key, entry.value) for entry in tensor.external_data)


@operation(law="meant")
def edit(model: Model, *, result: onnx.ModelProto) -> Edit:
    """Put another skeleton in place, over the same bytes.

    Args:
        model: A path, a ModelProto or a Model.
        result: The whole skeleton as another tool left it, made by ``put_back``.

    Raises:
        InvalidGraphError, TensorError: The skeleton contradicts itself.
        EditError: It refers to a tensor that the model does not have.

    Changes: nothing; returns a new model.
    Scope: everything.
    Cost: O(skeleton); weights are not read. The history holds the skeleton, where that takes less than 4 MiB.
    Law: meant: it computes what the skeleton in the history does; what that left as it was is the same.

    Example:
        >>> with model.edit() as edit:
        ...     edit.proto.producer_name = "me"
        >>> edit.model.proto.producer_name
        'me'
    """
    return Edit(in_place(model, result))


def in_place(model: Model, result: onnx.ModelProto) -> onnx.ModelProto:
    """A skeleton of ``put_back``'s whose tensors lie where those of a model do.

    Raises:
        EditError: It refers to a tensor that the model does not have.
        TypeError: It is no ModelProto.
    """
    if not isinstance(result, onnx.ModelProto):
        raise ArgumentTypeError(f"an edited model is an onnx.ModelProto, not {type(result).__name__}")
    proto = onnx.ModelProto()
    proto.CopyFrom(result)
    held = list(walk.tensors(model.proto))
    for tensor in walk.tensors(proto):
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        if location.startswith(_POSITION):
            position = int(location.removeprefix(_POSITION))
            if position >= len(held) or not held[position].external_data:
                raise EditError(f"the edited graph refers to tensor {position} of the model, which is not there")
            del tensor.external_data[:]
            tensor.external_data.extend(held[position].external_data)
    return proto

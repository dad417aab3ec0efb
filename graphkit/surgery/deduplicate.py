"""deduplicate: equal weights are stored once."""

from __future__ import annotations

from graphkit.edit.simplification.passes import share_weights
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.plural import counted


@operation(law="same")
def deduplicate(model: Model) -> Edit:
    """Store equal weights once: their readers read one of them.

    Two initializers are equal where data type, dims and bytes are. Those that a caller may override, that are graph outputs
    or that a quantization annotation names stay as they are.

    Args:
        model: A path, a ModelProto or a Model.

    Raises:
        InvalidGraphError, TensorError: The model contradicts itself.
        ModelFileError, FormatError, WeightsError: As ``load``.

    Changes: nothing; returns a new model. The notes count the weights that went.
    Scope: initializers of the main graph; those of a body that it has twice, or that the main graph has too.
    Cost: O(graph). Bytes are read, one weight at a time, where another one has the same type, dims and size.
    Law: same.

    Example:
        >>> gk.deduplicate("model.onnx").save("smaller.onnx")
    """
    proto = model.copy_proto()
    count = share_weights(model, proto)
    said = counted(count, "weight that was there twice is there once", "weights that were there twice are there once")
    return Edit(proto, [said if count else "no weight is there twice"])

"""To onnx-ir and back, with nothing lost on what its script or pass did not touch.

An ``onnx_ir.Model`` holds most of a model, and not all: no training graphs, no sparse initializers, no key of external data
but three. So the way back compares, as that of onnx-graphsurgeon does: what the serialized model says as a fresh import of
the original does was not touched, and there the model's own message is taken.
"""

from __future__ import annotations

import functools
from typing import Any

import onnx

from graphkit.bridge.edit import put_back
from graphkit.bridge.restore import Restore
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.model import Model, ModelLike
from graphkit.optional import optional
from graphkit.storage.load import as_model

_FIELDS = ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string")


def to_onnx_ir(model: ModelLike) -> Any:
    """The model as an ``onnx_ir.Model``.

    Weights are lazy: ``value.const_value.numpy()`` reads the one tensor that it is asked for, also where its bytes are
    embedded in the ``.onnx`` file.

    Args:
        model: A path, a ModelProto or a Model; it is not changed.

    Raises:
        EditError: onnx-ir cannot hold the model: it has sparse initializers, or types that onnx-ir does not know.
        MissingExtraError: onnx-ir is not installed.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing.
    Scope: main graph, bodies, functions.
    Cost: O(graph); weights are not read.

    Example:
        >>> made = gk.to_onnx_ir("model.onnx")
        >>> made.graph.node(0).op_type
        'Add'
    """
    source = as_model(model)
    ir = optional("onnx_ir", "the bridge to onnx-ir")
    if any(graph.sparse_initializer for graph in walk.graphs(source.proto.graph)):
        raise EditError("the model has sparse initializers, which onnx-ir does not know")
    try:
        made = ir.serde.deserialize_model(source.proto)
    except (ir.serde.SerdeError, KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise EditError(f"onnx-ir cannot hold the model: {_reason(error)}") from error
    _make_lazy(made, source)
    return made


def from_onnx_ir(ir_model: Any, *, like: ModelLike) -> Model:
    """A Model of an ``onnx_ir.Model`` that was made from another model.

    Args:
        ir_model: The ``onnx_ir.Model``; it is not changed.
        like: The model that it was made from by ``to_onnx_ir``. What is still unchanged comes from here, whole, and the
            weights stay where they are.

    Raises:
        EditError: The model has what cannot be written, such as an input without a type.
        MissingExtraError: onnx-ir is not installed.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing; returns a new model over the bytes of ``like`` and the tensors that are new. Its history has a step.
    Scope: main graph, bodies, functions.
    Cost: O(graph); weights that were not touched are not read.

    Example:
        >>> made = gk.to_onnx_ir("model.onnx")
        >>> made.graph.node(0).name = "first"
        >>> gk.from_onnx_ir(made, like="model.onnx").nodes[0].name
        'first'
    """
    source = as_model(like).without_record()
    ir = optional("onnx_ir", "the bridge to onnx-ir")
    try:
        now = ir.serde.serialize_model(ir_model)
    except (ir.serde.SerdeError, TypeError, ValueError) as error:
        raise EditError(f"onnx-ir cannot write the model: {_reason(error)}") from error
    before = ir.serde.serialize_model(to_onnx_ir(source))
    proto = source.copy_proto()
    restore = Restore(source)
    main = restore.graph(now.graph, before.graph, source.proto.graph, outer=frozenset())
    proto.graph.CopyFrom(main)
    del proto.functions[:]
    own = zip(before.functions, source.proto.functions, strict=True)
    known = {walk.function_key(function): (function, mine) for function, mine in own}
    proto.functions.extend(restore.functions(((walk.function_key(f), f) for f in now.functions), known))
    for field in _FIELDS:
        if getattr(now, field) != getattr(before, field):
            setattr(proto, field, getattr(now, field))
    for field in ("metadata_props", "opset_import"):
        if getattr(now, field) != getattr(before, field):
            proto.ClearField(field)
            getattr(proto, field).extend(getattr(now, field))
    return put_back(source, proto)


def _reason(error: BaseException) -> str:
    """What was wrong first: onnx-ir wraps an error once for each message around the one that it fails at."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _make_lazy(made: Any, source: Model) -> None:
    """Let external tensors read their bytes where graphkit knows that they lie."""
    ir = optional("onnx_ir", "the bridge to onnx-ir")
    places = {_place(tensor): tensor for tensor in walk.tensors(source.proto) if tensor.external_data}
    kind = _held_tensor()

    def lazy(tensor: Any) -> Any:
        if not isinstance(tensor, ir.ExternalTensor) or isinstance(tensor, kind):
            return tensor
        return kind(tensor, source, places[str(tensor.location), tensor.offset or 0, tensor.length])

    graphs = [made.graph, *(function.graph for function in made.functions.values())]
    graphs += [inner for graph in graphs for inner in graph.subgraphs()]
    for graph in graphs:
        for value in graph.initializers.values():
            value.const_value = lazy(value.const_value)
        for node in graph:
            for name, attribute in list(node.attributes.items()):
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    node.attributes[name] = ir.Attr(
                        name, attribute.type, lazy(attribute.value), doc_string=attribute.doc_string
                    )


def _place(tensor: onnx.TensorProto) -> tuple[str, int, int | None]:
    said = {entry.key: entry.value for entry in tensor.external_data}
    return said["location"], int(said.get("offset", 0)), int(said["length"]) if "length" in said else None


@functools.cache
def _held_tensor() -> Any:
    """The class of an external tensor whose bytes a graphkit Model finds."""
    import numpy as np

    ir = optional("onnx_ir", "the bridge to onnx-ir")

    base: Any = ir.ExternalTensor

    class HeldTensor(base):  # type: ignore[misc]  # onnx-ir is imported when it is needed
        """An external tensor of a graphkit Model."""

        __slots__ = ("_proto", "_source")

        def __init__(self, like: Any, source: Model, proto: onnx.TensorProto) -> None:
            super().__init__(
                like.location,
                like.offset,
                like.length,
                like.dtype,
                shape=like.shape,
                name=like.name,
                doc_string=like.doc_string,
                metadata_props=dict(like.metadata_props),
            )
            self._source = source
            self._proto = proto

        def numpy(self) -> np.ndarray[Any, Any]:
            """Its numbers, read each time that they are asked for."""
            return np.asarray(self._source.array_of(self._proto))

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray[Any, Any]:
            return np.array(self.numpy(), dtype=dtype, copy=copy)

        def tobytes(self) -> bytes:
            """Its bytes."""
            return bytes(self._source.payload(self._proto) or b"")

        def tofile(self, file: Any) -> None:
            """Write its bytes."""
            file.write(self.tobytes())

    return HeldTensor

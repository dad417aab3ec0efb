"""Arrays of every ONNX type in and out of ONNX Runtime, those included that numpy has no dtype for."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import onnx

from graphkit.errors import FeedError, SessionError
from graphkit.graph.ports import Port
from graphkit.runtime.failures import import_runtime
from graphkit.tensor import bits, decode


def to_runtime(value: Any, port: Port) -> Any:
    """An array (or list of arrays, for a sequence) as an OrtValue. Numeric arrays are not copied."""
    runtime = import_runtime()
    if isinstance(value, list):
        return _sequence([to_runtime(one, port) for one in value], port)
    array = np.ascontiguousarray(value) if value.ndim else value
    if (
        array.dtype.kind in "fiub" and array.dtype.isbuiltin == 1
    ):  # numpy counts ml_dtypes' float8_e5m2 among its floats
        return runtime.OrtValue.ortvalue_from_numpy(array)
    if array.dtype.kind in "OUST":
        return _texts(array)
    width = bits(port.data_type)
    if width < 8:
        raise FeedError(f"input {port.name!r} is {port.text}; {width}-bit inputs cannot be fed", name=port.name)
    plain = array.view({8: np.uint8, 16: np.uint16}[width])
    return runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(plain, port.data_type)


def _texts(array: Any) -> Any:
    """Texts as an OrtValue: the runtime makes none out of them, but for a constant of a model."""
    tensor = onnx.numpy_helper.from_array(array.astype(object), "texts")
    graph = onnx.GraphProto(name="texts", initializer=[tensor])
    graph.node.add(op_type="Identity", input=["texts"], output=["made"])
    graph.output.add(name="made").type.tensor_type.elem_type = onnx.TensorProto.STRING
    return _made_by(graph, {})


def _sequence(values: list[Any], port: Port) -> Any:
    """OrtValues as one of a sequence: the runtime makes none, but for a model."""
    if not values:
        raise FeedError(f"input {port.name!r} is {port.text}; an empty sequence cannot be fed", name=port.name)
    graph = onnx.GraphProto(name="sequence")
    for at, value in enumerate(values):
        graph.input.add(name=f"element_{at}", type=declared_type(value))
    names = [entry.name for entry in graph.input]
    graph.node.add(op_type="SequenceConstruct", input=names, output=["made"])
    graph.output.add(name="made")
    return _made_by(graph, dict(zip(names, values, strict=True)))


def _elements(value: Any) -> list[Any]:
    """The elements of a sequence, which the runtime gives out one by one."""
    graph = onnx.GraphProto(name="elements")
    graph.input.add(name="sequence", type=declared_type(value))
    length = onnx.GraphProto.FromString(graph.SerializeToString())
    length.node.add(op_type="SequenceLength", input=["sequence"], output=["made"])
    length.output.add(name="made")
    graph.input.add(name="at").type.tensor_type.elem_type = onnx.TensorProto.INT64
    graph.node.add(op_type="SequenceAt", input=["sequence", "at"], output=["made"])
    graph.output.add(name="made")
    count = int(_made_by(length, {"sequence": value}).numpy())
    number = import_runtime().OrtValue.ortvalue_from_numpy
    return [_made_by(graph, {"sequence": value, "at": number(np.array(at))}) for at in range(count)]


def _made_by(graph: onnx.GraphProto, values: dict[str, Any]) -> Any:
    """What a graph of one node makes of OrtValues."""
    runtime = import_runtime()
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    settings = runtime.SessionOptions()
    settings.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return session.run_with_ort_values(["made"], values)[0]


def from_runtime(value: Any) -> Any:
    """An OrtValue as an array, as a list of arrays for a sequence, or None for an empty optional.

    Raises:
        SessionError: It is a map, or texts that are no UTF-8.
    """
    if not value.has_value():
        return None
    if not value.is_tensor():
        return [from_runtime(element) for element in _elements(value)]
    data_type = value.element_type()
    if data_type == _T.STRING:
        try:
            return value.numpy()
        except UnicodeDecodeError as error:
            raise SessionError("the model makes texts that are no UTF-8") from error
    if data_type in _PLAIN:
        return value.numpy()
    shape = value.shape()
    tensor = onnx.TensorProto(data_type=data_type, dims=shape)
    return decode(tensor, memoryview(ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())))


_T = onnx.TensorProto
_PLAIN = frozenset(
    (
        _T.FLOAT, _T.FLOAT16, _T.DOUBLE, _T.INT8, _T.INT16, _T.INT32, _T.INT64,
        _T.UINT8, _T.UINT16, _T.UINT32, _T.UINT64, _T.BOOL, _T.STRING,
    )
)  # fmt: skip


def declared_type(value: Any) -> onnx.TypeProto:
    """The type of an OrtValue, without a shape, to declare a graph input that takes it."""
    return _parsed(value.data_type())


def _parsed(text: str) -> onnx.TypeProto:
    kind, _, inner = text.partition("(")
    inner = inner.removesuffix(")")
    if kind == "tensor":
        return onnx.helper.make_tensor_type_proto(_ELEMENTS[inner], None)
    if kind == "seq":
        return onnx.helper.make_sequence_type_proto(_parsed(inner))
    if kind == "optional":
        return onnx.helper.make_optional_type_proto(_parsed(inner))
    raise SessionError(f"a value of type {text} cannot be handed from one run to the next")


_ELEMENTS = {onnx.TensorProto.DataType.Name(number).lower(): number for number in onnx.TensorProto.DataType.values()}


def shared(value: Any) -> Any:
    """An OrtValue on the CPU as an array over the runtime's own memory, where numpy can have one; else as a copy.

    The array keeps the OrtValue alive.
    """
    if value.has_value() and value.is_tensor() and value.element_type() in _SHARED and value.device_name() == "cpu":
        return np.from_dlpack(value)
    return from_runtime(value)


def from_run(value: Any, *, lent: bool) -> Any:
    """An output of a run as ``from_runtime`` has it, with memory of its own.

    Args:
        value: The output's OrtValue.
        lent: No node makes it: it is an input or a weight, and its OrtValue is on the memory of that, which it does not
            keep alive.

    Raises:
        SessionError: As ``from_runtime``.
    """
    made = from_runtime(value)
    return np.array(made) if lent and isinstance(made, np.ndarray) else made


def lent_outputs(graph: onnx.GraphProto) -> frozenset[str]:
    """Outputs of a graph that none of its nodes makes: inputs and weights that are outputs too."""
    made = {name for node in graph.node for name in node.output}
    return frozenset(value.name for value in graph.output if value.name not in made)


def apart(value: Any) -> Any:
    """One of the OrtValues that a run gave, kept alive by itself: as they come, any one keeps all of the run's values."""
    if value.has_value() and value.is_tensor() and value.element_type() in _LENT:
        return type(value).from_dlpack(value)
    return value


_LENT = _PLAIN - {_T.STRING} | {_T.BFLOAT16}
"""What DLPack has a type for."""

_SHARED = _PLAIN - {_T.STRING, _T.BOOL}

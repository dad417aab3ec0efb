"""One TensorProto: where its bytes lie, which values they are, what its data type is called."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import onnx

from graphkit.errors import FeedError, TensorError, WeightsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    Array: TypeAlias = npt.NDArray[Any]

FIELD_KEY = "graphkit.field"
"""External-data key, in skeletons only: the TensorProto field that holds the bytes in an ``.onnx`` file."""


DEFAULT_KEY = "graphkit.default"
"""External-data key, in skeletons only: the tensor says in the ``.onnx`` file that its data location is the default one,
which goes without saying.
"""


class DataRange(NamedTuple):
    """Where a tensor's bytes lie, from its ``external_data`` entries.

    ``offset`` is in bytes; ``length`` is None where the file omits it, which means up to the end of the file.
    ``field`` is the TensorProto field number the bytes came from in an ``.onnx`` file, else None.
    """

    location: str
    offset: int
    length: int | None
    field: int | None = None


def data_range(tensor: onnx.TensorProto) -> DataRange:
    """The external-data entries of a tensor (onnx/docs/ExternalData.md), checked.

    Raises:
        WeightsError: No location, or an offset or length that is no whole number of bytes, 0 or more.
    """
    entries = {e.key: e.value for e in tensor.external_data}
    location = entries.get("location", "")
    if not location:
        raise WeightsError(f"tensor {tensor.name[:80]!r} is external but names no location", hint=_DAMAGED)
    offset = _count(tensor, "offset", entries.get("offset") or "0")
    length = _count(tensor, "length", entries["length"]) if entries.get("length") else None
    field = int(entries[FIELD_KEY]) if entries.get(FIELD_KEY) in _FIELDS else None
    return DataRange(location, offset, length, field)


_FIELDS = ("4", "10")
"""``float_data`` and ``double_data``: the fields whose packed bytes are those of ``raw_data``."""


_DAMAGED = "the tool that wrote the model is wrong, or something changed it since: make it again"


def _count(tensor: onnx.TensorProto, key: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise WeightsError(
            f"tensor {tensor.name[:80]!r}: external data {key} {text[:40]!r} is no number of bytes", hint=_DAMAGED
        )
    return int(text)


def refer(tensor: onnx.TensorProto, where: DataRange) -> None:
    """Make a tensor a reference to bytes that lie elsewhere. Changes the tensor."""
    for field in PAYLOAD_FIELDS:
        tensor.ClearField(field)
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entries = [("location", where.location), ("offset", where.offset)]
    if where.length is not None:
        entries.append(("length", where.length))
    if where.field is not None:
        entries.append((FIELD_KEY, where.field))
    for key, value in entries:
        tensor.external_data.add(key=key, value=str(value))


def embed(tensor: onnx.TensorProto, data: bytes) -> None:
    """Make a tensor hold its bytes itself, in ``raw_data``. Changes the tensor."""
    for field in PAYLOAD_FIELDS:
        tensor.ClearField(field)
    del tensor.external_data[:]
    tensor.ClearField("data_location")
    tensor.raw_data = data


PAYLOAD_FIELDS = (
    "float_data",
    "int32_data",
    "string_data",
    "int64_data",
    "raw_data",
    "double_data",
    "uint64_data",
)


def decode(tensor: onnx.TensorProto, data: memoryview | None) -> Array:
    """A tensor's values as a read-only numpy array, from its own fields or from bytes that lie elsewhere.

    Raises:
        TensorError: The bytes contradict the data type and dims.
        WeightsError: The tensor has no bytes: its weights were stripped.
    """
    import numpy as np

    if data is None:
        if is_stripped(tensor):
            raise WeightsError(stripped_message(tensor), hint=STRIPPED_HINT)
        check_inline(tensor)
    elif expected_bytes(tensor) not in (None, len(data)):
        raise TensorError(_contradiction(tensor), name=tensor.name)
    try:
        array = onnx.numpy_helper.to_array(tensor) if data is None else _from_bytes(np, tensor, data)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise TensorError(_contradiction(tensor), name=tensor.name) from error
    if array.flags.writeable:
        array.flags.writeable = False
    return array


def _contradiction(tensor: onnx.TensorProto) -> str:
    wanted = f"{type_name(tensor.data_type)}{list(tensor.dims)[:8]}"
    return f"tensor {tensor.name[:80]!r}: its bytes do not make a {wanted}"


def _from_bytes(np: Any, tensor: onnx.TensorProto, data: memoryview) -> Array:
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if bits(tensor.data_type) < 8:
        whole = onnx.TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=bytes(data))
        return onnx.numpy_helper.to_array(whole)
    if sys.byteorder == "big" and dtype.kind in "fiuc":
        dtype = dtype.newbyteorder("<")
    array: Array = np.frombuffer(data, dtype=dtype)
    return array.reshape(tuple(tensor.dims))


def storable(array: Array) -> Array:
    """An array as ``.npy`` can hold it, exactly: of types that numpy itself has.

    bfloat16, float8 and smaller floats as float32, which holds each of their values; int4, int2 as int8, uint4, uint2
    as uint8; texts as numpy's own, without pickle. ``restored`` is the way back.

    Raises:
        ValueError: Texts that numpy's own cannot hold (they end in NUL, or are no UTF-8).
    """
    import numpy as np

    if array.dtype.kind == "O":
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in array.reshape(-1)]
        held: Array = np.array(texts, dtype=str).reshape(array.shape)
        if held.reshape(-1).tolist() != texts:
            raise ValueError("a text ends in NUL, which numpy's arrays of texts drop")
        return held
    if array.dtype.isbuiltin != _REGISTERED:
        return array
    name = array.dtype.name
    plain = np.int8 if name.startswith("int") else np.uint8 if name.startswith("uint") else np.float32
    return array.astype(plain)


_REGISTERED = 2
"""``dtype.isbuiltin`` of a type that another package (ml_dtypes) added to numpy."""


def restored(array: Array, data_type: int) -> Array:
    """An array from a file as a TensorProto data type that ``.npy`` has no spelling for, where it holds such values.

    Returns:
        The array in that type where ``storable`` can have made it of one; else the array itself.
    """
    import numpy as np

    wanted = numpy_type(data_type)
    if wanted is None or wanted.isbuiltin != _REGISTERED or array.dtype.kind not in "fiu":
        return array
    with np.errstate(all="ignore"):
        made: Array = array.astype(wanted)
        same = np.array_equal(made.astype(array.dtype), array, equal_nan=array.dtype.kind == "f")
    return made if same else array


def bits(data_type: int) -> int:
    """Bits that one element of a TensorProto data type takes when it is packed in ``raw_data`` (0 for strings)."""
    return _BITS.get(data_type, 0)


def check_sparse(sparse: onnx.SparseTensorProto) -> None:
    """Check the parts of a sparse tensor against each other (onnx.in.proto, SparseTensorProto); no values are read.

    Raises:
        TensorError: There are no values or indices, they are for different numbers of elements or axes, or a dim is
            negative.
    """
    name, count = sparse.values.name, list(sparse.values.dims)
    fits = list(sparse.indices.dims) in (count, [*count, len(sparse.dims)])
    if (
        len(count) != 1
        or not fits
        or sparse.indices.data_type != onnx.TensorProto.INT64
        or min(sparse.dims, default=0) < 0
    ):
        raise TensorError(
            f"sparse tensor {name[:80]!r} of the dims {list(sparse.dims)[:8]} has values {count[:8]} and indices "
            f"{type_name(sparse.indices.data_type)}{list(sparse.indices.dims)[:8]}, which make none",
            name=name,
        )


def dense(name: str, values: Array, indices: Array, dims: Sequence[int]) -> Array:
    """A sparse tensor as a dense array: indices are [n] into the flat tensor, or [n, rank] (onnx.in.proto).

    Raises:
        TensorError: An index lies outside, or the dense tensor is larger than arrays are made here.
    """
    import numpy as np

    if math.prod(max(size, 1) for size in dims) > MOST_ELEMENTS or len(dims) > MOST_AXES:
        raise TensorError(f"sparse tensor {name[:80]!r} is too large to be made dense: {list(dims)[:8]}", name=name)
    array: Array = np.zeros(tuple(dims), values.dtype)
    try:
        if indices.ndim == 1:
            array.reshape(-1)[indices.astype(np.int64)] = values
        else:
            array[tuple(indices.astype(np.int64).T)] = values
    except (IndexError, ValueError) as error:
        raise TensorError(
            f"sparse tensor {name[:80]!r}: its indices lie outside of {list(dims)[:8]}", name=name
        ) from error
    return array


def numpy_type(data_type: int) -> np.dtype[Any] | None:
    """The dtype of a TensorProto data type's arrays (ml_dtypes' where numpy has none); None where there is no such type."""
    if not bits(data_type) and data_type != onnx.TensorProto.STRING:
        return None
    return onnx.helper.tensor_dtype_to_np_dtype(data_type)


MOST_AXES = 64
"""Axes that an array of numpy has at most."""

MOST_ELEMENTS = 1 << 29
"""Elements that an array may have which is made here (for an input, of a sparse tensor): half a billion numbers."""


def check_size(name: str, shape: Sequence[int]) -> None:
    """Refuse to make an array that no machine would hold.

    Raises:
        FeedError: An array of this shape has more than ``MOST_ELEMENTS`` elements, those that an axis of size 0 takes
            away included: numpy refuses such shapes too.
    """
    if math.prod(max(size, 1) for size in shape) > MOST_ELEMENTS or len(shape) > MOST_AXES:
        raise FeedError(
            f"input {name!r} would be {list(shape)}: more numbers than an array is made of here ({MOST_ELEMENTS})",
            name=name,
            hint="give it from a file, or bind its dims to smaller sizes",
        )


_T = onnx.TensorProto
_BITS: dict[int, int] = {
    getattr(_T, name): width
    for width, names in {
        2: "INT2 UINT2",
        4: "INT4 UINT4 FLOAT4E2M1",
        6: "FLOAT6E2M3 FLOAT6E3M2",
        8: "INT8 UINT8 BOOL FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ FLOAT8E8M0",
        16: "INT16 UINT16 FLOAT16 BFLOAT16",
        32: "INT32 UINT32 FLOAT",
        64: "INT64 UINT64 DOUBLE COMPLEX64",
        128: "COMPLEX128",
    }.items()
    for name in names.split()
    if hasattr(_T, name)
}


def expected_bytes(tensor: onnx.TensorProto) -> int | None:
    """Bytes that ``raw_data`` of a tensor takes for its data type and dims; None for strings and unknown types.

    Raises:
        TensorError: A dim is negative.
    """
    width = bits(tensor.data_type)
    return (_count_elements(tensor) * width + 7) // 8 if width else None


_MOST_ELEMENTS = 1 << 63


def _count_elements(tensor: onnx.TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        if dim < 0:
            raise TensorError(
                f"tensor {tensor.name[:80]!r} has a negative dim: {list(tensor.dims)[:8]}", name=tensor.name
            )
        # No file holds that many; thousands of large dims shall not make a number of a million digits.
        count = min(count * dim, _MOST_ELEMENTS)
    return count


def stored_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes that a tensor's values take in ``raw_data``; of strings, the bytes of their text. Nothing is read."""
    expected = expected_bytes(tensor)
    return sum(map(len, tensor.string_data)) if expected is None else expected


def is_stripped(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor has elements by its dims and no values at all, as a model has whose weights were taken out."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.raw_data or 0 in tensor.dims:
        return False
    return bool(tensor.data_type) and not any(getattr(tensor, field) for field in PAYLOAD_FIELDS)


STRIPPED_HINT = "put the weights back first: the tool that took them out has its own way, or keeps the original"


def stripped_message(tensor: onnx.TensorProto) -> str:
    """What to say where the values of a stripped tensor are wanted."""
    wanted = f"{type_name(tensor.data_type)}{list(tensor.dims)[:8]}"
    return f"tensor {tensor.name[:80]!r} ({wanted}) has no values: the weights of this model were stripped"


def check_inline(tensor: onnx.TensorProto) -> None:
    """Check what a tensor has in ``raw_data``, or else in the field for its data type, against its data type and dims.

    A tensor without any values passes: its weights were stripped, and only who reads them has to mind.

    Raises:
        TensorError: They contradict each other, or a dim is negative.
    """
    count = _count_elements(tensor)
    if is_stripped(tensor) and count < _MOST_ELEMENTS:
        return
    width = bits(tensor.data_type)
    if tensor.HasField("raw_data"):
        held, expected, unit = len(tensor.raw_data), (count * width + 7) // 8, "bytes of data"
        if not width:
            return
    else:
        field = _value_field(tensor.data_type)
        if field is None:
            return
        held, unit = len(getattr(tensor, field)), f"values in {field}"
        expected = _count_values(tensor.data_type, count)
    if held != expected:
        raise TensorError(
            f"tensor {tensor.name[:80]!r}: {held} {unit}, but a "
            f"{type_name(tensor.data_type)}{list(tensor.dims)[:8]} takes {expected}",
            name=tensor.name,
        )


def _value_field(data_type: int) -> str | None:
    """The field that holds values of a data type where ``raw_data`` does not (onnx.in.proto, TensorProto)."""
    return _VALUE_FIELDS.get(data_type) or ("int32_data" if data_type in _BITS else None)


_VALUE_FIELDS: dict[int, str] = {
    _T.FLOAT: "float_data",
    _T.COMPLEX64: "float_data",
    _T.DOUBLE: "double_data",
    _T.COMPLEX128: "double_data",
    _T.INT64: "int64_data",
    _T.UINT32: "uint64_data",
    _T.UINT64: "uint64_data",
    _T.STRING: "string_data",
}


def _count_values(data_type: int, count: int) -> int:
    """How many entries of its field so many elements take: complex numbers two; 2- and 4-bit types share one of 8 bits,
    6-bit types do not.
    """
    if data_type in (_T.COMPLEX64, _T.COMPLEX128):
        return 2 * count
    width = bits(data_type)
    return (count * width + 7) // 8 if width in (2, 4) else count


def type_name(data_type: int) -> str:
    """The name of a TensorProto data type as users write it: "float32", "int64", "bfloat16", "string"."""
    try:
        name = onnx.TensorProto.DataType.Name(data_type).lower()
    except ValueError:
        return f"data type {data_type}"
    return {"float": "float32", "double": "float64"}.get(name, name)

"""A value for an input, as an array of the declared type: from an array, a tensor, numbers, or a text that stands for one.

``run --feed``, ``freeze --set``, recipes and the functions behind them read here, so that a text means the same everywhere.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import FeedError
from graphkit.graph.ports import Port
from graphkit.reading.files import read_file
from graphkit.reading.fits import check
from graphkit.reading.literal import literal
from graphkit.tensor import check_size, numpy_type
from graphkit.torch_tensors import tensor_array

if TYPE_CHECKING:
    from graphkit.tensor import Array

ASIDE = "a file is written with @ before its path; other values are a number, or a list such as 2,3"


def value_for(port: Port, value: Any) -> Array:
    """One value as an array that fits its input.

    Args:
        port: The input.
        value: An array or torch tensor of the declared dtype. A number, or nested lists of numbers, that the declared
            type holds: integers exactly, floats rounded but not to infinity; for bool ``true``, ``false``, 0 and 1. One
            number fills the declared shape, symbolic dims taken as 1. A text: ``@x.npy``, ``@x.npz`` (the member named
            like the input, or the only one), ``@x.npz:MEMBER``, ``@photo.png``, or a number or list as text. An input of
            strings takes a text as it is, or as a JSON string or a JSON list of strings.

    Raises:
        FeedError: It does not fit, or its file cannot be read.
        MissingExtraError: A picture, and pillow is not installed.
    """
    if not port.data_type:
        raise FeedError(f"input {port.name!r} is {port.text}; only tensors can be given", name=port.name)
    if isinstance(value, str) and value.startswith("@"):
        array = read_file(port, value[1:])
    elif isinstance(value, str) and port.data_type == onnx.TensorProto.STRING:
        array = _filled(port, _texts(port, _text_list(value)))
    elif isinstance(value, str):
        array = _filled(port, _numbers(port, _literal(port, value), value))
    elif isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if port.data_type == onnx.TensorProto.STRING and array.dtype.kind == "O":
            array = _texts(port, array)
    elif hasattr(value, "detach"):
        array = tensor_array(value)
    elif port.data_type == onnx.TensorProto.STRING:
        array = _filled(port, _texts(port, value))
    else:
        array = _filled(port, _numbers(port, value, value))
    check(port, array)
    return array


def _literal(port: Port, text: str) -> Any:
    try:
        return literal(text)
    except ValueError as error:
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise FeedError(
            f"the value {shown!r} for input {port.name!r} is neither a number nor a list: {error}",
            name=port.name,
            hint=ASIDE,
        ) from error


def _text_list(text: str) -> Any:
    """A JSON string, or a JSON list of strings; any other text as it is."""
    if text[:1] not in ('"', "["):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    flat = [found] if isinstance(found, str) else _flat(found)
    return found if flat and all(isinstance(item, str) for item in flat) else text


def _flat(nested: Any) -> list[Any]:
    found, waiting = [], [nested]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (list, tuple)):
            waiting.extend(item)
        else:
            found.append(item)
    return found


def _texts(port: Port, value: Any) -> Array:
    array: Array = _plain(port, value, np.dtype(object))
    if not all(isinstance(item, (str, bytes)) for item in array.ravel().tolist()):
        raise _misfit(port, value, "holds what is no text")
    return array


def _plain(port: Port, value: Any, dtype: np.dtype[Any] | None = None) -> Array:
    try:
        return np.array(value, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise _misfit(port, value, str(error).partition(". ")[0]) from error


def _numbers(port: Port, value: Any, said: Any) -> Array:
    """Numbers in the declared dtype, unless that would change them; floats may be rounded."""
    dtype = numpy_type(port.data_type)
    assert dtype is not None
    plain = _plain(port, value)
    if plain.dtype.kind == "O" or (plain.dtype.kind == "f" and _has_large_integers(value)):
        plain = _plain(port, value, np.dtype(object))
    if plain.dtype.kind == "O" and not all(isinstance(item, int | float) for item in plain.ravel().tolist()):
        raise _misfit(port, said, "holds what is no number")
    if plain.dtype.kind not in "biufcO":
        raise _misfit(port, said, "holds what is no number")
    if plain.dtype.kind == "c" and dtype.kind != "c":
        raise _misfit(port, said, "has an imaginary part")
    try:
        with np.errstate(all="ignore"):
            array: Array = plain.astype(dtype)
            back = array.astype(object if plain.dtype.kind == "O" or _is_integer(dtype) else np.complex128)
    except (ValueError, TypeError, OverflowError) as error:
        raise _misfit(port, said, "does not fit that type") from error
    if _is_integer(dtype) or dtype.kind == "b":
        if not np.array_equal(plain, back):
            raise _misfit(port, said, "does not fit that type")
    elif not np.array_equal(_finite(plain), _finite(back)):
        raise _misfit(port, said, "has a number that is too large for that type; an infinity is written inf")
    return array


def _has_large_integers(value: Any) -> bool:
    """Whether numpy would round integers: a list of them that no integer type of its own holds becomes floats."""
    return any(isinstance(item, int) and abs(item) >= 2**53 for item in _flat(value))


def _is_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" or dtype.name.startswith(("int", "uint"))


def _finite(array: Array) -> Array:
    """Where numbers are finite; integers of any size are."""
    if array.dtype.kind == "O":
        flags = [isinstance(item, int) or math.isfinite(item) for item in array.ravel().tolist()]
        return np.array(flags, dtype=bool).reshape(array.shape)
    return np.asarray(np.isfinite(array))


def _misfit(port: Port, value: Any, why: str) -> FeedError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return FeedError(f"input {port.name!r} is {port.text}; {shown} {why}", name=port.name)


def _filled(port: Port, array: Array) -> Array:
    """A single value fills the declared shape, symbols taken as 1; a list stands for itself."""
    if array.ndim or port.dims is None:
        return array
    shape = [d if isinstance(d, int) else 1 for d in port.dims]
    check_size(port.name, shape)
    return np.full(shape, array)

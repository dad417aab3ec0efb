"""Values that weights and operands are given: where a weight stands, and numbers, lists, texts and files as its array."""

from __future__ import annotations

import ast
import os
import zipfile
from typing import Any

import numpy as np
import onnx

from graphkit.errors import EditError, ModelFileError, NameNotFoundError, TensorError
from graphkit.graph.addresses import Found, Site
from graphkit.graph.index import GraphIndex
from graphkit.graph.values import constant_tensor, is_constant_node
from graphkit.shapes.types_of import types_of
from graphkit.tensor import numpy_type, type_name


def weight_at(found: Found) -> onnx.TensorProto:
    """The tensor of a weight, an initializer or what a Constant node holds, to be changed in place.

    A Constant that says its number in another attribute says it as a tensor from then on. Changes the node.

    Raises:
        NameNotFoundError: The value is no weight.
    """
    site = found.site
    if site.graph is not None:
        for tensor in site.graph.initializer:
            if tensor.name == found.name:
                return tensor
    position = site.producer.get(found.name)
    if position is not None and is_constant_node(site.nodes[position]):
        held = constant_tensor(site.nodes[position])
        if held is not None:
            attribute = onnx.helper.make_attribute("value", held)
            if len(site.nodes[position].attribute) != 1 or not site.nodes[position].attribute[0].HasField("t"):
                site.nodes[position].attribute[0].CopyFrom(attribute)
            return site.nodes[position].attribute[0].t
    raise NameNotFoundError("weight", found.address, hint="weights are initializers and Constant nodes")


def loaded(name: str, value: Any) -> Any:
    """The array of a file, for ``@w.npy``, ``@w.npz`` or ``@w.npz:MEMBER``; anything else as it is.

    Raises:
        ModelFileError: The file cannot be read.
        EditError: An archive has several arrays, or not the one that is asked for.
    """
    if not isinstance(value, str) or not value.startswith("@"):
        return value
    path, member = os.path.expanduser(value[1:]), None
    archive, colon, wanted = path.rpartition(".npz:")
    if colon and not os.path.exists(path):
        path, member = archive + ".npz", wanted
    if os.path.exists(path) and not os.path.isfile(path):
        raise ModelFileError(f"the values of {name!r} cannot be read from {path!r}: it is no regular file", path=path)
    try:
        held = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(held, np.ndarray):
            return held
        with held:
            if member is None and len(held.files) != 1:
                names = ", ".join(map(repr, held.files[:8]))
                raise EditError(
                    f"{path!r} holds {len(held.files)} arrays, and {name!r} is one",
                    hint=f"write @{path}:NAME; it has {names}",
                )
            if member is not None and member not in held.files:
                raise EditError(
                    f"{path!r} has no array {member!r}", hint=f"it has {', '.join(map(repr, held.files[:8]))}"
                )
            return held[member or held.files[0]]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ModelFileError(f"the values of {name!r} cannot be read from {path!r}: {why}", path=path) from error


def fitted(name: str, tensor: onnx.TensorProto, value: Any) -> np.ndarray[Any, Any]:
    """An array of a weight's dtype and shape.

    Raises:
        TensorError: It is of another.
    """
    dtype = numpy_type(tensor.data_type)
    wanted = f"{type_name(tensor.data_type)}{list(tensor.dims)}"
    array = value if isinstance(value, np.ndarray) else array_of(value, dtype)
    if not isinstance(value, np.ndarray) and array.ndim == 0 and tensor.dims:
        array = np.full(tuple(tensor.dims), array)
    if dtype is not None and dtype.isbuiltin != 1 and array.dtype != dtype and array.dtype.kind in "fiu":
        held = array.astype(dtype)  # .npy files hold such types in one of numpy's that has each of their values
        array = held if np.array_equal(held.astype(array.dtype), array, equal_nan=array.dtype.kind == "f") else array
    if array.dtype != dtype and not (array.dtype.kind in "US" and tensor.data_type == onnx.TensorProto.STRING):
        raise TensorError(
            f"{name!r} is {wanted}, and the values are {array.dtype}", name=name, hint="convert them first"
        )
    if list(array.shape) != list(tensor.dims):
        raise TensorError(
            f"{name!r} is {wanted}, and the values have the shape {list(array.shape)}", name=name, hint=None
        )
    return array


def array_of(value: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """Numbers, lists or text of them as an array; of a dtype where one is given and nothing is lost by it."""
    value = loaded("the operand", value)
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value)
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise EditError(f"{value!r} is neither a value of the model nor a number or list") from error
    try:
        plain = np.asarray(value)
        wanted = dtype if dtype is not None else np.float32 if plain.dtype == np.float64 else plain.dtype
        array = plain.astype(wanted)
    except (ValueError, TypeError, OverflowError) as error:
        raise EditError(f"{value!r:.80} is no array of numbers: {error}") from error
    if dtype is None:
        return array
    if np.dtype(dtype).kind in "iub" and not np.array_equal(plain, array):
        raise EditError(f"{value!r} does not fit {np.dtype(dtype)}")
    return array


def dtype_of(model: onnx.ModelProto, site: Site, name: str) -> Any:
    """The dtype of what an operand is; None where it is not known.

    Args:
        model: The model before anything changed.
        site: Where the operand is read; it may be a value of a graph around.
        name: The operand.
    """
    around = site
    while around.outer is not None and not around.has(name):
        around = around.outer
    if around.outer is None and around.function is None:
        known = types_of(model, GraphIndex(model.graph), [name] if name else []).get(name)
    else:
        known = around.types.get(name)
    if known is not None:
        return numpy_type(known.tensor_type.elem_type)
    held = around.graph.initializer if around.graph is not None else ()
    return next((numpy_type(tensor.data_type) for tensor in held if tensor.name == name), None)

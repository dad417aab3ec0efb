"""Feeds: from files, numbers and "random" to arrays of the declared dtype and shape, checked before the runtime sees them."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import FeedError, NameNotFoundError
from graphkit.feeds.pictures import read_picture
from graphkit.graph.ports import Port
from graphkit.model import Model
from graphkit.shapes.exact_scales import drives_resize, exact_factor
from graphkit.tensor import check_size, restored, type_name

if TYPE_CHECKING:
    from graphkit.tensor import Array
from graphkit.torch_tensors import _dtype, tensor_array


def complete(model: Model, ports: Mapping[str, Port], feeds: Mapping[str, Any], *, seed: int = 0) -> dict[str, Array]:
    """Arrays for a run, out of what the caller gave.

    A value is an array (its dtype must be the declared one), a torch tensor, a number or nested list (takes the
    declared dtype; a single number fills the declared shape), or a text: ``@photo.png``, ``@x.npy``, ``@x.npz`` (the
    member named like the input, or the only one), ``random``, or a number or list as text such as ``2,3``.

    Args:
        model: Where "random" looks for sensible ranges.
        ports: The inputs.
        feeds: Input name -> value.
        seed: For "random".

    Raises:
        FeedError: A required input has no feed; a file cannot be read; a dtype or shape does not fit.
        NameNotFoundError: A feed for an input that the model does not have.

    Cost: O(bytes of the feeds); the graph is walked only where something is random.
    """
    for name in feeds:
        if name not in ports:
            raise NameNotFoundError("input", name, ports)
    missing = [port for port in ports.values() if port.required and port.name not in feeds]
    if missing:
        wanted = ", ".join(f"{port.name!r} ({port.text})" for port in missing)
        raise FeedError(
            f"no feed for {wanted}",
            name=missing[0].name,
            hint=f"give --feed {missing[0].name}=@FILE, a number, or {missing[0].name}=random",
        )
    arrays: dict[str, Array] = {}
    symbols: dict[str, int] = {}
    waiting: list[str] = []
    for name, value in feeds.items():
        if isinstance(value, str) and value == "random":
            waiting.append(name)
            continue
        arrays[name] = fit(ports[name], value)
        _learn(symbols, ports[name], arrays[name])
    if waiting:
        from graphkit.feeds.random import RandomFeeds

        source = RandomFeeds(model, seed=seed, bind=symbols)
        arrays.update({name: source.draw(name, 0) for name in waiting})
    arrays.update(_exact_factors(model, ports, feeds, arrays))
    return {name: arrays[name] for name in ports if name in arrays}


def _exact_factors(
    model: Model, ports: Mapping[str, Port], feeds: Mapping[str, Any], arrays: Mapping[str, Array]
) -> dict[str, Array]:
    """Factors of Resize nodes that were given as numbers, as the float32 with which the runtime makes torch's sizes.

    Arrays are fed as they are: who gives one has chosen its bits.
    """
    names = [
        name
        for name, value in feeds.items()
        if isinstance(value, (str, int, float, list, tuple))
        and ports[name].data_type == onnx.TensorProto.FLOAT
        and arrays[name].ndim == 1
        and drives_resize(model.proto, name)
    ]
    shapes = {name: array.shape for name, array in arrays.items()}
    found = {}
    for name in names:
        value = feeds[name]
        numbers = ast.literal_eval(value.strip()) if isinstance(value, str) and value[:1] not in "@r" else value
        if not isinstance(numbers, str):
            exact = np.asarray(exact_factor(model.proto, name, numbers, shapes))
            found[name] = np.broadcast_to(exact, arrays[name].shape).copy()
    return found


def _learn(symbols: dict[str, int], port: Port, array: Array) -> None:
    for dim, size in zip(port.dims or (), np.shape(array), strict=False):
        if isinstance(dim, str):
            symbols.setdefault(dim, size)


def fit(port: Port, value: Any) -> Array:
    """One value as an array that fits its input.

    Raises:
        FeedError: It does not fit, or its file cannot be read.
    """
    if isinstance(value, str) and value.startswith("@"):
        value = restored(read_feed(port, value[1:]), port.data_type)
    elif isinstance(value, str) and port.data_type != onnx.TensorProto.STRING:
        value = _literal(port, value)
    elif isinstance(value, str):
        value = np.array(value, dtype=object)
    elif isinstance(value, (bool, int, float, list, tuple)):
        value = _shaped(port, _cast(port, value))
    elif not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "detach"):
        value = tensor_array(value)
    array = np.asarray(value)
    check(port, array)
    return array


def check(port: Port, array: Array) -> None:
    """Refuse an array of another dtype, rank or fixed size than the input declares.

    Raises:
        FeedError: It does not fit.
    """
    if not port.data_type:
        raise FeedError(f"input {port.name!r} is {port.text}; only tensors can be fed", name=port.name)
    got = f"{_dtype_name(array)}[{','.join(map(str, array.shape))}]"
    if array_type(array) != port.data_type:
        raise FeedError(
            f"input {port.name!r} wants {port.text} and was given {got}",
            name=port.name,
            hint=f"convert it: array.astype({type_name(port.data_type)!r})",
        )
    if port.dims is None:
        return
    if len(port.dims) != array.ndim:
        raise FeedError(
            f"input {port.name!r} wants {port.text}, of rank {len(port.dims)}, and was given {got}", name=port.name
        )
    for axis, (dim, size) in enumerate(zip(port.dims, array.shape, strict=True)):
        if isinstance(dim, int) and dim != size:
            raise FeedError(
                f"input {port.name!r} wants {port.text} and was given {got}: axis {axis} is {size} and must be {dim}",
                name=port.name,
                hint=f"feed that size, or free the axis with `graphkit dims MODEL OUT --set {port.name}:{axis}=NAME`",
            )


def array_type(array: Array) -> int:
    """The TensorProto data type of an array's dtype; 0 where ONNX has none."""
    if array.dtype.kind in "OUST":
        return int(onnx.TensorProto.STRING)
    try:
        return int(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
    except (KeyError, ValueError):
        return 0


def _dtype_name(array: Array) -> str:
    data_type = array_type(array)
    return type_name(data_type) if data_type else str(array.dtype)


def _cast(port: Port, value: Any) -> Array:
    if not port.data_type:
        raise FeedError(f"input {port.name!r} is {port.text}; only tensors can be fed", name=port.name)
    dtype = _dtype(port.data_type)
    try:
        plain = np.array(value)
        array = plain.astype(dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise FeedError(f"input {port.name!r} is {port.text}; {value!r} does not make one", name=port.name) from error
    if dtype.kind in "iu" and not np.array_equal(plain, array):
        raise FeedError(f"input {port.name!r} is {port.text}; {value!r} does not fit that type", name=port.name)
    return array


def _shaped(port: Port, array: Array) -> Array:
    """A single number fills the declared shape, symbols taken as 1; a list stands for itself."""
    if array.ndim or port.dims is None:
        return array
    shape = [d if isinstance(d, int) else 1 for d in port.dims]
    check_size(port.name, shape)
    return np.full(shape, array)


def _literal(port: Port, text: str) -> Array:
    spelt = text.strip().replace("true", "True").replace("false", "False")
    try:
        value = ast.literal_eval(spelt)
    except (ValueError, SyntaxError) as error:
        raise FeedError(
            f"feed {text!r} for input {port.name!r} is neither a number nor a list",
            name=port.name,
            hint="a file is written with @ before its path; other feeds are a number, a list such as 2,3, or random",
        ) from error
    return _shaped(port, _cast(port, value))


def read_feed(port: Port, path: str) -> Array:
    """An array from a .npy or .npz file, or from a picture (float32 in 0..1 or uint8 in 0..255, NCHW or NHWC as declared).

    ``path`` may end in ``.npz:MEMBER``.

    Raises:
        FeedError: The file is missing or cannot be read, or the archive has no such member.
        MissingExtraError: A picture, and pillow is not installed.
    """
    archive, colon, member = path.rpartition(".npz:")
    if colon:
        return _from_archive(port, archive + ".npz", member)
    suffix = os.path.splitext(path)[1].lower()
    if not os.path.exists(path):
        raise FeedError(f"the file {path!r} that input {port.name!r} is to be fed from does not exist", name=port.name)
    if suffix == ".npz":
        return _from_archive(port, path, None)
    if suffix == ".npy":
        try:
            return np.asarray(np.load(path, allow_pickle=False))
        except (ValueError, OSError, EOFError) as error:
            raise FeedError(f"{path} is no .npy file: {error}", name=port.name) from error
    return read_picture(port, path)


def _from_archive(port: Port, path: str, member: str | None) -> Array:
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive.files)
            wanted = member or (names[0] if len(names) == 1 else port.name)
            if wanted not in names:
                raise FeedError(
                    f"{path} has no array {wanted!r}", name=port.name, hint=f"it has {', '.join(map(repr, names[:10]))}"
                )
            return np.asarray(archive[wanted])
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FeedError(f"{path} cannot be read as a .npz archive: {error}", name=port.name) from error

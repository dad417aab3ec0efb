"""Results of a run as files: .npz, .npy, or a picture."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from graphkit.errors import SaveError
from graphkit.feeds.pictures import picture_bytes
from graphkit.hint import Argument, Blank, Hint
from graphkit.storage.commit import write_file

if TYPE_CHECKING:
    from graphkit.tensor import Array


def save_arrays(arrays: Mapping[str, Array], path: str | os.PathLike[str]) -> None:
    """Write named arrays to one file, whole or not at all.

    Args:
        arrays: Name -> array.
        path: ``.npz`` takes any number of arrays. ``.npy`` takes exactly one. A picture (``.png``, ``.jpg``, ...) takes
            one that is shaped like a picture: floats are taken as 0..1, clipped and rounded to 8 bits.

    Raises:
        SaveError: The target cannot be written, or the arrays do not fit the kind of file.
        MissingExtraError: A picture, and pillow is not installed.

    Cost: O(bytes), in memory once more while the file is made.
    """
    path = os.fspath(path)
    suffix = os.path.splitext(path)[1].lower()
    write_file(path, _npz(arrays, path) if suffix == ".npz" else _single(arrays, path, suffix))


def _npz(arrays: Mapping[str, Array], path: str) -> bytes:
    buffer = io.BytesIO()
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise SaveError(f"output {name!r} is no tensor and has no place in an archive of arrays", path=path)
    np.savez(buffer, **{name: _storable(array) for name, array in arrays.items()})  # type: ignore[arg-type]  # numpy's stub takes allow_pickle for one of these
    return buffer.getvalue()


def _storable(array: Array) -> Array:
    """Strings without pickle; types that numpy does not know (bfloat16, float8) as float32, which holds them exactly."""
    if array.dtype.kind == "O":
        return array.astype(str)
    return array if array.dtype.isbuiltin else array.astype(np.float32)


def _single(arrays: Mapping[str, Array], path: str, suffix: str) -> bytes:
    if len(arrays) != 1:
        raise SaveError(
            f"a {suffix or 'file without suffix'} holds one array, and there are {len(arrays)}: {', '.join(arrays)}",
            path=path,
            hint=Hint("save a .npz, or choose one output with ", Argument("outputs", [Blank("NAME")])),
        )
    ((name, array),) = arrays.items()
    if suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, _storable(array), allow_pickle=False)
        return buffer.getvalue()
    if suffix in (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"):
        return picture_bytes(name, array, path)
    raise SaveError(
        f"{path}: {suffix or 'a file without suffix'} is no kind of file for arrays",
        path=path,
        hint="use .npz, .npy or .png",
    )

"""Results of a run as files: .npz, .npy, or a picture."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from graphkit.errors import SaveError
from graphkit.hint import Argument, Blank, Hint
from graphkit.reading.picture_format import WORDS, PictureFormat, split_format
from graphkit.reading.pictures import picture_bytes, told
from graphkit.storage.commit import write_file
from graphkit.tensor import storable

if TYPE_CHECKING:
    from graphkit.tensor import Array


def save_arrays(arrays: Mapping[str, Array], path: str | os.PathLike[str]) -> str | None:
    """Write named arrays to one file, whole or not at all.

    Args:
        arrays: Name -> array.
        path: ``.npz`` takes any number of arrays. ``.npy`` takes exactly one. A picture (``.png``, ``.jpg``, ...) takes
            one that is shaped like a picture: floats are taken as 0..1 in the order red, green, blue, clipped and rounded
            to 8 bits. Words behind the path say otherwise: ``out.png:0-255:bgr``, ``out.png:mean=0.5:std=0.5``.
            ``.npy`` and ``.npz`` hold types that numpy does not have in one that has each of their values: bfloat16,
            float8 and float4 as float32, int4 and int2 as int8, uint4 and uint2 as uint8. A feed from such a file is
            taken back as the type that the input declares.

    Returns:
        Of a picture, what the output's numbers were taken for, such as ``0..1, RGB``; None of other files.

    Raises:
        TextError: A mean or deviation behind the path cannot be read.
        SaveError: The target cannot be written, or the arrays do not fit the kind of file.
        MissingExtraError: A picture, and pillow is not installed.

    Cost: O(bytes), in memory once more while the file is made.

    Example:
        >>> import graphkit as gk
        >>> gk.save_arrays(gk.run("model.onnx"), "outputs.npz")
    """
    path, form = split_format(os.fspath(path))
    suffix = os.path.splitext(path)[1].lower()
    write_file(path, archive(arrays, path) if suffix == ".npz" else _single(arrays, path, suffix, form))
    return told(next(iter(arrays.values())), form) if suffix in PICTURES else None


def archive(arrays: Mapping[str, Array], path: str = "the archive") -> bytes:
    """Arrays as the bytes of a .npz file, under any names: numpy's own writer takes ``file`` and ``allow_pickle`` for
    arguments of its own.

    Raises:
        SaveError: A value that is no tensor, a text that numpy's arrays cannot hold, or a name that the archive cannot.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as members:
        for name, array in arrays.items():
            if not isinstance(array, np.ndarray):
                raise SaveError(f"output {name!r} is no tensor and has no place in an archive of arrays", path=path)
            if "\0" in name or f"{name}.npy" in arrays:
                other = "has a NUL" if "\0" in name else f"and {name + '.npy'!r} are one name"
                raise SaveError(
                    f"{path}: the name {name!r} {other} in an archive of arrays",
                    path=path,
                    hint="rename the output first (graphkit rename)",
                )
            with members.open(zipfile.ZipInfo(f"{name}.npy", _DATE), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _storable(name, array, path), allow_pickle=False)
    return buffer.getvalue()


PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Suffixes of files that hold a picture."""

_DATE = (1980, 1, 1, 0, 0, 0)
"""The date of each member, so that the same arrays make the same bytes (the earliest date that a zip file can say)."""


def _storable(name: str, array: Array, path: str) -> Array:
    try:
        return storable(array)
    except ValueError as error:
        raise SaveError(f"{path}: the output {name!r} cannot be written: {error}", path=path) from error


def _single(arrays: Mapping[str, Array], path: str, suffix: str, form: PictureFormat) -> bytes:
    if len(arrays) != 1:
        raise SaveError(
            f"a {suffix or 'file without suffix'} holds one array, and there are {len(arrays)}: {', '.join(arrays)}",
            path=path,
            hint=Hint("save a .npz, or choose one output with ", Argument("outputs", [Blank("NAME")])),
        )
    ((name, array),) = arrays.items()
    if suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, _storable(name, array, path), allow_pickle=False)
        return buffer.getvalue()
    if suffix in PICTURES:
        return picture_bytes(name, array, path, form)
    raise SaveError(
        f"{path}: {suffix or 'a file without suffix'} is no kind of file for arrays",
        path=path,
        hint=f"behind a picture can stand {WORDS}" if ":" in suffix else "use .npz, .npy or .png",
    )

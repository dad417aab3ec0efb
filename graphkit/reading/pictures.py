"""Pictures in and out: float32 in 0..1, or as is said, or uint8 in 0..255, NCHW or NHWC as the model declares."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.errors import FeedError, GraphkitWarning, SaveError
from graphkit.graph.ports import Port
from graphkit.optional import optional
from graphkit.reading.fits import check_fit
from graphkit.reading.picture_format import PLAIN, PictureFormat

if TYPE_CHECKING:
    from graphkit.tensor import Array

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def _pillow(purpose: str) -> Any:
    optional("PIL", purpose)
    from PIL import Image

    return Image


def read_picture(port: Port, path: str, *, most: int, form: PictureFormat = PLAIN) -> Array:
    """A picture as the array that an input declares, with one batch axis where it has rank 4.

    Args:
        port: The input.
        path: The file.
        most: Bytes that the pixels may take.
        form: What the input's numbers are.

    Raises:
        FeedError: No picture, one of another size than the input declares or of more bytes than allowed, or an input
            that is not shaped like a picture.
        MissingExtraError: pillow is not installed.

    Cost: the header is read first; pixels are unpacked only where they fit.
    """
    image = _pillow("reading a picture")
    channels, first = _layout(port)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pillow's opinion of sizes and of metadata
            with image.open(path) as opened:
                _check_size(port, path, opened.size, channels, first=first, most=most)
                pixels = np.asarray(opened.convert(_MODES[channels]))
    except (*_BROKEN, image.DecompressionBombError) as error:
        raise FeedError(f"{path} is no picture, .npy or .npz file, or it is damaged", name=port.name) from error
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if form.bgr and channels == 3:
        pixels = pixels[:, :, ::-1]
    if port.data_type != onnx.TensorProto.UINT8:
        pixels = form.floats(pixels)
    elif not form.plain:
        raise FeedError(f"input {port.name!r} is {port.text}: it takes no mean and no deviation", name=port.name)
    if first:
        pixels = pixels.transpose(2, 0, 1)
    rank = len(port.dims or ())
    pixels = pixels[None] if rank == 4 else pixels.squeeze(0 if first else 2) if rank == 2 else pixels
    if port.data_type == onnx.TensorProto.UINT8:
        return np.ascontiguousarray(pixels)
    return np.ascontiguousarray(pixels).astype(onnx.helper.tensor_dtype_to_np_dtype(port.data_type))


_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, OverflowError, MemoryError),
    *(AttributeError, KeyError, struct.error, zlib.error),
)
"""What pillow's decoders raise for files that are none of theirs, or damaged."""


def _check_size(port: Port, path: str, size: tuple[int, int], channels: int, *, first: bool, most: int) -> None:
    width, height = size
    batch = (1,) * (len(port.dims or ()) == 4)
    inner = (channels, height, width) if first else (height, width, channels)
    shape = (height, width) if len(port.dims or ()) == 2 else (*batch, *inner)
    check_fit(port, onnx.helper.tensor_dtype_to_np_dtype(port.data_type), shape)
    if width * height * channels > most:
        raise FeedError(
            f"{path} would unpack to {width} x {height} pixels, far more than the file holds",
            name=port.name,
            hint="where that is meant, give the pixels as a .npy file",
        )


def _layout(port: Port) -> tuple[int, bool]:
    """(channels, whether they come before height and width) of an input that is fed with a picture."""
    dims = port.dims
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.UINT8)
    if dims is None or len(dims) not in (2, 3, 4) or port.data_type not in floats:
        raise FeedError(f"input {port.name!r} is {port.text}, which is not shaped like a picture", name=port.name)
    if len(dims) == 2:
        return 1, True
    before, after = dims[-3], dims[-1]
    if before in _MODES:
        return int(before), True
    if after in _MODES:
        return int(after), False
    if isinstance(before, int):
        raise FeedError(
            f"input {port.name!r} is {port.text}: {before} channels; a picture has 1, 3 or 4", name=port.name
        )
    return 3, True


OVERSHOOT = 0.25
"""How far, in parts of the range, a picture's numbers may lie outside of it without a word: resampling overshoots."""


def picture_bytes(name: str, array: Array, path: str, form: PictureFormat = PLAIN) -> bytes:
    """An array as an encoded picture; the format is that of the path's suffix.

    Floats are taken as ``form`` says (0..1, red first), clipped and rounded; uint8 as it is. Axes of size 1 before the
    picture are dropped. Numbers far outside of the range are a GraphkitWarning.

    Raises:
        SaveError: The array is not shaped like one picture.
        MissingExtraError: pillow is not installed.
    """
    import io

    image = _pillow("writing a picture")
    pixels = np.asarray(array)
    while pixels.ndim > 3 and pixels.shape[0] == 1:
        pixels = pixels[0]
    if pixels.ndim == 3:
        if pixels.shape[0] in _MODES:
            pixels = pixels.transpose(1, 2, 0)
        if pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
    if (
        pixels.ndim not in (2, 3)
        or (pixels.ndim == 3 and pixels.shape[2] not in _MODES)
        or pixels.dtype.kind not in "fu"
    ):
        shape = ",".join(map(str, np.shape(array)))
        raise SaveError(
            f"output {name!r} is {np.asarray(array).dtype}[{shape}], which is no single picture",
            path=path,
            hint="save it as .npz or .npy",
        )
    if pixels.dtype != np.uint8:
        unit = form.unit(pixels)
        _warn_outside(name, unit, path, form)
        pixels = np.rint(np.clip(np.nan_to_num(unit), 0, 1) * 255).astype(np.uint8)
    if form.bgr and pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = pixels[:, :, ::-1]
    buffer = io.BytesIO()
    suffix = os.path.splitext(path)[1].lower()
    image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format=image.registered_extensions().get(suffix, "PNG"))
    return buffer.getvalue()


def _warn_outside(name: str, unit: Array, path: str, form: PictureFormat) -> None:
    finite = unit[np.isfinite(unit)]
    if not finite.size or (finite.min() >= -OVERSHOOT and finite.max() <= 1 + OVERSHOOT):
        return
    outside = float(np.mean((finite < 0) | (finite > 1)))
    low, high = float(finite.min()) * form.top, float(finite.max()) * form.top
    file, other = os.path.basename(path), "0-1" if form.top > 1 else "0-255"
    warnings.warn(
        f"{file}: output {name!r} was taken as {form}, and holds {low:.4g} to {high:.4g}: {outside:.0%} of it was clipped; "
        f"say what it is behind the name, as in {file}:{other} or {file}:mean=0.5:std=0.5",
        GraphkitWarning,
        stacklevel=2,
    )

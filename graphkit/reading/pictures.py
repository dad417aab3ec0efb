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
from graphkit.hint import Hint
from graphkit.optional import optional
from graphkit.reading.fits import check_fit
from graphkit.reading.picture_format import PLAIN, PictureFormat
from graphkit.tensor import type_name

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
    channels, _ = _layout(port)
    return numbers_of(port, np.asarray(_opened(port, path, _MODES[channels], most, form)), form)


def numbers_of(port: Port, pixels: Array, form: PictureFormat) -> Array:
    """Pixels of 0..255, channels last, as the array that an input declares.

    Raises:
        FeedError: A mean or deviation for an input of bytes.
    """
    channels, first = _layout(port)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], channels, axis=2)
        pixels[:, :, 3:] = 255  # of a grey picture of 16 bits
    if form.bgr and channels == 3:
        pixels = pixels[:, :, ::-1]
    if port.data_type != onnx.TensorProto.UINT8:
        pixels = form.floats(pixels)
    elif not form.plain:
        raise FeedError(f"input {port.name!r} is {port.text}: it takes no mean and no deviation", name=port.name)
    else:
        pixels = np.rint(pixels).astype(np.uint8)
    if first:
        pixels = pixels.transpose(2, 0, 1)
    rank = len(port.dims or ())
    pixels = pixels[None] if rank == 4 else pixels.squeeze(0 if first else 2) if rank == 2 else pixels
    if port.data_type == onnx.TensorProto.UINT8:
        return np.ascontiguousarray(pixels)
    return np.ascontiguousarray(pixels).astype(onnx.helper.tensor_dtype_to_np_dtype(port.data_type))


def luma_and_chroma(port: Port, path: str, *, most: int, form: PictureFormat = PLAIN) -> tuple[Array, Any]:
    """The luma of a picture as the array that a one-channel input declares, and its chroma: pillow's pictures Cb and Cr.

    Raises:
        FeedError: As ``read_picture``; an input that takes colours.
        MissingExtraError: pillow is not installed.
    """
    channels, _ = _layout(port)
    if channels != 1:
        raise FeedError(
            f"input {port.name!r} is {port.text}: it takes {channels} channels, and luma is one",
            name=port.name,
            hint="feed the picture as it is",
        )
    picture = _opened(port, path, "RGB", most, form)
    if picture.mode == "F":
        grey = picture.convert("L").point(lambda _: 128)
        return numbers_of(port, np.asarray(picture), form), [grey, grey]
    brightness, *chroma = picture.convert("YCbCr").split()
    return numbers_of(port, np.asarray(brightness), form), chroma


def merged(name: str, luma: Array, chroma: Any, path: str, form: PictureFormat = PLAIN) -> Array:
    """An output's luma and a photograph's chroma as one colour picture, uint8[h,w,3].

    The chroma is brought to the size of the luma by pillow's bicubic filter, as the tutorials on super-resolution do it.

    Raises:
        SaveError: The output is no single picture of one channel.
        MissingExtraError: pillow is not installed.
    """
    image = _pillow("writing a picture")
    pixels = _bytes_of(name, luma, path, form)
    if pixels.ndim != 2:
        raise SaveError(
            f"output {name!r} is {luma.dtype}[{','.join(map(str, luma.shape))}], and luma is one channel", path=path
        )
    bright = image.fromarray(pixels)
    planes = [plane.resize(bright.size, image.Resampling.BICUBIC) for plane in chroma]
    return np.asarray(image.merge("YCbCr", [bright, *planes]).convert("RGB"))


def taken_as(port: Port, form: PictureFormat) -> str:
    """What the numbers of a picture are that is fed: ``float32 of 0..1, RGB, resized (bilinear)``; grey is said."""
    channels, _ = _layout(port)
    floats = port.data_type != onnx.TensorProto.UINT8
    said = f"{type_name(port.data_type)} of {form.told(channels, floats=floats)}"
    return f"{said}, resized ({form.resize})" if form.resize else said


def drops_colours(port: Port, path: str) -> bool:
    """Whether an input of one channel is fed with a picture of several colours. Cost: the picture's header.

    Raises:
        FeedError: The input is not shaped like a picture.
        MissingExtraError: pillow is not installed.
    """
    if _layout(port)[0] != 1:
        return False
    with _pillow("reading a picture").open(path) as opened:
        return opened.mode == "P" or len(set(opened.getbands()) - {"A", "a"}) > 1


def _opened(port: Port, path: str, mode: str, most: int, form: PictureFormat) -> Any:
    """A picture in one of pillow's modes, of the size that the input declares; measured before it is unpacked."""
    image = _pillow("reading a picture")
    channels, first = _layout(port)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pillow's opinion of sizes and of metadata
            with image.open(path) as opened:
                size = opened.size if form.resize is None else _fixed_size(port, first=first)
                _check_size(port, path, size, channels, first=first)
                _check_pixels(port, path, opened.size, max(len(mode), len(opened.getbands())), most)
                picture = _converted(image, port, path, opened, mode)
    except (*_BROKEN, image.DecompressionBombError) as error:
        raise FeedError(f"{path} is no picture, .npy or .npz file, or it is damaged", name=port.name) from error
    if form.resize is None or picture.size == size:
        return picture
    return picture.resize(size, image.Resampling[form.resize.upper()])


def _converted(image: Any, port: Port, path: str, opened: Any, mode: str) -> Any:
    """A picture in a mode. One of 16 bits comes in pillow's mode F as 0..255 with fractions: pillow itself would cut it off
    at 255.

    Raises:
        FeedError: Its pixels are of 32 bits, whose range nothing says.
    """
    if opened.mode.startswith("I;16"):
        return image.fromarray(np.asarray(opened).astype(np.float32) / np.float32(257))
    if opened.mode in ("I", "F"):
        raise FeedError(
            f"the pixels of {path} are of 32 bits, and nothing says which of their numbers is white",
            name=port.name,
            hint="give the numbers that the model wants as a .npy file",
        )
    return opened.convert(mode)


def _fixed_size(port: Port, *, first: bool) -> tuple[int, int]:
    """(width, height) that an input declares.

    Raises:
        FeedError: One of them is free.
    """
    dims = port.dims or ()
    height, width = dims[-2:] if first else dims[-3:-1]
    if isinstance(height, int) and isinstance(width, int):
        return width, height
    raise FeedError(
        f"input {port.name!r} is {port.text}: it takes pictures of any size, and 'resize' meets a fixed one",
        name=port.name,
        hint="leave 'resize' out, or fix the axes first with graphkit dims",
    )


_BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, OverflowError, MemoryError),
    *(AttributeError, KeyError, struct.error, zlib.error),
)
"""What pillow's decoders raise for files that are none of theirs, or damaged."""


def _check_size(port: Port, path: str, size: tuple[int, int], channels: int, *, first: bool) -> None:
    width, height = size
    batch = (1,) * (len(port.dims or ()) == 4)
    inner = (channels, height, width) if first else (height, width, channels)
    shape = (height, width) if len(port.dims or ()) == 2 else (*batch, *inner)
    try:
        check_fit(port, onnx.helper.tensor_dtype_to_np_dtype(port.data_type), shape)
    except FeedError as error:
        if _another_size(port, size, first=first):
            error.hint = Hint(f"let it be resized: @{path}:resize; or ", error.hint or "")
        raise


def _check_pixels(port: Port, path: str, size: tuple[int, int], channels: int, most: int) -> None:
    width, height = size
    if width * height * channels > most:
        raise FeedError(
            f"{path} would unpack to {width} x {height} pixels, far more than the file holds",
            name=port.name,
            hint="where that is meant, give the pixels as a .npy file",
        )


def _another_size(port: Port, size: tuple[int, int], *, first: bool) -> bool:
    """Whether an input declares a height or width, and a picture has others."""
    dims = port.dims or ()
    height, width = dims[-2:] if first or len(dims) == 2 else dims[-3:-1]
    return (isinstance(height, int) and height != size[1]) or (isinstance(width, int) and width != size[0])


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
    pixels = _bytes_of(name, array, path, form)
    if form.bgr and pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = pixels[:, :, ::-1]
    buffer = io.BytesIO()
    suffix = os.path.splitext(path)[1].lower()
    image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format=image.registered_extensions().get(suffix, "PNG"))
    return buffer.getvalue()


def told(array: Array, form: PictureFormat) -> str:
    """What the numbers of an output were taken for that ``picture_bytes`` wrote."""
    shape = [size for size in array.shape if size != 1]
    channels = 1 if len(shape) < 3 else shape[0] if shape[0] in _MODES else shape[-1]
    return form.told(channels, floats=array.dtype != np.uint8)


def _bytes_of(name: str, array: Array, path: str, form: PictureFormat) -> Array:
    """An output as uint8[h,w] or uint8[h,w,channels]; its channels are in the order that they have.

    Raises:
        SaveError: It is not shaped like one picture.
    """
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
    return pixels


def _warn_outside(name: str, unit: Array, path: str, form: PictureFormat) -> None:
    finite = unit[np.isfinite(unit)]
    if not finite.size or (finite.min() >= -OVERSHOOT and finite.max() <= 1 + OVERSHOOT):
        return
    outside = float(np.mean((finite < 0) | (finite > 1)))
    low, high = float(finite.min()) * form.top, float(finite.max()) * form.top
    file, other = os.path.basename(path), "0-1" if form.top > 1 else "0-255"
    warnings.warn(
        f"{file}: output {name!r} was taken as {form.told(1 if unit.ndim == 2 else unit.shape[2])}, and holds {low:.4g} to {high:.4g}: {outside:.0%} of it was clipped; "
        f"say what it is behind the name, as in {file}:{other} or {file}:mean=0.5:std=0.5",
        GraphkitWarning,
        stacklevel=2,
    )

"""What the preparation of pictures gives, reckoned in NumPy, and whether the nodes that do it give that at several sizes.

Resizing is written down here a second time, by what each library documents, so that a fault in the nodes is not taken for
the rule. It is in float64; a library and ONNX Runtime round in other places, so whole numbers may be a step apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.edit.picture_body import FLOATS, Pictures, picture_body
from graphkit.errors import MissingExtraError, SessionError
from graphkit.graph.opset import opset_of
from graphkit.model import Model
from graphkit.tensor import numpy_type
from graphkit.verify.laws.binding import Broken, Unproved
from graphkit.verify.laws.side import NoKernelError, load

if TYPE_CHECKING:
    from graphkit.tensor import Array

STEPS = {"bilinear": 1.0, "bicubic": 2.0, "nearest": 0.0}
"""Filter -> by how much of 255 a number may be off (DESIGN, section 3)."""

MEAN = 0.1
"""By how much of 255 they may be off on average: a step of rounding on one number in ten."""

FEW = 4
"""Numbers that may be off by all that they may, in any case."""

FINE = 0.01
"""By how much of 255 in any case, for float32."""

HALVES = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


def sizes_of_pictures(height: int, width: int) -> tuple[tuple[int, int], ...]:
    """Heights and widths of pictures that a model of this size is asked about.

    Its own; larger and smaller ones; and where the height shrinks just so much more than the width that the order of the two
    changes.
    """
    half = height // 2 or 1, width // 2 or 1
    mixed = (2 * height + 1, half[1]), (half[0], 2 * width + 1)
    return (height, width), (height + 5, width + 2), (height + 1, width + 3), half, *mixed


def check_preparation(pictures: Pictures, before: Model) -> None:
    """Run the nodes that prepare pictures, alone, on pictures of several sizes.

    Raises:
        Broken: They do not give what they should at a size.
        Unproved: Nothing runs them.

    Cost: one session of a few nodes, and a run a size.
    """
    try:
        side = load(Model(picture_body(pictures, opset_of(before.proto), ["height", "width"])), ["image"], [])
    except (NoKernelError, MissingExtraError) as error:
        raise Unproved(f"the preparation of pictures cannot be run: {error}") from error
    except SessionError as error:
        raise Broken(f"the preparation of pictures does not load: {error}") from error
    height, width = (int(size or 0) for size in pictures.dims[2:])
    for number, size in enumerate(sizes_of_pictures(height, width)):
        array = _random(pictures, size, number)
        made = np.asarray(side.run({"pictures": array}).values["image"], np.float64)
        wanted, allowed = prepared(pictures, array)
        with np.errstate(all="ignore"):
            far = np.abs(made - wanted) if made.shape == wanted.shape else np.full((), np.inf)
            off = float((far / allowed).sum())
        if not (far <= allowed).all() or off > max(FEW, _mean_share(pictures) * far.size):
            raise Broken(
                f"the preparation does not resize as {pictures.resize} does ({pictures.filter}): pictures of "
                f"{size[0]}x{size[1]} come out up to {np.nanmax(far):.3g} apart"
            )
    side.close()


def _mean_share(pictures: Pictures) -> float:
    """The share of what a number may be off that they may be off on average."""
    return 1.0 if not _whole(pictures) or pictures.filter == "nearest" else (MEAN + FINE) / STEPS[pictures.filter]


def _random(pictures: Pictures, size: tuple[int, int], seed: int) -> Array:
    batch, channels = pictures.dims[:2]
    batch = batch if isinstance(batch, int) else 2
    if not isinstance(channels, int):
        channels = max(3 if pictures.swapped else 1, len(pictures.mean), len(pictures.std))
    random = np.random.default_rng(seed)
    most = 127 if pictures.taken == onnx.TensorProto.INT8 else 255
    array = np.clip(random.integers(-most, 2 * most, (batch, channels, *size)), 0, most)  # much of it at the ends
    if channels == 4:
        array[:, 3] = array[:, 3] // 2 + 64
    dtype = numpy_type(pictures.taken)
    return np.ascontiguousarray((np.moveaxis(array, 1, 3) if pictures.channels_last else array).astype(dtype))


def prepared(pictures: Pictures, array: Array) -> tuple[Array, Array]:
    """What pictures are for the model, and by how much each number may be off."""
    found = np.asarray(array, np.float64)
    found = np.moveaxis(found, 3, 1) if pictures.channels_last else found
    if pictures.swapped:
        found = found[:, [2, 1, 0, *range(3, found.shape[1])]]
    height, width = (size if isinstance(size, int) else 0 for size in pictures.dims[2:])
    alpha = pictures.resize == "pil" and found.shape[1] == 4 and pictures.filter != "nearest"
    if pictures.resize is not None:
        found = _resized(pictures, found, height, width, alpha=alpha)
    steps = np.full(found.shape, STEPS[pictures.filter] * _whole(pictures) + FINE)
    if alpha:
        steps[:, :3] += 1 + 2 * 255 / np.maximum(found[:, 3:] - 1, 1)
    mean, std = (np.asarray(each, np.float64).reshape(-1, 1, 1) for each in (pictures.mean, pictures.std))
    found = (found / 255 - mean) / std
    allowed = steps / 255 / np.abs(std) + np.abs(found) * (2.0**-7 if pictures.given in HALVES else 1e-6)
    allowed = np.broadcast_to(allowed, found.shape)
    if pictures.model_last:
        return np.moveaxis(found, 1, 3), np.moveaxis(allowed, 1, 3)
    return found, allowed


def _whole(pictures: Pictures) -> bool:
    return pictures.taken not in FLOATS


def _resized(pictures: Pictures, found: Array, height: int, width: int, *, alpha: bool) -> Array:
    old = found.shape[2:]
    if pictures.filter == "nearest":
        rows, columns = (
            _nearest(one, new, str(pictures.resize)) for one, new in zip(old, (height, width), strict=True)
        )
        return found[:, :, rows][:, :, :, columns]
    weights = [_weights(pictures, one, new) for one, new in zip(old, (height, width), strict=True)]
    if pictures.resize == "opencv":
        return _held(pictures, np.einsum("hi,ncij,wj->nchw", weights[0], found, weights[1], optimize=True))
    same = not alpha or old == (height, width)
    if not same:
        product = found[:, :3] * found[:, 3:] + 128
        found = np.concatenate([np.floor((product + np.floor(product / 256)) / 256), found[:, 3:]], 1)
    less = [one - new for one, new in zip(old, (height, width), strict=True)]
    first = pictures.resize == "pil" and pictures.filter == "bicubic" and less[0] > 0 and less[0] > 2 * less[1]
    for axis in (0, 1) if first and _whole(pictures) else (1, 0):
        spelt = "hi,nciw->nchw" if axis == 0 else "wj,nchj->nchw"
        found = _held(pictures, np.einsum(spelt, weights[axis], found, optimize=True))
    if not same:
        by = np.where(found[:, 3:] == 0, 255.0, found[:, 3:])
        found = np.concatenate([np.minimum(np.floor(found[:, :3] * 255 / by), 255), found[:, 3:]], 1)
    return found


def _held(pictures: Pictures, found: Array) -> Array:
    """Whole numbers, halves rounded up, where pictures have them."""
    return np.clip(np.floor(found + 0.5), 0, 255) if _whole(pictures) else found


def _nearest(old: int, new: int, library: str) -> Any:
    """The old place of each new one."""
    if library == "pil":
        places = np.cumsum([0.5 * old / new, *[old / new] * (new - 1)])
    elif library == "opencv":
        places = np.arange(new) * (1 / (new / old))
    else:
        places = np.arange(new, dtype=np.float32) * (np.float32(old) / np.float32(new))
    return np.minimum(np.floor(places).astype(np.int64), old - 1)


def _weights(pictures: Pictures, old: int, new: int) -> Array:
    """What each old place gives each new one, [new, old]: a filter that widens where the picture shrinks; OpenCV's does not."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale - 0.5
    cubic = pictures.filter == "bicubic"
    if pictures.resize != "opencv":
        far = np.abs(np.arange(old) - centres[:, None]) / max(scale, 1)
        weights = _keys(far, -0.5) if cubic else np.maximum(1 - far, 0)
        return np.asarray(weights / weights.sum(1, keepdims=True))
    weights = np.zeros((new, old))
    begin = np.floor(centres).astype(np.int64)
    for step in (-1, 0, 1, 2):
        far = np.abs(begin + step - centres)
        share = _keys(far, -0.75) if cubic else np.maximum(1 - far, 0)
        np.add.at(weights, (np.arange(new), np.clip(begin + step, 0, old - 1)), share)
    return weights


def _keys(far: Array, a: float) -> Array:
    """Keys' cubic."""
    near = ((a + 2) * far - (a + 3)) * far**2 + 1
    outer = a * (((far - 5) * far + 8) * far - 4)
    return np.where(far < 1, near, np.where(far < 2, outer, 0.0))

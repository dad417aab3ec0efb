"""The numbers of a picture: their range, the order of the channels, mean and deviation, size, as words behind its path."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphkit.errors import TextError

if TYPE_CHECKING:
    from graphkit.tensor import Array

_WORD = re.compile(r"rgb|bgr|0-1|0-255|(?:mean|std)=[\d.,/eE+-]+|resize(?:=\w+)?")

WORDS = ":rgb, :bgr, :0-1, :0-255, :mean=NUMBERS, :std=NUMBERS, :resize=FILTER"

FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")
"""pillow's filters that a picture can be resized with; ``resize`` alone is bilinear, as ``graphkit image --resize`` is."""


@dataclass(frozen=True)
class PictureFormat:
    """What the floats of a picture are.

    Attributes:
        bgr: Whether the channels come in the order blue, green, red.
        top: What white is before mean and deviation: 1 or 255.
        mean: What is subtracted, a number or one for each channel.
        std: What the difference is divided by.
        resize: The filter that brings the picture to the input's fixed size; None for pictures that have it.
    """

    bgr: bool = False
    top: float = 1
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: str | None = None

    def __str__(self) -> str:
        return self.told(3)

    def told(self, channels: int, *, floats: bool = True) -> str:
        """What the numbers of a picture of so many channels are: ``0..1, RGB``; bytes are 0..255 whatever is said."""
        order = (
            "" if channels == 1 else ", BGR" if self.bgr and channels == 3 else ", RGB" if channels == 3 else ", RGBA"
        )
        more = "" if self.plain else ", less the mean, divided by the deviation"
        return f"0..{self.top if floats else 255:g}{order or ', grey'}{more}"

    @property
    def plain(self) -> bool:
        """Whether no mean and no deviation is given."""
        return self.mean == (0.0,) and self.std == (1.0,)

    def floats(self, pixels: Array) -> Array:
        """Pixels of 0..255, channels last, as float32."""
        scaled: Array = pixels.astype(np.float32)
        if self.top == 1:
            scaled = scaled / np.float32(255)
        if not self.plain:
            scaled = (scaled - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.asarray(scaled, np.float32)

    def unit(self, floats: Array) -> Array:
        """The floats of an output, channels last, as 0..1; not clipped."""
        return np.asarray(
            (floats.astype(np.float32) * np.asarray(self.std, np.float32) + np.asarray(self.mean, np.float32))
            / np.float32(self.top)
        )


PLAIN = PictureFormat()


def split_format(path: str) -> tuple[str, PictureFormat]:
    """A path and the words behind it: ``photo.png:bgr:0-255``, ``photo.png:resize:mean=0.485/0.456/0.406``.

    Without words floats are 0..1 in the order red, green, blue, and the picture must have the input's size; a file of the
    whole name is taken as it is called.

    Raises:
        TextError: A mean or deviation is no number, or no three of them; a deviation of 0; a filter that pillow has not.
    """
    parts = path.split(":")
    end = len(parts)
    while end > 1 and _WORD.fullmatch(parts[end - 1]):
        end -= 1
    if end == len(parts) or os.path.exists(path):
        return path, PLAIN
    words = parts[end:]
    numbers = {word.partition("=")[0]: _numbers(word) for word in words if word.startswith(("mean=", "std="))}
    if not all(numbers.get("std", (1.0,))):
        raise TextError(f"{path!r}: a deviation of 0 divides by 0")
    return ":".join(parts[:end]), PictureFormat(
        "bgr" in words,
        255 if "0-255" in words else 1,
        numbers.get("mean", (0.0,)),
        numbers.get("std", (1.0,)),
        next((_filter(word) for word in reversed(words) if word.startswith("resize")), None),
    )


def _filter(word: str) -> str:
    found = word.partition("=")[2] or "bilinear"
    if found not in FILTERS:
        raise TextError(f"{word!r}: there is no filter {found!r}", hint=f"write resize={' or resize='.join(FILTERS)}")
    return found


def _numbers(word: str) -> tuple[float, ...]:
    try:
        found = tuple(float(text) for text in re.split(r"[/,]", word.partition("=")[2]))
    except ValueError as error:
        raise TextError(f"{word!r} gives no numbers", hint="write mean=0.485/0.456/0.406, or one number") from error
    if len(found) not in (1, 3):
        raise TextError(f"{word!r} gives {len(found)} numbers", hint="give one, or one for each of three channels")
    return found

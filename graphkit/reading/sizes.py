"""Sizes as text: ``1,2,8``, a shape ``1,3,64,64`` or ``1x3x64x64``, bytes ``500MB``."""

from __future__ import annotations

import re

from graphkit.errors import TextError

DIGITS = 18
"""Digits of a size: int64 has 19."""

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def read_sizes(text: str) -> list[int]:
    """Sizes from text, at least one: ``8`` or ``1,2,8``.

    Raises:
        TextError: It is none.

    Example:
        >>> import graphkit as gk
        >>> gk.read_sizes("1,2,8")
        [1, 2, 8]
    """
    sizes = read_shape(text)
    if not sizes:
        raise TextError(f"sizes such as 8 or 1,2,8 are wanted, not {text!r}")
    return sizes


def read_shape(text: str) -> list[int]:
    """A shape from text: ``1,3,64,64``, ``1x3x64x64``; nothing for a scalar.

    Raises:
        TextError: It is none.

    Example:
        >>> import graphkit as gk
        >>> gk.read_shape("1x3x64x64")
        [1, 3, 64, 64]
    """
    parts = [part.strip() for part in re.split("[,x]", text.strip().strip("[]"))] if text.strip() else []
    if parts and not parts[-1]:
        parts.pop()
    if not all(part.isascii() and part.isdigit() and len(part) <= DIGITS for part in parts):
        raise TextError(f"a shape such as 1,3,64,64 is wanted, not {text[:60]!r}")
    return [int(part) for part in parts]


def parse_bytes(size: int | str) -> int:
    """A number of bytes from a text such as ``500MB``, ``2GB`` or ``1GiB``.

    Raises:
        TextError: The text is no size, or the size is not positive; also a ValueError.

    Example:
        >>> import graphkit as gk
        >>> gk.parse_bytes("2GB"), gk.parse_bytes("1GiB")
        (2000000000, 1073741824)
    """
    match = re.fullmatch(r"\s*(\d{1,18}(?:\.\d{1,18})?)\s*([KMG]?I?B?)\s*", str(size).upper(), re.ASCII)
    if match is None or match[2] not in _UNITS or float(match[1]) <= 0:
        raise TextError(f"{str(size)[:60]!r} is no size; write 500MB or 2GB")
    return int(float(match[1]) * _UNITS[match[2]])

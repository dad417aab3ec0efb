"""Where a tensor begins in a data file."""

from __future__ import annotations

CACHE_LINE = 64
PAGE = 1 << 12
WINDOWS_UNIT = 1 << 16
"""Windows maps files from multiples of this only (onnx/docs/ExternalData.md)."""

MAPPED_FROM = 1 << 16
"""Bytes from which a tensor is large enough to be mapped: it begins at a whole page."""

WINDOWS_FROM = 1 << 20
"""Bytes from which it can be mapped on Windows too."""


def aligned(offset: int, length: int) -> int:
    """The first place at or behind an offset where a tensor of so many bytes may begin."""
    return offset + -offset % alignment(length)


def alignment(length: int) -> int:
    """What the offset of a tensor of so many bytes is a multiple of."""
    if length >= WINDOWS_FROM:
        return WINDOWS_UNIT
    return PAGE if length >= MAPPED_FROM else CACHE_LINE

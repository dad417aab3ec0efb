"""Numbers and lists as text: ``2``, ``-1.5e3``, ``2,3``, ``[[1,2],[3,4]]``, ``true``, ``inf``. Nothing is executed."""

from __future__ import annotations

import math
import re
from typing import Any

_TOKEN = re.compile(r"\s*(?:([\[\](),])|([^\s\[\](),]+))\s*")
_INTEGER = re.compile(r"[+-]?(?:\d+(?:_\d+)*|0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+)")
_REAL = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_COMPLEX = re.compile(r"[+-]?[\d.eE+-]*\d\.?[jJ]")
_WORDS: dict[str, bool | float] = {"true": True, "false": False}
_WORDS |= {sign + word: float(sign + word) for sign in ("", "+", "-") for word in ("inf", "infinity", "nan")}

DIGITS = 400
"""Digits of an integer that is read; float64 ends at 309."""

DEPTH = 64
"""Lists inside of lists; an array of numpy has at most 64 axes."""


def literal(text: str) -> Any:
    """A number, or a list of numbers as deep as it is written, from text.

    ``2,3`` and ``(2, 3)`` are lists as ``[2,3]`` is. ``true``, ``false``, ``inf`` and ``nan`` are words, in any case.

    Args:
        text: The text.

    Returns:
        A bool, int, float or complex, or a list of them, or of lists.

    Raises:
        ValueError: It is none; a number is too large for a float and was not written as ``inf``.

    Cost: O(length).
    """
    root: list[Any] = []
    stack = [root]
    closing: list[str] = []
    lists, after, position = False, False, 0  # after: a value was read and no comma yet
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:  # nothing but white space
            break
        position = match.end()
        mark, word = match.groups()
        if word is not None or mark in ("[", "("):
            if after:
                raise ValueError(f"a comma is missing before {_cut(word or mark)}")
            if word is not None:
                stack[-1].append(_number(word))
                after = True
                continue
            if len(stack) > DEPTH:
                raise ValueError(f"lists are nested more than {DEPTH} deep")
            inner: list[Any] = []
            stack[-1].append(inner)
            stack.append(inner)
            closing.append("]" if mark == "[" else ")")
        elif mark == ",":
            if not after:
                raise ValueError("a comma follows no number")
            after = False
            lists = lists or len(stack) == 1
        else:
            if not closing or closing.pop() != mark:
                raise ValueError(f"{mark} closes nothing")
            stack.pop()
            after = True
    if len(stack) > 1 or not root:
        raise ValueError("a list is not closed" if root else "there is no number")
    return root if lists else root[0]


def _number(word: str) -> bool | int | float | complex:
    lowered = word.lower()
    if lowered in _WORDS:
        return _WORDS[lowered]
    if _INTEGER.fullmatch(word):
        if len(word) > DIGITS:
            raise ValueError(f"an integer of {len(word)} digits fits no type")
        return int(word, 0) if word.lstrip("+-")[:2].lower() in ("0x", "0b", "0o") else int(word)
    if len(word) <= DIGITS and _REAL.fullmatch(word):
        value = float(word)
        if math.isinf(value):
            raise ValueError(f"{_cut(word)} is larger than any number; an infinity is written inf")
        return value
    if len(word) <= DIGITS and _COMPLEX.fullmatch(word):
        return complex(word)
    raise ValueError(f"{_cut(word)} is no number")


def _cut(word: str) -> str:
    return repr(word if len(word) <= 40 else word[:37] + "...")

"""Text that comes from a file, made safe to print: what would steer a terminal is shown escaped."""

from __future__ import annotations

import re

_STEERING = (
    "\x00-\x08\x0b-\x1f\x7f"  # C0 without tab and line feed, DEL
    "\x80-\x9f"  # C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what changes the direction of text (Unicode UAX 9)
    "\u2028\u2029"  # line and paragraph separators
    "\U000e0000-\U000e007f"  # tags, which are invisible
)
_TEXT = re.compile(f"[{_STEERING}]")
_LINE = re.compile(f"[{_STEERING}\t\n]")


def printable(text: str, *, lines: bool = True, longest: int | None = None) -> str:
    r"""A text with its control characters and changes of direction escaped: ``\x1b``, ``\u202e``.

    Args:
        text: A name or a message.
        lines: Leave line feeds and tabs as they are; a name has none that a reader should see as such.
        longest: Characters up to which a word, and twenty times that up to which a line is whole; of a longer one the
            beginning and the end are left. None cuts nothing.

    Cost: O(length).

    Example:
        >>> import graphkit as gk
        >>> gk.printable("\x1b[2Jname\n", lines=False)
        '\\x1b[2Jname\\n'
    """
    pattern = _TEXT if lines else _LINE
    safe = pattern.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    if longest is None or len(safe) <= longest:
        return safe
    words = re.sub(rf"\S{{{longest + 1},}}", lambda found: shortened(found[0], longest), safe)
    return "\n".join(shortened(line, 20 * longest) for line in words.split("\n"))


def shortened(text: str, width: int) -> str:
    """A text of at most ``width`` characters: where it is longer, its middle is left out. Paths and names differ at their ends."""
    if len(text) <= width:
        return text
    kept = width - 3
    return f"{text[: kept // 2]}...{text[len(text) - (kept - kept // 2) :]}"


def one_line(text: str) -> str:
    """A text that is to stand in one line, whatever names are in it."""
    return printable(text, lines=False)


def json_safe(text: str) -> str:
    r"""JSON text with the same characters as ``\uXXXX``: it stays valid and means the same."""
    return _TEXT.sub(lambda found: _utf16(ord(found[0])), text)


def _utf16(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


LONGEST = 240
"""Characters of a name or a cell that a page shows; of a longer one the beginning, the end and its length."""


def shown(text: str) -> str:
    """A text of a file as a page shows it in one line: no control characters, and of a long one its two ends.

    Cost: O(length) at most, O(1) beyond ``LONGEST``.
    """
    if len(text) <= LONGEST:
        return text if text.isascii() and text.isprintable() else one_line(text)
    first, last = text[: LONGEST * 2 // 3], text[-LONGEST // 4 :]
    return f"{one_line(first)} … {one_line(last)} ({len(text):,} characters)"

"""Where each key and value of a TOML text stands, so that a fault is told with its line and column.

``tomllib`` says what a text means and not where; this scan says where and trusts that the text is valid TOML.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any, TypeAlias

from graphkit.errors import RecipeError

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the top: ``("step", 0, "do")``."""

Place: TypeAlias = tuple[int, int]
"""Line and column, from 1."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^\s,\]}#]+(?: \d[^\s,\]}#]*)?")


def read_toml(text: str, file: str) -> tuple[dict[str, Any], dict[Path, Place]]:
    """The document that a text holds, and where its keys and the items of its lists stand.

    Raises:
        RecipeError: It is no TOML.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.DOTALL)
        what = said[1] if said else str(error)
        line, column = (int(said[2]), int(said[3])) if said and said[2] else _place(text, len(text))
        raise RecipeError([f"{file}:{line}:{column}: {what}"], path=file) from error
    except RecursionError as error:
        raise RecipeError([f"{file}: lists and tables are nested too deep"], path=file) from error
    return document, _Scan(text).places()


def _place(text: str, offset: int) -> Place:
    start = text.rfind("\n", 0, offset) + 1
    return text.count("\n", 0, offset) + 1, offset - start + 1


class _Scan:
    """One walk over a valid TOML text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}

    def places(self) -> dict[Path, Place]:
        """Path -> where the key or the list's item begins."""
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()
        return {path: _place(self._text, offset) for path, offset in self._found.items()}

    def _skip(self) -> None:
        match = _BLANK.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _header(self) -> Path:
        """``[a.b]`` or ``[[a.b]]``."""
        start = self._at
        double = self._text.startswith("[[", self._at)
        self._at += 2 if double else 1
        keys = self._keys()
        self._at = self._text.index("]", self._at) + (2 if double else 1)
        path: Path = ()
        for key in keys:
            path = (*self._last(path), key)
            self._found.setdefault(path, start)
        if double:
            self._arrays[path] = self._arrays.get(path, 0) + 1
        path = self._last(path)
        self._found.setdefault(path, start)
        return path

    def _last(self, path: Path) -> Path:
        """The last table of an array of tables; any other path as it is."""
        count = self._arrays.get(path)
        return path if count is None else (*path, count - 1)

    def _keys(self) -> list[str]:
        """``a . "b c"``, up to the sign behind it."""
        found = []
        while True:
            self._skip()
            match = _STRING.match(self._text, self._at) or _BARE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            found.append(next(iter(tomllib.loads(f"{match[0]} = 0"))))
            self._skip()
            if self._text[self._at] != ".":
                return found
            self._at += 1

    def _pair(self, table: Path) -> None:
        start = self._at
        path = table
        for key in self._keys():
            path = (*path, key)
            self._found.setdefault(path, start)
        self._at += 1  # the "="
        self._skip()
        self._value(path)

    def _value(self, path: Path) -> None:
        text = self._text
        if text[self._at] == "[":
            self._items("]", lambda index: self._item((*path, index)))
        elif text[self._at] == "{":
            self._items("}", lambda _: self._pair(path))
        else:
            match = _STRING.match(text, self._at) or _PLAIN.match(text, self._at)
            assert match is not None
            self._at = match.end()

    def _item(self, path: Path) -> None:
        self._found.setdefault(path, self._at)
        self._value(path)

    def _items(self, end: str, read: Callable[[int], None]) -> None:
        """What stands between brackets, with commas."""
        self._at += 1
        index = 0
        self._skip()
        while self._text[self._at] != end:
            read(index)
            index += 1
            self._skip()
            if self._text[self._at] == ",":
                self._at += 1
                self._skip()
        self._at += 1

"""What every result can do: be shown in few lines in a REPL, and as its page in a notebook."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Mapping

LINES = 10
"""Lines that a repr has at most, whatever the model."""

WIDTH = 100
"""Characters of such a line."""

SHORT = 60
"""Characters that one value takes in it."""

Renderer = Callable[[object], str]
"""Makes the page of a result."""

_renderers: list[Renderer] = []


def draw_with(renderer: Renderer) -> None:
    """Say what makes the page of a result: the room that does lies above the results that it draws."""
    _renderers[:] = [renderer]


class Result:
    """A result of graphkit. A class that has a verdict says it as ``bool`` too.

    Classes that inherit from it are dataclasses with ``repr=False``, or named tuples that take ``brief`` as their repr.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return brief(self)

    def _repr_html_(self) -> str | None:
        """The page, for notebooks; None where nothing is there to draw it."""
        return page_of(self)


def page_of(result: object) -> str | None:
    """The page of a result, for notebooks; None where nothing is there to draw it. Named tuples and lists call it."""
    return _renderers[0](result) if _renderers else None


def brief(result: object) -> str:
    """A result by its fields, in ``LINES`` lines at most: what is long or nested is counted, not shown."""
    fields = getattr(result, "__dataclass_fields__", None)
    names = getattr(result, "_fields", ()) if fields is None else [name for name, field in fields.items() if field.repr]
    said = ", ".join(f"{name}={short(getattr(result, name))}" for name in names)
    text = f"{type(result).__name__}({said})"
    lines = textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines if len(lines) <= LINES else [*lines[: LINES - 1], "    ...)"])


def short(value: object) -> str:
    """One value in at most ``SHORT`` characters or so."""
    if value is None or isinstance(value, bool | int | float):
        return _cut(repr(value))
    if isinstance(value, str | bytes):
        return _cut(repr(value if len(value) <= SHORT else value[:SHORT]))
    if isinstance(value, Mapping):
        plain = all(_is_plain(item) for item in value.values()) if len(value) <= 4 else False
        return _cut_or(repr(dict(value)) if plain else "", f"<{_count(value)}>")
    if isinstance(value, tuple | list | set | frozenset):
        plain = all(_is_plain(item) for item in value) if len(value) <= 8 else False
        return _cut_or(repr(value) if plain else "", f"<{_count(value)}>")
    if isinstance(value, Result):
        return f"<{type(value).__name__}>"
    shape = getattr(value, "shape", None)
    return f"<{type(value).__name__}{'' if shape is None else f' {list(shape)}'}>"


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _count(value: Collection[object]) -> str:
    return "1 item" if len(value) == 1 else f"{len(value)} items"


def _cut(text: str) -> str:
    return text if len(text) <= SHORT else f"{text[: SHORT - 3]}..."


def _cut_or(text: str, otherwise: str) -> str:
    return text if text and len(text) <= SHORT else otherwise

"""What kind of thing an argument has to be, as its type says it; another kind is refused with the spelling that is meant."""

from __future__ import annotations

import contextlib
import inspect
import numbers
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from graphkit.errors import EditError
from graphkit.hint import Argument, Blank, Hint


class ArgumentValueError(ValueError):
    """A call that no model makes possible: options that exclude each other, a number out of range, nothing to do.

    A caller's bug, as every ``ValueError``; where the arguments are data (a history, a recipe), the data are wrong.
    """


class ArgumentTypeError(TypeError):
    """An argument of a kind that is none of those taken; a caller's bug or wrong data, as ``ArgumentValueError``."""


def bound(signature: inspect.Signature, *args: Any, **kwargs: Any) -> inspect.BoundArguments:
    """The arguments of a call, bound to a signature.

    Raises:
        ArgumentTypeError: It has no such arguments, or needs others.
    """
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentTypeError(str(error)) from error


@contextlib.contextmanager
def text_told(given: Mapping[str, Any]) -> Iterator[None]:
    """Say that an argument of a call holds text that is no UTF-8, where a model cannot take it for that.

    Python has the bytes of such a text from the command line, and half of a character from JSON, as surrogates. A path may
    be such a text; a name, a shape or a documentation of ONNX may not.

    Raises:
        EditError: One does.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        part = error.object[error.start : error.end]
        if not any(_holds(value, part) for value in given.values()):
            raise
        raise EditError(
            f"{error.object!r:.200} is no UTF-8, and a model holds no other text",
            hint="write it in UTF-8",
        ) from error


def _holds(value: Any, part: str) -> bool:
    if isinstance(value, str):
        return part in value
    if isinstance(value, Mapping):
        return any(_holds(item, part) for pair in value.items() for item in pair)
    return isinstance(value, list | tuple | set | frozenset) and any(_holds(item, part) for item in value)


Kind: TypeAlias = Literal[
    "table", "table of texts", "table of numbers", "names", "names or table", "text", "number", "flag"
]
"""What an argument has to be, where its type says so alone."""

_KINDS: tuple[tuple[str, Kind], ...] = (
    (r"Mapping\[str, str\]", "table of texts"),
    (r"Mapping\[str, int\]", "table of numbers"),
    (r"Mapping\[(?:[^\[\]]|\[[^\[\]]*\])*\]", "table"),
    (r"(?:str \| )?(?:Sequence|Iterable|Collection)\[str\]", "names"),
    (r"str \| Iterable\[str\] \| Mapping\[.*\]", "names or table"),
    (r"str", "text"),
    (r"int", "number"),
    (r"bool", "flag"),
)


_HELD: Mapping[Kind, type] = {"table": object, "table of texts": str, "table of numbers": numbers.Integral}
"""Kind of a table -> what it holds."""


def kind_of(annotation: str) -> Kind | None:
    """The kind that an annotation says, or None: it says several, or another one."""
    written = annotation.removesuffix(" | None")
    return next((kind for pattern, kind in _KINDS if re.fullmatch(pattern, written)), None)


def require(name: str, value: Any, kind: Kind) -> None:
    """Refuse an argument of another kind than the operation's type says.

    Raises:
        EditError: It is of another kind; the hint has the spelling that is meant, as far as that can be told.
    """
    if kind == "names or table":
        kind = "table" if isinstance(value, Mapping) else "names"
    if kind in _HELD:
        if not isinstance(value, Mapping):
            raise EditError(f"{name} is a table, and {_short(value)} is none", hint=_as_table(name, value))
        wrong = [key for key in value if not isinstance(key, str)]
        wrong += [held for held in value.values() if not isinstance(held, _HELD[kind])]
        if wrong:
            raise EditError(f"{name} is a {kind}, and {_short(wrong[0])} in it is none")
    elif kind == "names":
        single = isinstance(value, Mapping | bytes) or not isinstance(value, Iterable)
        other = [] if single else [item for item in value if not isinstance(item, str)]
        if single or other:
            said = _short(value if single else other[0])
            raise EditError(
                f"{name} is a list of names, and {said} is none", hint=Hint("such as ", Argument(name, [Blank("NAME")]))
            )
    elif not _is_plain(value, kind):
        raise EditError(f"{name} is {_PLAIN[kind]}, not {_short(value)}")


_PLAIN: Mapping[Kind, str] = {"text": "a text", "number": "a whole number", "flag": "True or False"}


def _is_plain(value: Any, kind: Kind) -> bool:
    if kind == "text":
        return isinstance(value, str)
    flag = isinstance(value, bool | np.bool_)
    return flag if kind == "flag" else isinstance(value, numbers.Integral) and not flag


def _as_table(name: str, value: Any) -> Hint:
    """The table that texts ``NAME=VALUE`` mean."""
    texts = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
    pairs = [text.partition("=") for text in texts if isinstance(text, str)]
    if pairs and all(key and equals and said for key, equals, said in pairs):
        return Hint("write ", Argument(name, {key: said for key, _, said in pairs}))
    return Hint("write ", Argument(name, {Blank("NAME"): Blank("VALUE")}))


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."

"""How long work says how far it is: the types of callbacks, and ``watched`` for whoever wants to hear it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias, TypeVar

Progress: TypeAlias = Callable[[int, "int | None", str], None]
"""Called with how much is done, how much there is in all (None where that is not known), and what is being done."""

BytesProgress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes that are written and the bytes in all."""

_T = TypeVar("_T")
_LISTENER: ContextVar[Progress | None] = ContextVar("graphkit.progress", default=None)


@contextmanager
def watched(progress: Progress) -> Iterator[None]:
    """Hear how far the work inside of the block is: of exports, recipes, calibrations, and whatever else tells it.

    Operations have no argument ``progress``, since each of their arguments is written into the history. Functions that
    have one call that, and not this.

    Args:
        progress: Called with (done, total, what); ``total`` is None where it is not known. It begins again with each
            stretch of the work.

    Example:
        >>> import graphkit as gk
        >>> with gk.watched(lambda done, total, what: print(f"{what}: {done} of {total}")):  # doctest: +SKIP
        ...     gk.precision("model.onnx", to="int8")
    """
    token = _LISTENER.set(progress)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def is_watched() -> bool:
    """Whether somebody hears how far the work is."""
    return _LISTENER.get() is not None


def tell(done: int, total: int | None, what: str) -> None:
    """Say how far the work is, to whoever watches."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(done, total, what)


def told(items: Iterable[_T], total: int | None, what: str) -> Iterator[_T]:
    """The items, and with each of them how many are done."""
    done = 0
    for done, item in enumerate(items):
        tell(done, total, what)
        yield item
    if total:
        tell(total, total, what)

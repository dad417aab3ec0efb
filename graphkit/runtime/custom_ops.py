"""Libraries of custom operators: which ones every session that is made at the moment loads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

from graphkit.errors import SessionError
from graphkit.runtime.failures import plain_text, runtime_errors
from graphkit.storage.system import no_location

Libraries: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A shared library that defines ``RegisterCustomOps``, or several."""

CUSTOM_OPS_VARIABLE = "GRAPHKIT_CUSTOM_OPS"
"""The environment variable that names libraries for every session, separated as in PATH: for edits, proofs and workers."""

_ACTIVE: ContextVar[tuple[str, ...]] = ContextVar("custom_ops", default=())


def library_paths(libraries: Libraries) -> tuple[str, ...]:
    """The libraries as absolute paths: the loader looks for a bare name elsewhere.

    Raises:
        SessionError: One of them is not there.
    """
    given = [libraries] if isinstance(libraries, str | os.PathLike) else libraries
    found = tuple(os.path.abspath(os.fspath(library)) for library in given)
    for path in found:
        if why := no_location(path):
            raise SessionError(f"the library of custom operators {path!r} cannot be loaded: {why}")
        if not os.path.isfile(path):
            raise SessionError(
                f"there is no library of custom operators {path}",
                hint="name the shared library that ONNX Runtime's register_custom_ops_library takes",
            )
    return found


@contextmanager
def custom_operators(libraries: Libraries) -> Iterator[None]:
    """Sessions that are made in the block load these libraries too.

    Raises:
        SessionError: A library is not there.
    """
    token = _ACTIVE.set((*_ACTIVE.get(), *library_paths(libraries)))
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def register(settings: Any) -> None:
    """Have a session load the libraries that are asked for at the moment, each once.

    Args:
        settings: The runtime's SessionOptions.

    Raises:
        SessionError: One is not there, cannot be loaded, or defines no ``RegisterCustomOps``.
    """
    named = [path for path in os.environ.get(CUSTOM_OPS_VARIABLE, "").split(os.pathsep) if path]
    for path in dict.fromkeys((*library_paths(named), *_ACTIVE.get())):
        try:
            settings.register_custom_ops_library(path)
        except runtime_errors() as error:
            raise SessionError(
                f"the library of custom operators {path} cannot be loaded: {plain_text(str(error))}",
                hint="it has to be built for this machine, and to export RegisterCustomOps for an API version that the "
                "installed onnxruntime has",
            ) from error

"""Running torch's exporters without their prints, log lines and warnings, and keeping all of that as text."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

_ROOTS = ("torch", "onnxscript", "onnx_ir")


@dataclass
class Overheard:
    """What torch said while it was kept quiet; filled in when the block ends.

    Attributes:
        warnings: The warnings, in order.
        text: Everything printed and logged, and the warnings as text.
    """

    warnings: list[warnings.WarningMessage] = field(default_factory=list)
    text: str = ""


@contextlib.contextmanager
def quiet_torch() -> Iterator[Overheard]:
    """Keep torch's exporters from writing to stdout, stderr, the log and the warning filters inside of the block.

    Warnings are caught whatever the filters say, so a process under ``-W error`` exports all the same. Filters,
    loggers and streams belong to the process: two threads should not export at once.
    """
    heard, printed = Overheard(), io.StringIO()
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            _logging_to(printed),
            _native_stdout_to(printed),
        ):
            warnings.simplefilter("always")
            yield heard
    finally:
        heard.warnings.extend(caught)
        lines = [f"{w.category.__name__}: {w.message} ({w.filename}:{w.lineno})" for w in caught]
        heard.text = "\n".join([printed.getvalue().strip(), *lines]).strip()


@contextlib.contextmanager
def _logging_to(stream: io.StringIO) -> Iterator[None]:
    """Send the records of the exporters' loggers to one stream: torch gives many of its loggers handlers of their own."""
    known = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in _ROOTS]
    loggers = [logging.getLogger(name) for name in {*_ROOTS, *known}]
    before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    handler = logging.StreamHandler(stream)
    for logger in loggers:
        root = logger.name in _ROOTS
        logger.handlers, logger.propagate = [handler] if root else [], not root
    try:
        yield
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate


@contextlib.contextmanager
def _native_stdout_to(stream: io.StringIO) -> Iterator[None]:
    """Catch what torch's C++ side writes to the process's stdout: the torchscript exporter prints its graph there."""
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    _flush_native()
    try:
        before = os.dup(1)
    except OSError:
        yield
        return
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 1)
        try:
            yield
        finally:
            _flush_native()
            os.dup2(before, 1)
            os.close(before)
            caught.seek(0)
            stream.write(caught.read().decode(errors="replace"))


def _flush_native() -> None:
    """Write out what C and C++ hold back for a stdout that is no terminal (unless PYTHONUNBUFFERED is set)."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)

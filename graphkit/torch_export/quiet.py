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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from graphkit.progress import tell

_ROOTS = ("torch", "onnxscript", "onnx_ir")

_STAGES = {
    "Obtain model graph": "tracing with torch.export",
    "Run decompositions": "decomposing operators",
    "Translate the graph": "translating into ONNX",
    "Optimize the ONNX": "optimizing",
}
"""What torch's dynamo exporter prints at the beginning of each of its stages, if it is asked to -> what to tell."""

STAGES = len(_STAGES) + 2
"""Stages of an export: those of torch, looking for what was lost, and trying to load it."""


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
def quiet_torch(*, native_errors: bool = False) -> Iterator[Overheard]:
    """Keep torch's exporters from writing to stdout, stderr, the log and the warning filters inside of the block.

    Warnings are caught whatever the filters say, so a process under ``-W error`` exports all the same. Filters,
    loggers and streams belong to the process: two threads should not export at once.

    Args:
        native_errors: Also catch what C++ writes to stderr, as the torchscript exporter's shape inference does. Not for
            long work: a progress bar on stderr is not seen meanwhile.
    """
    heard, printed = Overheard(), _Printed()
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            _logging_to(printed),
            _native_to(printed, (1, 2) if native_errors else (1,)),
        ):
            warnings.simplefilter("always")
            yield heard
    finally:
        heard.warnings.extend(caught)
        lines = [f"{w.category.__name__}: {w.message} ({w.filename}:{w.lineno})" for w in caught]
        heard.text = "\n".join([printed.getvalue().strip(), *lines]).strip()


class _Printed(io.StringIO):
    """What is printed; each stage that torch's exporter begins is told to whoever watches."""

    def write(self, text: str) -> int:
        if text.endswith("..."):
            for number, (begin, stage) in enumerate(_STAGES.items()):
                if text.startswith(begin):
                    tell(number, STAGES, stage)
        return super().write(text)


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
def _native_to(stream: io.StringIO, descriptors: Sequence[int]) -> Iterator[None]:
    """Catch what torch's C++ side writes to the process's stdout (1) or stderr (2)."""
    for shown in (sys.__stdout__, sys.__stderr__):
        if shown is not None:
            shown.flush()
    _flush_native()
    with contextlib.ExitStack() as stack:
        caught = stack.enter_context(tempfile.TemporaryFile())
        for number in descriptors:
            stack.enter_context(_descriptor_to(number, caught.fileno()))
        try:
            yield
        finally:
            _flush_native()
            caught.seek(0)
            stream.write(caught.read().decode(errors="replace"))


@contextlib.contextmanager
def _descriptor_to(number: int, target: int) -> Iterator[None]:
    """Let a file descriptor of the process stand for another file inside of the block; none where it is closed."""
    try:
        before = os.dup(number)
    except OSError:
        yield
        return
    os.dup2(target, number)
    try:
        yield
    finally:
        os.dup2(before, number)
        os.close(before)


def _flush_native() -> None:
    """Write out what C and C++ hold back for a stdout that is no terminal (unless PYTHONUNBUFFERED is set)."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)

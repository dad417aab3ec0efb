"""Where in the user's own source something happened: from a traceback, and from the stack that torch keeps."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from collections.abc import Iterable

_PYTHON = tuple({sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")})
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STACK_LINE = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>\S+))?')

_TRACE_LINE = re.compile(r"^(?P<file>.+)\((?P<line>\d+)\): (?P<function>.+)$", re.MULTILINE)


def user_line(error: BaseException) -> str | None:
    """The innermost line of the user's own source in an exception's traceback, and in those of its causes.

    Returns:
        ``file.py:12 (in forward)``, or None where no frame is the user's.
    """
    for link in causes(error):
        frames = traceback.extract_tb(link.__traceback__)
        found = _innermost((f.filename, f.lineno or 0, f.name) for f in frames)
        if found:
            return found
    return None


def stack_line(stack_trace: str) -> str | None:
    """The innermost line of the user's own source in a stack as torch.fx keeps it in a node's metadata."""
    matches = STACK_LINE.finditer(stack_trace)
    return _innermost((m["file"], int(m["line"]), m["function"] or "") for m in matches)


def users_stack(trace: str) -> str:
    """The user's part of a stack as the torchscript exporter writes it (``file.py(5): forward``, innermost first).

    Returns:
        The lines as torch.fx has them, outermost first: ``File "file.py", line 5, in forward``; "" where none is the
        user's.
    """
    frames = [m for m in _TRACE_LINE.finditer(trace) if is_users(m["file"])]
    return "\n".join(f'File "{m["file"]}", line {m["line"]}, in {m["function"]}' for m in reversed(frames))


def causes(error: BaseException) -> list[BaseException]:
    """An exception and what it came from, the deepest cause first."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    return chain[::-1]


def is_users(file: str) -> bool:
    """Whether a source file is neither Python's, an installed package's nor graphkit's."""
    path = os.path.abspath(file)
    installed = "site-packages" in path or f"{os.sep}graphkit_cli{os.sep}" in path
    return not file.startswith("<") and not path.startswith((*_PYTHON, _OURS)) and not installed


def _innermost(frames: Iterable[tuple[str, int, str]]) -> str | None:
    found = None
    for file, line, function in frames:
        if is_users(file):
            found = short_place(file, line, function)
    return found


def short_place(file: str, line: int, function: str) -> str:
    """``file.py:12 (in forward)``, with a path from the current directory where the file lies below it."""
    return f"{_short(file)}:{line}" + (f" (in {function})" if function else "")


def _short(file: str) -> str:
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative

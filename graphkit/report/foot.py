"""The line at the foot of every page: what wrote it, when, by which command."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

MOST = 600
"""Characters of a command line that are shown."""


def foot() -> str:
    """``graphkit 0.1.0, 2026-11-27 23:40 UTC: graphkit view model.onnx``; in Python without the command."""
    try:
        said = version("onnx-graphkit")
    except PackageNotFoundError:  # not installed: run from its sources
        said = "from sources"
    line = f"graphkit {said}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    command = _command()
    return f"{line}: {command}" if command else line


def _command() -> str:
    """The command line, where this process is the command ``graphkit``."""
    program = os.path.basename(sys.argv[0]) if sys.argv else ""
    if program.removesuffix(".exe") != "graphkit" and not (
        sys.argv and sys.argv[0].endswith("graphkit_cli/__main__.py")
    ):
        return ""
    text = shlex.join(["graphkit", *sys.argv[1:]])
    return text if len(text) <= MOST else f"{text[:MOST]} …"

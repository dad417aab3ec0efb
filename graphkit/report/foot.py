"""The line at the foot of every page: what wrote it, when, by which command."""

from __future__ import annotations

import os
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from graphkit.report.printable import shown


def foot() -> str:
    """``graphkit 0.2.0, 2026-11-28: graphkit view model.onnx``; in Python without the command. The date is UTC's."""
    try:
        said = version("onnx-graphkit")
    except PackageNotFoundError:  # not installed: run from its sources
        said = "from sources"
    line = f"graphkit {said}, {datetime.now(UTC):%Y-%m-%d}"
    command = _command()
    return f"{line}: {command}" if command else line


def _command() -> str:
    """The command line, where this process is the command ``graphkit``."""
    started = sys.argv[0] if sys.argv else ""
    folder, program = os.path.split(started)
    module = program == "__main__.py" and os.path.basename(folder) in ("graphkit", "graphkit_cli")
    if program.removesuffix(".exe") != "graphkit" and not module:
        return ""
    return shown(shlex.join(["graphkit", *sys.argv[1:]]))

"""Packages that graphkit can do without: imported where they are used, in versions that it was tested with."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import re
from typing import Any

from graphkit.errors import MissingExtraError, OutdatedPackageError

EXTRAS = {
    "onnxruntime": "cpu",
    "torch": "torch",
    "onnxscript": "torch",
    "onnx_ir": "torch",
    "PIL": "image",
    "fsspec": "remote",
    "aiohttp": "remote",
    "distributed": "fleet",
}
"""Import name -> the extra of onnx-graphkit that brings it."""

_PROJECT = "onnx-graphkit"
_DISTRIBUTIONS = {"PIL": ("pillow",), "onnx_ir": ("onnx-ir",), "onnxruntime": ("onnxruntime", "onnxruntime-gpu")}


def optional(name: str, purpose: str) -> Any:
    """Import an optional package.

    Args:
        name: Its import name, one of ``EXTRAS``.
        purpose: What it is needed for, for the message: "running a model".

    Raises:
        MissingExtraError: It is not installed, or is and cannot be imported.
        OutdatedPackageError: It is older than what graphkit asks for in its metadata.

    Cost: the import; the versions are compared once a process.
    """
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        reason = str(error) if is_there(name) else None
        raise MissingExtraError(distributions(name)[0], EXTRAS[name], purpose, reason) from error
    if name not in _accepted:
        lowest = outdated(name, module.__version__)
        if lowest is not None:
            package = next(iter(installed_distributions(name)), name)
            raise OutdatedPackageError(package, module.__version__, lowest, purpose)
        _accepted.add(name)
    return module


def is_there(name: str) -> bool:
    """Whether a package can be found; it is not imported. One that somebody blocks is none."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


_accepted: set[str] = set()


def distributions(name: str) -> tuple[str, ...]:
    """What a package is called where it is installed from: pillow for PIL. Two may have one import name."""
    return _DISTRIBUTIONS.get(name, (name,))


def installed_distributions(name: str) -> dict[str, str]:
    """The installed ones of ``distributions`` -> version."""
    found: dict[str, str] = {}
    for package in distributions(name):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def outdated(name: str, installed: str) -> str | None:
    """The lowest version that serves, where the installed one is below; None where nothing speaks against it.

    The versions are those of graphkit's own metadata; where it runs without having been installed there is none.
    """
    try:
        asked = importlib.metadata.requires(_PROJECT) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    wanted = re.compile(rf"{re.escape(distributions(name)[0])}>=([0-9.]+)")
    for match in filter(None, map(wanted.match, asked)):
        if _release(installed) < _release(match[1]):
            return match[1]
    return None


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version: 1.31.1+cpu gives (1, 31, 1)."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[^0-9.]", version)[0]))

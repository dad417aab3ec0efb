"""Results as Markdown."""

from __future__ import annotations

import os

from graphkit.inspection.diff.difference import Difference
from graphkit.report.text.diff import diff_markdown
from graphkit.storage.commit import write_file


def save_markdown(result: Difference, path: str | os.PathLike[str]) -> None:
    """Write what ``diff`` gave as Markdown tables, whole or not at all.

    Raises:
        SaveError: The file cannot be written.
        TypeError: It is another result.

    Example:
        >>> import graphkit as gk
        >>> gk.save_markdown(gk.diff("model.onnx", "custom.onnx"), "changes.md")
    """
    if not isinstance(result, Difference):
        raise TypeError(f"there is no Markdown for {type(result).__name__}")
    write_file(os.fspath(path), diff_markdown(result).encode("utf-8", "backslashreplace"))

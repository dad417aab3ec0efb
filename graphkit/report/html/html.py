"""Any result as one self-contained HTML page."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from graphkit.inspection.diff.difference import Difference
from graphkit.inspection.history import ModelHistory
from graphkit.inspection.summary import Summary
from graphkit.report.html.bench import bench_page
from graphkit.report.html.bisection import bisection_page
from graphkit.report.html.diff import diff_page
from graphkit.report.html.history import history_page
from graphkit.report.html.layers import layers_page
from graphkit.report.html.page import escape, page, prose
from graphkit.report.html.proof import proof_page
from graphkit.report.html.summary import summary_page
from graphkit.report.html.validation import validation_page
from graphkit.report.text.text import text
from graphkit.report.view.view import View
from graphkit.running.bench import Benchmark
from graphkit.storage.commit import write_file
from graphkit.verify.bisect.bisection import Bisection
from graphkit.verify.bisect.layers import Layers
from graphkit.verify.laws.proof import Proof
from graphkit.verify.report import Report

_PAGES: dict[type, Callable[[Any, str | None], str]] = {
    Benchmark: bench_page,
    Bisection: bisection_page,
    Difference: diff_page,
    Layers: layers_page,
    ModelHistory: history_page,
    Proof: proof_page,
    Report: validation_page,
    Summary: summary_page,
    View: lambda result, _: str(result.html),
}
"""Result -> what draws it. Others are shown as their text."""


def report_html(result: object, *, view: str | None = None) -> str:
    """A result of graphkit as one HTML page: nothing in it is loaded from the network.

    Args:
        result: What ``inspect``, ``validate``, ``prove``, ``bisect``, ``layers``, ``diff``, ``history``,
            ``bench`` or ``view`` gave; any other result as its text.
        view: The path of a page that ``view`` wrote of the model, from the folder of this page: values link to it.

    Raises:
        TypeError: It is no result.

    Example:
        >>> import graphkit as gk
        >>> page = gk.report_html(gk.diff("model.onnx", "custom.onnx"))
    """
    draw = next((_PAGES[kind] for kind in type(result).__mro__ if kind in _PAGES), None)
    if draw is not None:
        return draw(result, view)
    title = type(result).__name__
    return page(title, [f"<h1>{escape(title)}</h1>", f"<pre>{prose(text(result))}</pre>"])


def save_html(result: object, path: str | os.PathLike[str], *, view: str | None = None) -> None:
    """Write ``report_html`` to a file, whole or not at all.

    Args:
        result: As ``report_html``.
        path: The file.
        view: As ``report_html``.

    Raises:
        SaveError: The file cannot be written.
        TypeError: It is no result.

    Example:
        >>> import graphkit as gk
        >>> gk.save_html(gk.validate("model.onnx", against="model.onnx"), "report.html")
    """
    write_file(os.fspath(path), report_html(result, view=view).encode())

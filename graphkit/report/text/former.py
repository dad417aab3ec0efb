"""Names that ``graphkit.text`` took the place of; each stays for one version and says so."""

from __future__ import annotations

import warnings

from graphkit.report.text.text import text


def _said(name: str) -> None:
    warnings.warn(f"graphkit.{name} is graphkit.text now, and goes in 0.3", DeprecationWarning, stacklevel=3)


def report_text(result: object) -> str:
    """``graphkit.text``; warns with DeprecationWarning."""
    _said("report_text")
    return text(result)


def lint_text(result: object) -> str:
    """``graphkit.text``; warns with DeprecationWarning."""
    _said("lint_text")
    return text(result)


def operators_text(result: object) -> str:
    """``graphkit.text``; warns with DeprecationWarning."""
    _said("operators_text")
    return text(result)


def probe_text(probed: object) -> str:
    """``graphkit.text``; warns with DeprecationWarning."""
    _said("probe_text")
    return text(probed)


def summary_text(summary: object, *, nodes: bool = False, values: bool = False) -> str:
    """``graphkit.text``; warns with DeprecationWarning."""
    _said("summary_text")
    return text(summary, nodes=nodes, values=values)

"""The built-in rules of rewrite as a user is told of them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

from graphkit.plural import counted
from graphkit.result import LINES, WIDTH, page_of


class RuleInfo(NamedTuple):
    """A built-in rule, as ``rewrite --list`` shows it.

    Attributes:
        name: What ``rewrite`` calls it.
        law: "replaced": the same numbers up to rounding; "close": an approximation.
        tolerance: The bound of an approximation, relative to the output's largest magnitude; None for "replaced".
        parameters: Name -> the value that it has unless another is given.
        summary: What it does.
    """

    name: str
    law: str
    tolerance: float | None
    parameters: Mapping[str, Any]
    summary: str

    def _repr_html_(self) -> str | None:
        return page_of(self)

    def __str__(self) -> str:
        given = ",".join(f"{name}={value}" for name, value in self.parameters.items())
        law = "" if self.tolerance is None else f" (close, {self.tolerance:g})"
        return f"{self.name + (':' + given if given else ''):<32} {self.summary}{law}"


class Rules(list[RuleInfo]):
    """Built-in rules, sorted by name; in a REPL their number and the first names."""

    def _repr_html_(self) -> str | None:
        return page_of(self)

    def __repr__(self) -> str:
        text = f"{counted(len(self), 'rule')}: {', '.join(rule.name for rule in self)}"
        lines = textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False)
        return "\n".join(lines if len(lines) <= LINES else [*lines[: LINES - 1], "    ..."])

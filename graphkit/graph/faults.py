"""Faults of a model: whoever checks one either stops at the first, or lists them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from graphkit.errors import GraphkitError

Report: TypeAlias = Callable[[str, GraphkitError], None]
"""What a check calls with (the rule that is broken, the error that says how)."""


class Fault(NamedTuple):
    """One thing that is wrong with a model.

    Attributes:
        rule: The rule that is broken, a short fixed word.
        error: What is wrong.
    """

    rule: str
    error: GraphkitError


def refuse(rule: str, error: GraphkitError) -> None:
    """Stop at the first fault.

    Raises:
        GraphkitError: The fault.
    """
    del rule
    raise error


class Faults(list[Fault]):
    """Lists the faults and goes on."""

    def __call__(self, rule: str, error: GraphkitError) -> None:
        """Add one."""
        self.append(Fault(rule, error))

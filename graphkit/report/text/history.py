"""What graphkit did to a model, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphkit.report.columns import wrapped

if TYPE_CHECKING:
    from graphkit.inspection.history import ModelHistory
    from graphkit.step import Step


ROOM = "      "
"""What a list of steps may write before each."""


def history_text(result: ModelHistory) -> str:
    """What the history begins with, and a step a line."""
    lines = [began(result)]
    for number, step in enumerate(result.steps, 1):
        lines += f"{number}. {step_text(step)}".split("\n")
    return "\n".join(lines)


def began(result: ModelHistory) -> str:
    """What a history begins with, or that there is none."""
    if not result.steps:
        return "graphkit did nothing to this model, or its history was left out"
    if result.original is None:
        return "from nothing"
    return f"from {result.original.file or 'a model that was made in memory'}"


def step_words(step: Step) -> str:
    """The arguments of a step that say something, as a call has them; what is stored as bytes by its kind."""
    said = {name: value for name, value in step.arguments.items() if value not in (None, {}, [], (), "")}
    return ", ".join(f"{name}={_argument(value)}" for name, value in said.items())


def step_text(step: Step) -> str:
    """A step as the call that it was; and why it cannot be replayed, where that is so."""
    why = f" (cannot be replayed: {step.obstacle})" if step.obstacle else ""
    return "\n".join(wrapped(f"{step.operation}({step_words(step)}){why}", ROOM, hang="    ")).lstrip()


def _argument(value: object) -> str:
    if isinstance(value, dict) and len(value) == 2 and "data" in value:
        return f"a {next(iter(value.values()))}"
    return repr(value)

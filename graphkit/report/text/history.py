"""What graphkit did to a model, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphkit.report.columns import wrapped

if TYPE_CHECKING:
    from graphkit.step import Step


ROOM = "      "
"""What a list of steps may write before each."""


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

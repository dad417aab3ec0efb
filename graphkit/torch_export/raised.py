"""What to say of a ``forward`` that raised: whoever ran it, in an export, a comparison or a search, says the same."""

from __future__ import annotations

from graphkit.hint import Hint
from graphkit.runtime.failures import SMALLER, is_out_of_memory, out_of_memory
from graphkit.torch_export.source_line import user_line


def forward_raised(name: str, error: BaseException, given: str = "") -> str:
    """The sentence: ``forward of Net raised ValueError: no, at net.py:7 (in forward)``.

    Args:
        name: The module.
        error: What it raised.
        given: What it does not run with, where the caller chose it: "with x float32[2,4]", "on these arguments".
    """
    line = user_line(error)
    where = f", at {line}" if line else ""
    if is_out_of_memory(error):
        return out_of_memory(f"{name}{' ' if given else ''}{given}", where, error)
    text = str(error).strip().partition("\n")[0]
    raised = f"{type(error).__name__}{': ' if text else ''}{text}"
    return f"{name} does not run {given}{where}: {raised}" if given else f"forward of {name} raised {raised}{where}"


def remedy(error: BaseException, otherwise: str | Hint) -> str | Hint:
    """The hint: smaller inputs where memory ran out, and otherwise what the caller knows."""
    return SMALLER if is_out_of_memory(error) else otherwise

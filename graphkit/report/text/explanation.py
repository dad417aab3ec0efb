"""What an error of ONNX Runtime means, as text."""

from __future__ import annotations

from graphkit.running.explanation import Explanation


def explanation_text(result: Explanation) -> str:
    """The meaning, and a line for each remedy."""
    if not result:
        return f"not known: {result.message}"
    return "\n".join([*result.meaning, *(f"  -> {remedy}" for remedy in result.remedies)])

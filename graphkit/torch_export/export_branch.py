"""Branches on ``torch.onnx.is_in_onnx_export()``: where a module asks, and what it is told."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

from graphkit.torch_export.source_line import is_users, short_place


@dataclass
class Asked:
    """Who asked.

    Attributes:
        answer: What to answer; None for the truth.
        lines: The lines of the user's source that asked, in the order in which they did, each once.
    """

    answer: bool | None = None
    lines: list[str] = field(default_factory=list)


_LISTENING: list[Asked] = []


@contextlib.contextmanager
def export_branches(*, answer: bool | None = None) -> Iterator[Asked]:
    """Hear of every call of ``torch.onnx.is_in_onnx_export`` inside of the block, however it was imported.

    Args:
        answer: What the calls give; None for the truth.
    """
    import torch

    asked = Asked(answer)
    function = torch.onnx.is_in_onnx_export
    before = function.__code__
    _LISTENING.append(asked)
    if len(_LISTENING) == 1:
        _TRUTH.__code__ = before
        function.__code__ = _stand_in.__code__
    try:
        yield asked
    finally:
        _LISTENING.remove(asked)
        if not _LISTENING:
            function.__code__ = _TRUTH.__code__


def _TRUTH() -> bool:  # noqa: N802 (it holds the code of torch's own function)
    return False


def _stand_in() -> bool:
    from graphkit.torch_export.export_branch import told

    return told()


def told() -> bool:
    """What a caller of ``is_in_onnx_export`` is told."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 (the caller of torch's function)
    if frame is not None and is_users(frame.f_code.co_filename):
        line = short_place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)
        for asked in _LISTENING:
            if line not in asked.lines:
                asked.lines.append(line)
    answers = [asked.answer for asked in _LISTENING if asked.answer is not None]
    return answers[-1] if answers else _TRUTH()


def compared_outside(lines: list[str]) -> list[str]:
    """The sentence about branches in what a comparison with the module says."""
    return [
        f"the module asks torch.onnx.is_in_onnx_export() at {line}: it was compared as it computes outside of an export, and "
        "the model may hold the other branch"
        for line in lines
    ]

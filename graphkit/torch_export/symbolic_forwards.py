"""autograd Functions that say themselves what they become in ONNX, by ``symbolic``: who applied one, and where."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import CodeType
from typing import Any

from graphkit.finding import Finding
from graphkit.torch_export.source_line import STACK_LINE, causes, is_users, short_place

USED_BY_TORCHSCRIPT = (
    "use exporter 'torchscript', which takes symbolic; or make it an operator that dynamo keeps: torch.library.custom_op and "
    "translations=, or torch.onnx.ops.symbolic"
)


def symbolic_forwards() -> frozenset[CodeType]:
    """The code of the ``forward`` of each ``autograd.Function`` that says itself what it becomes in ONNX."""
    return frozenset(code for _, code in _functions())


def traced_forwards(program: Any) -> list[Finding]:
    """The Functions whose ``symbolic`` the dynamo exporter left aside, from the stacks of the nodes that it traced.

    Args:
        program: The ExportedProgram, or None.
    """
    known = list(_functions())
    if program is None or not known:
        return []
    found: dict[str, Finding] = {}
    for node in program.graph.nodes:
        stack = [
            (m["file"], int(m["line"]), m["function"]) for m in STACK_LINE.finditer(node.meta.get("stack_trace") or "")
        ]
        for place, (file, line, _) in enumerate(stack):
            name = next((name for name, code in known if _holds(code, file, line)), None)
            if name is None or name in found:
                continue
            callers = [frame for frame in stack[:place] if is_users(frame[0])]
            found[name] = Finding(
                "symbolic-ignored",
                f"the dynamo exporter ignores {name}.symbolic: the model holds what {name}.forward computes",
                short_place(*callers[-1]) if callers else None,
                remedy=USED_BY_TORCHSCRIPT,
            )
    return list(found.values())


def failed_forward(error: BaseException) -> tuple[str, str | None, str | None] | None:
    """The Function with a ``symbolic`` in whose ``forward`` an export failed: (name, line of the call, line inside)."""
    known = list(_functions())
    for link in causes(error):
        frames = list(traceback.walk_tb(link.__traceback__))
        for place, (frame, _) in enumerate(frames):
            name = next((name for name, code in known if code is frame.f_code), None)
            if name is None:
                continue
            lines = [
                (at, short_place(f.f_code.co_filename, line, f.f_code.co_name))
                for at, (f, line) in enumerate(frames)
                if is_users(f.f_code.co_filename)
            ]
            outer, inner = ([line for at, line in lines if at < place], [line for at, line in lines if at >= place])
            return name, outer[-1] if outer else None, inner[-1] if inner else None
    return None


def _functions() -> Iterator[tuple[str, CodeType]]:
    """(name, code of ``forward``) of every Function that has a ``symbolic``."""
    import torch

    left = list(torch.autograd.Function.__subclasses__())
    while left:
        one = left.pop()
        left += one.__subclasses__()
        code = getattr(one.forward, "__code__", None)
        if code is not None and hasattr(one, "symbolic"):
            yield one.__name__, code


def _holds(code: CodeType, file: str, line: int) -> bool:
    lines = [line for *_, line in code.co_lines() if line is not None]
    return code.co_filename == file and code.co_firstlineno <= line <= max(lines)

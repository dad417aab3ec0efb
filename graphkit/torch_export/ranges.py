"""For which sizes torch.export says that its graph holds, beside the axes that were asked to be dynamic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphkit.finding import Finding

LOWEST = 2
"""Up to here a lower limit is no limit of the module: torch.export takes 0 and 1 for special sizes."""


def ranges(program: Any, dynamic: Mapping[str, Mapping[int, str]]) -> list[Finding]:
    """A finding for each dynamic axis whose sizes torch.export limits, by the branch that the example took.

    Args:
        program: The ExportedProgram, or None.
        dynamic: The dynamic axes asked for.
    """
    if program is None or not dynamic:
        return []
    found: dict[str, Finding] = {}
    for axes, shape in zip(*_inputs(program, dynamic), strict=True):
        for axis, name in axes.items():
            size = shape[axis] if axis < len(shape) else None
            limit = _limit(program, size, name)
            if limit is not None and name not in found:
                found[name] = Finding(
                    "range", f"{limit[0]}: with other sizes the module takes another way", remedy=limit[1]
                )
    return list(found.values())


def _inputs(program: Any, dynamic: Mapping[str, Mapping[int, str]]) -> tuple[list[Mapping[int, str]], list[Any]]:
    """The dynamic axes of each input that has any, and its shape as torch.export has it.

    The program has names of its own for nested inputs and renamed ones, in the order of the arguments.
    """
    users = set(program.graph_signature.user_inputs)
    placed = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in users]
    tensors = [node for node in placed if hasattr(node.meta.get("val"), "shape")]
    by_name = {node.name: node for node in tensors}
    known = [(axes, by_name[name].meta["val"].shape) for name, axes in dynamic.items() if name in by_name]
    return [axes for axes, _ in known], [shape for _, shape in known]


def _limit(program: Any, size: Any, name: str) -> tuple[str, str] | None:
    """(what is said, what to do) of a size that is limited; None where it is not."""
    node = getattr(size, "node", None)
    if node is None:
        return None
    expression = node.expr
    if not expression.is_Symbol:
        said = f"torch.export found that {name!r} holds for sizes of the form {expression} only"
        return said, f"give {name!r} such sizes only"
    known = program.range_constraints.get(expression)
    if known is None:
        return None
    low, high = _number(known.lower), _number(known.upper)
    if high is not None and low is not None and low > LOWEST:
        wanted = f"from {low} to {high}"
    elif high is not None:
        wanted = f"up to {high}"
    elif low is not None and low > LOWEST:
        wanted = f"from {low}"
    else:
        return None
    said = f"torch.export found that the model holds for {name!r} {wanted} only"
    return said, "feed no other sizes, or export once more with an example beyond and choose between the two models"


def _number(value: Any) -> int | None:
    """A limit as a number; None where it is infinite."""
    try:
        return int(value) if value.is_finite is not False and int(value) < 1 << 62 else None
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None

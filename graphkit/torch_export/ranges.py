"""For which sizes torch.export says that its graph holds, beside the axes that were asked to be dynamic."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from graphkit.finding import Finding

OTHER_WAY = "with other sizes the module takes another way"
REMEDY = "feed no other sizes, or export once more with an example beyond and choose between the two models"

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
                found[name] = Finding("range", f"{limit[0]}: {OTHER_WAY}", remedy=limit[1])
    return [*found.values(), *_conditions(program, dynamic)]


def _conditions(program: Any, dynamic: Mapping[str, Mapping[int, str]]) -> list[Finding]:
    """A finding for each condition on sizes, beside their ranges, that torch.export took for true: h % 2 == 0, h >= w.

    Cost: evaluates each condition of the program at up to ``TRIED`` sizes.
    """
    sizes: dict[Any, tuple[str, Any]] = {}
    for axes, shape in zip(*_inputs(program, dynamic), strict=True):
        for axis, name in axes.items():
            node = getattr(shape[axis], "node", None) if axis < len(shape) else None
            if node is not None and node.expr.is_Symbol:
                sizes.setdefault(node.expr, (name, node))
    if not sizes:
        return []
    named = {symbol: name for symbol, (name, _) in sizes.items()}
    limits = {name: _limits(program, symbol) for symbol, name in named.items()}
    env = next(iter(sizes.values()))[1].shape_env
    deferred = [found for several in env.deferred_runtime_asserts.values() for found in several]
    known = [c for found in (*env.guards, *deferred) if (c := _condition(found.expr, named)) is not None]
    said: dict[str, Callable[[Mapping[str, int]], bool]] = {}
    for condition in sorted(dict.fromkeys(known), key=lambda c: (len(c.names), len(c.text))):
        points = [point for point in _points(condition.names, limits) if all(holds(point) for holds in said.values())]
        fine = [condition.holds(point) for point in points]
        if all(fine) or not any(fine):
            continue
        said[_spelt(condition, points, fine)] = condition.holds
    return [
        Finding("range", f"torch.export found that the model holds where {text} only: {OTHER_WAY}", remedy=REMEDY)
        for text in said
    ]


TRIED = 64
"""Sizes at which a condition on one axis is evaluated, and pairs of sizes at which one on several axes is."""

BEYOND = 8
"""Sizes below this are no matter of a condition: torch.export has many about 0, 1 and what divides to them."""


@dataclass(frozen=True)
class _Condition:
    """A condition on sizes: a Python expression over the names of axes."""

    text: str
    names: tuple[str, ...]

    def holds(self, point: Mapping[str, int]) -> bool:
        """Whether it holds at these sizes; True where they are not all given."""
        if not all(name in point for name in self.names):
            return True
        placed = {f"s{place}": point[name] for place, name in enumerate(self.names)}
        try:
            return bool(eval(self.text, {"__builtins__": {}, "math": math}, placed))  # noqa: S307 (torch's own printer wrote it)
        except (ArithmeticError, NameError, SyntaxError, TypeError, ValueError):
            return True


def _condition(expression: Any, named: Mapping[Any, str]) -> _Condition | None:
    """A condition as Python; None where it is about other sizes than those of the inputs, or about a size of 0 or 1."""
    from torch.utils._sympy.printers import PythonPrinter

    symbols = sorted(expression.free_symbols, key=str)
    if not symbols or not all(symbol in named for symbol in symbols):
        return None
    if type(expression).__name__ in ("Ne", "Unequality") and not all(side.is_Symbol for side in expression.args):
        return None
    names = tuple(dict.fromkeys(named[symbol] for symbol in symbols))
    places = {str(symbol): f"s{names.index(named[symbol])}" for symbol in symbols}
    text = PythonPrinter().doprint(expression)
    return _Condition(re.sub(r"\b[A-Za-z_]\w*", lambda word: places.get(word[0], word[0]), text), names)


def _limits(program: Any, symbol: Any) -> tuple[int, int]:
    """The smallest and the largest size that is tried."""
    known = program.range_constraints.get(symbol)
    low = max(_number(known.lower) or 0 if known is not None else 0, BEYOND)
    high = _number(known.upper) if known is not None else None
    return low, min(low + TRIED, (high if high is not None else low + TRIED) + 1)


def _points(names: Sequence[str], limits: Mapping[str, tuple[int, int]]) -> list[dict[str, int]]:
    """Sizes to try: all of one axis; of several the same one for all, and mixed ones."""
    if len(names) == 1:
        return [{names[0]: size} for size in range(*limits[names[0]])]
    drawn = random.Random(0)  # noqa: S311 (sizes to try)
    points = [{name: drawn.randrange(*limits[name]) for name in names} for _ in range(TRIED)]
    alike = range(max(limits[name][0] for name in names), min(limits[name][1] for name in names))
    return points + [dict.fromkeys(names, size) for size in alike[:8]]


def _spelt(condition: _Condition, points: Sequence[Mapping[str, int]], fine: Sequence[bool]) -> str:
    """A condition as a user says it."""
    decided = {
        name: {point[name]: holds for point, holds in zip(points, fine, strict=True)} for name in condition.names
    }
    alone = [n for n, by in decided.items() if all(by[p[n]] == holds for p, holds in zip(points, fine, strict=True))]
    if alone:
        name = alone[0]
        sizes = sorted(decided[name])
        good = [size for size in sizes if decided[name][size]]
        for divisor in range(2, TRIED // 2):
            if good == [size for size in sizes if size % divisor == 0]:
                return f"{name!r} is a multiple of {divisor}"
        if len(condition.names) == 1 and good == list(range(good[0], good[-1] + 1)):
            low, high = good[0] > sizes[0], good[-1] < sizes[-1]
            ends = [f"at least {good[0]}" if low else "", f"at most {good[-1]}" if high else ""]
            return f"{name!r} is {good[0]}" if len(good) == 1 else f"{name!r} is {' and '.join(filter(None, ends))}"
    text = re.sub(r"\bs(\d+)\b", lambda found: condition.names[int(found[1])], condition.text)
    return text.removeprefix("(").removesuffix(")") if text.count("(") == 1 else text


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
    return said, REMEDY


def _number(value: Any) -> int | None:
    """A limit as a number; None where it is infinite."""
    try:
        return int(value) if value.is_finite is not False and int(value) < 1 << 62 else None
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None

"""Expressions of rule files: a small part of Python's, without names, calls or attributes that a rule was not given."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from graphkit.comparisons import COMPARISONS
from graphkit.errors import FormatError

MOST_POWER = 64
"""The largest exponent: a rule file of a stranger may not keep the machine busy."""

MOST_REPEATED = 1 << 16
"""The largest count by which a list is repeated, for the same reason."""


class UnknownError(Exception):
    """What an expression asks for is not known of this model, so its condition does not hold; the text says what."""


def parsed(text: str) -> ast.expr:
    """An expression that ``evaluate`` takes.

    Raises:
        FormatError: It is no expression, or has something in it that rules may not use.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise FormatError(f"{text.strip()!r} is no expression: {error}") from error
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise FormatError(
                f"{text.strip()!r} has a {type(node).__name__} in it, which rules may not use",
                hint="conditions are made of numbers, lists, comparisons, and, or, not, + - * // / % **, x[i] and calls",
            )
    return tree


def names_in(tree: ast.expr) -> set[str]:
    """The names that an expression uses, functions left out."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def calls_in(tree: ast.expr) -> set[str]:
    """The functions that an expression calls."""
    return {
        node.func.id if isinstance(node.func, ast.Name) else "" for node in ast.walk(tree) if isinstance(node, ast.Call)
    }


def evaluate(tree: ast.expr, names: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """The value of an expression.

    Args:
        tree: As ``parsed`` gives it.
        names: What its names stand for.
        functions: What it may call.

    Raises:
        UnknownError: Something that it needs is not known, or the operation is not defined for these values.
    """
    try:
        return _value(tree, names, functions)
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise UnknownError(f"{ast.unparse(tree)} cannot be computed: {error}") from error


def _value(tree: ast.expr, names: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:  # noqa: PLR0911, C901 (one line a kind of expression)
    def of(part: ast.expr) -> Any:
        return _value(part, names, functions)

    match tree:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return names[name]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [of(part) for part in parts]
        case ast.UnaryOp(op=op, operand=part):
            return _UNARY[type(op)](of(part))
        case ast.BinOp(left=left, op=op, right=right):
            return _bounded(type(op), of(left), of(right))
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(of(part) for part in parts)
        case ast.BoolOp(values=parts):
            return any(of(part) for part in parts)
        case ast.IfExp(test=test, body=body, orelse=other):
            return of(body) if of(test) else of(other)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared(of(left), ops, [of(other) for other in others])
        case ast.Subscript(value=held, slice=ast.Slice(lower=low, upper=high)):
            return of(held)[of(low) if low else None : of(high) if high else None]
        case ast.Subscript(value=held, slice=place):
            return of(held)[of(place)]
        case ast.Call(func=ast.Name(id=name), args=parts):
            return functions[name](*map(of, parts))
    raise TypeError(ast.unparse(tree))


def _bounded(kind: type[ast.operator], left: Any, right: Any) -> Any:
    if kind is ast.Pow and not (isinstance(right, int | float) and abs(right) <= MOST_POWER):
        raise ValueError(f"the exponent {right} is too large")
    if kind is ast.Mult:
        for one, other in ((left, right), (right, left)):
            if isinstance(one, list | str) and not 0 <= other * len(one) <= MOST_REPEATED:
                raise ValueError(f"a list repeated {other} times is too long")
    return _BINARY[kind](left, right)


def _compared(left: Any, ops: list[ast.cmpop], others: list[Any]) -> Any:
    result: Any = True
    for op, right in zip(ops, others, strict=True):
        held = COMPARISONS[type(op)](left, right)
        result = held if len(ops) == 1 else (result and held)
        left = right
    return result


_UNARY: dict[type, Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}

_BINARY: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}

_ALLOWED = (
    *(ast.Constant, ast.Name, ast.Load, ast.List, ast.Tuple, ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.And, ast.Or),
    *(ast.IfExp, ast.Compare, ast.Subscript, ast.Slice, ast.Call, *_UNARY, *_BINARY, *COMPARISONS),
)

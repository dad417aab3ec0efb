"""Symbolic dims: names such as ``batch``, and the expressions of names that torch's dynamo exporter declares."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Mapping

import onnx

_FUNCTIONS: Mapping[str, Callable[..., float]] = {
    "TruncToInt": int,
    "ToFloat": float,
    "FloorToInt": math.floor,
    "CeilToInt": math.ceil,
    "Max": max,
    "Min": min,
}
"""Functions that torch writes into expressions (torch.utils._sympy.functions), as far as dims need them."""


LONGEST = 400
"""Characters of an expression; longer ones are taken for a name. Python's parser has limits of its own."""

LARGEST = 1 << 63
"""No dim is as large as this (onnx.in.proto: int64)."""


def names_in(symbol: str) -> set[str]:
    """The names that a symbolic dim is made of: itself, or those of an expression such as ``2*h + 1``."""
    if symbol.isidentifier():
        return {symbol}
    tree = _parsed(symbol)
    if tree is None:
        return {symbol}
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}


def substituted(symbol: str, values: Mapping[str, int | str]) -> int | str | None:
    """A symbolic dim after some names got a size or another name.

    Returns:
        The size where nothing symbolic is left, the new symbol, or None where it cannot be said.
    """
    if symbol in values:
        return values[symbol]
    touched = names_in(symbol) & values.keys()
    if not touched:
        return symbol
    tree = _parsed(symbol)
    if tree is None:
        return None
    sizes = {name: size for name, size in values.items() if isinstance(size, int)}
    if names_in(symbol) <= sizes.keys():
        return _evaluated(tree.body, sizes)
    if touched & sizes.keys():
        return None
    names = {name: str(new) for name, new in values.items()}
    if not all(new.isidentifier() for new in names.values()):
        return None
    return re.sub(r"[^\W\d]\w*", lambda match: names.get(match[0], match[0]), symbol)


def _parsed(symbol: str) -> ast.Expression | None:
    if len(symbol) > LONGEST:
        return None
    try:
        return ast.parse(symbol, mode="eval")
    except (SyntaxError, ValueError):
        return None


def _evaluated(node: ast.expr, sizes: Mapping[str, int]) -> int | None:
    try:
        value = _value(node, sizes)
    except (TypeError, ValueError, ArithmeticError, KeyError):
        return None
    return int(value) if 0 <= value < LARGEST and value == int(value) else None


def _value(node: ast.expr, sizes: Mapping[str, int]) -> float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return sizes[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, sizes)
        case ast.BinOp(left=left, op=operator, right=right):
            a, b = _value(left, sizes), _value(right, sizes)
            match operator:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.Div():
                    return a / b
                case ast.FloorDiv():
                    return a // b
                case ast.Mod():
                    return a % b
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            result: float = _FUNCTIONS[name](*(_value(argument, sizes) for argument in arguments))
            return result
    raise ValueError("no expression of sizes")


def tensor_types(type_proto: onnx.TypeProto) -> Iterator[onnx.TypeProto.Tensor]:
    """The tensor types in a type, those inside of sequences, optionals and maps too."""
    kind = type_proto.WhichOneof("value")
    if kind == "tensor_type":
        yield type_proto.tensor_type
    elif kind in ("sequence_type", "optional_type"):
        yield from tensor_types(getattr(type_proto, kind).elem_type)
    elif kind == "map_type":
        yield from tensor_types(type_proto.map_type.value_type)

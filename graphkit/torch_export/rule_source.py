"""The Python source of an exporter's translation: the function that a person wrote, and the ONNX operators that it names."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import onnx

DEPTH = 4
"""How far calls of helpers are followed when a translation's source is read for the ONNX operators it emits."""


def python_function(function: Any) -> Callable[..., Any]:
    """The function that a person wrote, below decorators and onnxscript's wrappers."""
    inner = getattr(function, "func", None) or getattr(function, "function", None) or function
    unwrapped: Callable[..., Any] = inspect.unwrap(inner)
    return unwrapped


def function_name(function: Any) -> str:
    """Its name, with the function around it."""
    return str(getattr(function, "__qualname__", function)).replace(".<locals>", "")


def source_place(function: Any) -> str:
    """``file.py:123``, below the folder of installed packages."""
    code = getattr(function, "__code__", None)
    if code is None:
        return "built in"
    file = code.co_filename.replace("\\", "/")
    return f"{file.rpartition('/site-packages/')[2]}:{code.co_firstlineno}"


def emits(function: Any) -> tuple[str, ...]:
    """The ONNX operators named in a function's source and in the helpers that it calls: ``g.op("X")``, ``op.X(...)``."""
    found: dict[str, None] = {}
    seen: set[Any] = set()
    waiting: list[tuple[Any, int]] = [(function, 0)]
    while waiting:
        current, depth = waiting.pop()
        if current in seen or depth > DEPTH:
            continue
        seen.add(current)
        parsed = tree(current)
        if parsed is None:
            continue
        nonlocals = inspect.getclosurevars(current).nonlocals
        found.update((value, None) for value in nonlocals.values() if isinstance(value, str) and onnx.defs.has(value))
        for call in (node for node in ast.walk(parsed) if isinstance(node, ast.Call)):
            if operators := emitted(call):
                found.update((operator, None) for operator in operators)
            elif (helper := called(call, current)) is not None:
                waiting.append((helper, depth + 1))
                texts = (arg.value for arg in call.args if isinstance(arg, ast.Constant))  # _op_with_cast(g, "Relu", x)
                found.update((text, None) for text in texts if isinstance(text, str) and onnx.defs.has(text))
    return tuple(name for name in found if "::" not in name)


def only_refuses(function: Any) -> bool:
    """Whether a symbolic function is registered only to say that the opset cannot do it."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        return False
    return "nsupported" in text and not emits(function)


@functools.cache
def tree(function: Any) -> ast.AST | None:
    """The syntax of a function's source; None where there is none."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None


def emitted(call: ast.Call) -> list[str]:
    """``X`` for ``g.op("X", ...)``, both for ``g.op("X" if c else "Y")``, and ``X`` for ``op.X(...)``."""
    function = call.func
    if not isinstance(function, ast.Attribute):
        return []
    if function.attr == "op" and call.args:
        texts = (node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant))
        return [text for text in texts if isinstance(text, str)]
    owner = function.value
    if isinstance(owner, ast.Name) and owner.id.startswith("op") and function.attr[:1].isupper():
        return [function.attr]
    return []


def called(call: ast.Call, inside: Any) -> Any:
    """The Python function of torch or onnxscript that a call is of, where that can be told without running it."""
    known = {**getattr(inside, "__globals__", {}), **inspect.getclosurevars(inside).nonlocals}
    target: Any = None
    if isinstance(call.func, ast.Name):
        target = known.get(call.func.id)
    elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        target = getattr(known.get(call.func.value.id), call.func.attr, None)
    if target is None:
        return None
    target = python_function(target)
    module = getattr(target, "__module__", None) or ""
    ours = module.startswith(("torch.onnx", "onnxscript.function_libs"))
    return target if ours and inspect.isfunction(target) else None

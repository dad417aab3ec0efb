"""What each exporter makes of a torch operator, since which opset, and where in torch's source that is written."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import onnx

from graphkit.errors import ExportError, similar
from graphkit.result import Result
from graphkit.torch_export.factory import import_onnxscript, import_torch
from graphkit.torch_export.quiet import quiet_torch

TORCHSCRIPT_OPSETS = range(9, 21)
"""The opsets for which torch has a table of symbolic functions; those of 7 and 8 only say what is missing there."""

DYNAMO_OPSETS = range(18, 26)
"""The opsets that the dynamo exporter writes without a conversion."""

DEPTH = 4
"""How far calls of helpers are followed when a translation's source is read for the ONNX operators it emits."""


@dataclass(frozen=True, repr=False)
class Rule(Result):
    """One translation of a torch operator.

    Attributes:
        exporter: "dynamo" or "torchscript".
        operator: The torch operator, with its overload where the exporter distinguishes them.
        since: The opset from which on the rule is used.
        function: The Python function.
        source: ``file.py:123``, below the folder of installed packages.
        emits: The ONNX operators that its source, helpers included, can emit; more than one call makes of them.
    """

    exporter: str
    operator: str
    since: int
    function: str
    source: str
    emits: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class Lowering(Result):
    """What the exporters make of a torch operator.

    Attributes:
        operator: The operator, ``aten::silu``.
        dynamo: The rules of the dynamo exporter.
        decomposed: The overloads without a rule that the dynamo exporter takes apart into other torch operators.
        torchscript: The rules of the torchscript exporter, oldest first.
    """

    operator: str
    dynamo: tuple[Rule, ...]
    decomposed: tuple[str, ...]
    torchscript: tuple[Rule, ...]


PART = 3
"""Letters from which on a name may be a part of one."""

MOST_NAMED = 8
"""Operators that a hint lists."""


def torch_lowering(name: str) -> Lowering:
    """What each exporter makes of a torch operator.

    Args:
        name: ``aten::upsample_bicubic2d``; ``aten.upsample_bicubic2d`` and ``upsample_bicubic2d`` will do too, and a part
            of the name that one operator alone has.

    Raises:
        ExportError: torch has no such operator; the hint lists those whose names hold what was given.
        MissingExtraError: torch or onnxscript is not installed.

    Cost: about two seconds the first time: both tables are imported.

    Example:
        >>> import graphkit as gk
        >>> gk.torch_lowering("relu").operator
        'aten::relu'
    """
    operator = canonical(name)
    packet = _packet(operator)
    overloads = [key for key in _dynamo_table() if canonical(key) == operator]
    dynamo = tuple(rule for key in overloads for rule in dynamo_rules(key))
    torchscript = tuple(torchscript_rules(operator))
    if packet is None and not dynamo and not torchscript:
        known = known_operators()
        part = operator.partition("::")[2]
        holding = [name for name in known if part in name.partition("::")[2]] if len(part) >= PART else []
        if len(holding) == 1:
            return torch_lowering(holding[0])
        close = holding[:MOST_NAMED] or similar(operator, known)
        raise ExportError(
            f"torch has no operator {operator!r}", hint=f"did you mean {' or '.join(close)}?" if close else None
        )
    return Lowering(operator, dynamo, tuple(decomposed_overloads(operator)), torchscript)


def canonical(name: str) -> str:
    """A torch operator's name as ``namespace::name``, without its overload."""
    text = name.removeprefix("torch.ops.")
    if "::" not in text:
        namespace, dot, rest = text.partition(".")
        text = f"{namespace}::{rest}" if dot and namespace.isidentifier() else f"aten::{text}"
    namespace, _, rest = text.partition("::")
    return f"{namespace}::{rest.partition('.')[0]}"


def known_operators() -> list[str]:
    """The operators that either exporter has a rule for."""
    return sorted({canonical(key) for key in _dynamo_table()} | set(_torchscript_registry().all_functions()))


def dynamo_rules(key: str) -> Iterator[Rule]:
    """The dynamo exporter's rules of one overload, ``aten::add.Tensor``, oldest first."""
    for entry in _dynamo_table().get(key, ()):
        function = _python_function(entry.onnx_function)
        yield Rule("dynamo", key, entry.opset_introduced, _name(function), _source(function), _emits(function))


def torchscript_rules(operator: str) -> Iterator[Rule]:
    """The torchscript exporter's rules of an operator, oldest first.

    The exporter looks every operator up without a ``_`` at its end, so ``aten::relu_`` is ``aten::relu``, and the rule of
    ``aten::__lshift__`` is registered as ``aten::__lshift_`` (torch 2.13, ``_run_symbolic_function``).
    """
    registry = _torchscript_registry()
    group = registry.get_function_group(operator.removesuffix("_")) or registry.get_function_group(operator)
    if group is None:
        return
    first = max(TORCHSCRIPT_OPSETS.start, group.get_min_supported())
    for opset in range(first, TORCHSCRIPT_OPSETS.stop):
        function = group.get(opset)
        if opset > first and function is group.get(opset - 1):
            continue
        plain = _python_function(function)
        if _only_refuses(plain):
            continue
        yield Rule("torchscript", operator, opset, _name(plain), _source(plain), _emits(plain))


def load_symbolic_functions() -> None:
    """Fill the torchscript exporter's table for every opset; an export alone does that for the opsets it has met."""
    _torchscript_registry()


def decomposed_overloads(operator: str) -> list[str]:
    """The overloads of an operator that the dynamo exporter takes apart, because it has no rule for them."""
    packet = _packet(operator)
    if packet is None:
        return []
    table = decomposition_table()
    return [name for name in packet.overloads() if getattr(packet, name) in table and not name.endswith("out")]


def _packet(operator: str) -> Any:
    torch = import_torch("torch's table of operators")
    namespace, _, name = operator.partition("::")
    return getattr(getattr(torch.ops, namespace), name, None)


@functools.cache
def _dynamo_table() -> dict[str, list[Any]]:
    """torchlib: "aten::gelu" -> its entries, oldest first. A registry holds the newest entries for one opset only."""
    import_torch("the dynamo exporter's table")
    import_onnxscript("the dynamo exporter's table")
    found: dict[str, dict[int, Any]] = {}
    with quiet_torch():
        from torch.onnx._internal.exporter import _registration

        for opset in (DYNAMO_OPSETS[0], DYNAMO_OPSETS[-1]):
            registry = _registration.ONNXRegistry().from_torchlib(opset_version=opset)
            for target, entries in registry.functions.items():
                known = found.setdefault(_key(target), {})
                known.update({entry.opset_introduced: entry for entry in entries if not entry.is_complex})
    return {key: [entries[opset] for opset in sorted(entries)] for key, entries in found.items() if entries}


def operator_key(target: Any) -> str | None:
    """How the dynamo exporter's table names the target of an fx node; None for what is no operator (``getitem``)."""
    name = getattr(target, "name", None)
    if callable(name):
        return str(name())
    return None


def _key(target: Any) -> str:
    return (
        target if isinstance(target, str) else operator_key(target) or f"python::{getattr(target, '__name__', target)}"
    )


@functools.cache
def decomposition_table() -> dict[Any, Any]:
    """The decompositions that the dynamo exporter applies: operator -> function; what torchlib translates is not in it."""
    import_torch("the dynamo exporter's table")
    import_onnxscript("the dynamo exporter's table")
    with quiet_torch():
        from torch.onnx._internal.exporter import _decomp, _registration

        registry = _registration.ONNXRegistry().from_torchlib(opset_version=DYNAMO_OPSETS[-1])
        table = _decomp.create_onnx_friendly_decomposition_table(set(_decomp.get_onnx_implemented_overloads(registry)))
    return dict(table)


@functools.cache
def _torchscript_registry() -> Any:
    """The registry of symbolic functions; ``import torch`` fills it for opsets 9 and 10 only."""
    import_torch("the torchscript exporter's table")
    with quiet_torch():
        for opset in TORCHSCRIPT_OPSETS:
            importlib.import_module(f"torch.onnx.symbolic_opset{opset}")
        from torch.onnx._internal.torchscript_exporter.registration import registry
    return registry


def _python_function(function: Any) -> Callable[..., Any]:
    """The function that a person wrote, below decorators and onnxscript's wrappers."""
    inner = getattr(function, "func", None) or getattr(function, "function", None) or function
    unwrapped: Callable[..., Any] = inspect.unwrap(inner)
    return unwrapped


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", function)).replace(".<locals>", "")


def _source(function: Any) -> str:
    code = getattr(function, "__code__", None)
    if code is None:
        return "built in"
    file = code.co_filename.replace("\\", "/")
    return f"{file.rpartition('/site-packages/')[2]}:{code.co_firstlineno}"


def _emits(function: Any) -> tuple[str, ...]:
    """The ONNX operators named in a function's source and in the helpers that it calls: ``g.op("X")``, ``op.X(...)``."""
    found: dict[str, None] = {}
    seen: set[Any] = set()
    waiting: list[tuple[Any, int]] = [(function, 0)]
    while waiting:
        current, depth = waiting.pop()
        if current in seen or depth > DEPTH:
            continue
        seen.add(current)
        tree = _tree(current)
        if tree is None:
            continue
        nonlocals = inspect.getclosurevars(current).nonlocals
        found.update((value, None) for value in nonlocals.values() if isinstance(value, str) and onnx.defs.has(value))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if operators := _emitted(call):
                found.update((operator, None) for operator in operators)
            elif (helper := _called(call, current)) is not None:
                waiting.append((helper, depth + 1))
                texts = (arg.value for arg in call.args if isinstance(arg, ast.Constant))  # _op_with_cast(g, "Relu", x)
                found.update((text, None) for text in texts if isinstance(text, str) and onnx.defs.has(text))
    return tuple(name for name in found if "::" not in name)


def _only_refuses(function: Any) -> bool:
    """Whether a symbolic function is registered only to say that the opset cannot do it."""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):
        return False
    return "nsupported" in text and not _emits(function)


def _tree(function: Any) -> ast.AST | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return None


def _emitted(call: ast.Call) -> list[str]:
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


def _called(call: ast.Call, inside: Any) -> Any:
    """The Python function of torch or onnxscript that a call is of, where that can be told without running it."""
    known = {**getattr(inside, "__globals__", {}), **inspect.getclosurevars(inside).nonlocals}
    target: Any = None
    if isinstance(call.func, ast.Name):
        target = known.get(call.func.id)
    elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        target = getattr(known.get(call.func.value.id), call.func.attr, None)
    if target is None:
        return None
    target = _python_function(target)
    module = getattr(target, "__module__", None) or ""
    ours = module.startswith(("torch.onnx", "onnxscript.function_libs"))
    return target if ours and inspect.isfunction(target) else None

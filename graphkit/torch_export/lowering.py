"""What each exporter makes of a torch operator, since which opset, and where in torch's source that is written."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from graphkit.errors import ExportError, similar
from graphkit.result import Result
from graphkit.torch_export.argument_flow import ArgumentUse, argument_uses
from graphkit.torch_export.factory import import_onnxscript, import_torch
from graphkit.torch_export.quiet import quiet_torch
from graphkit.torch_export.rule_source import emits, function_name, only_refuses, python_function, source_place

TORCHSCRIPT_OPSETS = range(9, 21)
"""The opsets for which torch has a table of symbolic functions; those of 7 and 8 only say what is missing there."""

DYNAMO_OPSETS = range(18, 26)
"""The opsets that the dynamo exporter writes without a conversion."""


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
        arguments: Which torch argument becomes which input or attribute, as far as its source tells; of ``torch_lowering``.
    """

    exporter: str
    operator: str
    since: int
    function: str
    source: str
    emits: tuple[str, ...]
    arguments: tuple[ArgumentUse, ...] = ()


@dataclass(frozen=True, repr=False)
class Lowering(Result):
    """What the exporters make of a torch operator.

    Attributes:
        operator: The operator, ``aten::silu``.
        dynamo: The rules of the dynamo exporter.
        decomposed: The overloads without a rule that the dynamo exporter takes apart into other torch operators.
        torchscript: The rules of the torchscript exporter, oldest first.
        others: Where a part of a name was given: the other operators that have it, which torch keeps for itself.
    """

    operator: str
    dynamo: tuple[Rule, ...]
    decomposed: tuple[str, ...]
    torchscript: tuple[Rule, ...]
    others: tuple[str, ...] = ()


PART = 3
"""Letters from which on a name may be a part of one."""

MOST_NAMED = 8
"""Operators that a hint lists."""


def torch_lowering(name: str) -> Lowering:
    """What each exporter makes of a torch operator.

    Args:
        name: ``aten::upsample_bicubic2d``; ``aten.upsample_bicubic2d`` and ``upsample_bicubic2d`` will do too, and a part
            of the name that one operator alone has, or one alone of those without a ``_`` in front.

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
    dynamo = tuple(rule for key in overloads for rule in dynamo_rules(key, arguments=True))
    torchscript = tuple(torchscript_rules(operator, arguments=True))
    if packet is None and not dynamo and not torchscript:
        known = known_operators()
        part = operator.partition("::")[2]
        holding = [name for name in known if part in name.partition("::")[2]] if len(part) >= PART else []
        public = [name for name in holding if not name.partition("::")[2].startswith("_")] or holding
        if len(public) == 1:
            return replace(torch_lowering(public[0]), others=tuple(name for name in holding if name != public[0]))
        if public:
            left = f" and {len(public) - MOST_NAMED} more" if len(public) > MOST_NAMED else ""
            listed = ", ".join(public[:MOST_NAMED])
            raise ExportError(f"{len(public)} operators of torch hold {part!r}", hint=f"name one: {listed}{left}")
        close = similar(operator, known)
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


def dynamo_rules(key: str, *, arguments: bool = False) -> Iterator[Rule]:
    """The dynamo exporter's rules of one overload, ``aten::add.Tensor``, oldest first; with what becomes of arguments."""
    for entry in _dynamo_table().get(key, ()):
        function = python_function(entry.onnx_function)
        uses = argument_uses(function, torch_arguments(key), entry.opset_introduced) if arguments else ()
        place = source_place(function)
        yield Rule("dynamo", key, entry.opset_introduced, function_name(function), place, emits(function), uses)


def torchscript_rules(operator: str, *, arguments: bool = False) -> Iterator[Rule]:
    """The torchscript exporter's rules of an operator, oldest first; with what becomes of arguments where asked for.

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
        plain = python_function(function)
        if only_refuses(plain):
            continue
        uses = argument_uses(plain, torch_arguments(operator, traced=True), opset) if arguments else ()
        yield Rule("torchscript", operator, opset, function_name(plain), source_place(plain), emits(plain), uses)


def torch_arguments(key: str, *, traced: bool = False) -> list[str]:
    """The names of an operator's arguments, of its overload where the key names one; [] where torch does not tell."""
    packet = _packet(canonical(key))
    if packet is None:
        return []
    overload, overloads = key.partition("::")[2].partition(".")[2], packet.overloads()
    named = [overload] if overload else ["vec", "default"] if traced else ["default"]  # interpolate calls vec
    chosen = next((one for one in (*named, *overloads) if one in overloads), None)
    return [] if chosen is None else [argument.name for argument in getattr(packet, chosen)._schema.arguments]  # noqa: SLF001 (there is no other door)


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
    if not operator.isascii():
        return None  # torch's lookup takes no text that is no UTF-8, and no operator has such a name
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

"""A module's torch operators, sorted by what each exporter does with them."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import onnx

from graphkit.errors import ExportError
from graphkit.graph import walk
from graphkit.graph.modules import fx_node
from graphkit.torch_export.arguments import bind
from graphkit.torch_export.factory import import_torch
from graphkit.torch_export.failure import export_error
from graphkit.torch_export.job import evaluating, taking_tensors_only
from graphkit.torch_export.lowering import (
    TORCHSCRIPT_OPSETS,
    Rule,
    decomposition_table,
    dynamo_rules,
    operator_key,
    torchscript_rules,
)
from graphkit.torch_export.quiet import quiet_torch
from graphkit.torch_export.source_line import stack_line, users_stack

if TYPE_CHECKING:
    import torch

    from graphkit.torch_export.arguments import Arguments

Kind: TypeAlias = Literal["one-to-one", "one-to-many", "nothing", "decomposed", "supported", "unsupported"]


@dataclass(frozen=True)
class OperatorUse:
    """One torch operator of a module, and what an exporter does with it.

    Attributes:
        exporter: "dynamo" or "torchscript". The two see other operators of the same module.
        operator: The operator with its overload, as the exporter sees it.
        count: How often the module calls it.
        kind: "one-to-one" and "one-to-many": ONNX operators for each call; "nothing": it leaves no node; "decomposed":
            into other torch operators first; "supported": it has a rule (what it emits depends on the call);
            "unsupported".
        becomes: The ONNX operators; for "decomposed" and "unsupported" the torch operators it is taken apart into.
        since: The smallest opset with a rule, or None.
        sources: The user's lines that call it.
    """

    exporter: str
    operator: str
    count: int
    kind: Kind
    becomes: tuple[str, ...]
    since: int | None
    sources: tuple[str, ...]


@dataclass(frozen=True)
class OperatorCheck:
    """All operators of a module.

    Attributes:
        uses: The operators, those of the dynamo exporter first, each in the order of the first call.
        smallest_opset: exporter -> the smallest opset that serves the whole module; None where it cannot be exported.
        problems: exporter -> why the module could not even be traced.
    """

    uses: tuple[OperatorUse, ...]
    smallest_opset: dict[str, int | None]
    problems: dict[str, str]

    @property
    def unsupported(self) -> tuple[OperatorUse, ...]:
        """The operators that keep an exporter from exporting the module."""
        return tuple(use for use in self.uses if use.kind == "unsupported")


def check_operators(module: torch.nn.Module, args: Any, kwargs: Mapping[str, Any] | None = None) -> OperatorCheck:
    """Sort the torch operators that a module calls by what each exporter does with them.

    Args:
        module: The module.
        args: Example arguments.
        kwargs: Example keyword arguments.

    Raises:
        ExportError: The arguments do not fit the module.
        MissingExtraError: torch or onnxscript is not installed.

    Changes: nothing.
    Cost: an export with each exporter, and about four seconds for the tables the first time.
    """
    import_torch("checking a module's operators")
    bound = bind(module, args, kwargs, None)
    uses: list[OperatorUse] = []
    smallest: dict[str, int | None] = {}
    problems: dict[str, str] = {}
    for exporter, look in (("dynamo", _dynamo_uses), ("torchscript", _torchscript_uses)):
        try:
            found = list(_looked(look, module, bound, exporter))
        except ExportError as error:
            problems[exporter], smallest[exporter] = error.message, None
            continue
        uses += found
        smallest[exporter] = _smallest(found)
    return OperatorCheck(tuple(uses), smallest, problems)


def _looked(look: Any, module: Any, bound: Arguments, exporter: str) -> Iterable[OperatorUse]:
    failure = None
    with evaluating(module), quiet_torch() as heard:
        try:
            return list(look(module, bound))
        except Exception as error:  # noqa: BLE001 (tracing runs the user's code, which may raise anything)
            failure = error
    with evaluating(module), quiet_torch():
        told = export_error(failure, exporter, module, bound.args, bound.kwargs, heard.text)
    raise told from failure


def _smallest(uses: Iterable[OperatorUse]) -> int | None:
    opsets = [
        None if use.kind == "unsupported" else use.since for use in uses if use.since or use.kind == "unsupported"
    ]
    known = [opset for opset in opsets if opset is not None]
    return max(known, default=None) if len(known) == len(opsets) else None


def _dynamo_uses(module: Any, bound: Arguments) -> Iterator[OperatorUse]:
    import torch

    program = torch.export.export(module, bound.args, bound.kwargs, strict=False)
    parts = _parts(program.run_decompositions(decomposition_table()))
    emitted = _emitted(program)
    calls: dict[str, list[Any]] = {}
    for node in program.graph.nodes:
        if node.op == "call_function" and operator_key(node.target) is not None:
            calls.setdefault(operator_key(node.target) or "", []).append(node)
    for key, nodes in calls.items():
        becomes = list(dict.fromkeys(part for node in nodes for _, part in parts.get(node.name, ())))
        rules = {part: list(dynamo_rules(part)) for part in becomes}
        missing = [part for part in becomes if not rules[part]]
        onnx_nodes = [[op for name, _ in parts.get(node.name, ()) for op in emitted.get(name, ())] for node in nodes]
        since = max((min(rule.since for rule in found) for found in rules.values() if found), default=None)
        kind, shown = _kind(key, becomes, missing, onnx_nodes, rules, converted=bool(emitted))
        yield OperatorUse("dynamo", key, len(nodes), kind, shown, None if missing else since, _dynamo_lines(nodes))


def _kind(
    key: str,
    becomes: list[str],
    missing: list[str],
    onnx_nodes: list[list[str]],
    rules: Mapping[str, list[Rule]],
    *,
    converted: bool,
) -> tuple[Kind, tuple[str, ...]]:
    if missing:
        return "unsupported", tuple(missing)
    if becomes and becomes != [key]:
        return "decomposed", tuple(becomes)
    if converted:
        return _counted(onnx_nodes)
    return "supported", tuple(dict.fromkeys(op for rule in rules.get(key, ()) for op in rule.emits))


def _parts(program: Any) -> dict[str, list[tuple[str, str]]]:
    """fx node before the decompositions -> the (fx node, operator) pairs after them."""
    found: dict[str, list[tuple[str, str]]] = {}
    for node in program.graph.nodes:
        origin = node.meta.get("from_node") or ()
        key = operator_key(node.target) if node.op == "call_function" else None
        if key is not None and origin:
            found.setdefault(origin[0].name, []).append((node.name, key))
    return found


def _emitted(program: Any) -> dict[str, list[str]]:
    """fx node after the decompositions -> the ONNX operators made for it; {} where the program does not convert."""
    import torch

    try:
        made = torch.onnx.export(program, dynamo=True, optimize=False, verbose=False)
    except torch.onnx.OnnxExporterError:
        return {}
    found: dict[str, list[str]] = {}
    for node in walk.nodes(made.model_proto.graph):
        origin = fx_node(node)
        if origin is not None and node.op_type != "Constant":
            found.setdefault(origin[0], []).append(node.op_type)
    return found


def _dynamo_lines(nodes: Iterable[Any]) -> tuple[str, ...]:
    lines = (stack_line(node.meta.get("stack_trace") or "") for node in nodes)
    return tuple(dict.fromkeys(line for line in lines if line))


def _torchscript_uses(module: Any, bound: Arguments) -> Iterator[OperatorUse]:
    import torch

    with taking_tensors_only(module, bound) as args:
        graph, refused = torch.onnx.utils.unconvertible_ops(module, args, opset_version=TORCHSCRIPT_OPSETS[-1])
        made = {} if refused else _made_at(module, args)
    calls: dict[str, list[str]] = {}
    for node in graph.nodes():
        if not node.kind().startswith("prim::") or node.kind() in ("prim::If", "prim::Loop"):
            calls.setdefault(node.kind(), []).append(node.sourceRange())
    places = Counter(_place(source) for sources in calls.values() for source in sources)
    for key, sources in calls.items():
        rules = list(torchscript_rules(key))
        alone = [source for source in sources if places[_place(source)] == 1]
        exact = [None if refused else made.get(_place(source), []) for source in alone]
        kind, shown = _torchscript_kind(key, rules, exact if len(exact) == len(sources) else [None])
        lines = (stack_line(users_stack(source)) for source in sources)
        since = rules[0].since if rules else None
        yield OperatorUse(
            "torchscript", key, len(sources), kind, shown, since, tuple(dict.fromkeys(line for line in lines if line))
        )


def _torchscript_kind(key: str, rules: list[Rule], exact: list[list[str] | None]) -> tuple[Kind, tuple[str, ...]]:
    if not rules and not key.startswith("prim::"):
        return "unsupported", ()
    known = [ops for ops in exact if ops is not None]
    if len(known) < len(exact):
        return "supported", rules[-1].emits if rules else ()
    return _counted(known)


def _counted(made: list[list[str]]) -> tuple[Kind, tuple[str, ...]]:
    """The kind of an operator by what each of its calls became."""
    shown = tuple(dict.fromkeys(op for ops in made for op in ops))
    if not shown:
        return "nothing", ()
    return ("one-to-one" if max(map(len, made)) == 1 else "one-to-many"), shown


def _made_at(module: Any, args: tuple[Any, ...]) -> dict[str, list[str]]:
    """Where in Python an operator was called -> the ONNX operators made there, by exporting once."""
    import torch

    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        args,
        buffer,
        dynamo=False,
        verbose=True,
        opset_version=TORCHSCRIPT_OPSETS[-1],
        do_constant_folding=False,
    )
    found: dict[str, list[str]] = {}
    for node in walk.nodes(onnx.load_from_string(buffer.getvalue()).graph):
        if node.op_type != "Constant":
            found.setdefault(_place(node.doc_string), []).append(node.op_type)
    return found


def _place(stack: str) -> str:
    """The part of a stack below the tracer: what is above depends on who called it."""
    lines = stack.splitlines()
    return "\n".join(itertools.takewhile(lambda line: "torch/jit/_trace.py" not in line, lines))

"""A module's torch operators, sorted by what each exporter does with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from graphkit.errors import ExportError
from graphkit.result import Result
from graphkit.torch_export.arguments import bind
from graphkit.torch_export.factory import import_onnxscript, import_torch
from graphkit.torch_export.failure import export_error
from graphkit.torch_export.job import evaluating
from graphkit.torch_export.quiet import quiet_torch
from graphkit.torch_export.torch_ops.calls_dynamo import DynamoCalls
from graphkit.torch_export.torch_ops.calls_torchscript import TorchscriptCalls

if TYPE_CHECKING:
    import torch

    from graphkit.torch_export.arguments import Arguments
    from graphkit.torch_export.torch_ops.calls import Call

Kind: TypeAlias = Literal["one-to-one", "one-to-many", "decomposed", "unsupported"]

DEFAULT_OPSET = 20
"""The opset that both exporters write unless asked for another (torch 2.13)."""


@dataclass(frozen=True, repr=False)
class OperatorUse(Result):
    """One torch operator of a module, and what an exporter does with it at ``OperatorCheck.opset``.

    Attributes:
        exporter: "dynamo" or "torchscript". The two see other operators of the same module.
        operator: The operator, as the exporter sees it (dynamo: with its overload).
        count: How often the module calls it.
        kind: "one-to-one": no call becomes more than one ONNX node; "one-to-many": a call does; "decomposed": into other
            torch operators first; "unsupported": a call has no translation.
        becomes: The ONNX operators of all calls; for "decomposed" the torch operators it is taken apart into; for
            "unsupported" the operators without a translation, itself or parts of it.
        since: The smallest opset at which the exporter translates every call (to other nodes, maybe); None: there is none.
        sources: The user's lines that call it.
        reason: What the exporter says about a call that its rule does not take; "" where there is no rule at all.
    """

    exporter: str
    operator: str
    count: int
    kind: Kind
    becomes: tuple[str, ...]
    since: int | None
    sources: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, repr=False)
class OperatorCheck(Result):
    """All operators of a module.

    Attributes:
        uses: The operators, those of the dynamo exporter first, each in the order of the first call.
        dropped: exporter -> the operators of which no node is left (dropout in eval mode, detach, shapes that are
            constants) -> how often the module calls them. They are not among ``uses``.
        opset: exporter -> the opset that was looked at.
        smallest_opset: exporter -> the smallest opset that serves the whole module; None where it cannot be exported.
        problems: exporter -> why the module could not even be traced.
    """

    uses: tuple[OperatorUse, ...]
    dropped: dict[str, dict[str, int]]
    opset: dict[str, int]
    smallest_opset: dict[str, int | None]
    problems: dict[str, str]

    def __bool__(self) -> bool:
        return self.exporters == tuple(self.opset)

    @property
    def unsupported(self) -> tuple[OperatorUse, ...]:
        """The operators that keep an exporter from exporting the module at the opset that was looked at."""
        return tuple(use for use in self.uses if use.kind == "unsupported")

    @property
    def exporters(self) -> tuple[str, ...]:
        """The exporters that can export the module at the opset that was looked at."""
        refusing = {use.exporter for use in self.unsupported} | set(self.problems)
        return tuple(exporter for exporter in self.opset if exporter not in refusing)


class _Calls(Protocol):
    """A module's calls as one exporter sees them."""

    exporter: str
    opsets: range

    def at(self, opset: int) -> list[Call]: ...

    def lowest(self, operator: str) -> int: ...


def check_operators(
    module: torch.nn.Module, args: Any, kwargs: Mapping[str, Any] | None = None, *, opset: int | None = None
) -> OperatorCheck:
    """Sort the torch operators that a module calls by what each exporter does with them.

    Every operator is translated as it is in an export, the others too where one has no translation. Of what becomes of
    it, the nodes that compute from the module's inputs count: not those that constant folding takes (they depend on
    weights and constants only), nor Identity. Operators of different kinds are not fused (BatchNorm into Conv).

    Args:
        module: The module.
        args: Example arguments.
        kwargs: Example keyword arguments.
        opset: The opset to look at; the nearest one that an exporter writes itself (dynamo from 18 on, torchscript up to
            20). None is torch's default.

    Raises:
        ExportError: The arguments do not fit the module.
        MissingExtraError: torch or onnxscript is not installed.

    Changes: nothing.
    Scope: submodules, branches and loops too.
    Cost: two or three exports with each exporter, more where an operator needs a later opset than its rule says, and
        about four seconds for the tables the first time.

    Example:
        >>> import graphkit as gk, torch
        >>> print(gk.text(gk.check_operators(torch.nn.GELU(), torch.ones(2))))  # doctest: +SKIP
    """
    import_torch("checking a module's operators")
    import_onnxscript("checking a module's operators")
    bound = bind(module, args, kwargs, None)
    check = OperatorCheck((), {}, {}, {}, {})
    uses: list[OperatorUse] = []
    exporters: tuple[_Calls, ...] = (DynamoCalls(module, bound), TorchscriptCalls(module, bound))
    for calls in exporters:
        name = calls.exporter
        check.opset[name] = min(max(opset or DEFAULT_OPSET, calls.opsets[0]), calls.opsets[-1])
        look = _Look(calls, module, bound)
        try:
            operators = look.at(check.opset[name])
        except ExportError as error:
            check.problems[name], check.smallest_opset[name] = error.message, None
            continue
        since = look.since(operators)
        check.smallest_opset[name] = _latest(since.values(), calls.opsets[0])
        check.dropped[name] = {operator: len(made) for operator, made in operators.items() if _leaves_nothing(made)}
        left = {operator: made for operator, made in operators.items() if operator not in check.dropped[name]}
        uses += [_use(name, operator, made, since[operator]) for operator, made in left.items()]
    return dataclasses.replace(check, uses=tuple(uses))


@dataclass(frozen=True)
class _Look:
    """Looking at a module's calls at one opset after the other: quietly, in eval mode, at each opset once."""

    calls: _Calls
    module: Any
    bound: Arguments
    seen: dict[int, dict[str, list[Call]]] = field(default_factory=dict)

    def at(self, opset: int) -> dict[str, list[Call]]:
        """Operator -> its calls, in the order of the first one.

        Raises:
            ExportError: torch cannot trace the module, or not even export it with stand-ins.
        """
        if opset not in self.seen:
            found: dict[str, list[Call]] = {}
            for call in self._looked(opset):
                found.setdefault(call.operator, []).append(call)
            self.seen[opset] = found
        return self.seen[opset]

    def _looked(self, opset: int) -> list[Call]:
        with evaluating(self.module), quiet_torch(native_errors=self.calls.exporter == "torchscript") as heard:
            try:
                return self.calls.at(opset)
            except Exception as error:  # noqa: BLE001 (tracing runs the user's code, which may raise anything)
                failure = error
        with evaluating(self.module), quiet_torch():
            args, kwargs = self.bound.args, self.bound.kwargs
            told = export_error(failure, self.calls.exporter, self.module, args, kwargs, heard.text)
        raise told from failure

    def since(self, operators: Mapping[str, Sequence[Call]]) -> dict[str, int | None]:
        """Operator -> the smallest opset at which every call of it is translated; None where there is none.

        A rule tells from which opset on it exists, but not which calls it takes there: an export tells.
        """
        found: dict[str, int | None] = dict.fromkeys(operators)
        refused = {operator for operator, calls in operators.items() if any(call.refused for call in calls)}
        if refused:
            refused -= self._served(self.calls.opsets[-1], refused)
        lowest = {operator: self.calls.lowest(operator) for operator in operators if operator not in refused}
        for opset in self.calls.opsets:
            ready = {operator for operator, least in lowest.items() if least <= opset and found[operator] is None}
            found.update(dict.fromkeys(self._served(opset, ready), opset))
        return found

    def _served(self, opset: int, operators: set[str]) -> set[str]:
        """Those of some operators of which every call is translated at an opset."""
        if not operators:
            return set()
        try:
            calls = self.at(opset)
        except ExportError:
            return set()
        return {operator for operator in operators if not any(call.refused for call in calls.get(operator, ()))}


def _latest(since: Collection[int | None], first: int) -> int | None:
    """The smallest opset that serves all; None where there is none for one of them."""
    known = [opset for opset in since if opset is not None]
    return max(known, default=first) if len(known) == len(since) else None


def _leaves_nothing(calls: Iterable[Call]) -> bool:
    return not any(call.nodes or call.refused for call in calls)


def _use(exporter: str, operator: str, calls: Sequence[Call], since: int | None) -> OperatorUse:
    kind, becomes = _kind(calls)
    sources = tuple(dict.fromkeys(call.source for call in calls if call.source))
    reason = next((call.reason for call in calls if call.reason), "")
    return OperatorUse(exporter, operator, len(calls), kind, becomes, since, sources, reason)


def _kind(calls: Sequence[Call]) -> tuple[Kind, tuple[str, ...]]:
    if refused := dict.fromkeys(part for call in calls for part in call.refused):
        return "unsupported", tuple(refused)
    if parts := dict.fromkeys(part for call in calls for part in call.parts):
        return "decomposed", tuple(parts)
    nodes = tuple(dict.fromkeys(node for call in calls for node in call.nodes))
    return ("one-to-one" if max(len(call.nodes) for call in calls) == 1 else "one-to-many"), nodes

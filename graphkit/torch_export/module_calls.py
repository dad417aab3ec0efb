"""Which call of which module a node came from, the same for both exporters: they say it differently, or not at all.

A module may be called several times, and stand in its parent under several names. The dynamo exporter writes the name that
was called and keeps the number of the call to itself; the torchscript exporter writes the module's first name and numbers
what is left of the calls after the nodes were optimised. Here each is called by the first name that
``Module.named_modules`` gives and the number of the call in the forward.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import onnx

from graphkit.edit.renaming import rename_in_tree
from graphkit.graph import walk
from graphkit.graph.module_paths import CALLS_KEY, lineage, module_path, scope_names

if TYPE_CHECKING:
    import torch


class Called(NamedTuple):
    """One call of a module.

    Attributes:
        path: The module's first name.
        number: 1 for its first call.
    """

    path: str
    number: int


_SERIAL = re.compile(r"#(\d+)$")


@contextlib.contextmanager
def calls_recorded(module: Any) -> Iterator[list[Called]]:
    """Let the torchscript exporter write into each scope which call it is, while it traces inside of the block.

    Yields:
        The calls; ``give_traced_calls`` takes them and puts the names back.
    """
    import torch

    paths = {one: path for path, one in module.named_modules()} if isinstance(module, torch.nn.Module) else {}
    calls: list[Called] = []
    counts: Counter[str] = Counter()
    names: dict[Any, str] = {}

    def before(called: Any, _: Any) -> None:
        table = torch.jit._trace._trace_module_map  # noqa: SLF001 (torch's own place for the names of scopes)
        path = paths.get(called)
        if not path or table is None or called not in table:
            return
        counts[path] += 1
        name = names.setdefault(called, table[called])
        table[called] = f"{name}#{len(calls)}"
        calls.append(Called(path, counts[path]))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(before)
    try:
        yield calls
    finally:
        handle.remove()


def give_traced_calls(proto: onnx.ModelProto, calls: list[Called]) -> None:
    """Give names back their form (the second scope ``/act`` is ``/act_1``), and nodes their calls. Changes the proto.

    Scope: main graph and bodies.
    Cost: O(nodes).
    """
    scopes: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for node in walk.nodes(proto.graph):
        scope = node.name.rpartition("/")[0]
        parts = [part for part in scope.split("/") if _SERIAL.search(part)]
        if not parts:
            continue
        if scope not in scopes:
            plain = "/".join(_SERIAL.sub("", part) for part in scope.split("/"))
            scopes[scope] = f"{plain}_{counts[plain]}" if counts[plain] else plain
            counts[plain] += 1
    stacks = {
        scope: tuple(calls[int(found[1])] for part in scope.split("/") if (found := _SERIAL.search(part)))
        for scope in scopes
    }
    places = [(node, stacks.get(node.name.rpartition("/")[0], ())) for node in walk.nodes(proto.graph)]
    _rename(proto.graph, scopes)
    _give(places)


def _rename(main: onnx.GraphProto, scopes: dict[str, str]) -> None:
    def renamed(name: str) -> str:
        scope, slash, rest = name.rpartition("/")
        return f"{scopes[scope]}{slash}{rest}" if scope in scopes else name

    values: set[str] = set()
    for graph in walk.graphs(main):
        values |= walk.defined_names(graph)
        for node in graph.node:
            node.name = renamed(node.name)
    rename_in_tree(main, {name: renamed(name) for name in values if "#" in name})


def give_exported_calls(proto: onnx.ModelProto, program: Any, module: Any) -> None:
    """Give nodes their calls, from the stacks that the dynamo exporter's fx nodes keep. Changes the proto.

    Scope: main graph and bodies.
    Cost: O(nodes of the model and of the program).
    """
    first_name = _first_names(module)
    numbers = _numbers(program, first_name)
    stacks: dict[tuple[str, ...], tuple[Called, ...]] = {}
    for node in _fx_nodes(program):
        stack = _stack(node)
        told = (*(path for _, path in stack), node.name)
        stacks.setdefault(told, tuple(Called(first_name(p), numbers[key, p]) for key, p in stack if p))
    _give((node, stacks.get(tuple(scope_names(node)), ())) for node in walk.nodes(proto.graph))


def _fx_nodes(program: Any) -> Iterator[torch.fx.Node]:
    import torch

    for graph in program.graph_module.modules():
        if isinstance(graph, torch.fx.GraphModule):
            yield from graph.graph.nodes


def _stack(node: torch.fx.Node) -> list[tuple[str, str]]:
    """(key, path) of each module around an fx node; keys tell calls apart: ``L__self___act@1``."""
    stack = node.meta.get("nn_module_stack") or {}
    return [(str(key), str(path)) for key, (path, _) in stack.items()]


def _first_names(module: Any) -> Callable[[str], str]:
    import torch

    names: dict[str, str] = {}
    if isinstance(module, torch.nn.Module) and not isinstance(module, torch.jit.ScriptModule):
        first = {one: path for path, one in module.named_modules()}
        names = {path: first[one] for path, one in module.named_modules(remove_duplicate=False)}
    return lambda path: names.get(path, path)


def _numbers(program: Any, first_name: Callable[[str], str]) -> dict[tuple[str, str], int]:
    """(key, path) -> the number of the call. The keys count the calls under each name; several names count together, in
    the order of their first nodes.
    """
    seen: dict[str, dict[tuple[str, str], None]] = {}
    for node in _fx_nodes(program):
        for entry in _stack(node):
            seen.setdefault(first_name(entry[1]), {})[entry] = None
    numbers: dict[tuple[str, str], int] = {}
    for entries in seen.values():
        several = len({path for _, path in entries}) > 1
        for position, (key, path) in enumerate(entries):
            again = re.search(r"@(\d+)$", key)
            numbers[key, path] = position + 1 if several else int(again[1]) + 1 if again else 1
    return numbers


def _give(places: Iterable[tuple[onnx.NodeProto, tuple[Called, ...]]]) -> None:
    """Write the calls of each node, but where its module path says all: no module around it is called twice."""
    given = list(places)
    numbers: dict[str, set[int]] = {}
    for _, stack in given:
        for called in stack:
            numbers.setdefault(called.path, set()).add(called.number)
    again = {path for path, found in numbers.items() if found != {1}}
    for node, stack in given:
        path = module_path(node)
        if not stack or path is None or any(entry.key == CALLS_KEY for entry in node.metadata_props):
            continue
        if not again.isdisjoint(called.path for called in stack) or not _told(stack, path):
            entries = [f"{called.path}#{called.number}" if called.path in again else called.path for called in stack]
            node.metadata_props.add(key=CALLS_KEY, value=json.dumps(entries))


def _told(stack: tuple[Called, ...], path: str) -> bool:
    """Whether the modules around a node are those that its path tells."""
    return stack[-1].path == path and {called.path for called in stack} <= set(lineage(path))

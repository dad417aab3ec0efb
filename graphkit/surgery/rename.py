"""rename: give values and nodes other names, wherever they are written."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.renaming import rename_declarations, rename_in_node, values_prefix
from graphkit.errors import EditError, NameTakenError, NothingFoundError
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses, Found, Site, expression
from graphkit.graph.names import Names, label
from graphkit.model import Model
from graphkit.operation import Edit, operation

Table: TypeAlias = dict[str, str]


@operation(law="same", valid=False)
def rename(
    model: Model,
    *,
    values: Mapping[str, str] | None = None,
    nodes: Mapping[str, str] | None = None,
    regex: Mapping[str, str] | None = None,
    prefix: str = "",
) -> Edit:
    r"""Give values (inputs, outputs, initializers and what is between) and nodes other names.

    Every place that names a value follows: consumers, bodies that capture it, value_info, quantization annotations,
    training algorithms and their bindings, sharding specs.

    Args:
        model: A path, a ModelProto or a Model; it is not changed.
        values: address -> new name: ``NAME`` in the main graph, ``NODE.ATTRIBUTE/NAME`` in a body,
            ``function:DOMAIN::FUNCTION/NAME`` in a function. Two values may swap their names.
        nodes: address -> new name. A node without a name is named by its output.
        regex: Pattern -> replacement, for the names of all values and nodes, also in bodies and functions: what a pattern
            finds in a name is replaced, ``\1`` stands for its first group. What ``values`` and ``nodes`` name is left out.
        prefix: A text in front of the names of all values and nodes, also in bodies and functions; inputs and outputs of
            the model and what ``values`` and ``nodes`` name are left out.

    Raises:
        NameNotFoundError: No value or node has an old name, or several nodes have it.
        NameTakenError: Another value (in any scope) has a value's new name already, or another node has a node's, or
            two get the same.
        NothingFoundError: No name matches a regular expression.
        EditError: A pattern is none, or a new name is empty.
        ValueError: There is no new name.
        ModelFileError, FormatError, WeightsError, TensorError: As ``load``.

    Changes: Nothing; returns a new model over the same bytes. The notes count what was renamed.
    Scope: Main graph, bodies, functions; what bodies capture follows.
    Cost: O(graph); weights are not read.
    Law: same, up to the names.

    Example:
        >>> gk.rename("model.onnx", values={"input.1": "points"}).save("out.onnx")  # doctest: +SKIP
    """
    values, nodes, regex = dict(values or {}), dict(nodes or {}), dict(regex or {})
    if not (values or nodes or regex or prefix):
        raise ArgumentValueError("rename needs at least one old and new name")
    proto = model.copy_proto()
    addresses = Addresses(proto)
    asked = _Asked(addresses)
    for address, new in values.items():
        asked.value(addresses.value(address), new)
    for address, new in nodes.items():
        asked.node(addresses.node(address), new)
    for pattern, replacement in regex.items():
        if not asked.everywhere(functools.partial(_replaced, expression(pattern), replacement)):
            raise NothingFoundError(f"no value and no node has a name in which {pattern!r} is found")
    if prefix:
        kept = {value.name for value in (*proto.graph.input, *proto.graph.output)}
        asked.everywhere(lambda name: prefix + name, kept)
    asked.check(proto)
    notes = asked.told()
    asked.carry_out(proto)
    return Edit(proto, notes)


def _replaced(pattern: re.Pattern[str], replacement: str, name: str) -> str:
    try:
        return pattern.sub(replacement, name)
    except (re.error, IndexError) as error:
        raise EditError(f"{replacement!r} is no replacement: {error}") from error


class _Asked:
    """The new names, site by site."""

    def __init__(self, addresses: Addresses) -> None:
        self._sites = addresses.sites
        self._values: dict[int, Table] = {id(site): {} for site in self._sites}
        self._nodes: dict[int, dict[int, str]] = {id(site): {} for site in self._sites}

    def value(self, found: Found, new: str) -> None:
        """A value gets a name."""
        if not new:
            raise EditError(f"the new name of {found.address!r} is empty")
        self._values[id(found.site)][found.name] = new

    def node(self, found: Found, new: str) -> None:
        """A node gets a name."""
        if not new:
            raise EditError(f"the new name of {found.address!r} is empty")
        self._nodes[id(found.site)][found.position] = new

    def everywhere(self, new_name: Callable[[str], str], kept: set[str] | None = None) -> bool:
        """All values and nodes get the name that a function gives them, those that have one already left out.

        Args:
            new_name: The function.
            kept: Values of the main graph that keep their names.

        Returns:
            Whether any name changed.
        """
        changed = False
        for site in self._sites:
            table, places = self._values[id(site)], self._nodes[id(site)]
            for name in list(site.values()):
                main = site.outer is None and site.function is None
                if name not in table and not (main and kept and name in kept) and (new := new_name(name)) != name:
                    self.value(Found(site, name), new)
                    changed = True
            for position, node in enumerate(site.nodes):
                if node.name and position not in places and (new := new_name(node.name)) != node.name:
                    self.node(Found(site, node.name, position), new)
                    changed = True
        return changed

    def check(self, proto: onnx.ModelProto) -> None:
        """Refuse names that collide: in the main graph with all bodies and training graphs, and in each function."""
        training = [part.algorithm for part in proto.training_info]
        trees: list[tuple[list[Site], Names]] = []
        main = [site for site in self._sites if site.function is None]
        trees.append((main, Names(proto.graph, *training)))
        for function in proto.functions:
            inside = [site for site in self._sites if site.function is function]
            graph = onnx.GraphProto(node=function.node)
            graph.input.extend(onnx.ValueInfoProto(name=name) for name in function.input)
            trees.append((inside, Names(graph)))
        for sites, names in trees:
            _check(
                "value",
                names.values,
                [(n, new) for s in sites for n, new in self._values[id(s)].items()],
                _free(sites, self._values),
            )
            pairs = [(s.nodes[p].name, new) for s in sites for p, new in self._nodes[id(s)].items()]
            kept = {node.name for s in sites for p, node in enumerate(s.nodes) if p not in self._nodes[id(s)]}
            _check("node", names.nodes, pairs, {old for old, _ in pairs if old not in kept})

    def told(self) -> list[str]:
        """How much was renamed."""
        counts = [sum(map(len, table.values())) for table in (self._values, self._nodes)]
        told = [f"{n} {what}{'' if n == 1 else 's'}" for n, what in zip(counts, ("value", "node"), strict=True) if n]
        pairs = [(old, new) for table in self._values.values() for old, new in table.items()]
        pairs += [(label(s.nodes[p]), new) for s in self._sites for p, new in self._nodes[id(s)].items()]
        shown = ", ".join(f"{old!r} to {new!r}" for old, new in pairs[:4])
        return [f"renamed {' and '.join(told)}: {shown}{' and others' if len(pairs) > 4 else ''}"] if told else []

    def carry_out(self, proto: onnx.ModelProto) -> None:
        """Write the new names. Changes the model."""
        seen: dict[int, Table] = {}
        for site in self._sites:
            own = self._values[id(site)]
            around = seen[id(site.outer)] if site.outer is not None else {}
            table = own if not around else {**{old: around[old] for old in around if not site.has(old)}, **own}
            seen[id(site)] = table
            for position, new in self._nodes[id(site)].items():
                site.nodes[position].name = new
        for site in self._sites:
            _rename(proto, site, seen[id(site)])
        main = self._values[id(self._sites[0])]
        for training in proto.training_info if main else ():
            _rename_in_training(training, main)


def _free(sites: list[Site], values: Mapping[int, Table]) -> set[str]:
    """The names that no site defines any more."""
    renamed = {name for site in sites for name in values[id(site)]}
    return {name for name in renamed if all(name in values[id(s)] for s in sites if s.has(name))}


def _check(kind: str, taken: set[str], pairs: list[tuple[str, str]], free: set[str]) -> None:
    left = taken - free
    by_new: dict[str, str] = {}
    for old, new in pairs:
        if new in left or by_new.setdefault(new, old) != old or (kind == "node" and not old and new in left):
            raise NameTakenError(
                f"{old!r} cannot become {new!r}: a {kind} of the model has that name already", name=new
            )


def _rename(proto: onnx.ModelProto, site: Site, table: Table) -> None:
    """Write other names into a site, not into the bodies in it."""
    if not table:
        return
    for node in site.nodes:
        rename_in_node(node, table)
    if site.graph is not None:
        rename_declarations(site.graph, table)
        return
    function = site.holder
    assert isinstance(function, onnx.FunctionProto)
    for names in (function.input, function.output):
        names[:] = [table.get(name, name) for name in names]
    for info in function.value_info:
        info.name = table.get(info.name, info.name)
    before = values_prefix(function)
    for info in proto.graph.value_info:
        if info.name.startswith(before) and (name := info.name[len(before) :]) in table:
            info.name = before + table[name]


def _rename_in_training(training: onnx.TrainingInfoProto, table: Mapping[str, str]) -> None:
    """The algorithm is one graph with the main graph and sees its names; so do the bindings (onnx.in.proto)."""
    seen = {old: table[old] for old in table.keys() - walk.defined_names(training.algorithm)}
    for graph, visible in _scopes(training.algorithm, seen) if walk.free_names(training.algorithm) else ():
        rename_declarations(graph, visible)
        for node in graph.node:
            rename_in_node(node, visible)
    for entry in training.initialization_binding:
        entry.key = seen.get(entry.key, entry.key)
    for entry in training.update_binding:
        entry.key = seen.get(entry.key, entry.key)
        entry.value = seen.get(entry.value, entry.value)


def _scopes(graph: onnx.GraphProto, table: Mapping[str, str]) -> Iterator[tuple[onnx.GraphProto, Mapping[str, str]]]:
    """A graph and the bodies in it, each with the names that it sees, looked up before any is changed."""
    waiting, found = [(graph, table)], []
    while waiting:
        scope, visible = waiting.pop()
        found.append((scope, visible))
        waiting += [
            (body, {old: visible[old] for old in visible.keys() - walk.defined_names(body)})
            for node in scope.node
            for body in walk.bodies(node)
        ]
    yield from found

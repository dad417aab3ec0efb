"""Addresses: how an operation is told which value or node is meant, wherever in the model it is.

``NAME`` is in the main graph, ``NODE.ATTRIBUTE/NAME`` in the body that a node holds (``If_0.then_branch/y``; at any depth:
``If_0.then_branch/Loop_1.body/y``), ``function:DOMAIN::FUNCTION/NAME`` in a function (``function:DOMAIN::FUNCTION:OVERLOAD/``
where it has an overload). A node without a name goes by its first output, also on the way into its bodies.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple, TypeAlias

import onnx

from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.columns import Columns
from graphkit.graph.index import GraphIndex, producers
from graphkit.graph.names import label
from graphkit.hint import Argument, Hint

Holder: TypeAlias = "onnx.GraphProto | onnx.FunctionProto"
"""What holds nodes."""


class Site:
    """A place with nodes: the main graph, a body, or a function. It must not change while its answers are in use.

    Attributes:
        holder: The graph or function.
        prefix: What stands before a name in its address; "" for the main graph.
        outer: The site around it; None for the main graph and for functions.
        function: The function that it is or is in, or None.
        owner: For a body, the node of the outer site that holds it.
    """

    def __init__(
        self,
        holder: Holder,
        prefix: str = "",
        outer: Site | None = None,
        function: onnx.FunctionProto | None = None,
        owner: onnx.NodeProto | None = None,
    ) -> None:
        self.holder = holder
        self.prefix = prefix
        self.outer = outer
        self.function = function
        self.owner = owner

    @cached_property
    def index(self) -> GraphIndex | None:
        """The index of the graph; None for a function."""
        return GraphIndex(self.graph) if self.graph is not None else None

    @cached_property
    def nodes(self) -> list[onnx.NodeProto]:
        """Its nodes."""
        return self.index.nodes if self.index is not None else list(self.holder.node)

    @cached_property
    def columns(self) -> Columns:
        """What its nodes hold."""
        return self.index.columns if self.index is not None else Columns(self.nodes)

    @cached_property
    def producer(self) -> dict[str, int]:
        """Value -> position of the node that makes it."""
        return self.index.producer if self.index is not None else producers(self.nodes)

    @cached_property
    def read(self) -> set[str]:
        """The values that its nodes and the bodies in them read."""
        if self.index is not None:
            return set(chain.from_iterable(self.index.node_reads))
        return set(chain.from_iterable(walk.reads_of(self.columns)))

    @property
    def graph(self) -> onnx.GraphProto | None:
        """The graph; None for a function."""
        return self.holder if isinstance(self.holder, onnx.GraphProto) else None

    @cached_property
    def inputs(self) -> dict[str, None]:
        """The names of its inputs, in order."""
        return _names(self.holder.input)

    @cached_property
    def outputs(self) -> dict[str, None]:
        """The names of its outputs, in order."""
        return _names(self.holder.output)

    @cached_property
    def weights(self) -> frozenset[str]:
        """The names of its initializers."""
        if self.graph is None:
            return frozenset()
        sparse = (tensor.values.name for tensor in self.graph.sparse_initializer)
        return frozenset(chain((tensor.name for tensor in self.graph.initializer), sparse))

    @cached_property
    def given(self) -> frozenset[str]:
        """Values that no node makes: inputs and weights."""
        return self.weights.union(self.inputs)

    def has(self, name: str) -> bool:
        """Whether it defines a value."""
        return name in self.producer or name in self.given

    def values(self) -> Iterator[str]:
        """The values that it defines: inputs, what nodes make, weights; each once."""
        yield from self.inputs
        yield from self.producer
        yield from sorted(self.weights.difference(self.inputs))

    def reads(self, position: int) -> list[str]:
        """What the node at a position needs, its bodies included; each value once."""
        return list(walk.reads(self.nodes[position]))

    @cached_property
    def positions(self) -> dict[str, list[int]]:
        """Name of a node, or the first output of one without -> where such nodes stand."""
        found: dict[str, list[int]] = {}
        for position, name in enumerate([node.name for node in self.nodes]):
            found.setdefault(name or label(self.nodes[position]), []).append(position)
        return found

    @cached_property
    def types(self) -> dict[str, onnx.TypeProto]:
        """The types that the file declares here."""
        infos = chain(
            self.holder.value_info, *((self.graph.input, self.graph.output) if self.graph is not None else ())
        )
        return {info.name: info.type for info in infos}


def _names(entries: Iterable[str | onnx.ValueInfoProto]) -> dict[str, None]:
    return dict.fromkeys(entry if isinstance(entry, str) else entry.name for entry in entries)


class Found(NamedTuple):
    """A value or node that an address names.

    Attributes:
        site: Where it is.
        name: Its name there; for a node what it is called there.
        position: For a node, where it stands among the site's nodes.
    """

    site: Site
    name: str
    position: int = -1

    @property
    def address(self) -> str:
        """How to write it."""
        return f"{self.site.prefix}{self.name}"

    @property
    def node(self) -> onnx.NodeProto:
        """The node."""
        return self.site.nodes[self.position]


class Addresses:
    """Finds what addresses name in a model, which must not change meanwhile.

    Cost: O(nodes) once; a name of the main graph looks into no body.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self.main = Site(model.graph)

    @cached_property
    def sites(self) -> list[Site]:
        """All places with nodes: main graph, bodies (outer before inner), functions."""
        found = []
        waiting = [Site(f, f"function:{_called(f)}/", function=f) for f in reversed(self._model.functions)]
        waiting.append(self.main)
        while waiting:
            site = waiting.pop()
            found.append(site)
            waiting.extend(reversed(list(_bodies(site))))
        return found

    def value(self, address: str, kind: str = "value") -> Found:
        """The value that an address names.

        Raises:
            NameNotFoundError: There is none; where the name is a node's, or a value's inside of a body, it says so.
        """
        found = self._value(address)
        if found is None:
            raise self._no_value(address, kind)
        return found

    def _value(self, address: str) -> Found | None:
        if self.main.has(address):
            return Found(self.main, address)
        for site in self._around(address):
            if site.has(name := address[len(site.prefix) :]):
                return Found(site, name)
        return None

    def node(self, address: str) -> Found:
        """The node that an address names: its name, or one of its outputs.

        Raises:
            NameNotFoundError: There is none, or there are several.
        """
        found = self._nodes(address)
        if not found:
            raise self._no_node(address)
        if len(found) > 1:
            outputs = ", ".join(repr(each.site.prefix + out) for each in found[:3] for out in each.node.output[:1])
            hint = f"{len(found)} nodes have this name; name one by its output: {outputs}"
            raise NameNotFoundError("single node", address, hint=hint)
        return found[0]

    def _nodes(self, address: str) -> list[Found]:
        """The nodes of a name in the first place that has some, or the one that makes a value of this name."""
        for site in (self.main, *self._around(address)):
            name = address[len(site.prefix) :]
            made = site.producer.get(name)
            places = site.positions.get(name) or ([] if made is None else [made])
            if places:
                return [Found(site, label(site.nodes[position]), position) for position in places]
        return []

    def values(
        self, addresses: str | Iterable[str], *, regex: bool = False, kind: str = "value", made: bool = False
    ) -> list[Found]:
        """The values that addresses or patterns name, each once.

        Args:
            addresses: Addresses; one that is none and holds ``*`` is a pattern, in which ``*`` stands for any text.
            regex: Each is a regular expression that a whole address has to match.
            kind: What they are called in errors.
            made: Patterns match the values that nodes make only, not inputs and weights.

        Raises:
            NameNotFoundError: There is no such value, or none that matches.
            EditError: It is no regular expression.
        """

        def fitting(matches: Callable[[str], object]) -> list[Found]:
            return [
                Found(site, name)
                for site in self.sites
                for name in (site.producer if made else site.values())
                if matches(site.prefix + name)
            ]

        def exact(text: str) -> Found | None:
            return self._value(text)

        return self._several(addresses, lambda name: self.value(name, kind), exact, fitting, kind, regex=regex)

    def nodes(self, addresses: str | Iterable[str], *, regex: bool = False) -> list[Found]:
        """The nodes that addresses or patterns name, each once; arguments and errors as ``values``."""

        def fitting(matches: Callable[[str], object]) -> list[Found]:
            return [
                Found(site, name, position)
                for site in self.sites
                for position, name in enumerate(map(label, site.nodes))
                if matches(site.prefix + name)
            ]

        def exact(text: str) -> Found | None:
            found = self._nodes(text)
            return found[0] if len(found) == 1 else None

        return self._several(addresses, self.node, exact, fitting, "node", regex=regex)

    def _several(
        self,
        addresses: str | Iterable[str],
        one: Callable[[str], Found],
        exact: Callable[[str], Found | None],
        fitting: Callable[[Callable[[str], object]], list[Found]],
        kind: str,
        *,
        regex: bool,
    ) -> list[Found]:
        found: dict[tuple[int, str, int], Found] = {}
        for text in [addresses] if isinstance(addresses, str) else addresses:
            if regex:
                matching = self._matching(text, expression(text), fitting, kind, regex=True)
            elif "*" not in text:
                matching = [one(text)]
            elif (named := exact(text)) is not None:
                matching = [named]
            else:
                matching = self._matching(text, wildcard(text), fitting, kind, regex=False)
            found.update({(id(each.site), each.name, each.position): each for each in matching})
        return list(found.values())

    def _matching(
        self,
        text: str,
        pattern: re.Pattern[str],
        fitting: Callable[[Callable[[str], object]], list[Found]],
        kind: str,
        *,
        regex: bool,
    ) -> list[Found]:
        matching = fitting(pattern.fullmatch)
        if not matching:
            hint = Hint("'*' stands for any text; regular expressions need ", Argument("regex"))
            if regex:
                hint = Hint("a regular expression matches the whole name: '.*' stands for any text")
            message = f"the model has no {kind} that matches {text!r}"
            raise NameNotFoundError(kind, text, hint=hint, message=message)
        return matching

    def _around(self, address: str) -> Iterator[Site]:
        """The bodies and functions that an address may mean, the innermost first."""
        if "/" in address:
            fitting = (site for site in self.sites if site.prefix and address.startswith(site.prefix))
            yield from sorted(fitting, key=lambda site: -len(site.prefix))

    def _no_value(self, address: str, kind: str) -> NameNotFoundError:
        inside = self._inside(address, lambda site: site.has(address))
        if inside:
            return NameNotFoundError(kind, address, hint=f"it is inside of a body or function: write {inside}")
        try:
            made = self.node(address).node
        except NameNotFoundError:
            return NameNotFoundError(
                kind, address, (site.prefix + name for site in self.sites for name in site.values())
            )
        outputs = ", ".join(repr(name) for name in made.output if name)
        return NameNotFoundError(kind, address, hint=f"it is the name of a node, {made.op_type}, which makes {outputs}")

    def _no_node(self, address: str) -> NameNotFoundError:
        inside = self._inside(address, lambda site: address in site.positions or address in site.producer)
        if inside:
            return NameNotFoundError("node", address, hint=f"it is inside of a body or function: write {inside}")
        if address in self.main.given:
            return NameNotFoundError("node", address, hint="it is the name of a value that no node makes")
        return NameNotFoundError(
            "node", address, (site.prefix + name for site in self.sites for name in site.positions)
        )

    def _inside(self, name: str, there: Callable[[Site], bool]) -> str:
        found = [repr(site.prefix + name) for site in self.sites if site.prefix and there(site)]
        return " or ".join(found[:3])


def expression(text: str) -> re.Pattern[str]:
    """A regular expression.

    Raises:
        EditError: The text is none.
    """
    try:
        return re.compile(text)
    except re.error as error:
        raise EditError(f"{text!r} is no regular expression: {error}") from error


def wildcard(text: str) -> re.Pattern[str]:
    """A pattern in which ``*`` stands for any text, as a regular expression."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def _bodies(site: Site) -> Iterator[Site]:
    for node, attributes in zip(site.nodes, site.columns.attributes, strict=True):
        for attribute in attributes:
            if attribute.type in walk.PLAIN:
                continue
            if attribute.type == onnx.AttributeProto.GRAPH or attribute.HasField("g"):
                yield Site(attribute.g, f"{site.prefix}{label(node)}.{attribute.name}/", site, site.function, node)
            for number, graph in enumerate(attribute.graphs):
                yield Site(graph, f"{site.prefix}{label(node)}.{attribute.name}[{number}]/", site, site.function, node)


def _called(function: onnx.FunctionProto) -> str:
    domain, name, overload = walk.function_key(function)
    return f"{domain or 'ai.onnx'}::{name}" + (f":{overload}" if overload else "")


def reading_sites(sites: Sequence[Site], home: Site) -> list[Site]:
    """The sites that see the values of one: itself and the bodies in it, outer before inner."""
    inside = {id(home)}
    found = []
    for site in sites:
        if id(site) in inside or (site.outer is not None and id(site.outer) in inside):
            inside.add(id(site))
            found.append(site)
    return found

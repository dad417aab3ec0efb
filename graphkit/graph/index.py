"""GraphIndex: who makes a value, who reads it, what it is. Built once a graph, in O(graph)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain

import onnx

from graphkit.errors import InvalidGraphError, NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.columns import Columns, outputs_of
from graphkit.graph.misnamed import node_hint
from graphkit.graph.names import title


def producers(nodes: Sequence[onnx.NodeProto]) -> dict[str, int]:
    """Value name -> position of the node that makes it.

    Raises:
        InvalidGraphError: A value is made twice (docs/IR.md: static single assignment).

    Cost: O(nodes).
    """
    return _producers(nodes, outputs_of(nodes))


def _producers(nodes: Sequence[onnx.NodeProto], outputs: Sequence[Sequence[str]]) -> dict[str, int]:
    names = [*chain.from_iterable(outputs)]
    places = [position for position, made in enumerate(outputs) for _ in made]
    found = dict(zip(names, places, strict=True))
    if len(found) < len(names):
        _refuse_doubles(nodes, names, places)
    found.pop("", None)
    return found


def _refuse_doubles(nodes: Sequence[onnx.NodeProto], names: Sequence[str], places: Sequence[int]) -> None:
    """Raise for the first value that is made twice; "" stands for an output that is left out."""
    first: dict[str, int] = {}
    for name, position in zip(names, places, strict=True):
        if name and name in first:
            one, other = nodes[first[name]], nodes[position]
            makers = f"{title(one)} makes it twice" if one is other else f"{title(one)} and {title(other)} make it"
            raise InvalidGraphError(f"the value {name!r} has two definitions: {makers}", names=[name])
        first[name] = position


class GraphIndex:
    """Answers about one graph (not about the values inside of its bodies), each in O(1) after an O(graph) pass.

    The graph must not change while its index is in use. A value has one definition: where it has two (made by two nodes,
    or by one and being a graph input or an initializer too), an InvalidGraphError says so, which every user of an index
    passes on.

    Attributes:
        graph: The graph.
        nodes: Its nodes as a list (indexing a protobuf list costs more).
        columns: What they hold.
        producer: value name -> position in ``nodes`` of the node that makes it.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.nodes = list(graph.node)
        self.columns = Columns(self.nodes)
        self.producer = _producers(self.nodes, self.columns.outputs)
        self._captures: dict[int, tuple[str, ...]] = {}

    @cached_property
    def node_reads(self) -> list[list[str]]:
        """What each node needs, as ``reads`` gives it."""
        return walk.reads_of(self.columns)

    @cached_property
    def inputs(self) -> dict[str, onnx.ValueInfoProto]:
        """Graph inputs by name, those with a default value (an initializer of the same name) included."""
        found = {value.name: value for value in self.graph.input}
        if len(found) < len(self.graph.input):
            names = [value.name for value in self.graph.input]
            self._refuse(next(name for name in names if names.count(name) > 1), "two graph inputs have it")
        self._refuse_made(found, "a graph input")
        return found

    @cached_property
    def outputs(self) -> dict[str, onnx.ValueInfoProto]:
        """Graph outputs by name."""
        found = {value.name: value for value in self.graph.output}
        if len(found) < len(self.graph.output):
            for value in self.graph.output:
                if value.type != found[value.name].type:
                    raise InvalidGraphError(
                        f"the graph output {value.name!r} is declared twice, with two types", names=[value.name]
                    )
        return found

    @cached_property
    def initializers(self) -> dict[str, onnx.TensorProto]:
        """Dense initializers by name."""
        found = {tensor.name: tensor for tensor in self.graph.initializer}
        self._refuse_made(found, "an initializer")
        return found

    @cached_property
    def sparse_initializers(self) -> dict[str, onnx.SparseTensorProto]:
        """Sparse initializers by the name of their values, which is the name of the whole."""
        found = {sparse.values.name: sparse for sparse in self.graph.sparse_initializer}
        self._refuse_made(found, "an initializer")
        return found

    def _refuse_made(self, others: Mapping[str, object], kind: str) -> None:
        if not others.keys().isdisjoint(self.producer.keys()):
            name = next(name for name in others if name in self.producer)
            self._refuse(name, f"{title(self.nodes[self.producer[name]])} makes it, and it is {kind}")

    def _refuse(self, name: str, why: str) -> None:
        raise InvalidGraphError(f"the value {name!r} has two definitions: {why}", names=[name])

    @cached_property
    def value_info(self) -> dict[str, onnx.ValueInfoProto]:
        """The declared types of inner values by name."""
        return {value.name: value for value in self.graph.value_info}

    @cached_property
    def consumers(self) -> dict[str, list[int]]:
        """value name -> positions of the nodes that read it, as an input or from inside of a body."""
        readers: dict[str, list[int]] = {}
        for position, names in enumerate(self.node_reads):
            for name in names:
                places = readers.setdefault(name, [])
                if not places or places[-1] != position:
                    places.append(position)
        return readers

    def reads(self, position: int) -> list[str]:
        """Every value that the node at a position needs: inputs, and what its bodies capture."""
        node = self.nodes[position]
        names = node.input[:]
        if "" in names:
            names = [name for name in names if name]
        captured = self.captures(position) if node.attribute else ()
        return [*names, *captured] if captured else names

    def captures(self, position: int) -> tuple[str, ...]:
        """The names of this graph (or of graphs around it) that the bodies of a node read."""
        found = self._captures.get(position)
        if found is None:
            found = self._captures[position] = walk.captures(self.nodes[position])
        return found

    def has(self, name: str) -> bool:
        """Whether the graph defines a value of this name."""
        return (
            name in self.producer
            or name in self.inputs
            or name in self.initializers
            or name in self.sparse_initializers
        )

    def is_constant(self, name: str) -> bool:
        """Whether a value is a weight: an initializer, dense or sparse, overridable ones included."""
        return name in self.initializers or name in self.sparse_initializers

    def is_overridable(self, name: str) -> bool:
        """Whether a value is a graph input with a default value (docs/IR.md; IR version 4 or later)."""
        return name in self.inputs and self.is_constant(name)

    def values(self) -> Iterator[str]:
        """The names of all values: inputs, node outputs, initializers; each once."""
        yield from self.inputs
        yield from self.producer
        yield from (name for name in self.initializers if name not in self.inputs)
        yield from (name for name in self.sparse_initializers if name not in self.inputs)

    def require(self, name: str, kind: str = "value") -> str:
        """The name itself.

        Raises:
            NameNotFoundError: The graph has no value of this name. Names that look like it are suggested; one inside of
                a body is said to be there.
        """
        if self.has(name):
            return name
        for body in walk.nested(self.nodes):
            if name in walk.defined_names(body):
                raise NameNotFoundError(
                    kind, name, hint=f"it is inside of the body {body.name!r} of a node, out of reach of the main graph"
                )
        if hint := node_hint(self.graph, name):
            raise NameNotFoundError(kind, name, hint=hint)
        raise NameNotFoundError(kind, name, self.values())

    def node_named(self, name: str) -> int:
        """The position of the node with a name. A node without a name is found by its first output.

        Raises:
            NameNotFoundError: No node has the name, or several have it.
        """
        places = self.nodes_by_name.get(name, ())
        if len(places) == 1:
            return places[0]
        if len(places) > 1:
            outputs = ", ".join(repr(name) for p in places[:3] for name in self.nodes[p].output[:1])
            raise NameNotFoundError(
                "single node", name, hint=f"{len(places)} nodes have this name; name one by its output: {outputs}"
            )
        if name in self.producer:
            return self.producer[name]
        raise NameNotFoundError("node", name, self.nodes_by_name)

    @cached_property
    def nodes_by_name(self) -> dict[str, list[int]]:
        """node name -> positions; names may repeat (they are no keys in ONNX), nodes without one are left out."""
        places: dict[str, list[int]] = {}
        for position, node in enumerate(self.nodes):
            if node.name:
                places.setdefault(node.name, []).append(position)
        return places

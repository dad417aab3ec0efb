"""Inputs and outputs of another type: a node that converts stands behind the input or before the output, or is folded into
one of its kind that stands there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from graphkit.edit.forgetting import forget_values
from graphkit.edit.nodes import NodeWriter, delete_nodes, sort_nodes
from graphkit.edit.readers import read_instead
from graphkit.edit.renaming import rename_in_node
from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.addresses import Site, wildcard
from graphkit.graph.names import Names
from graphkit.graph.values import is_typed
from graphkit.plural import counted

Attributes = Mapping[str, Any]

Fold = Callable[[onnx.NodeProto], "Attributes | None"]
"""The attributes that a node of the kind has once the conversion is folded into it, {} where it does nothing any more;
None where the two cannot be one.
"""


@dataclass(frozen=True)
class Conversion:
    """A node that converts, and how it becomes one with a node of its kind.

    Attributes:
        op: Its operator.
        attributes: Its attributes.
        fold: What a node of its kind becomes.
        axes: A second operand, where given.
    """

    op: str
    attributes: Attributes
    fold: Fold
    axes: Sequence[int] = ()

    def folded(self, node: onnx.NodeProto) -> Attributes | None:
        """What ``fold`` says of a node; None for one of another kind."""
        return self.fold(node) if node.op_type == self.op and node.domain in ("", "ai.onnx") else None


class Interface:
    """Converts inputs and outputs of a main graph. Changes the model; ``finish`` has to be called.

    Attributes:
        made: How many nodes were put in.
        folded: How many nodes took a conversion in.
        gone: How many nodes went because of it.
    """

    def __init__(self, proto: onnx.ModelProto) -> None:
        self._graph = proto.graph
        self._site = Site(proto.graph)
        training = [graph for part in proto.training_info for graph in (part.initialization, part.algorithm)]
        self._names = Names(proto.graph, *training)
        self._first: list[int] = []
        self._last: list[int] = []
        self._gone: set[int] = set()
        self._tables: dict[str, str] = {}
        self._readers: dict[str, list[int]] = {}
        for position, node in enumerate(self._site.nodes):
            for name in walk.reads(node) if node.attribute else node.input[:]:
                if name in self._site.inputs or name in self._site.outputs:
                    self._readers.setdefault(name, []).append(position)
        self.made = self.folded = self.gone = 0

    def input(self, name: str, type_proto: onnx.TypeProto, conversion: Conversion) -> None:
        """Give an input another type, and its readers the converted value."""
        site, graph = self._site, self._graph
        if name in site.weights:
            raise EditError(f"the input {name!r} has a default value, which would be of another type")
        if name in site.outputs:
            raise EditError(f"{name!r} is an input and an output in one, so the two cannot differ")
        next(value for value in graph.input if value.name == name).type.CopyFrom(type_proto)
        left = []
        for position in dict.fromkeys(self._readers.get(name, ())):
            node = site.nodes[position]
            folded = conversion.folded(node)
            if folded is None:
                left.append(position)
                continue
            self.folded += 1
            if folded:
                _set_attributes(node, folded)
            elif node.output[0] in site.outputs:
                _make_identity(node)
            else:
                self._tables[node.output[0]] = name
                self._gone.add(position)
        if left:
            value = self._names.fresh(f"{name}_{conversion.op.lower()}")
            self._put(-1, conversion, name, value)
            read_instead(site.nodes, {name: value}, only=set(left))

    def output(self, name: str, type_proto: onnx.TypeProto, conversion: Conversion) -> None:
        """Give an output another type; the value behind it gets another name where others read it."""
        site, graph = self._site, self._graph
        if name in site.given:
            raise EditError(f"{name!r} is an output and an input or weight in one, so the two cannot differ")
        info = next(value for value in graph.output if value.name == name)
        before = onnx.TypeProto()
        before.CopyFrom(info.type)
        info.type.CopyFrom(type_proto)
        position = site.producer[name]
        node = site.nodes[position]
        alone = not self._readers.get(name)
        folded = conversion.folded(node) if alone else None
        if folded is not None:
            self.folded += 1
            if folded:
                _set_attributes(node, folded)
            else:
                self._bridge(position, name)
            return
        behind = self._names.fresh(f"{name}_before")
        rename_in_node(node, {name: behind})
        read_instead(site.nodes, {name: behind})
        forget_values(graph, {name})
        if is_typed(before):
            graph.value_info.add(name=behind).type.CopyFrom(before)
        self._put(position, conversion, behind, name)

    def _put(self, position: int, conversion: Conversion, read: str, made: str) -> None:
        """Add a node that converts, and the Constant of its axes, behind a position."""
        nodes: list[onnx.NodeProto] = []
        writer = NodeWriter(self._names)
        operands = [read]
        if conversion.axes:
            operands.append(writer.constant(nodes, np.array(conversion.axes, np.int64), f"{made}_axes"))
        title = self._names.fresh(f"{made}_{conversion.op}")
        nodes.append(onnx.helper.make_node(conversion.op, operands, [made], name=title, **conversion.attributes))
        self._graph.node.extend(nodes)
        self._first += [position] * len(nodes)
        self.made += 1

    def _bridge(self, position: int, name: str) -> None:
        """A node before an output does nothing any more: what it reads gets the output's name."""
        site = self._site
        source = site.nodes[position].input[0]
        maker = site.producer.get(source)
        if maker is None or source in site.outputs or maker in self._gone:
            _make_identity(site.nodes[position])
            return
        rename_in_node(site.nodes[maker], {source: name})
        read_instead(site.nodes, {source: name}, skipped={position})
        forget_values(self._graph, {source, name})
        self._gone.add(position)

    def finish(self) -> list[str]:
        """Put the nodes in order and delete those that are folded away.

        Returns:
            What was done.
        """
        site = self._site
        if self._tables:
            read_instead(site.nodes, self._tables, skipped=self._gone)
            forget_values(self._graph, self._tables.keys())
        keys = [*range(len(site.nodes)), *self._first]
        sort_nodes(self._graph, keys)
        order = sorted(range(len(keys)), key=keys.__getitem__)
        delete_nodes(self._graph, {place for place, old in enumerate(order) if old in self._gone})
        self.gone = len(self._gone)
        notes = [counted(self.made, "node converts", "nodes convert")] if self.made else []
        if self.folded:
            notes.append(
                f"{counted(self.folded, 'node')} took a conversion in"
                + (f", {self.gone} of them went" if self.gone else "")
            )
        return notes


def ports(graph: onnx.GraphProto) -> dict[str, tuple[onnx.ValueInfoProto, bool]]:
    """Every input and output that is fed or fetched -> (its declaration, whether it is an input)."""
    held = {tensor.name for tensor in graph.initializer}
    found = {value.name: (value, False) for value in graph.output}
    found.update({value.name: (value, True) for value in graph.input if value.name not in held})
    return found


def chosen_ports(
    graph: onnx.GraphProto, wanted: Mapping[str, str], also: Callable[[str, onnx.TypeProto], bool] = lambda _, __: False
) -> dict[str, str]:
    """Input or output -> what is wanted of it, patterns resolved; a later entry counts before an earlier one.

    Args:
        graph: The main graph.
        wanted: Name, or a pattern in which ``*`` stands for any text -> what is wanted.
        also: Whether a name that no input or output has means one of a type all the same.

    Raises:
        NameNotFoundError: Nothing has the name or matches.
    """
    known = ports(graph)
    found: dict[str, str] = {}
    for name, value in wanted.items():
        if name in known:
            found[name] = value
            continue
        matching = [one for one, (info, _) in known.items() if wildcard(name).fullmatch(one) or also(name, info.type)]
        if not matching:
            raise NameNotFoundError("input or output", name, known)
        found.update(dict.fromkeys(matching, value))
    return found


def _set_attributes(node: onnx.NodeProto, attributes: Attributes) -> None:
    del node.attribute[:]
    node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in attributes.items())


def _make_identity(node: onnx.NodeProto) -> None:
    node.op_type = "Identity"
    del node.attribute[:]

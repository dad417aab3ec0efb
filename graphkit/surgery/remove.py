"""remove: nodes go and what they read stands in their place; outputs and inputs go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.forgetting import forget_values
from graphkit.edit.new_types import fits, follow_types, require_fit
from graphkit.edit.nodes import delete_nodes
from graphkit.edit.prune import prune
from graphkit.edit.readers import read_instead
from graphkit.edit.renaming import rename_in_node
from graphkit.errors import EditError, NameNotFoundError
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses, Found, Site
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import title
from graphkit.graph.opset import opset_of
from graphkit.graph.values import format_type, is_typed
from graphkit.hint import Hint, call
from graphkit.model import Model
from graphkit.operation import Edit, operation
from graphkit.plural import counted
from graphkit.semantics.schemas import Schema, schema_of
from graphkit.shapes.types_of import types_of


@operation(law="meant", valid=False)
def remove(
    model: Model,
    *,
    nodes: str | Iterable[str] = (),
    inputs: str | Iterable[str] = (),
    outputs: str | Iterable[str] = (),
    regex: bool = False,
) -> Edit:
    """Take nodes, outputs and inputs out of a model.

    Whoever read the first output of a node that goes reads the node's first input. Where that output is one of the graph,
    the graph's output keeps its name: the value that takes its place gets it, or an Identity gives it where that value is
    an input, a weight or another output. Constants and nodes that only the removed ones needed go too.

    Args:
        model: A path, a ModelProto or a Model.
        nodes: Nodes by address (a node without a name goes by its output), ``*`` for any text.
        inputs: Inputs of the graph that nothing reads, or that are optional operands wherever they are read: the operand
            is left out there.
        outputs: Outputs of the graph; what only they needed goes too.
        regex: ``nodes`` are regular expressions.

    Raises:
        NameNotFoundError: There is no such node, input or output.
        EditError: What a node makes cannot be replaced by what it reads (another type, several outputs that are read, no
            input), something reads an input that it cannot do without, or no output would be left.
        ValueError: Nothing is named.

    Changes: nothing; returns a new model. The notes count what went.
    Scope: nodes in the main graph, bodies and functions; inputs and outputs of the main graph.
    Cost: O(graph); weights are not read. One shape inference where the type of a value changes.
    Law: meant.

    Example:
        >>> gk.remove("model.onnx", nodes=["Dropout_7"]).save("out.onnx")  # doctest: +SKIP
    """
    chosen = [[names] if isinstance(names, str) else list(names) for names in (nodes, inputs, outputs)]
    if not any(chosen):
        raise ArgumentValueError("remove needs at least one node, input or output")
    proto = model.copy_proto()
    notes: list[str] = []
    if chosen[0]:
        addresses = Addresses(proto)
        notes += _Removal(model.proto, proto, addresses.nodes(chosen[0], regex=regex)).done()
    if chosen[2]:
        notes += _drop_outputs(proto, chosen[2])
    if chosen[1]:
        notes += _drop_inputs(proto, chosen[1])
    return Edit(proto, notes)


class _Removal:
    """Removes nodes. Changes the model."""

    def __init__(self, before: onnx.ModelProto, proto: onnx.ModelProto, found: Sequence[Found]) -> None:
        self._before, self._proto, self._found = before, proto, found
        self._sites = {id(each.site): each.site for each in found}
        self._bridged: dict[int, dict[str, str]] = {key: {} for key in self._sites}
        self._left: list[str] = []
        self._identities = 0

    def done(self) -> list[str]:
        """Remove them; what was done."""
        gone: dict[int, set[int]] = {key: set() for key in self._sites}
        for each in self._found:
            gone[id(each.site)].add(each.position)
        reads = {key: _read_in(site, gone[key]) for key, site in self._sites.items()}
        for each in sorted(self._found, key=lambda found: -found.position):  # readers first: what they read is read
            self._bridge(each, reads[id(each.site)])
        self._check_types()
        for key, site in self._sites.items():
            self._connect(site, gone[key])
        pruned = sum(1 for _ in walk.nodes(self._proto.graph)) if self._left else 0
        prune(self._proto, self._left)
        pruned -= sum(1 for _ in walk.nodes(self._proto.graph)) if self._left else 0
        return self._told(pruned)

    def _bridge(self, each: Found, read: set[str]) -> None:
        node = each.node
        wanted = [name for name in node.output if name and (name in read or name in each.site.outputs)]
        self._left += [name for name in node.input[1 if wanted else 0 :] if name]
        if not wanted:
            return
        if len(wanted) > 1 or wanted[0] != node.output[0]:
            other = next(name for name in wanted if name != node.output[0])
            raise EditError(f"{title(node)} makes {other!r}, which is read, and only its first output can be bridged")
        if not node.input or not node.input[0]:
            raise EditError(
                f"{title(node)} reads nothing that could stand in place of {wanted[0]!r}",
                hint="replace it by a body, or remove its readers too",
            )
        self._bridged[id(each.site)][wanted[0]] = node.input[0]
        read.add(node.input[0])

    def _check_types(self) -> None:
        """Note the values whose type changes; refuse those of another element type."""
        index = GraphIndex(self._before.graph)
        table = self._bridged.get(id(next((s for s in self._sites.values() if s.graph is self._proto.graph), None)), {})
        known = types_of(self._before, index, dict.fromkeys([*table.keys(), *table.values()]))
        self._changed: list[str] = []
        self._unsure: list[str] = []
        for key, bridged in self._bridged.items():
            site = self._sites[key]
            for old, new in bridged.items():
                one, other = (known.get(n) if bridged is table else site.types.get(n) for n in (old, new))
                if one is None or other is None or not is_typed(one) or not is_typed(other):
                    self._unsure.append(site.prefix + old)
                elif one != other:
                    if not _same_elements(one, other):
                        raise EditError(
                            f"{title(site.nodes[site.producer[old]])} makes {format_type(one)} of {format_type(other)}, "
                            f"so {new!r} cannot stand in place of {old!r}"
                        )
                    self._changed.append(site.prefix + old)
                    if not fits(other, one):
                        self._unsure.append(site.prefix + old)

    def _connect(self, site: Site, gone: set[int]) -> None:
        """Let the readers read on, give outputs their names, delete the nodes."""
        bridged = self._bridged[id(site)]
        table = _table(bridged, {name for position in gone for name in site.nodes[position].output})
        made = site.producer.keys() - {name for p in gone for name in site.nodes[p].output}
        renamed: dict[str, str] = {}
        identities: dict[int, tuple[str, str]] = {}
        for old, new in table.items():
            if old not in site.outputs:
                continue
            if new in made and new not in site.outputs and new not in renamed:
                renamed[new] = old
            else:
                identities[site.producer[old]] = (new, old)
        for old in list(table):
            if old in site.outputs:
                table[old] = old
            else:
                table[old] = renamed.get(table[old], table[old])
        table.update(renamed)
        others = {old: new for old, new in table.items() if old != new}
        read_instead(site.nodes, others, skipped=gone)
        if site.graph is self._proto.graph:
            for training in self._proto.training_info:
                for graph in (training.initialization, training.algorithm):
                    read_instead(graph.node, others)
        for old, new in renamed.items():
            rename_in_node(site.nodes[site.producer[old]], {old: new})
        forget_values(site.holder, {*table, *renamed}.difference(site.inputs))
        for position, (new, old) in identities.items():
            node = site.nodes[position]
            name = node.name
            node.Clear()
            node.CopyFrom(onnx.helper.make_node("Identity", [new], [old], name=name))
        delete_nodes(site.holder, gone - identities.keys())
        self._identities += len(identities)
        self._changed = [renamed.get(name, table.get(name, name)) for name in self._changed]

    def _told(self, pruned: int) -> list[str]:
        names = ", ".join(repr(each.address) for each in self._found[:8])
        more = f" and {len(self._found) - 8} more" if len(self._found) > 8 else ""
        removed = f"removed {len(self._found)} node{'s' if len(self._found) != 1 else ''}: {names}{more}"
        notes = [removed]
        if pruned:
            notes.append(
                counted(pruned, "node that only they needed is gone too", "nodes that only they needed are gone too")
            )
        if self._identities:
            notes.append(
                counted(
                    self._identities,
                    "Identity node gives an output of the graph its name",
                    "Identity nodes give outputs of the graph their names",
                )
            )
        if self._changed:
            follow_types(self._proto, self._changed)
        if self._unsure:
            shown = ", ".join(map(repr, self._unsure[:3])) + (" and others" if len(self._unsure) > 3 else "")
            require_fit([self._before], self._proto, f"removing what makes {shown}")
        return notes


def _read_in(site: Site, gone: set[int]) -> set[str]:
    """What the nodes that stay read, and the bodies in them."""
    reads = walk.reads_of(site.columns)
    return set(chain.from_iterable(names for position, names in enumerate(reads) if position not in gone))


def _table(bridged: dict[str, str], removed: set[str]) -> dict[str, str]:
    """Value -> what stands in its place, behind all the nodes that go.

    Raises:
        EditError: They read from each other in a cycle, which leaves nothing.
    """
    table = {}
    for old in bridged:
        new, steps = old, 0
        while new in bridged and steps <= len(bridged):
            new, steps = bridged[new], steps + 1
        if new in removed:
            raise EditError(f"what makes {old!r} reads what it makes, so nothing is left that could stand in its place")
        table[old] = new
    return table


def _same_elements(one: onnx.TypeProto, other: onnx.TypeProto) -> bool:
    kind = one.WhichOneof("value")
    if kind != other.WhichOneof("value"):
        return False
    return kind not in ("tensor_type", "sparse_tensor_type") or bool(
        getattr(one, kind).elem_type == getattr(other, kind).elem_type
    )


def _drop_outputs(proto: onnx.ModelProto, names: Sequence[str]) -> list[str]:
    present = [value.name for value in proto.graph.output]
    for name in names:
        if name not in present:
            raise NameNotFoundError("output", name, present)
    if not set(present).difference(names):
        raise EditError("no output would be left", hint=Hint("keep one, or cut: ", call("extract", outputs=["VALUE"])))
    for place in range(len(present) - 1, -1, -1):
        if present[place] in names:
            del proto.graph.output[place]
    count = sum(1 for _ in walk.nodes(proto.graph))
    idle = prune(proto, [name for name in names if name not in {value.name for value in proto.graph.output}])
    count -= sum(1 for _ in walk.nodes(proto.graph))
    role = "output" if len(names) == 1 else "outputs"
    more = f", and {counted(count, 'node')} that nothing else needed" if count else ""
    notes = [f"dropped the {role} {', '.join(map(repr, names))}{more}"]
    return notes + ([f"nothing reads the inputs {', '.join(map(repr, idle))} any more"] if idle else [])


def _drop_inputs(proto: onnx.ModelProto, names: Sequence[str]) -> list[str]:
    present = [value.name for value in proto.graph.input]
    notes = []
    for name in names:
        if name not in present:
            raise NameNotFoundError("input", name, present)
        if any(value.name == name for value in proto.graph.output):
            raise EditError(f"the input {name!r} is an output too", hint="remove that output first")
        left_out = _unread(proto, name)
        for entries in (proto.graph.input, proto.graph.initializer):
            for place in range(len(entries) - 1, -1, -1):
                if entries[place].name == name:
                    del entries[place]
        for place in range(len(proto.graph.sparse_initializer) - 1, -1, -1):
            if proto.graph.sparse_initializer[place].values.name == name:
                del proto.graph.sparse_initializer[place]
        notes.append(
            f"dropped the input {name!r}" + (f"; it is left out of {', '.join(left_out[:8])}" if left_out else "")
        )
    return notes


def _unread(proto: onnx.ModelProto, name: str) -> list[str]:
    """Leave an input out wherever it is read. Changes the model.

    Returns:
        The nodes that read it.
    """
    left_out = []
    for node in walk.nodes(proto.graph):
        if name in node.input:
            _leave_out(proto, node, name)
            left_out.append(title(node))
        elif name in walk.named_in_attributes(node):
            raise EditError(f"{title(node)} reads the input {name!r}")
    for graph in walk.graphs(proto.graph):
        if any(value.name == name for value in graph.output):
            raise EditError(f"a body hands out the input {name!r}")
    return left_out


def _leave_out(proto: onnx.ModelProto, node: onnx.NodeProto, name: str) -> None:
    """Leave an optional operand out of a node; what stands behind it stays where it is. Changes the node."""
    schema = schema_of(node.op_type, opset_of(proto)) if node.domain in ("", "ai.onnx") else None
    for place, operand in enumerate(node.input):
        if operand == name:
            if schema is None or not _optional(schema, place):
                raise EditError(
                    f"{title(node)} reads the input {name!r} and cannot do without it",
                    hint=Hint("make it a constant: ", call("freeze", values={name: 0}), ", or remove the node too"),
                )
            node.input[place] = ""
    while node.input and not node.input[-1]:
        del node.input[-1]


def _optional(schema: Schema, place: int) -> bool:
    return place < len(schema.inputs) and schema.inputs[place].option == Schema.FormalParameterOption.Optional

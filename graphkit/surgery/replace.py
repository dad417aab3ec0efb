"""replace: a body stands where a node or a region of nodes stood."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import onnx

from graphkit.arguments import ArgumentValueError
from graphkit.edit.body import Body, Placing, fit, read_body
from graphkit.edit.forgetting import forget_values
from graphkit.edit.new_types import fits, require_fit
from graphkit.edit.nodes import delete_nodes, sort_nodes
from graphkit.edit.prune import prune
from graphkit.edit.region import region, require_closed
from graphkit.errors import EditError, InvalidGraphError
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses, Found, Site
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import Names, title
from graphkit.graph.opset import opset_of
from graphkit.graph.order import is_ordered, topological_order
from graphkit.graph.values import format_type, is_typed
from graphkit.model import Model, ModelLike
from graphkit.operation import Edit, operation
from graphkit.plural import counted
from graphkit.shapes.types_of import types_of


@operation(law="replaced", valid=False)
def replace(
    model: Model,
    *,
    nodes: str | Iterable[str] = (),
    inputs: str | Iterable[str] = (),
    outputs: str | Iterable[str] = (),
    function: Any = None,
    body_model: ModelLike | None = None,
    regex: bool = False,
) -> Edit:
    """Put a body in the place of a node, or of all nodes between some values.

    The values at the boundary keep their names: the body's inputs and outputs stand for them in order. In place of a
    node, the body may have fewer inputs than the node; weights that only the old nodes read go with them.

    Args:
        model: A path, a ModelProto or a Model.
        nodes: Nodes by address (a node without a name goes by its output), ``*`` for any text; each is replaced.
        inputs: In place of ``nodes``: the values that a region reads, weights left out.
        outputs: The values that the region makes.
        function: The body, as ``insert`` takes it: text, a file, a name of the library, a FunctionProto.
        body_model: The body as a model: a path, a ModelProto or a Model.
        regex: ``nodes`` are regular expressions.

    Raises:
        NameNotFoundError: There is no such node or value.
        EditError: The region is not closed (the message says what is missing); the body has another number of inputs or
            outputs; a type does not fit; an operator of the body is unknown at the model's opset.
        FormatError, ModelFileError: The body cannot be read.
        ValueError: Neither nodes nor a region are named, or both.

    Changes: nothing; returns a new model. The notes count what went and what came.
    Scope: main graph, bodies, functions; a region lies in one of them.
    Cost: O(graph); weights of the model are not read, those of the body are.
    Law: replaced.

    Example:
        >>> gk.replace("model.onnx", nodes="Gelu_3", function="(x) => (y) { y = Relu(x) }")  # doctest: +SKIP
    """
    chosen, starts, ends = ([names] if isinstance(names, str) else list(names) for names in (nodes, inputs, outputs))
    if bool(chosen) == bool(starts or ends) or bool(starts) != bool(ends):
        raise ArgumentValueError("name what to replace: nodes, or inputs and outputs of a region")
    proto = model.copy_proto()
    body = read_body(function, body_model, opset_of(proto))
    notes = fit(body, proto)
    addresses = Addresses(proto)
    work = _Work(model.proto, proto, body)
    if chosen:
        holes = [_hole_of_node(each, body) for each in addresses.nodes(chosen, regex=regex)]
    else:
        holes = [_hole_of_region([addresses.value(n) for n in starts], [addresses.value(n) for n in ends], body)]
    work.replace(holes)
    return Edit(proto, [*notes, work.told()], arguments=body.written)


class _Hole:
    """Nodes that go, and what the body reads and makes in their place."""

    def __init__(self, site: Site, positions: set[int], reads: Sequence[str], makes: Sequence[str], title: str) -> None:
        self.site, self.positions, self.reads, self.makes, self.title = site, positions, reads, makes, title


def _hole_of_node(each: Found, body: Body) -> _Hole:
    node = each.node
    count = len(body.inputs)
    reads = list(node.input)[:count]
    if len(reads) < count or "" in reads:
        raise EditError(f"{body.title} has {count} inputs, and {title(node)} reads {len([n for n in node.input if n])}")
    makes = list(node.output)[: len(body.outputs)]
    if any(name in each.site.read or name in each.site.outputs for name in node.output[len(makes) :] if name):
        require_closed(each.site, {each.position}, [name for name in makes if name])
    return _Hole(each.site, {each.position}, reads, makes, title(node))


def _hole_of_region(starts: Sequence[Found], ends: Sequence[Found], body: Body) -> _Hole:
    site = ends[0].site
    if any(end.site is not site for end in ends):
        raise EditError("the outputs of a region have to be in one graph")
    seen = {id(site)}
    around = site.outer
    while around is not None:
        seen.add(id(around))
        around = around.outer
    for start in starts:
        if id(start.site) not in seen:
            raise EditError(f"{start.address!r} cannot be read where {ends[0].address!r} is made")
    reads, makes = [start.name for start in starts], [end.name for end in ends]
    for what, have, want in (("inputs", body.inputs, reads), ("outputs", body.outputs, makes)):
        if len(have) != len(want):
            raise EditError(f"{body.title} has {len(have)} {what}, and the region {len(want)}")
    shown = ", ".join(repr(end.address) for end in ends)
    return _Hole(site, region(site, reads, makes), reads, makes, f"what makes {shown}")


class _Work:
    def __init__(self, before: onnx.ModelProto, proto: onnx.ModelProto, body: Body) -> None:
        self._before, self._proto, self._body = before, proto, body
        training = [graph for part in proto.training_info for graph in (part.initialization, part.algorithm)]
        functions = [onnx.GraphProto(node=function.node) for function in proto.functions]
        self._placing = Placing(proto, body, Names(proto.graph, *training, *functions))
        self._holes: Sequence[_Hole] = ()
        self._gone = self._made = 0

    def replace(self, holes: Sequence[_Hole]) -> None:
        """Replace what stands in some holes."""
        self._holes = holes
        self._refuse_trained()
        unsure = self._unsure(holes)
        sites: dict[int, list[_Hole]] = {}
        for hole in holes:
            sites.setdefault(id(hole.site), []).append(hole)
        left: list[str] = []
        for found in sites.values():
            left += self._fill(found[0].site, found)
        kept = {name for hole in holes for name in (*hole.reads, *hole.makes)}
        read = set(walk.free_names(onnx.GraphProto(node=self._body.model.graph.node)))
        idle = [place for place, formal in enumerate(self._body.inputs) if formal not in read]
        unread = [name for name in left if name not in kept] + [hole.reads[place] for hole in holes for place in idle]
        prune(self._proto, unread)
        if unsure:
            require_fit([self._before], self._proto, f"putting {self._body.title} in place of {unsure}")

    def _refuse_trained(self) -> None:
        """Refuse to take out what a training graph differentiates."""
        trained = walk.training_names(self._proto)
        for hole in self._holes if trained else ():
            if hole.site.graph is self._proto.graph:
                made = {name for position in hole.positions for name in hole.site.nodes[position].output}
                lost = sorted(made.intersection(trained).difference(hole.makes))
                if lost:
                    raise EditError(
                        f"the region makes {lost[0]!r}, which the model's training graph names",
                        hint="give it as output of the region too",
                    )

    def _fill(self, site: Site, holes: Sequence[_Hole]) -> list[str]:
        """Write the body into the holes of one site; the values that nobody may read any more."""
        keys: list[int] = list(range(len(site.nodes)))
        gone: set[int] = set()
        left: list[str] = []
        vanished: set[str] = set()
        for hole in holes:
            if gone & hole.positions:
                raise EditError(f"{hole.title} is replaced twice")
            gone |= hole.positions
            for position in hole.positions:
                left += walk.reads(site.nodes[position])
                vanished.update(site.nodes[position].output)
            old = site.nodes[min(hole.positions)].name if len(hole.positions) == 1 else ""
            made = self._placing.place(
                site.holder,
                hole.reads,
                [*hole.makes, *[""] * (len(self._body.outputs) - len(hole.makes))],
                whole=site.function is None,
            )
            if old and len(made) == 1:
                made[0].name = old
            keys += [max(hole.positions)] * len(made)
            self._made += len(made)
            vanished.difference_update(hole.makes)
        self._gone += len(gone)
        sort_nodes(site.holder, keys)
        positions = sorted(range(len(keys)), key=keys.__getitem__)
        delete_nodes(site.holder, {place for place, old in enumerate(positions) if old in gone})
        if not is_ordered(site.holder.node):
            _sort(site, holes)
        forget_values(site.holder, vanished)
        return left

    def _unsure(self, holes: Sequence[_Hole]) -> str:
        """Refuse types that do not fit; the holes of which not all types are known."""
        index = GraphIndex(self._before.graph)
        main = [hole for hole in holes if hole.site.graph is self._proto.graph]
        names = dict.fromkeys(name for hole in main for name in (*hole.reads, *hole.makes) if name)
        known = types_of(self._before, index, names)
        unsure = []
        for hole in holes:
            table = known if hole.site.graph is self._proto.graph else hole.site.types
            given = [_known(table.get(name)) for name in hole.reads]
            for formal, name, own in zip(self._body.inputs, hole.reads, given, strict=True):
                declared = self._body.declared(formal)
                if declared is not None and own is not None and not fits(own, declared):
                    raise EditError(
                        f"{name!r} is {format_type(own)}, and {self._body.title} takes {format_type(declared)}"
                    )
            for name, result in zip(hole.makes, self._body.results(given), strict=False):
                own = _known(table.get(name)) if name else None
                if own is not None and result is not None and not fits(result, own):
                    raise EditError(
                        f"{name!r} is {format_type(own)}, and {self._body.title} makes {format_type(result)} there"
                    )
                if name and (own is None or result is None):
                    unsure.append(hole.title)
        return ", ".join(unsure[:3])

    def told(self) -> str:
        """What was done."""
        more = f" and {len(self._holes) - 8} more" if len(self._holes) > 8 else ""
        titles = ", ".join(hole.title for hole in self._holes[:8])
        return f"{self._body.title} stands in place of {titles}{more}: {counted(self._gone, 'node')} went, {self._made} came"


def _known(found: onnx.TypeProto | None) -> onnx.TypeProto | None:
    return found if found is not None and is_typed(found) else None


def _sort(site: Site, holes: Sequence[_Hole]) -> None:
    try:
        order = topological_order(site.holder.node)
    except InvalidGraphError as error:
        raise EditError(f"the body in place of {holes[0].title} makes a cycle: {error.message}", hint=None) from error
    sort_nodes(site.holder, sorted(range(len(order)), key=order.__getitem__))

"""A body put between a value and those who read it; ``insert`` and whoever changes an input this way are made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx

from graphkit.edit.body import Body, Placing
from graphkit.edit.new_types import fits, follow_types, require_fit
from graphkit.edit.nodes import sort_nodes
from graphkit.edit.readers import read_instead
from graphkit.edit.renaming import rename_in_node
from graphkit.errors import EditError, InvalidGraphError
from graphkit.graph.addresses import Addresses, Found, Site, reading_sites
from graphkit.graph.columns import Columns
from graphkit.graph.names import Names
from graphkit.graph.order import is_ordered, topological_order
from graphkit.graph.values import dims, format_type, is_typed, tensor_type
from graphkit.plural import counted
from graphkit.shapes.types_of import types_of


class _Plan:
    """What happens in one site.

    Attributes:
        site: The site, as it was.
        table: Value -> what its readers read now.
        others: Output -> what reads it that is not among the chosen readers reads now.
        keys: For each node that was appended, behind which position it stands.
        read: The values that anybody reads in the site and in the bodies in it.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.table: dict[str, str] = {}
        self.others: dict[str, str] = {}
        self.keys: list[int] = []
        self.several = False
        self.read = site.read


class Insertion:
    """Puts a body into a model, at one place after another. Changes the model.

    Attributes:
        warnings: What the user has to act on.
    """

    def __init__(
        self,
        before: onnx.ModelProto,
        proto: onnx.ModelProto,
        body: Body,
        chosen: dict[int, set[int | str]] | None,
        sites: Sequence[Site] = (),
        columns: Columns | None = None,
    ) -> None:
        self._sites = sites
        self._before, self._proto, self._body, self._chosen = before, proto, body, chosen
        training = [graph for part in proto.training_info for graph in (part.initialization, part.algorithm)]
        names = Names(proto.graph, *training, *map(_as_graph, proto.functions), columns=columns)
        self._placing = Placing(proto, body, names)
        self._lean = chosen is None and self._placing.is_one_node and body.declared(body.inputs[0]) is None
        self._suffix = body.outputs[0].removesuffix("_any")
        self._keeps: dict[int, tuple[onnx.TypeProto, bool]] = {}
        self._plans: dict[int, _Plan] = {}
        self._types: dict[tuple[int, str], onnx.TypeProto] = {}
        self._main: dict[str, onnx.TypeProto] = {}
        self._changed: dict[str, onnx.TypeProto | None] = {}
        self._unsure: list[str] = []
        self._compared: dict[tuple[int, int], tuple[onnx.TypeProto, onnx.TypeProto, bool]] = {}
        self._places: list[str] = []
        self.warnings: list[str] = []

    def at(self, groups: Sequence[Sequence[Found]]) -> str:
        """Put the body behind each group of values, which are as many as it has inputs.

        Returns:
            What was done.

        Raises:
            EditError: A type does not fit, nothing reads a value, a cycle would be made.
        """
        self._note_types([each for group in groups for each in group])
        for group in groups:
            if len(group) > 1 or not self._insert_plainly(group[0]):
                self._insert(group)
        return self._finish()

    def _insert_plainly(self, each: Found) -> bool:
        """Put a body of one node behind an inner value whose type it keeps, for all readers: what is done thousands of times.

        Returns:
            Whether it was; False where there is more to look at.
        """
        site, name = each.site, each.name
        own = self._main.get(name)
        if not self._lean or own is None or site.graph is not self._proto.graph or name not in site.producer:
            return False
        if name in site.outputs:
            return False
        if id(own) not in self._keeps:
            self._keeps[id(own)] = (own, self._body.results([own])[0] == own)
        plan = self._plans.get(id(site)) or self._plans.setdefault(id(site), _Plan(site))
        if not self._keeps[id(own)][1] or name not in plan.read:
            return False
        give = plan.table[name] = self._placing.names.fresh(f"{name}_{self._suffix}")
        self._placing.place_one(name, give)
        plan.keys.append(site.producer[name])
        self._places.append(name)
        return True

    def _note_types(self, found: Sequence[Found]) -> None:
        """Look up what the values are before anything changes."""
        main = [each for each in found if each.site.graph is self._proto.graph]
        if main:
            index = main[0].site.index
            assert index is not None
            self._main = types_of(self._proto, index, [each.name for each in main])
        for each in found:
            known = each.site.types.get(each.name)
            if each.site.graph is not self._proto.graph and known is not None and is_typed(known):
                self._types[id(each.site), each.name] = known

    def _insert(self, group: Sequence[Found]) -> None:
        """Put the body once behind some values of one site."""
        site = group[0].site
        if any(each.site is not site for each in group):
            raise EditError(f"{self._body.title} takes several values, and these are not all in one graph")
        plan = self._plans.get(id(site)) or self._plans.setdefault(id(site), _Plan(site))
        reads, gives = [], []
        given = [self._given(each, formal) for each, formal in zip(group, self._body.inputs, strict=True)]
        results = self._body.results(given)
        for number, (each, formal) in enumerate(zip(group, self._body.outputs, strict=False)):
            read, give = self._names_at(plan, each, formal)
            reads.append(read)
            gives.append(give)
            self._check(each, given[number], results[number], give)
        for formal, result in zip(self._body.outputs[len(group) :], results[len(group) :], strict=True):
            gives.append(self._further(site, formal, result) if gives[0] == group[0].name else "")
        position = max(site.producer.get(each.name, -1) for each in group)
        nodes = self._placing.place(site.holder, reads, gives, whole=site.function is None)
        plan.keys += [position] * len(nodes)
        plan.several = plan.several or len(group) > 1
        self._places += [each.address for each in group]

    def _type_of(self, each: Found) -> onnx.TypeProto | None:
        """The type that a value had before the edit."""
        if each.site.graph is self._proto.graph:
            return self._main.get(each.name)
        return self._types.get((id(each.site), each.name))

    def _given(self, each: Found, formal: str) -> onnx.TypeProto | None:
        """The type of what the body takes here. An input of the graph gets it, where the body declares another one."""
        own, declared = self._type_of(each), self._body.declared(formal)
        if declared is None or own is None:
            return own
        if each.site.graph is self._proto.graph and each.name in each.site.inputs:
            return _with_dims(declared, own)
        if not fits(own, declared):
            raise EditError(
                f"{each.address!r} is {format_type(own)}, and {self._body.title} takes {format_type(declared)}",
                hint="give the body another input type, or put a cast before it",
            )
        return own

    def _names_at(self, plan: _Plan, each: Found, formal: str) -> tuple[str, str]:
        """(what the body reads, what its output is called) at a value; who reads the value is told."""
        site, name = each.site, each.name
        chosen = None if self._chosen is None else self._chosen.get(id(site), set())
        if name not in site.outputs or (chosen is not None and name not in chosen):
            if name not in plan.read:
                raise EditError(f"nothing reads {each.address!r}, so nothing can be put between it and its readers")
            give = plan.table[name] = self._placing.names.fresh(f"{name}_{formal.removesuffix('_any')}")
            return name, give
        if name in site.given:
            what = "an input" if name in site.inputs else "a weight"
            raise EditError(
                f"{each.address!r} is an output and {what} in one, so the two cannot differ",
                hint="give it to some readers only, or rename the output of a copy",
            )
        behind = plan.others[name] = self._placing.names.fresh(f"{name}_before")
        rename_in_node(site.nodes[site.producer[name]], {name: behind})
        if site.graph is not None:
            _rename_beside(site.graph, name, behind)
            if (known := site.types.get(name)) is not None and is_typed(known):
                site.graph.value_info.add(name=behind).type.CopyFrom(known)
        return behind, name

    def _check(self, each: Found, given: onnx.TypeProto | None, result: onnx.TypeProto | None, give: str) -> None:
        """Note a type that changes; refuse one that cannot."""
        own = self._type_of(each)
        if (
            each.site.graph is self._proto.graph
            and each.name in each.site.inputs
            and given is not None
            and own != given
        ):
            self._retype_input(each, given, result, own)
            return
        if own is None or result is None or each.site.function is not None:
            self._unsure.append(each.address)
            self._changed[give] = result
        elif self._differ(own, result):
            self._changed[give] = result
            if give != each.name or each.name in self._plans[id(each.site)].read:
                self._unsure.append(each.address)

    def _differ(self, one: onnx.TypeProto, other: onnx.TypeProto) -> bool:
        """Whether two types differ; they are the same objects again and again, and are compared once."""
        key = id(one), id(other)
        if key not in self._compared:
            self._compared[key] = (one, other, one != other)
        return self._compared[key][2]

    def _retype_input(
        self, each: Found, given: onnx.TypeProto, result: onnx.TypeProto | None, own: onnx.TypeProto | None
    ) -> None:
        if own is not None and result is not None and not fits(result, own):
            raise EditError(
                f"the input {each.name!r} is {format_type(own)}, and {self._body.title} makes "
                f"{format_type(result)} of {format_type(given)}"
            )
        if each.name in each.site.weights:
            raise EditError(f"the input {each.name!r} has a default value, which would be of another type")
        if self._chosen is not None and own is not None and not fits(given, own):
            raise EditError(f"the input {each.name!r} becomes {format_type(given)}, so all its readers have to change")
        if result is None:
            self._unsure.append(each.address)
        value = next(value for value in self._proto.graph.input if value.name == each.name)
        value.type.CopyFrom(_pinned(given, result, own))

    def _further(self, site: Site, formal: str, result: onnx.TypeProto | None) -> str:
        """A further output of the body becomes one of the main graph."""
        if site.graph is not self._proto.graph:
            return ""
        name = self._placing.names.fresh(formal.removesuffix("_any"))
        output = self._proto.graph.output.add(name=name)
        if result is not None:
            output.type.CopyFrom(result)
        return name

    def _finish(self) -> str:
        """Connect the readers, put the nodes in order, declare the types.

        Returns:
            What was done.
        """
        changed = 0
        for plan in self._plans.values():
            chosen = (
                None if self._chosen is None else {p for p in self._chosen.get(id(plan.site), ()) if isinstance(p, int)}
            )
            if plan.table:
                changed += read_instead(plan.site.nodes, plan.table, only=chosen)
                if self._chosen is not None:
                    changed += read_inside(self._sites, plan.site, plan.table, self._chosen)
            if chosen is not None and plan.others:
                read_instead(plan.site.nodes, plan.others, skipped=chosen)
            sort_nodes(plan.site.holder, [*range(len(plan.site.nodes)), *plan.keys])
            if plan.several and not is_ordered(plan.site.holder.node):
                self._sort(plan)
        self._refuse_idle(changed)
        if self._changed:
            untyped = follow_types(self._proto, self._changed)
            for output in self._proto.graph.output:
                if output.name in untyped and (known := self._changed.get(output.name)) is not None:
                    output.type.CopyFrom(known)
                    untyped.remove(output.name)
            if untyped:
                self.warnings.append(
                    f"no type is known for {', '.join(map(repr, untyped))}: the output is declared without one"
                )
        if self._unsure:
            shown = ", ".join(map(repr, self._unsure[:3])) + (" and others" if len(self._unsure) > 3 else "")
            require_fit([self._before], self._proto, f"putting {self._body.title} behind {shown}")
        made = sum(len(plan.keys) for plan in self._plans.values())
        more = f" and {len(self._places) - 8} more" if len(self._places) > 8 else ""
        places = ", ".join(map(repr, self._places[:8]))
        readers = f", read by {counted(changed, 'node')}" if changed else ""
        return f"{self._body.title} is put behind {places}{more}: {counted(made, 'node')}{readers}"

    def _sort(self, plan: _Plan) -> None:
        try:
            order = topological_order(plan.site.holder.node)
        except InvalidGraphError as error:
            values = ", ".join(map(repr, self._places))
            raise EditError(
                f"{self._body.title} cannot take {values} and be read behind each of them: {error.message}",
                hint="say who reads the result: readers",
            ) from error
        sort_nodes(plan.site.holder, sorted(range(len(order)), key=order.__getitem__))

    def _refuse_idle(self, changed: int) -> None:
        if not changed and self._chosen is not None and not any(plan.others for plan in self._plans.values()):
            raise EditError(f"none of the readers reads {', '.join(map(repr, self._places[:3]))}")


def chosen_readers(
    addresses: Addresses, found: Sequence[Found], readers: str | Iterable[str] | None
) -> dict[int, set[int | str]] | None:
    """Site -> the positions of nodes, and the outputs, that are to read the result; None where all are.

    Raises:
        NameNotFoundError: There is no such node.
    """
    if readers is None:
        return None
    chosen: dict[int, set[int | str]] = {}
    outputs = {each.address: each for each in found if each.name in each.site.outputs}
    for text in [readers] if isinstance(readers, str) else readers:
        if text in outputs:
            chosen.setdefault(id(outputs[text].site), set()).add(outputs[text].name)
            continue
        for node in addresses.nodes(text):
            chosen.setdefault(id(node.site), set()).add(node.position)
    return chosen


def read_inside(
    sites: Sequence[Site], home: Site, table: Mapping[str, str], chosen: Mapping[int, set[int | str]]
) -> int:
    """Let chosen nodes in the bodies of a site read other values of it. Changes the bodies.

    Args:
        sites: All places with nodes, outer before inner.
        home: The site whose values are meant.
        table: Value of it -> what to read in its place.
        chosen: Site -> positions of the nodes that change.

    Returns:
        How many nodes read another value now.
    """
    hidden: dict[int, set[str]] = {id(home): set()}
    count = 0
    for site in reading_sites(sites, home)[1:]:
        assert site.outer is not None
        hidden[id(site)] = hidden[id(site.outer)] | {name for name in table if site.has(name)}
        wanted = {position for position in chosen.get(id(site), ()) if isinstance(position, int)}
        seen = {name: new for name, new in table.items() if name not in hidden[id(site)]}
        if wanted and seen:
            count += read_instead(site.nodes, seen, only=wanted)
    return count


def _as_graph(function: onnx.FunctionProto) -> onnx.GraphProto:
    return onnx.GraphProto(node=function.node, input=[onnx.ValueInfoProto(name=name) for name in function.input])


def _with_dims(declared: onnx.TypeProto, own: onnx.TypeProto) -> onnx.TypeProto:
    """A declared type; with the dims of the old one where it gives none."""
    if dims(declared) is not None or declared.WhichOneof("value") != "tensor_type":
        return declared
    return tensor_type(declared.tensor_type.elem_type, dims(own))


def _pinned(given: onnx.TypeProto, result: onnx.TypeProto | None, own: onnx.TypeProto | None) -> onnx.TypeProto:
    """What a body takes, of the sizes at which it makes what the model wants: a symbol of its result is the model's size."""
    made, wanted, taken = (None if each is None else dims(each) for each in (result, own, given))
    if not made or not wanted or not taken:
        return given
    sizes = {one: other for one, other in zip(made, wanted, strict=False) if isinstance(one, str) and other is not None}
    return tensor_type(given.tensor_type.elem_type, [sizes.get(d, d) if isinstance(d, str) else d for d in taken])


def _rename_beside(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Types and annotations of a value that has another name now. Changes the graph."""
    for place in range(len(graph.value_info) - 1, -1, -1):
        if graph.value_info[place].name == old:
            del graph.value_info[place]
    for annotation in graph.quantization_annotation:
        if annotation.tensor_name == old:
            annotation.tensor_name = new

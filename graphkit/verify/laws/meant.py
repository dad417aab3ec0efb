"""meant: what was meant to change changed, nothing upstream of it did, and the rest changed only through it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from graphkit.bridge.edit import in_place
from graphkit.graph import walk
from graphkit.graph.addresses import Addresses, Found
from graphkit.graph.index import GraphIndex
from graphkit.graph.ports import input_ports, output_ports
from graphkit.graph.upstream import downstream
from graphkit.model import Model
from graphkit.surgery import tap as surgery
from graphkit.verify.laws.binding import Binding, Broken, Change, Fed, Outcome
from graphkit.verify.laws.computations import unchanged
from graphkit.verify.laws.expected import inserted, removed, with_parts
from graphkit.verify.laws.loose import loosened
from graphkit.verify.laws.same import identity, listed


def tap(change: Change) -> Binding:
    """The old outputs as they were, and the tapped values, which the model before computes too.

    What is inside of a body cannot be asked for from outside: it is what the operation hands out of the model before.
    """
    given = change.arguments
    addresses = Addresses(change.before.proto)
    names: list[str] = []
    inside: list[str] = []
    for text in listed(given["names"]):
        for each in addresses.values(text, regex=bool(given.get("regex")), made=True):
            if each.site is addresses.main:
                names.append(each.name)
            elif given.get("regex") or "*" not in text or "/" in text:
                inside.append(each.address)
    plain = identity(change)
    old = {name: outcome for name, outcome in plain.outputs.items() if name in names or not given.get("replace")}
    handed = surgery.tap(change.before, inside) if inside else None
    lifted = [value.name for value in handed.outputs[len(plain.outputs) :]] if handed is not None else []
    tapped = {name: Outcome(name) for name in (*names, *lifted) if name not in old}
    return replace(plain, outputs={**old, **tapped}, before=handed and loosened(handed, ()))


def edit(change: Change) -> Binding:
    """What the edited skeleton computes, as the history holds it; whatever it computes as before is the same."""
    proto = in_place(change.before, change.arguments["result"])
    expected = Model(proto, change.before.sources, path=change.before.path)
    same = unchanged(change.before, expected)
    index = GraphIndex(proto.graph)
    changed = [position for position, node in enumerate(index.nodes) if not same.issuperset(filter(None, node.output))]
    border = dict.fromkeys(name for position in changed for name in index.reads(position) if name in same)
    return _beside(change, loosened(expected, ()), [name for name in border if name in index.producer])


def insert(change: Change) -> Binding:
    """What a model computes that calls the body there; the values that it was put behind are as they were."""
    addresses = Addresses(change.before.proto)
    given = change.arguments
    found = addresses.values(listed(given["at"]), regex=bool(given.get("regex")), made=True)
    border = _border(change.before, found, own=True)
    expected = inserted(change.before, given)
    ports = input_ports(
        expected.proto
    )  # those that the body reads have its symbols there, and sizes of the model's own
    read = {each.name for each in found if each.site is addresses.main}.intersection(ports)
    fixed = frozenset((name, axis) for name in read for axis in range(len(ports[name].dims or ())))
    return replace(_beside(change, expected, border), fixed=fixed)


def remove(change: Change) -> Binding:
    """What a model computes in which each node hands on what it read, inputs are nobody's operand, and outputs none."""
    addresses = Addresses(change.before.proto)
    given = change.arguments
    found = addresses.nodes(listed(given.get("nodes")), regex=bool(given.get("regex")))
    found += [addresses.value(name) for name in listed(given.get("inputs"))]
    chosen = {what: listed(given.get(what)) for what in ("nodes", "inputs", "outputs")}
    return _beside(change, removed(change.before, {**given, **chosen}), _border(change.before, found))


def set_parts(change: Change) -> Binding:
    """What a model computes in which this is set, and nothing else; all as before, where no node and no weight was."""
    given = change.arguments
    cleared = [name for name in listed(given.get("clear")) if name not in ("metadata", "docs")]
    places = [*(given.get("attributes") or {}), *(given.get("operands") or {}), *cleared]
    if not any((places, given.get("tensors"), given.get("opset_import"), given.get("fill_weights"))):
        return identity(change)
    addresses = Addresses(change.before.proto)
    found = [addresses.node(place.rpartition(":")[0]) for place in places]
    found += [addresses.value(name, "weight") for name in given.get("tensors") or {}]
    expected = with_parts(change.before, {**given, "clear": cleared})
    everywhere = given.get("opset_import") or given.get("fill_weights")
    return _beside(change, expected, [] if everywhere else _border(change.before, found))


def _beside(change: Change, expected: Model, border: Iterable[str]) -> Binding:
    """The binding to a model that stands for the one before: its outputs, in order, and inner values of both.

    Outputs that only the model after names, for values that got fresh names, are those behind the others.
    """
    made, wanted = list(output_ports(change.after.proto)), list(output_ports(expected.proto))
    own = set(output_ports(change.before.proto))
    if len(made) < len(wanted):
        raise Broken(f"the outputs are {', '.join(made)} and should be {', '.join(wanted)}")
    names = [name if name in own else made[place] for place, name in enumerate(wanted)]
    both = [{name for node in model.proto.graph.node for name in node.output} for model in (change.after, expected)]
    return Binding(
        inputs={name: Fed(name) for name in input_ports(expected.proto)},
        outputs={name: Outcome(value) for name, value in zip(names, wanted, strict=True)},
        inner={name: Outcome(name) for name in border if name in both[0] & both[1] and name not in names},
        before=expected,
    )


def _border(before: Model, found: Iterable[Found], *, own: bool = False) -> list[str]:
    """The values that nodes make in the main graph, do not hang on what was changed, and are read where something does.

    Args:
        before: The model before.
        found: The nodes and values that were changed; one inside of a body or a function is all that the main graph's
            nodes make of it.
        own: Whether the values are themselves as they were, and only their readers may read others.
    """
    index = GraphIndex(before.proto.graph)
    begun = [name for each in found for name in _in_the_main_graph(before, index, each)]
    touched = downstream(index, begun).values
    read = [name for node in index.nodes if not touched.keys().isdisjoint(node.output) for name in walk.reads(node)]
    mine = {each.name for each in found if each.site.outer is None and each.site.function is None} if own else set()
    return [
        name
        for name in dict.fromkeys([*read, *mine])
        if name in index.producer and (name not in touched or name in mine) and name not in index.outputs
    ]


def _in_the_main_graph(before: Model, index: GraphIndex, each: Found) -> list[str]:
    """The values of the main graph that a node makes, a value is, or what is inside of a body or function leads to."""
    site = each.site
    if site.function is not None:
        key, functions = walk.function_key(site.function), before.proto.functions
        calling = (node for node in index.nodes if key in walk.called_functions([node], functions))
        return [name for node in calling for name in node.output if name]
    if site.owner is None:
        return [name for name in each.node.output if name] if each.position >= 0 else [each.name]
    while site.outer is not None and site.outer.owner is not None:
        site = site.outer
    return [name for name in site.owner.output if name] if site.owner is not None else []

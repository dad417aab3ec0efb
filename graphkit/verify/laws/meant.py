"""meant: what was meant to change changed, and nothing upstream of it did."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from graphkit.graph import walk
from graphkit.graph.index import GraphIndex
from graphkit.graph.names import label
from graphkit.graph.ports import input_ports, output_ports
from graphkit.graph.upstream import downstream
from graphkit.verify.laws.binding import Alone, Binding, Broken, Change, Fed, Link, Outcome
from graphkit.verify.laws.same import identity, listed
from graphkit.verify.laws.unchanged import unchanged


def tap(change: Change) -> Binding:
    """The old outputs as they were, and the tapped values, which the model before computes too."""
    names = listed(change.arguments["names"])
    plain = identity(change)
    index = GraphIndex(change.before.proto.graph)
    kept = plain.outputs if not change.arguments.get("replace") else set(names).intersection(plain.outputs)
    if change.arguments.get("regex") or not all(index.has(name) for name in names):  # patterns, values of bodies
        made = [name for name in output_ports(change.after.proto) if index.has(name)]
        missing = [name for name in plain.outputs if name not in made and not change.arguments.get("replace")]
        if missing:
            raise Broken(f"the output {missing[0]!r} is missing")
        return replace(plain, outputs={name: Outcome(name) for name in made}, known=False)
    old = {name: outcome for name, outcome in plain.outputs.items() if name in kept}
    return replace(plain, outputs={**old, **{name: Outcome(name) for name in names if name not in old}})


def edit(change: Change) -> Binding:
    """Whatever is computed as before must be the same; what was meant by the rest is not known, and it must run."""
    before, after = input_ports(change.before.proto), change.after
    inputs: dict[str, Link] = {name: Fed(name) if name in before else Alone() for name in input_ports(after.proto)}
    same = unchanged(change.before, after)
    outputs = {name: Outcome(name) for name in output_ports(after.proto) if name in same}
    return Binding(inputs=inputs, outputs=outputs, known=False, ordered=False)


def insert(change: Change) -> Binding:
    """What does not read the value that a body was put behind, and the value itself, must be the same."""
    return _spared(change, listed(change.arguments["at"]), own=True)


def remove(change: Change) -> Binding:
    """What does not read what was taken out must be the same."""
    given = change.arguments
    named = [name for what in ("nodes", "inputs") for name in listed(given.get(what))]
    return _spared(change, named, gone=listed(given.get("outputs")))


def set_parts(change: Change) -> Binding:
    """What does not read what was set must be the same; all of it, where no node and no weight was."""
    given = change.arguments
    if any(given.get(what) for what in ("strip_weights", "fill_weights", "restore_weights", "opset_import")):
        return edit(change)
    places = [*(given.get("attributes") or {}), *(given.get("operands") or {})]
    places += [name for name in listed(given.get("clear")) if name not in ("metadata", "docs")]
    return _spared(change, [*(place.rpartition(":")[0] for place in places), *(given.get("tensors") or {})])


def _spared(change: Change, named: Iterable[str], *, gone: Iterable[str] = (), own: bool = False) -> Binding:
    """Values of the main graph that do not hang on what was named.

    Args:
        change: The step.
        named: Values and nodes; where one is none of the main graph, what has not changed is found by comparing the models.
        gone: Outputs that were taken out.
        own: Whether a named value is itself as it was, and only its readers may be others.
    """
    index = GraphIndex(change.before.proto.graph)
    nodes = {label(node): node for node in index.nodes} | {node.name: node for node in index.nodes if node.name}
    begun: set[str] = set()
    for name in named:
        if change.arguments.get("regex") or not (name in nodes or index.has(name)):
            return edit(change)
        begun.update([name] if index.has(name) and (own or name not in nodes) else nodes[name].output)
    touched = downstream(index, begun).values
    outputs = [name for name in output_ports(change.before.proto) if name not in touched and name not in set(gone)]
    read = [name for node in index.nodes if not touched.keys().isdisjoint(node.output) for name in walk.reads(node)]
    border = [
        name
        for name in dict.fromkeys(read)
        if name in index.producer and (name not in touched or (own and name in begun))
    ]
    made = {name for node in change.after.proto.graph.node for name in node.output}
    plain = identity(change)
    inputs = {name: link for name, link in plain.inputs.items() if name in input_ports(change.after.proto)}
    kept = [name for name in border if name not in index.outputs and name in made]
    found = {name: Outcome(name) for name in dict.fromkeys([*outputs, *kept])}
    return replace(plain, inputs=inputs, outputs=found, known=not touched and not list(gone), ordered=False)

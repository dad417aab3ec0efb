"""part: the part's outputs are the whole's values, once its inputs are fed the whole's values."""

from __future__ import annotations

from graphkit.graph.index import GraphIndex
from graphkit.graph.ports import input_ports, output_ports
from graphkit.model import Model
from graphkit.surgery.extract import place_of
from graphkit.verify.laws.binding import Binding, Broken, Change, Fed, Inner, Link, Outcome
from graphkit.verify.laws.same import listed


def extract(change: Change) -> Binding:
    """Inputs that the caller named, else those that the part was found to need; each is the whole's value of its name."""
    proto, standing = change.before.proto, None
    named = [listed(change.arguments.get(kind)) or None for kind in ("inputs", "outputs", "nodes")]
    given = [names or [] for names in named]
    if change.arguments.get("module") is None:
        place = place_of(proto, *named)
        if place.proto is not proto:  # a body stands for the whole, or the whole with functions inlined
            proto, standing = place.proto, Model(place.proto, change.before.sources)
            given = [names or [] for names in place.names]
    index = GraphIndex(proto.graph)
    whole, part = input_ports(proto), input_ports(change.after.proto)
    wanted = given[0] or list(part)
    defaults = [name for name, port in part.items() if not port.required and name in whole and name not in wanted]
    inputs: dict[str, Link] = {}
    for name in (*wanted, *defaults):
        if not index.has(name):
            raise Broken(f"the input {name!r} is no value of the model before")
        inputs[name] = Fed(name) if name in whole else Inner(name)
    outputs = given[1] or list(output_ports(change.after.proto))
    for name in outputs:
        if not index.has(name):
            raise Broken(f"the output {name!r} is no value of the model before")
    return Binding(inputs=inputs, outputs={name: Outcome(name) for name in outputs}, before=standing, ordered=False)

"""part: the part's outputs are the whole's values, once its inputs are fed the whole's values."""

from __future__ import annotations

from graphkit.edit.body_model import body_model
from graphkit.graph.index import GraphIndex
from graphkit.graph.ports import input_ports, output_ports
from graphkit.model import Model
from graphkit.surgery.extract import body_of
from graphkit.verify.laws.binding import Binding, Broken, Change, Fed, Inner, Link, Outcome
from graphkit.verify.laws.same import listed


def extract(change: Change) -> Binding:
    """Inputs that the caller named, else those that the part was found to need; each is the whole's value of its name."""
    proto, standing = change.before.proto, None
    given = [listed(change.arguments.get(kind)) or [] for kind in ("inputs", "outputs", "nodes")]
    prefix = "" if change.arguments.get("module") is not None else body_of(proto, [n for names in given for n in names])
    if prefix:  # the body stands for the whole
        proto = body_model(proto, prefix)
        standing = Model(proto, change.before.sources)
        given = [[name.removeprefix(prefix) for name in names] for names in given]
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

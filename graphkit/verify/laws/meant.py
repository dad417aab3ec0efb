"""meant: what was meant to change changed, and nothing upstream of it did."""

from __future__ import annotations

from dataclasses import replace

from graphkit.graph.ports import input_ports, output_ports
from graphkit.verify.laws.binding import Alone, Binding, Change, Fed, Link, Outcome
from graphkit.verify.laws.same import identity
from graphkit.verify.laws.unchanged import unchanged


def tap(change: Change) -> Binding:
    """The old outputs as they were, and the tapped values, which the model before computes too."""
    given = change.arguments["names"]
    names = list(dict.fromkeys([given] if isinstance(given, str) else given))
    plain = identity(change)
    old = {n: o for n, o in plain.outputs.items() if not change.arguments.get("replace") or n in names}
    return replace(plain, outputs={**old, **{name: Outcome(name) for name in names if name not in old}})


def edit(change: Change) -> Binding:
    """Whatever is computed as before must be the same; what was meant by the rest is not known, and it must run."""
    before, after = change.before, change.after
    inputs: dict[str, Link] = {
        name: Fed(name) if name in input_ports(before.proto) else Alone() for name in input_ports(after.proto)
    }
    same = unchanged(before, after)
    outputs = {name: Outcome(name) for name in output_ports(after.proto) if name in same}
    return Binding(inputs=inputs, outputs=outputs, known=False, ordered=False)

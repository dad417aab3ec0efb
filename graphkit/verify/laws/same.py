"""same: the same numbers on the same feeds."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from graphkit.graph.index import GraphIndex
from graphkit.graph.ports import input_ports, output_ports
from graphkit.verify.laws.binding import Binding, Change, Fed, Outcome


def identity(change: Change) -> Binding:
    """Inputs and outputs of the model before, by name and in order."""
    proto = change.before.proto
    return Binding(
        inputs={name: Fed(name) for name in input_ports(proto)},
        outputs={name: Outcome(name) for name in output_ports(proto)},
    )


def reorder(change: Change) -> Binding:
    """The same in another order: what was named comes first, and the rest follows in its own."""
    plain = identity(change)
    inputs, outputs = (listed(change.arguments.get(what)) for what in ("inputs", "outputs"))
    return replace(
        plain,
        inputs={name: plain.inputs[name] for name in dict.fromkeys([*inputs, *plain.inputs])},
        outputs={name: plain.outputs[name] for name in dict.fromkeys([*outputs, *plain.outputs])},
    )


def listed(given: Any) -> list[str]:
    """Names that were given as one text, as several, or not at all."""
    return list(dict.fromkeys([given] if isinstance(given, str) else given or ()))


def rename(change: Change) -> Binding:
    """The same under other names: those that were given, that a pattern makes, or that a text is put in front of."""
    new = _new_names(change)
    plain = identity(change)
    return replace(
        plain,
        inputs={new.get(name, name): link for name, link in plain.inputs.items()},
        outputs={new.get(name, name): outcome for name, outcome in plain.outputs.items()},
        names={after: before for before, after in new.items()},
    )


def _new_names(change: Change) -> dict[str, str]:
    """Value of before's main graph -> its new name."""
    given, proto = change.arguments, change.before.proto
    found = dict(given.get("values") or {})
    patterns = [(re.compile(text), replacement) for text, replacement in (given.get("regex") or {}).items()]
    interface = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    for name in GraphIndex(proto.graph).values():
        if name in found:
            continue
        made = (pattern.sub(replacement, name) for pattern, replacement in patterns)
        prefixed = name if name in interface else f"{given.get('prefix', '')}{name}"
        new = next((one for one in made if one != name), prefixed)
        if new != name:
            found[name] = new
    return found

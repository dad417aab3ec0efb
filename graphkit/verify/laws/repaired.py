"""repaired: a model that could not be loaded is loaded now, and computes the same from the same; nothing else changed."""

from __future__ import annotations

from dataclasses import replace

from graphkit.errors import GraphkitError
from graphkit.graph.ports import input_ports, output_ports
from graphkit.model import Model
from graphkit.verify.laws.binding import Binding, Fed
from graphkit.verify.laws.computations import computations
from graphkit.verify.laws.proof import Held
from graphkit.verify.laws.side import load


def repaired(binding: Binding, before: Model, after: Model, held: Held) -> Held:
    """Ask of a model that nothing runs whether the one after is the same model, and runs.

    Nothing can be compared by running then: what every output is computed from must be the same, up to the names of nodes
    and inner values and the order of nodes, and every input and output of the type that it was declared with.

    Args:
        binding: What a step that keeps the numbers binds.
        before: The model before, which nothing runs.
        after: The model after.
        held: The answer so far: unproved.

    Returns:
        "proved" or "broken" of the law "repaired"; the answer so far where the model after does not run either.
    """
    fed = {name: link.name for name, link in binding.inputs.items() if isinstance(link, Fed) and link.convert is None}
    plain = binding.before is None and binding.prepare is None and not (binding.given or binding.freed or binding.close)
    if not plain or len(fed) < len(binding.inputs) or any(o.convert is not None for o in binding.outputs.values()):
        return held
    try:
        load(after, binding.outputs, ())
        old, new = computations(before), computations(after, fed)
    except GraphkitError:
        return held
    answer = replace(held, law="repaired", verdict="proved", why="", also=(f"before: {held.why}",))
    other = next((name for name, outcome in binding.outputs.items() if new.get(name) != old.get(outcome.value)), None)
    if other is not None:
        return replace(answer, verdict="broken", why=f"output {other!r} is not computed as it was", first=other)
    mine = {**input_ports(after.proto), **output_ports(after.proto)}
    theirs = {**input_ports(before.proto), **output_ports(before.proto)}
    pairs = {**fed, **{name: outcome.value for name, outcome in binding.outputs.items()}}
    for name, source in pairs.items():
        if name in mine and source in theirs and mine[name].text != theirs[source].text:
            why = f"{name!r} is declared as {mine[name].text} and was {theirs[source].text}"
            return replace(answer, verdict="broken", why=why, first=name)
    said = "it loads; every output is computed by the same operators from the same weights and inputs"
    return replace(answer, also=(*answer.also, said))

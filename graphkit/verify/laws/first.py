"""The first value of an edited model that differs, among those that have a name in both models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphkit.errors import GraphkitError
from graphkit.graph.index import GraphIndex
from graphkit.model import Model
from graphkit.verify.laws.binding import Binding
from graphkit.verify.laws.run_before import load_before
from graphkit.verify.laws.side import load

if TYPE_CHECKING:
    from graphkit.verify.compare.metrics import Metrics

AT_ONCE = 64
"""Values that are looked at in one run: memory holds no more of them."""


def first_difference(
    before: Model,
    after: Model,
    binding: Binding,
    fed_before: Mapping[str, Any],
    fed_after: Mapping[str, Any],
    measured: Callable[[str, Any, Any], Metrics],
    *,
    reference: bool = False,
) -> str | None:
    """The first value, in the order of after's nodes, that is not what before computes under its name; None for none.

    Cost: a session a side, and a run for each ``AT_ONCE`` values up to the first that differs.
    """
    index = GraphIndex(before.proto.graph)
    pairs = {
        name: binding.names.get(name, name)
        for node in after.proto.graph.node
        for name in node.output
        if name and index.has(binding.names.get(name, name))
    }
    for name, outcome in binding.outputs.items():
        pairs[name] = outcome.value
    names = [n for node in after.proto.graph.node for n in node.output if n in pairs]
    for at in range(0, len(names), AT_ONCE):
        chunk = names[at : at + AT_ONCE]
        try:
            theirs = load_before(binding, before, [pairs[name] for name in chunk], (), reference=reference)
            made = theirs.run(fed_before).values
            mine = load(after, chunk, (), reference=reference).run(fed_after).values
        except GraphkitError:
            return None
        for name in chunk:
            expected = made[pairs[name]]
            convert = binding.outputs[name].convert if name in binding.outputs else None
            if convert is not None:
                expected = convert(expected)
            if isinstance(expected, np.ndarray) and not measured(name, mine[name], expected).match:
                return name
    return None

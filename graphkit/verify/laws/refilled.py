"""A model whose weights were taken out, with those of the model before in their places, so that it runs."""

from __future__ import annotations

from collections.abc import Mapping

from graphkit.edit.weights_out import restore
from graphkit.model import Model


def refilled(after: Model, before: Model, names: Mapping[str, str]) -> Model:
    """The model after, its stripped weights as the model before has them.

    Args:
        after: The model without weights.
        before: The model with them.
        names: Value of after -> its name before, where the two differ.

    Raises:
        EditError: The model before has no weight of that name, type and shape.

    Cost: O(graph); weights are not read.
    """
    donor = before.copy_proto()
    new = {old: name for name, old in names.items()}
    for tensor in donor.graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    proto = after.copy_proto()
    _, sources = restore(after, proto, Model(donor, before.sources, path=before.path))
    return Model(proto, sources, path=after.path, original=after.original, steps=after.history)

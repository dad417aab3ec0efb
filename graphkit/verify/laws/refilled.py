"""Models whose weights were taken out, with those of the model before in their places, so that they run."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphkit.edit.weights_out import restore
from graphkit.errors import EditError
from graphkit.graph import walk
from graphkit.model import Model
from graphkit.tensor import is_stripped
from graphkit.verify.laws.binding import Broken, Change, Unproved
from graphkit.verify.laws.table import binding_of


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


def lacks_weights(model: Model) -> bool:
    """Whether weights were taken out of a model."""
    return any(map(is_stripped, walk.tensors(model.proto)))


def all_refilled(changes: Sequence[Change]) -> tuple[list[Change], list[bool]]:
    """Steps in a row, each model between that lacks weights with those that the one before it has in their places.

    Returns:
        The steps, and of each whether its model after got weights. Where the first model lacks them already, or a step
        leaves nothing to tell them by, the steps from there on are as they were.
    """
    found: list[Change] = []
    filled: list[bool] = []
    before = changes[0].before if changes else None
    for change in changes:
        assert before is not None
        after, lacking = change.after, lacks_weights(change.after)
        if lacking and not lacks_weights(before):
            with contextlib.suppress(EditError):
                after = refilled(after, before, _new_names(replace(change, before=before)))
        filled.append(after is not change.after)
        stands = change.before if "fill_weights" in change.arguments else before  # what is filled was empty
        found.append(replace(change, before=stands, after=after))
        before = after
    return found, filled


def _new_names(change: Change) -> Mapping[str, str]:
    try:
        return binding_of(change).names
    except (Broken, Unproved):
        return {}

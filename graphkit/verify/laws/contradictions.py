"""What an edited model says that cannot be, where the model before says nothing of the kind: no run is needed for it."""

from __future__ import annotations

from collections.abc import Sequence

from graphkit.errors import InvalidGraphError, TensorError
from graphkit.graph.walk import nested
from graphkit.model import Model
from graphkit.semantics.valid import require_valid
from graphkit.shapes.inference import objection


def contradiction(before: Sequence[Model], after: Model) -> str | None:
    """What is wrong with the model after; None where nothing is, or a model before has a fault of that kind too.

    The runtime may end the process over a model that is not valid. What bodies declare of their values no run shows: onnx's
    inference is asked about models with bodies.

    Cost: O(graph), and one inference where there are bodies.
    """
    invalid = _invalid(after)
    if invalid:
        return None if any(map(_invalid, before)) else f"the model contradicts itself: {invalid}"
    if any(True for _ in nested(after.proto.graph.node)):
        why = objection(after.proto)
        if why and not any(objection(model.proto) for model in before):
            return f"what is declared does not fit together: {' '.join(why.split())[:300]}"
    return None


def _invalid(model: Model) -> str:
    try:
        require_valid(model.proto)
    except (InvalidGraphError, TensorError) as error:
        return error.message
    return ""

"""Nodes computed by onnx.reference on constants: the one way in which values are found out before a model runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from graphkit.semantics.reference_evaluator import reference_evaluator

if TYPE_CHECKING:
    from graphkit.tensor import Array

NOT_COMPUTED = (
    *(RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError),
    MemoryError,
)
"""What onnx.reference and numpy raise for an operator that they do not have, and for values that it does not take."""


def on_constants(
    nodes: Sequence[onnx.NodeProto], given: Iterable[onnx.TensorProto], outputs: Sequence[str], opset: int
) -> list[Array] | None:
    """What some nodes make of constants.

    Args:
        nodes: The nodes, in an order in which they can run.
        given: All that they read, by name.
        outputs: The values that are asked for.
        opset: The version of ai.onnx that the nodes are written in.

    Returns:
        The arrays, or None where onnx.reference has no implementation or does not accept the values.

    Cost: a third of a millisecond and more; loads onnx.reference the first time.
    """
    asked = [onnx.helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = onnx.helper.make_graph(nodes, "nodes", [], asked, list(given))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        with np.errstate(all="ignore"):
            made: list[Any] = reference_evaluator(model).run(None, {})  # type: ignore[assignment]  # it says list[Any] | None
    except NOT_COMPUTED:
        return None
    return [np.asarray(array) for array in made]

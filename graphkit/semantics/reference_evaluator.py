"""onnx.reference, but for the operators that it computes otherwise than their definition or than any runtime does."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from graphkit.semantics.loops_in_reference import stacking_loop
from graphkit.semantics.wide_sums import SUMS, widened

if TYPE_CHECKING:
    import onnx
    from onnx.reference import ReferenceEvaluator


def reference_evaluator(model: onnx.ModelProto) -> ReferenceEvaluator:
    """A reference evaluator that rounds sums of narrow floats once, and stacks what a Loop scans.

    Raises:
        Exception: Whatever onnx.reference raises for a model that it cannot load.
    """
    return _evaluator_class()(model)


@functools.cache
def _evaluator_class() -> type[ReferenceEvaluator]:
    from onnx.reference import ReferenceEvaluator

    class Evaluator(ReferenceEvaluator):
        """Bodies and functions are run by evaluators of this class too."""

        def _load_impl(self, node: onnx.NodeProto, input_types: Any = None) -> Any:
            if not node.domain and node.op_type == "Loop":
                return stacking_loop()
            known = super()._load_impl(node, input_types)
            if node.domain or node.op_type not in SUMS or not isinstance(known, type):
                return known
            return widened(known, node.op_type)

    return Evaluator

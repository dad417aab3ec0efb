"""Executing a cut: the submodel, fed with the whole model's inner values, gives the whole model's inner values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx.reference import ReferenceEvaluator

from oracle import Answer, assert_same, run_ort, run_reference, self_contained


def inner_values(model: object, feeds: Mapping[str, Any], names: list[str]) -> Answer:
    """Values of the main graph, by the reference evaluator: computed, fed, or weights."""
    proto = self_contained(model)
    made = {name for node in proto.graph.node for name in node.output}
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    computed = [name for name in names if name in made]
    ran = dict(zip(computed, ReferenceEvaluator(proto).run(computed, dict(feeds)), strict=True)) if computed else {}
    return {name: ran[name] if name in ran else feeds[name] if name in feeds else held[name] for name in names}


def assert_cut(
    model: object, part: object, feeds: Mapping[str, Any], *, ort: bool = True, check: bool = True
) -> Answer:
    """Run the part on the whole's values, in the reference evaluator and in ONNX Runtime, and compare.

    Args:
        model: The whole model.
        part: What was cut out of it; its inputs without a default value are fed.
        feeds: What the whole model is fed.
        ort: False where ONNX Runtime cannot run it.
        check: False where onnx.checker cannot know it.

    Returns:
        The part's answer.
    """
    proto = self_contained(part)
    if check:
        onnx.checker.check_model(proto, full_check=True)
    defaults = {tensor.name for tensor in proto.graph.initializer}
    defaults |= {sparse.values.name for sparse in proto.graph.sparse_initializer}
    inputs = [value.name for value in proto.graph.input if value.name not in defaults]
    outputs = [value.name for value in proto.graph.output]
    fed = inner_values(model, feeds, inputs)
    expected = inner_values(model, feeds, outputs)
    answer = run_reference(proto, fed)
    assert_same(answer, expected, where="reference: ")
    if ort:
        assert_same(run_ort(proto, fed), expected, where="ONNX Runtime: ")
    return answer

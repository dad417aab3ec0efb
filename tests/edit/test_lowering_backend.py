"""Lowering held against ONNX's own test cases: what is lowered is valid and gives the same answer, the rest is refused."""

import onnx
import pytest

import graphkit as gk
from backend_cases import RANDOM, attempt, node_cases
from graphkit.edit.converting import convert_opset
from oracle import assert_same, run_ort


def cases():
    for case in node_cases():
        imports = [entry.domain for entry in case.model.opset_import]
        if imports == [""] and not case.model.functions and not RANDOM & {n.op_type for n in case.model.graph.node}:
            yield case


@pytest.mark.parametrize(
    "target", [13, *(pytest.param(n, marks=pytest.mark.matrix) for n in (7, 9, 11, 12, 15, 17, 18, 20))]
)
def test_onnx_own_cases(target):
    executed = refused = 0
    for case in cases():
        model = onnx.ModelProto.FromString(case.model.SerializeToString())
        if model.opset_import[0].version <= target:
            continue
        try:
            convert_opset(model, target)
        except gk.EditError:
            refused += 1
            continue
        onnx.checker.check_model(model, full_check=True)
        if list(model.graph.node) == list(case.model.graph.node):
            continue
        model.ir_version = min(model.ir_version, 10)
        answer = attempt(run_ort, model, case.feeds)
        before = attempt(run_ort, case.model, case.feeds)
        if answer is not None:
            executed += 1
            if before is None or case.agrees(
                answer
            ):  # ONNX Runtime's Attention masks by the least number, ONNX by -inf
                before = case.expected
            assert_same(answer, before, rtol=1e-3, atol=1e-4, where=f"{case.name} in opset {target}: ")
    assert executed >= {7: 200, 9: 200, 11: 300, 12: 300, 13: 250, 15: 150, 17: 100, 18: 50, 20: 40}[target]
    assert refused > 0

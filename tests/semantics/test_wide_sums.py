"""Sums of bfloat16 and float8 are rounded once, as every runtime does it."""

import ml_dtypes
import numpy as np
import onnx
import onnx.reference
import pytest

import graphkit as gk
from graphkit.semantics.reference_evaluator import reference_evaluator
from onnx_text import parse
from oracle import run_ort

SQUARES = """g (bfloat16[2,4096] x) => (bfloat16[2,1] y) <int64[1] axes = {1}> { y = OPERATOR(x, axes) }"""


def numbers(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "operator", ["ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSumExp"]
)
def test_a_reduction_is_within_the_rounding_of_its_result(operator):
    x = np.abs(numbers(2, 4096)).astype(ml_dtypes.bfloat16)
    narrow = parse(SQUARES.replace("OPERATOR", operator), opset=18)
    wide = parse(SQUARES.replace("OPERATOR", operator).replace("bfloat16", "float"), opset=18)
    (found,) = reference_evaluator(narrow).run(None, {"x": x})
    (right,) = onnx.reference.ReferenceEvaluator(wide).run(None, {"x": x.astype(np.float32)})
    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_allclose(found.astype(np.float32), right, rtol=2**-8)


def test_functions_and_bodies_add_alike():
    text = """g (bfloat16[1,4096] x, bool which) => (bfloat16[1,1] y) <int64[1] axes = {1}> {
      y = If (which) <
        then_branch = t () => (a) { a = my.mean(x, axes) }, else_branch = e () => (b) { b = ReduceMean(x, axes) }> }
    <domain: "my", opset_import: ["": 18]> mean (v, w) => (m) { m = ReduceMean(v, w) }"""
    evaluator = reference_evaluator(parse(text, opset=18, imports='"my": 1'))
    x = np.full((1, 4096), 0.75, ml_dtypes.bfloat16)
    for which in (True, False):
        assert evaluator.run(None, {"x": x, "which": np.array(which)})[0] == 0.75


def test_a_layer_normalizations_mean_keeps_its_type():
    text = """g (bfloat16[1,64] x, bfloat16[64] s) => (bfloat16[1,64] y, float[1,1] mean) { y, mean = LayerNormalization(x, s) }"""
    x, s = numbers(1, 64).astype(ml_dtypes.bfloat16), np.ones(64, ml_dtypes.bfloat16)
    y, mean = reference_evaluator(parse(text, opset=17)).run(None, {"x": x, "s": s})
    assert (y.dtype, mean.dtype) == (ml_dtypes.bfloat16, np.float32)


def test_simplify_folds_a_long_sum_of_bfloat16_rightly():
    model = parse(  # 16256 are the bits of 1.0
        """g (bfloat16[1] x) => (bfloat16[1] y) <int64[1] axes = {0}, bfloat16[4096] w = {WEIGHTS}> {
      s = ReduceSum<keepdims=1>(w, axes)  y = Mul(x, s) }""".replace(
            "{WEIGHTS}", "{" + ", ".join(["16256"] * 4096) + "}"
        ),
        opset=18,
    )
    edited = gk.simplify(model)
    (constant,) = [edited.array(name) for name in (w.name for w in edited.proto.graph.initializer)]
    assert constant.astype(np.float32) == [4096]


def test_bfloat16_of_a_net_that_takes_means_of_large_pictures_is_proved():
    net = parse("""g (float[1,2,64,64] x) => (float[1,2,1,1] y) <int64[2] axes = {2, 3}> {
      q = Mul(x, x)  y = ReduceMean(q, axes) }""")
    proof = gk.prove(gk.precision(net, to="bfloat16"), net)
    assert proof, gk.text(proof)


def test_what_a_loop_scans_is_stacked_as_the_runtime_does_in_bodies_too():
    body = """b (int64 i, bool go, float[2,3] s) => (bool on, float[2,3] o, float[2,3] q, int64 j, float[3] f) {
        on = Identity(go) o = Tanh(s) q = Sin(o) j = Identity(i) none = Constant<value_int = 0>() f = Gather(s, none) }"""
    turns = "m = Constant<value = int64 {3}>() yes = Constant<value = bool {1}>()"
    text = f"""g (float[2,3] x, bool c) => (float[2,3] y, float[3,2,3] q, int64[3] j, float[3,3] f) {{ {turns}
        y, q, j, f = If(c) <then_branch = t () => (float[2,3] y1, float[3,2,3] q1, int64[3] j1, float[3,3] f1) {{
            y1, q1, j1, f1 = Loop(m, yes, x) <body = {body}> }},
          else_branch = e () => (float[2,3] y2, float[3,2,3] q2, int64[3] j2, float[3,3] f2) {{
            z = Neg(x) y2, q2, j2, f2 = Loop(m, yes, z) <body = {body}> }}> }}"""
    model = parse(text, opset=21)
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    for which in (True, False):
        feeds = {"x": x, "c": np.array(which)}
        for found, right in zip(
            reference_evaluator(model).run(None, feeds), run_ort(model, feeds).values(), strict=True
        ):
            np.testing.assert_allclose(found, right, rtol=1e-5)

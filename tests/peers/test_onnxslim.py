"""OnnxSlim: eliminations, fusions, equal nodes, and the models that optimizers are known to get wrong.

The last are what public reports about OnnxSlim, onnxoptimizer and onnxsim are about: each model is legal, and something near it may
be simplified or fused. Here every rule that promises the same numbers runs on each of them.
"""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort
from peers.suites import Row, Suite, assert_runs_the_same, feeds_of, ops

SUITE = Suite(
    "OnnxSlim",
    "inisis/OnnxSlim tests/test_*patterns.py, test_dead_node_elimination.py, test_subexpression_elimination*.py, "
    "test_graph_validity_regressions.py, test_issue_reproducers.py (with Yuhx141/graph-optimizer-issue-reproducers)",
    outside=[(9, "tests of the package's own matchers, helpers and messages"), (30, "downloads of a model zoo")],
)

INT = "int64"
SIMPLIFIED = SUITE.rows([
    Row("concat_pattern", "g (float[2, 3] x) => (float[2, 3] y) { a = Concat<axis = 1>(x) b = Concat<axis = 1>(a) y = Neg(b) }", "Neg", options={"opset": 11}),
    Row("concat_preserves_intermediate_graph_output", "g (float[2, 3] x) => (float[2, 3] a, float[2, 3] y) { a = Concat<axis = 1>(x) y = Concat<axis = 1>(a) }", "Concat Concat", options={"opset": 11}),
    Row("reshape_preserves_intermediate_graph_output", "g (float[2, 3] x) => (float[3, 2] a, float[6] y) <int64[2] s = {3, 2}, int64[1] t = {6}> { a = Reshape(x, s) y = Reshape(a, t) }", "Reshape Reshape", options={"opset": 11}),
    Row("reshape_pattern", "g (float[1, 3, 8, 8] x) => (float[1, 12, 4, 4] y) <int64[3] s = {1, 24, 8}, int64[4] t = {1, 12, 4, 4}> { a = Reshape(x, s) y = Reshape(a, t) }", "Reshape", options={"opset": 11}),
    Row("slice_pattern", "g (float[9, 9] x) => (float[8, 8] y) <int64[2] b = {0, 0}, int64[2] e = {8, 8}, int64[2] a = {0, 1}> { y = Slice(x, b, e, a) }", "Slice", options={"opset": 11}),
    Row("unsqueeze_pattern", "g (float[3, 4] x) => (float[3, 4] y) <int64[1] a = {0}> { h = Unsqueeze(x, a) k = Squeeze(h, a) y = Neg(k) }", "Neg", options={"opset": 14}),
    Row("consecutive_unsqueeze_opset11", "g (float[3, 4] x) => (float[3, 4, 1, 1] y) { h = Unsqueeze<axes = [-1]>(x) y = Unsqueeze<axes = [-1]>(h) }", "Unsqueeze", options={"opset": 11}, do=lambda m: gk.rewrite(gk.opset(m, to=13), "squeeze-chains"), differs="the rule is written for axes that are operands: opset --to 13 comes first"),
    Row("consecutive_unsqueeze_opset13", "g (float[3, 4] x) => (float[3, 4, 1, 1] y) <int64[1] a = {-1}> { h = Unsqueeze(x, a) y = Unsqueeze(h, a) }", "Unsqueeze", options={"opset": 13}, do=lambda m: gk.rewrite(gk.simplify(m), "squeeze-chains")),
    Row("unsqueeze_before_transpose", "g (float[4, 3, 5] x) => (float[3, 1, 4, 5] y) <int64[1] a = {1}> { b = Transpose<perm = [1, 0, 2]>(x) c = Unsqueeze(b, a) y = Transpose<perm = [0, 1, 2, 3]>(c) }", "Transpose Unsqueeze", options={"opset": 13}),
    Row("squeeze_before_transpose", "g (float[4, 1, 3, 5] x) => (float[3, 4, 5] y) <int64[1] a = {0}> { b = Transpose<perm = [1, 0, 2, 3]>(x) c = Squeeze(b, a) y = Transpose<perm = [1, 0, 2]>(c) }", "Transpose Squeeze Transpose", options={"opset": 13}, differs="a Squeeze between two Transposes stays between them, so three nodes stay"),
    Row("squeeze_omitted_axes_before_transpose", "g (float[4, 1, 3, 5] x) => (float[3, 4, 5] y) { b = Transpose<perm = [1, 0, 2, 3]>(x) c = Squeeze(b) y = Transpose<perm = [1, 0, 2]>(c) }", "Transpose Squeeze Transpose", options={"opset": 13}, differs="a Squeeze between two Transposes stays between them, so three nodes stay"),
    Row("real_transpose_left_unchanged", "g (float[3, 4] x) => (float[4, 3] y) { y = Transpose<perm = [1, 0]>(x) }", "Transpose"),
    Row("two_dynamic_dims_left_unchanged", "g (float[N, M, 1] x) => (float[1, N, M] y) { y = Transpose<perm = [2, 0, 1]>(x) }", "Transpose"),
    Row("reshape_merge_not_supported", "g (float[3, 4, 5, 2] x) => (float[60, 2] y) <int64[2] s = {2, 60}> { b = Transpose<perm = [3, 0, 1, 2]>(x) c = Reshape(b, s) y = Transpose<perm = [1, 0]>(c) }", "Transpose Reshape Transpose"),
    Row("dynamic_input_shape_left_unchanged", "g (float[N, 8, 2] x) => (float[1, 8, N, 2] y) <int64[1] a = {1}> { b = Transpose<perm = [1, 0, 2]>(x) c = Unsqueeze(b, a) y = Transpose<perm = [1, 0, 2, 3]>(c) }", "Transpose Reshape", differs="a Transpose that moves an axis of size 1 only does the work of the Unsqueeze before it, as a Reshape"),
    Row("reshape_split_across_transpose", "g (float[1, 6, 4, 5] x) => (float[1, 5, 2, 4, 3] y) <int64[5] s = {1, 5, 2, 3, 4}> { b = Transpose<perm = [0, 3, 1, 2]>(x) c = Reshape(b, s) y = Transpose<perm = [0, 1, 2, 4, 3]>(c) }", "Transpose Reshape Transpose", differs="a Reshape between two Transposes stays between them"),
    Row("transpose_equivalent_to_reshape", "g (float[10, 7] x) => (float[1, 10, 7] y) <int64[3] s = {10, 1, 7}> { m = Reshape(x, s) y = Transpose<perm = [1, 0, 2]>(m) }", "Reshape"),
    Row("dynamic_dim_treated_as_real", "g (float[10, N, 1] x) => (float[1, 10, N] y) { y = Transpose<perm = [2, 0, 1]>(x) }", "Transpose", differs="a Transpose of that kind becomes a Reshape only where it does the work of another node too"),
    Row("identity_bridging_io", "g (float[2, 3] input) => (float[2, 3] output) { output = Identity(input) }", "Identity"),
    Row("identity_elimination", "g (float[2, 3] input) => (float[2, 3] output) { h = Relu(input) output = Identity(h) }", "Relu"),
    Row("dropout_elimination", "g (float[2, 3] input) => (float[2, 3] output) { h = Relu(input) output = Dropout(h) }", "Relu", options={"opset": 14}),
    Row("zero_pad_elimination", "g (float[2, 3] input) => (float[2, 3] output) <int64[4] p = {0, 0, 0, 0}> { h = Relu(input) output = Pad(h, p) }", "Relu", options={"opset": 14}),
    Row("redundant_cast", "g (float[2, 3] input) => (float[2, 3] output) { h = Relu(input) output = Cast<to = 1>(h) }", "Relu"),
    Row("redundant_reshape", "g (float[2, 3] input) => (float[2, 3] output) { h = Relu(input) s = Shape(h) output = Reshape(h, s) }", "Relu"),
    Row("mul_by_one div_by_one", "g (float[2, 3] input) => (float[2, 3] output) <float[1] one = {1}> { h = Relu(input) k = Mul(h, one) output = Div(k, one) }", "Relu"),
    Row("add_zero sub_zero", "g (float[2, 3] input) => (float[2, 3] output) <float[1] zero = {0}> { h = Relu(input) k = Add(h, zero) output = Sub(k, zero) }", "Relu"),
    Row("single_concat single_output_split", "g (float[2, 3] input) => (float[2, 3] output) { h = Relu(input) k = Concat<axis = 0>(h) output = Split<axis = 0, num_outputs = 1>(k) }", "Relu"),
    Row("noop_slice", "g (float[2, 8] input) => (float[2, 8] output) <int64[1] b = {0}, int64[1] e = {8}, int64[1] a = {1}> { h = Relu(input) output = Slice(h, b, e, a) }", "Relu"),
    Row("cse.duplicate_operations", "g (float[5, 2] x) => (float[5, 2] y) <float[2, 2] v = {1, 2, 3, 4}, float[2, 2] w = {1, 2, 3, 4}> { a = MatMul(x, v) b = MatMul(x, w) y = Add(a, b) }", "MatMul Add", weights=1),
    Row("cse.duplicate_node_with_graph_output cse.graph_outputs", "g (float[1, 1] x, float[1, 1] z) => (float[1, 2] c, float[1, 2] y) { h = Concat<axis = 1>(x, z) c = Concat<axis = 1>(x, z) y = Sigmoid(h) }", "Concat Sigmoid"),
    Row("shape_folding.static", "g (float[2, 3, 4] x) => (float[6, 4] y) <int64 i = {0}, int64 j = {1}, int64[1] z = {0}, int64[1] m = {-1}> { s = Shape(x) a = Gather(s, i) b = Gather(s, j) p = Mul(a, b) u = Unsqueeze(p, z) t = Concat<axis = 0>(u, m) y = Reshape(x, t) }", "Reshape"),
    Row("shape_folding.one_free", "g (float[N, 3, 4] x) => (float[N, 12] y) <int64 i = {0}, int64[1] z = {0}, int64[1] m = {12}> { s = Shape(x) a = Gather(s, i) u = Unsqueeze(a, z) t = Concat<axis = 0>(u, m) y = Reshape(x, t) }", "Reshape"),
])  # fmt: skip


@pytest.mark.parametrize("row", SIMPLIFIED, ids=str)
def test_simplify_gives_these_nodes_and_the_same_numbers(row):
    row.check()


def fused(*rules):
    return lambda model: gk.rewrite(model, list(rules))


CONV = "float[3, 2, 3, 3] w, float[3] b"
FUSED = SUITE.rows([
    Row("convmul_pattern", "g (float[1, 1, 5, 5] x) => (float[1, 2, 3, 3] y) <float[2] b = {1, 2}, float[1, 2, 1, 1] s = {3, -4}> { h = Conv(x, w, b) y = Mul(h, s) }", "Conv", do=fused("conv-mul"), options={"opset": 11}),
    Row("convadd_pattern", "g (float[1, 1, 5, 5] x) => (float[1, 2, 3, 3] y) <float[1, 2, 1, 1] s = {3, -4}> { h = Conv(x, w) y = Add(h, s) }", "Conv", do=fused("conv-add"), options={"opset": 11}),
    Row("convbn_pattern", "g (float[1, 1, 5, 5] x) => (float[1, 2, 3, 3] y) <float[2] s = {3, -4}, float[2] v = {2, 0.5}> { h = Conv(x, w) y = BatchNormalization(h, s, s, s, v) }", "Conv", do=fused("batchnorm"), options={"opset": 11}),
    Row("padconv_pattern", "g (float[1, 1, 5, 5] x) => (float[1, 2, 5, 5] y) <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}, float z = {0}> { h = Pad(x, p, z) y = Conv(h, w) }", "Conv", do=fused("pad-into-conv"), options={"opset": 11}),
    Row("gemm_pattern", "g (float[1, 2] x) => (float[1, 3] y) <float[2, 3] m = {1, 2, 3, 4, 5, 6}, float[3] b = {1, 2, 3}> { h = MatMul(x, m) y = Add(h, b) }", "Gemm", do=fused("matmul-add-to-gemm"), options={"opset": 11}),
    Row("gemm_3d_pattern", "g (float[2, 4, 2] x) => (float[2, 4, 3] y) <float[2, 3] m = {1, 2, 3, 4, 5, 6}, float[3] b = {1, 2, 3}> { h = MatMul(x, m) y = Add(h, b) }", "MatMul Add", do=lambda m: gk.rewrite(m, "matmul-add-to-gemm"), options={"opset": 11}, differs="a product of rank 3 stays MatMul and Add: runtimes take both, and two Reshapes less are in the way"),
    Row("gelu_pattern", "g (float[1, 8] x) => (float[1, 8] y) <float r = {1.4142135}, float o = {1}, float h = {0.5}> { a = Div(x, r) e = Erf(a) p = Add(e, o) m = Mul(x, p) y = Mul(m, h) }", "Gelu", do=fused("gelu"), options={"opset": 20, "ir": 9}),
    Row("reduce_pattern", "g (float[2, 3] x) => (float[2, 1] y) <int64[1] a = {1}> { s = ReduceSum<keepdims = 0>(x, a) y = Unsqueeze(s, a) }", "ReduceSum", do=lambda m: gk.rewrite(gk.opset(m, to=18), "reduce-keepdims"), options={"opset": 13}, differs="the rule is written for opset 18, where all reductions take their axes alike: opset --to 18 comes first"),
    Row("concat_reshape_pattern", "g (float[N, 3, 4] x) => (float[N, 12] y) <int64[1] m = {-1}, int64[1] f = {0}, int64[1] t = {1}, int64[1] z = {0}> { s = Shape(x) n = Slice(s, f, t, z) c = Concat<axis = 0>(n, m) y = Reshape(x, c) }", "Reshape"),
])  # fmt: skip

W = np.random.default_rng(0).standard_normal((2, 1, 3, 3), np.float32)


@pytest.mark.parametrize("row", FUSED, ids=str)
def test_fusions_give_these_nodes_and_the_same_numbers(row):
    before = parse(row.text, **row.options, **({"w": W} if "Conv(" in row.text else {}))
    after = row.do(before)
    assert ops(after) == row.ops
    assert_runs_the_same(after, before, rtol=1e-4, atol=1e-5)


EXACT = [rule.name.partition(":")[0] for rule in gk.rewrite_rules() if rule.tolerance is None or rule.tolerance <= 1e-4]

A1 = "int64[1] a = {1}"
HARD = {
    "slim.gemm_without_bias_then_reshape_add": ("g (float[2, 3] x) => (float[6] y) <float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}, int64[1] s = {6}, float[6] c = {1, 2, 3, 4, 5, 6}> { h = Gemm(x, w) r = Reshape(h, s) y = Add(r, c) }", 13),
    "slim.matmul_then_rank3_add": ("g (float[2, 3] x) => (float[2, 2, 3] y) <float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}, float[2, 1, 3] c = {1, 2, 3, 4, 5, 6}> { h = MatMul(x, w) y = Add(h, c) }", 13),
    "slim.pad_opset10_then_conv": ("g (float[1, 1, 3, 3] x) => (float[1, 1, 3, 3] y) <float[1, 1, 3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}> { p = Pad<pads = [0, 0, 1, 1, 0, 0, 1, 1]>(x) y = Conv(p, w) }", 10),
    "slim.batchnorm_scale_is_input": ("g (float[1, 1, 3, 3] x, float[2] s) => (float[1, 2, 3, 3] y) <float[2, 1, 1, 1] w = {1, 2}, float[2] b = {1, 2}, float[2] v = {1, 2}> { h = Conv(x, w) y = BatchNormalization(h, s, b, b, v) }", 13),
    "slim.batchnorm_behind_grouped_convtranspose": ("g (float[1, 2, 3, 3] x) => (float[1, 4, 3, 3] y) <float[2, 2, 1, 1] w = {1, 2, 3, 4}, float[4] b = {1, 2, 3, 4}, float[4] v = {1, 2, 3, 4}> { h = ConvTranspose<group = 2>(x, w) y = BatchNormalization(h, b, b, b, v) }", 13),
    "slim.reduce_and_unsqueeze_of_two_axes": ("g (float[2, 3, 4] x) => (float[2, 1, 1] y) <int64[2] a = {1, 2}> { s = ReduceSum<keepdims = 0>(x, a) y = Unsqueeze(s, a) }", 13),
    "slim.same_operator_of_another_domain": ("g (float[2] x) => (float[2] y) { a = Add(x, x) b = own.Add(x, x) y = Sub(b, a) }", 13),
    "slim.reshape_zero_after_reshape": ("g (float[2, 3] x) => (float[3, 2] y) <int64[2] s = {3, 2}, int64[2] t = {0, -1}> { r = Reshape(x, s) y = Reshape(r, t) }", 13),
    "slim.gemm_beta_then_add": ("g (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, 2, 3, 4}, float[2] c = {1, 2}, float[2] d = {5, 7}> { h = Gemm<beta = 2.0>(x, w, c) y = Add(h, d) }", 13),
    "slim.constant_left_of_matmul": ("g (float[2, 2] x) => (float[2, 2] y) <float[2, 2] w = {1, 2, 3, 4}, float[2] c = {5, 6}> { h = MatMul(w, x) y = Add(h, c) }", 13),
    "slim.add_along_height_behind_conv": ("g (float[1, 1, 2, 2] x) => (float[1, 2, 2, 2] y) <float[2, 1, 1, 1] w = {1, 2}, float[1, 1, 2, 1] c = {5, 7}> { h = Conv(x, w) y = Add(h, c) }", 13),
    "slim.add_along_width_behind_conv": ("g (float[1, 1, 2, 2] x) => (float[1, 2, 2, 2] y) <float[2, 1, 1, 1] w = {1, 2}, float[2] c = {5, 7}> { h = Conv(x, w) y = Add(h, c) }", 13),
    "slim.mul_along_width_behind_convtranspose": ("g (float[1, 1, 2, 2] x) => (float[1, 2, 2, 2] y) <float[1, 2, 1, 1] w = {1, 2}, float[2] c = {5, 7}> { h = ConvTranspose(x, w) y = Mul(h, c) }", 13),
    "slim.add_behind_reshape_of_gemm": ("g (float[2, 2] x) => (float[4, 1] y) <float[2, 2] w = {1, 2, 3, 4}, float[2] b = {1, 2}, int64[2] s = {4, 1}, float[1] c = {5}> { h = Gemm(x, w, b) r = Reshape(h, s) y = Add(r, c) }", 13),
    "slim.add_that_broadcasts_behind_reshape": ("g (float[2, 2] x) => (float[4, 2] y) <float[2, 2] w = {1, 2, 3, 4}, float[2] b = {1, 2}, int64[2] s = {4, 1}, float[2] c = {5, 6}> { h = Gemm(x, w, b) r = Reshape(h, s) y = Add(r, c) }", 13),
    "slim.two_unsqueezes_at_one_axis": ("g (float[2, 3] x) => (float[2, 1, 1, 3] y) <int64[1] a = {1}> { h = Unsqueeze(x, a) y = Unsqueeze(h, a) }", 13),
    "slim.two_unsqueezes_negative": ("g (float[2, 3] x) => (float[1, 2, 3, 1] y) <int64[1] a = {-1}, int64[1] b = {0}> { h = Unsqueeze(x, a) y = Unsqueeze(h, b) }", 13),
    "slim.two_slices_of_one_axis": ("g (float[4, 4] x) => (float[4, 2] y) <int64[1] b = {1}, int64[1] e = {4}, int64[1] a = {1}, int64[1] f = {3}, int64[1] m = {-1}> { s = Slice(x, b, e, a) y = Slice(s, b, f, m) }", 13),
    "slim.shape_from_one_sliced_backwards": ("g (float[2, 3, 4] x) => (int64[2] y) <int64[1] b = {1}, int64[1] e = {-3}, int64[1] a = {0}, int64[1] m = {-1}> { s = Shape<start = 1, end = 3>(x) y = Slice(s, b, e, a, m) }", 15),
    "slim.pad_that_crops_before_conv": ("g (float[1, 1, 4] x) => (float[1, 1, 3] y) <float[1, 1, 1] w = {2}, int64[6] p = {0, 0, -1, 0, 0, 0}> { h = Pad(x, p) y = Conv(h, w) }", 13),
    "slim.batchnorm_that_trains_behind_conv": ("g (float[2, 1, 2, 2] x) => (float[2, 1, 2, 2] y, float[1] m, float[1] v) <float[1, 1, 1, 1] w = {2}, float[1] s = {1}> { h = Conv(x, w) y, m, v = BatchNormalization<training_mode = 1>(h, s, s, s, s) }", 15),
    "slim.slice_that_is_empty": ("g (float[1, 2, 9] x) => (float[1, 0, 9] y) <int64[1] b = {8}, int64[1] e = {1}, int64[1] a = {1}> { y = Slice(x, b, e, a) }", 13),
    "slim.resize_size_is_floored": ('g (float[2, 3] x) => (float[2, 1] y) <float[2] s = {1, 0.5}> { y = Resize<mode = "nearest">(x, , s) }', 13),
    "slim.transposes_that_overlap": ("g (float[2, 3] x) => (float[3, 2] a, float[2, 3] d) { y = Transpose<perm = [1, 0]>(x) z = Transpose<perm = [1, 0]>(y) d = Transpose<perm = [1, 0]>(y) a = Transpose<perm = [1, 0]>(z) }", 13),
    "optimizer.three_vectors_beside_a_matrix": ("g (float[2, 3] x) => (float[2] a, float[2] b, float[2] c) <float[3] u = {1, 2, 3}, float[3] v = {4, 1, 2}, float[3] w = {2, 5, 1}> { a = MatMul(x, u) b = MatMul(x, v) c = MatMul(x, w) }", 13),
    "optimizer.shape_from_one_sliced": ("g (float[2, 3, 4] x) => (int64[1] y) <int64[1] b = {0}, int64[1] e = {1}> { s = Shape<start = 1, end = 3>(x) y = Slice(s, b, e, b, e) }", 15),
    "optimizer.pad_before_maxpool": ("g (float[1, 1, 2] x) => (float[1, 1, 2] y) <int64[6] p = {0, 0, 1, 0, 0, 0}> { h = Pad(x, p) y = MaxPool<kernel_shape = [2]>(h) }", 13),
    "optimizer.pad_before_averagepool": ("g (float[1, 1, 2] x) => (float[1, 1, 2] y) <int64[6] p = {0, 0, 1, 0, 0, 0}> { h = Pad(x, p) y = AveragePool<count_include_pad = 0, kernel_shape = [3], pads = [0, 1]>(h) }", 13),
    "optimizer.pad_before_maxpool_with_indices": ("g (float[1, 1, 2] x) => (float[1, 1, 2] y, int64[1, 1, 2] i) <int64[6] p = {0, 0, 1, 0, 0, 0}> { h = Pad(x, p) y, i = MaxPool<kernel_shape = [2]>(h) }", 13),
    "optimizer.pad_with_two_before_conv": ("g (float[1, 1, 2] x) => (float[1, 1, 3] y) <float[1, 1, 1] w = {1}> { h = Pad<pads = [0, 0, 1, 0, 0, 0], value = 2.0>(x) y = Conv(h, w) }", 10),
    "optimizer.two_constants_whose_tensors_share_a_name": ("g (float[1] x) => (float[1] a, float[1] b, float[1] y) { a = Constant<value = float[1] a {1}>() b = Constant<value = float[1] a {2}>() y = Add(x, b) }", 13),
    "onnxsim.empty_shape": ("g (float[1] x) => (int64[0] y) { y = Shape<start = 2>(x) }", 21),
    "onnxsim.layer_norm_of_doubles_with_a_tiny_epsilon": ("g (double[1, 3] x) => (double[1, 3] y) <double e = {1e-300}, double[3] s = {1.1, 0.9, 1.2}, double[3] b = {0.1, -0.2, 0.3}> { m = ReduceMean<axes = [-1]>(x) d = Sub(x, m) q = Mul(d, d) v = ReduceMean<axes = [-1]>(q) f = Add(v, e) t = Sqrt(f) n = Div(d, t) k = Mul(n, s) y = Add(k, b) }", 17),
    "onnxsim.nearly_gelu": ("g (float[1, 3] x) => (float[1, 3] y) <float r = {1.41421356}, float o = {1}, float h = {0.5009}> { a = Div(x, r) e = Erf(a) p = Add(e, o) m = Mul(x, p) y = Mul(m, h) }", 20),
    "onnxsim.flatten_behind_unsqueeze_of_nothing": ("g (float[0, N, 4] x) => (float[0, M] y) <int64[1] a = {1}> { u = Unsqueeze(x, a) y = Flatten<axis = 2>(u) }", 18),
    "onnxsim.conv_times_one_number": ("g (float[1, 1, 3, 3] x) => (float[1, 2, 3, 3] y) <float[2, 1, 1, 1] w = {1.5, -0.5}, float[2] b = {0.25, -0.75}, float[1, 1, 1, 1] s = {2}> { c = Conv(x, w, b) y = Mul(c, s) }", 18),
    "onnxsim.rotation_whose_angles_are_an_output": ("g (float[1, 2, 3, 4] x, float[1, 3, 2] t) => (float[1, 2, 3, 4] y, float[1, 3, 4] e) <int64[1] z = {0}, int64[1] k = {2}, int64[1] n = {9223372036854775807}, int64[1] l = {-1}, int64[1] u = {1}> { e = Concat<axis = -1>(t, t) c = Cos(e) s = Sin(e) cb = Unsqueeze(c, u) sb = Unsqueeze(s, u) a = Mul(x, cb) x1 = Slice(x, z, k, l) x2 = Slice(x, k, n, l) m = Neg(x2) r = Concat<axis = -1>(m, x1) b = Mul(r, sb) y = Add(a, b) }", 23),
    "onnxsim.a_loop_whose_body_hands_its_condition_on": ("g (float[1] x) => (float[1] y) <int64 t = {2}, bool c = {1}> { y = Loop(t, c, x) <body = l (int64 i, bool k, float[1] v) => (bool k, float[1] w) { s = If(k) <then_branch = a () => (float[1] p) <float[1] o = {1}> { p = Add(v, o) }, else_branch = e () => (float[1] q) { q = Identity(v) }> w = Identity(s) }> }", 18),
    "runtime.pad_before_maxpool_of_two_axes": ("g (float[1, 1, 2, 2] x) => (float[1, 1, 3, 3] y) <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}> { h = Pad(x, p) y = MaxPool<kernel_shape = [2, 2]>(h) }", 13),
    "runtime.reshape_before_batchnorm_is_an_output": ("g (float[2, 2] x) => (float[2, 2] y, float[2, 2] r) <float[2, 2] w = {1, 2, 3, 4}, int64[2] t = {2, 2}, float[2] b = {1, 2}, float[2] v = {1, 2}> { h = MatMul(x, w) r = Reshape(h, t) y = BatchNormalization(r, b, b, b, v) }", 15),
    "runtime.positions_from_a_fed_start": ("g (int64[2, 3] i, int64 s) => (float[2, 3, 2] y) <float[9, 2] t = {1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0}, int64 three = {3}, int64 one = {1}> { e = Add(s, three) r = Range(s, e, one) p = Gather(t, r) w = Gather(t, i) y = Add(w, p) }", 17),
    "runtime.sum_before_layer_norm_of_two_axes": ("g (float[2, 3, 3] x, float[2, 3, 3] s) => (float[2, 3, 3] y) <float[3, 3] k = {1, 2, 3, 4, 5, 6, 7, 8, 9}, float[3, 3] b = {0, 1, 2, 3, 4, 5, 6, 7, 8}> { h = Add(x, s) y = LayerNormalization<axis = -2>(h, k, b) }", 17),
    "runtime.layer_norm_of_two_axes_in_parts": ("g (float[2, 3, 3] x) => (float[2, 3, 3] y) <float[3] k = {1, 2, 3}, float[3] b = {0, 1, 2}, float e = {0.01}> { m = ReduceMean<axes = [-2, -1]>(x) d = Sub(x, m) q = Mul(d, d) v = ReduceMean<axes = [-2, -1]>(q) w = Add(v, e) r = Sqrt(w) n = Div(d, r) z = Mul(n, k) y = Add(z, b) }", 17),
    "runtime.cast_between_transpose_and_matmul_is_an_output": ("g (float16[2, 3] x, float[2, 2] z) => (float[3, 2] y, float[3, 2] c) { t = Transpose<perm = [1, 0]>(x) c = Cast<to = 1>(t) y = MatMul(c, z) }", 17),
    "runtime.range_before_gather_is_an_output": ("g (float[4] x) => (float[2] y, int64[2] r) <int64 b = {1}, int64 e = {3}, int64 s = {1}> { r = Range(b, e, s) y = Gather(x, r) }", 17),
}  # fmt: skip
OWN_ADD = '<domain: "own", opset_import: ["" : 13]> Add (a, b) => (c) { d = Mul(a, b) c = Sub(d, b) }'


def hard(name):
    text, opset = HARD[name]
    own = {"imports": '"own" : 1', "functions": OWN_ADD} if "own." in text else {}
    return parse(text, opset=opset, ir=11 if opset > 20 else 9, **own)


def edits(model):
    """simplify, every rule that promises the same numbers alone, and all of these one after the other."""
    yield "simplify", gk.simplify(model)
    for name in EXACT:
        after = gk.rewrite(model, name)
        if after.proto.graph != model.graph or len(after.proto.functions) != len(model.functions):
            yield name, after
    together = gk.simplify(model)
    for name in (
        "batchnorm",
        "conv-mul",
        "conv-add",
        "pad-into-conv",
        "matmul-add-to-gemm",
        "squeeze-chains",
        "reduce-keepdims",
        "layer-norm",
    ):
        together = gk.rewrite(together, name)
    yield "together", gk.simplify(together)


@SUITE.case(
    " ".join(f"issue_reproducer.{name}" for name in HARD)
    + " consecutive_reshape_zero_copy consecutive_slice_negative_axes slice_empty_and_reverse resize_scale_shape overlapping_transpose"
)
@pytest.mark.parametrize("name", HARD)
def test_what_optimizers_are_known_to_get_wrong_keeps_its_numbers_and_types(name):
    before = hard(name)
    feeds = [feeds_of(before, seed) for seed in range(2)]
    expected = [run_ort(before, each) for each in feeds]
    for edit, after in edits(before):
        whole = after.materialize()
        onnx.checker.check_model(whole, full_check=True)
        if onnx.defs.onnx_opset_version() >= whole.opset_import[0].version:
            onnx.shape_inference.infer_shapes(whole, strict_mode=True)
        for each, want in zip(feeds, expected, strict=True):
            assert_same(run_ort(whole, each), want, rtol=1e-4, atol=1e-5, where=f"{edit}: ")

"""Olive's graph surgeries: most are jobs of ``tests/jobs``; here are the table of them and the variants that it does not have."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from jobs import interface, models, nodes, numbers
from jobs.job import Out
from onnx_text import parse
from oracle import assert_same, run_ort
from peers.suites import Suite, assert_runs_the_same, feeds_of, names, ops

SUITE = Suite(
    "Olive graph surgeries",
    "microsoft/Olive test/passes/onnx/test_graph_surgeries.py, test_graph_surgeries_contracts.py",
    outside=[(1, "whether Olive's pass calls onnx-ir's deduplication once: a mock of its own class")],
)

JOBS = {job.number: job for job in [*interface.JOBS, *nodes.JOBS, *numbers.JOBS, *models.JOBS]}

SAME_AS = {
    "RenameInputs RenameOutputs": 1,
    "ReorderInputs": 4,
    "RemoveInputs": 5,
    "ExposeOutputs AddIntermediateTensorsToOutputs": 6,
    "ExposeQuantizedOutput": 8,
    "RemoveInitializerFromInputs": 9,
    "Non4DModelInputs Non4DModelOutputs": 16,
    "RenameInputDims": 18,
    "RenameOutputDims": 19,
    "InferShapes": 22,
    "RemoveShapes RemoveAllTensorValueShapes": 23,
    "ZeroOutInput": 30,
    "TieWordEmbeddings*2": 38,
    "ReplaceAttentionMaskValue": 39,
    "MatMulAddToGemm": 62,
    "GemmToMatMulAdd": 63,
    "ReciprocalMulToDiv": 64,
    "PowReduceSumPowDiv2LpNorm": 65,
    "SimplifiedLayerNormToRMSNorm": 66,
    "DecomposeQuickGelu": 67,
    "DecomposeRotaryEmbedding": 68,
    "Flatten": 69,
    "ReplaceErfWithTanh": 79,
    "SimplifiedLayerNormToL2Norm*2": 81,
    "RemoveRopeMultiCache": 82,
    "AttentionMaskToSequenceLengths": 83,
    "RemoveQDQ*2": 85,
    "QDQToClip": 86,
    "RemoveDeqLin": 87,
    "MatMulNBitsToQDQ": 89,
    "Non4DInitializers": 90,
    "Non4DReshape Non4DExpand Non4DTranspose Non4DSlice Non4DLpNorm": 91,
    "StandaloneReduceSum ReduceMax ReshapeReduceSum ReshapeClipReduceSum": 92,
    "Gather GatherElements": 93,
    "MatMulToTransposeConvTranspose": 94,
    "RemoveIntermediarySqueezeAndUnsqueeze": 95,
    "DeduplicateSubgraphInitializers DeduplicateNodes": 40,
}


@pytest.mark.parametrize(("peer", "number"), SAME_AS.items(), ids=SAME_AS)
def test_a_surgery_that_is_a_job_is_done_there(peer, number):
    assert not isinstance(JOBS[number], Out)


for _peer in SAME_AS:
    SUITE.case(_peer)


def test_a_file_that_says_two_things_at_once_is_refused_by_name():
    value = onnx.helper.make_tensor_value_info("x", 1, [2])
    result = onnx.helper.make_tensor_value_info("y", 1, [2])
    twice = [onnx.helper.make_node("Neg", ["x"], ["h"]), onnx.helper.make_node("Abs", ["x"], ["h"])]
    graph = onnx.helper.make_graph([*twice, onnx.helper.make_node("Exp", ["h"], ["y"])], "g", [value], [result])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    assert "definition" in {finding.kind for finding in gk.check(model, runtime=False).findings}


X = "g (float[2,3] x) => (float[2,3] y)"
LOOP = """g (float[4] x) => (float[4] y) <int64 n = {1}, bool c = {1}> {
  y = Loop(n, c, x) <body = b (int64 i, bool ci, float[4] a) => (bool co, float[4] z) {
    h = MemcpyToHost(a) z = Relu(h) co = Identity(ci) }>
}"""


@SUITE.case("RemoveMemcpy.main_graph RemoveMemcpy.topo_sort RemoveMemcpy.chained")
@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ("a = MemcpyToHost(x) b = Relu(a) y = MemcpyFromHost(b)", "Relu"),
        ("a = Relu(x) b = MemcpyToHost(a) y = Sigmoid(b)", "Relu Sigmoid"),
        ("a = MemcpyToHost(x) b = MemcpyToHost(a) c = Relu(b) d = MemcpyFromHost(c) y = MemcpyFromHost(d)", "Relu"),
    ],
)
def test_copies_between_devices_go_and_the_output_keeps_its_name(nodes, left):
    after = gk.simplify(gk.rewrite(parse(f"{X} {{ {nodes} }}"), "remove-memcpy"))
    assert ops(after) == left
    without = parse(f"{X} {{ {nodes.replace('MemcpyToHost', 'Identity').replace('MemcpyFromHost', 'Identity')} }}")
    assert_runs_the_same(after, without)


@SUITE.case("RemoveMemcpy.loop_subgraph")
def test_copies_between_devices_go_in_bodies():
    after = gk.rewrite(parse(LOOP), "remove-memcpy")
    assert_runs_the_same(after, parse(LOOP.replace("MemcpyToHost", "Identity")))


SQUARE = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)


@SUITE.case(
    "GemmToMatMulAdd.no_bias GemmToMatMulAdd.non_unit_alpha ReciprocalMulToDiv.reversed_order MatMulAddToGemm.with_relu"
)
@pytest.mark.parametrize(
    ("nodes", "rule", "left"),
    [
        ("y = Gemm(x, w)", "gemm-to-matmul-add", "MatMul"),
        ("y = Gemm<alpha = 2.0>(x, w)", "gemm-to-matmul-add", "Gemm"),
        ("r = Exp(x) q = Reciprocal(r) a = Neg(x) y = Mul(q, a)", "reciprocal-mul-to-div", "Exp Neg Div"),
        ("h = MatMul(x, w) a = Add(h, b) y = Relu(a)", "matmul-add-to-gemm", "Gemm Relu"),
    ],
)
def test_variants_of_a_rule(nodes, rule, left):
    before = parse(f"{X} {{ {nodes} }}", w=SQUARE, b=SQUARE[0])
    after = gk.rewrite(before, rule)
    assert ops(after) == left
    assert_runs_the_same(after, before)


@SUITE.case(
    "MatMulAddToGemm.rank_3", differs="MatMul of rank 3 stays: Gemm between two Reshapes is no gain for any runtime"
)
def test_matmul_of_rank_3_stays():
    before = parse("g (float[2,2,3] x) => (float[2,2,3] y) { h = MatMul(x, w) y = Add(h, b) }", w=SQUARE, b=SQUARE[0])
    after = gk.rewrite(before, "matmul-add-to-gemm")
    assert ops(after) == "MatMul Add"
    assert_runs_the_same(after, before)


@SUITE.case("RMSNormToL2Norm*8")
@pytest.mark.parametrize("gain", [SQUARE[0], np.ones(3)], ids=["gain", "ones"])
@pytest.mark.parametrize("cast", [False, True], ids=["plain", "cast"])
@pytest.mark.parametrize(
    "quotient",
    [
        "d = Div(u, q)",
        "r = Div(one, q) d = Mul(u, r)",
        "r = Reciprocal(q) d = Mul(u, r)",
        "r = Pow(t, minus) d = Mul(u, r)",
    ],
    ids=["div", "rsqrt", "reciprocal", "power"],
)
def test_rms_norm_becomes_l2_norm(quotient, cast, gain):
    before = parse(
        f"{X} <int64[1] a = {{-1}}, float p = {{2}}, float e = {{1e-6}}, float one = {{1}}, float minus = {{-0.5}}> {{"
        f" u = {'Cast<to = 1>' if cast else 'Identity'}(x) s = Pow(u, p) m = ReduceMean(s, a) t = Add(m, e) q = Sqrt(t) {quotient}"
        f" v = {'Cast<to = 1>' if cast else 'Identity'}(d) y = Mul(g, v) }}",
        g=gain,
    )
    after = gk.simplify(gk.rewrite(gk.simplify(before), "rms-norm-to-lp"))
    assert ops(after) == "LpNormalization Mul"
    assert_runs_the_same(after, before, rtol=1e-4, atol=1e-5)


@SUITE.case("SkipSimplifiedLayerNormToL2Norm*4")
@pytest.mark.parametrize("results", ["y", 'y, "", "", a'], ids=["one", "sum"])
@pytest.mark.parametrize("gain", [SQUARE[0], np.ones(3)], ids=["gain", "ones"])
def test_the_sum_in_front_of_rms_norm_becomes_an_add(gain, results):
    found = "y, a" if "a" in results else "y"
    declared = ", ".join(f"float[1,2,3] {name}" for name in found.split(", "))
    before = parse(
        f"g (float[1,2,3] x, float[1,2,3] s) => ({declared}) {{ {results} = "
        "com.microsoft.SkipSimplifiedLayerNormalization<epsilon = 1e-6>(x, s, g) }",
        imports='"com.microsoft" : 1',
        g=gain,
    )
    after = gk.simplify(gk.rewrite(before, ["expand-simplified-layer-norm", "rms-norm-to-lp"]))
    assert ops(after) == "Add LpNormalization Mul"
    assert_runs_the_same(after, before, rtol=1e-4, atol=1e-5)


SKIP = "g (float[1,2,3] x, float[1,2,3] s) => (float[1,2,3] y, float[1,2,3] a)"


@SUITE.case(
    "FuseSkipLayerNorm*2 FuseSkipRMSNorm*2",
    differs="no built-in rule makes com.microsoft's fused operators, ONNX Runtime does it when it loads; as a rule of one's own, below",
)
@pytest.mark.parametrize(
    ("norm", "operands", "fused"),
    [
        ("LayerNormalization", "g, b", "SkipLayerNormalization"),
        ("SimplifiedLayerNormalization", "g", "SkipSimplifiedLayerNormalization"),
    ],
)
def test_a_rule_of_ones_own_fuses_the_sum_into_the_norm(norm, operands, fused):
    before = parse(
        f"{SKIP} {{ a = Add(x, s) y = {norm}<axis = -1, epsilon = 1e-5>(a, {operands}) }}", g=[1, 2, 3], b=[0, 1, 2]
    )
    rule = f"""
pattern <e> (x, s, {operands}) => (y, a) {{ a = Add(x, s) y = {norm}<axis = -1, epsilon: float = @e>(a, {operands}) }}
where rank(x) == 3
replacement (x, s, {operands}) => (y, a) {{ y, m, v, a = com.microsoft.{fused}<epsilon: float = @e>(x, s, {operands}) }}
"""
    after = gk.rewrite(before, rule)
    assert ops(after) == fused
    assert_runs_the_same(after, before)


@SUITE.case("RemoveGidxFromMatMulNBits*3")
@pytest.mark.parametrize(("groups", "operands"), [(None, 3), (np.arange(32) // 16, 3), (1 - np.arange(32) // 16, 5)])
def test_g_idx_goes_only_where_it_ascends(groups, operands):
    rng = np.random.default_rng(0)
    more = "" if groups is None else ', "", i'
    before = parse(
        "g (float[2,32] x) => (float[2,4] y) "
        f"{{ y = com.microsoft.MatMulNBits<K = 32, N = 4, bits = 4, block_size = 16>(x, w, s{more}) }}",
        opset=21,
        imports='"com.microsoft" : 1',
        s=rng.standard_normal(8),
    )
    held = {"w": rng.integers(0, 256, (4, 2, 8)).astype(np.uint8)}
    if groups is not None:
        held["i"] = groups.astype(np.int32)
    before.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in held.items())
    after = gk.rewrite(before, "drop-g-idx")
    assert len(after.nodes[0].input) == operands
    assert_runs_the_same(after, before, rtol=1e-4, atol=1e-4)


DIMS = "g (float[1,3,4] x, int64[1,3] z) => (float[b,3,4] y, int64[1,3] w) { y = Identity(x) w = Neg(z) }"


@SUITE.case("RenameInputDims.by_index")
@pytest.mark.parametrize("axis", ["x:0", "z:0"])
def test_an_axis_of_any_input_gets_a_name(axis):
    after = gk.dims(parse(DIMS), {axis: "n"})
    name = axis.partition(":")[0]
    value = next(value for value in after.inputs if value.name == name)
    assert value.type.tensor_type.shape.dim[0].dim_param == "n"
    feeds = {"x": np.ones((1, 3, 4), np.float32), "z": np.ones((1, 3), np.int64)}
    feeds[name] = np.repeat(feeds[name], 5, axis=0)
    assert_same(run_ort(after, feeds), {"y": feeds["x"], "w": -feeds["z"]})


@SUITE.case("RenameInputDims.invalid_input_name RenameOutputDims.invalid_output_idx")
@pytest.mark.parametrize(("axis", "error"), [("none:0", gk.errors.NameNotFoundError), ("x:7", gk.errors.GraphkitError)])
def test_an_input_or_axis_that_is_not_there_is_refused_by_name(axis, error):
    with pytest.raises(error, match=axis.partition(":")[0]):
        gk.dims(parse(DIMS), {axis: "n"})


PACKED = "g (float[1,2,6,4] q, float[1,2,6,4] k, float[1,2,6,4] v, int32[3] ends) => (float[1,6,2,4] y)"
ATTEND = """<domain: "custom", opset_import: ["" : 18]> PackedAttention <scale> (q, k, v, ends) => (y) {
  zero = Constant<value = int64 {0}>() one = Constant<value = int64 {1}>() ones = Constant<value_ints = [1]>() two = Constant<value_ints = [2]>()
  factor = Constant<value_float: float = @scale>() true = Constant<value = bool {1}>()
  n = Size(ends) parts = Sub(n, one)
  none = Constant<value_ints = [0]>() empty = Slice(q, none, none, two)
  all = Loop(parts, true, empty) <body = part (int64 i, bool ci, float[1,2,s,4] done) => (bool co, float[1,2,t,4] more) {
    j = Add(i, one)
    b32 = Gather(ends, i) e32 = Gather(ends, j)
    b = Cast<to = 7>(b32) e = Cast<to = 7>(e32)
    begin = Unsqueeze(b, none) end = Unsqueeze(e, none)
    qs = Slice(q, begin, end, two) ks = Slice(k, begin, end, two) vs = Slice(v, begin, end, two)
    kt = Transpose<perm = [0, 1, 3, 2]>(ks) products = MatMul(qs, kt)
    scaled = Mul(products, factor) p = Softmax<axis = -1>(scaled) r = MatMul(p, vs)
    more = Concat<axis = 2>(done, r) co = Identity(ci) }>
  y = Transpose<perm = [0, 2, 1, 3]>(all)
}"""


@SUITE.case(
    "PackedAttentionToLoopMHA PackedAttentionToPackedMHA",
    differs="an operator of Olive's own; what stands for it is given as a function, and what it computes is shown",
)
def test_packed_attention_gets_a_body_with_a_loop():
    before = parse(f"{PACKED} {{ y = custom.PackedAttention<scale = 0.5>(q, k, v, ends) }}", imports='"custom" : 1')
    after = gk.inline(gk.define(before, ATTEND))
    assert "Loop" in ops(after)
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 1, 2, 6, 4)).astype(np.float32)
    got = run_ort(after, {"q": q, "k": k, "v": v, "ends": np.int32([0, 2, 6])})
    expected = np.concatenate(
        [_attention(q[:, :, part], k[:, :, part], v[:, :, part]) for part in (slice(0, 2), slice(2, 6))], axis=2
    )
    assert_same(got, {"y": expected.transpose(0, 2, 1, 3)}, rtol=1e-5, atol=1e-6)


def _attention(q, k, v):
    weights = np.exp(0.5 * q @ k.swapaxes(-1, -2))
    return weights / weights.sum(-1, keepdims=True) @ v


@SUITE.case("RenameInputs.several RenameOutputs.several ReorderInputs.permutation RemoveInputs.unused")
def test_the_interface_in_one_recipe():
    before = parse("g (float[2] p, float[2] q, float[2] idle) => (float[2] y, float[2] z) { y = Sub(p, q) z = Neg(q) }")
    after = gk.Recipe(
        [
            {"do": "rename", "values": {"p": "left", "q": "right", "y": "difference", "z": "minus"}},
            {"do": "reorder", "inputs": ["right", "left", "idle"]},
            {"do": "remove", "inputs": ["idle"]},
        ]
    ).apply(before)
    assert names(after.inputs) == ["right", "left"]
    assert names(after.outputs) == ["difference", "minus"]
    feeds = feeds_of(before)
    got = run_ort(after, {"right": feeds["q"], "left": feeds["p"]})
    assert_same(list(got.values()), list(run_ort(before, feeds).values()))

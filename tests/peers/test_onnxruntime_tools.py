"""ONNX Runtime's tools: float16, quantization, fixed and symbolic shapes."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort
from peers.suites import Suite, assert_runs_the_same, feeds_of, names, ops

SUITE = Suite(
    "ONNX Runtime tools",
    "microsoft/onnxruntime onnxruntime/test/python/transformers/test_float16.py, quantization/*.py, "
    "onnxruntime_test_python_symbolic_shape_infer.py, tools/python/util/test/test_onnx_model_utils.py",
    outside=[
        (
            30,
            "options of its quantizer (tensor overrides, symmetry, calibration ranges, QNN and 16-bit presets) and its calibration classes",
        ),
        (25, "kernels: MatMulNBits by its CUDA kernels, bnb4, 2 bits, and benchmarks"),
        (6, "update_tensor_metadata_for_permutation: a function on declarations alone"),
    ],
)

RESIZE = "float[1, 1, 4, 4] input"


def resize(count, opset, *, kept=""):
    """Some Resize in a row, without names, their scales as weights, and a Neg before them."""
    form = '{b} = Resize<mode = "nearest">({a}, ROI)'.replace("ROI", "roi, scales" if opset > 10 else "scales")
    body = " ".join(form.format(a=f"r{i}", b="output" if i == count - 1 else f"r{i + 1}") for i in range(count))
    size = 4 * 2**count
    before = parse(
        f"g ({RESIZE}) => (float[1, 1, {size}, {size}] output) <float[4] scales = {{1, 1, 2, 2}}> {{ r0 = Neg(input) {body} }}",
        opset=opset,
    )
    if opset > 10:
        before.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(0, np.float32), "roi"))
    return before, gk.precision(before, to="float16", keep_io=True, keep_ops=[kept] if kept else [])


@SUITE.case(
    "float16.resize_opset11_cast_naming_unique float16.resize_opset10_multiple_unnamed float16.resize_with_op_block_list"
    " float16.resize_opset11_scales_stay_fp32 float16.resize_opset10_scales_stay_fp32"
)
@pytest.mark.parametrize(
    ("count", "opset", "kept"), [(1, 11, ""), (3, 11, ""), (2, 11, "Resize"), (1, 10, ""), (3, 10, "")]
)
def test_scales_of_resize_stay_float32_and_new_nodes_have_names_of_their_own(count, opset, kept):
    before, after = resize(count, opset, kept=kept)
    held = {t.name: t.data_type for t in after.proto.graph.initializer}
    assert held["scales"] == onnx.TensorProto.FLOAT
    made = [name for node in after.nodes for name in node.output]
    assert len(set(made)) == len(made)
    called = [node.name for node in after.nodes if node.name]
    assert len(set(called)) == len(called)
    assert_runs_the_same(after, before, rtol=2e-3, atol=1e-3)


@SUITE.case("float16.blocked_node_cast_naming_unique")
def test_operators_that_have_no_half_keep_float32():
    before = parse(
        'g (float[1, 1, 4, 4] input) => (float[1, 1, 16, 16] output) <float[4] s = {1, 1, 2, 2}> { n = Neg(input) a = Upsample<mode = "nearest">(n, s) output = Upsample<mode = "nearest">(a, s) }',
        opset=9,
        ir=7,
    )
    after = gk.precision(before, to="float16", keep_io=True)
    made = [name for node in after.nodes for name in (*node.output, node.name) if name]
    assert len(set(made)) == len(made)
    assert_runs_the_same(after, before, rtol=2e-3, atol=1e-3)


@SUITE.case("float16.data_input_converted")
def test_the_data_of_resize_becomes_half():
    before = resize(1, 11)[0]
    after = gk.precision(before, to="float16")
    assert after.inputs[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    feeds = feeds_of(before)
    got = run_ort(after, {"input": feeds["input"].astype(np.float16)})
    assert_same(got["output"].astype(np.float32), run_ort(before, feeds)["output"], rtol=2e-3, atol=1e-3)


@SUITE.case(
    "float16.force_fp16_initializers", differs="no switch makes half of weights that an operator takes as float32 only"
)
def test_weights_that_have_to_be_float32_stay_so():
    after = resize(1, 11)[1]
    assert {t.name: t.data_type for t in after.proto.graph.initializer}["scales"] == onnx.TensorProto.FLOAT


HALVES = {
    "fp16_converter.conv_model": "g (float[4, 2, 8, 8] input) => (float[4, 2, 8, 8] output) <float[2, 2, 1, 1] v = {1, 0.5, -0.25, 0.75}, float[2, 2, 1, 1] w = {0.5, 2, 1, -1}, float[2] b = {0.1, 0.2}> { [c1] c = Conv(input, v, b) r = Relu(c) [c2] d = Conv(input, w, b) output = Add(r, d) }",
    "fp16_converter.matmul_model_with_init": "g (float[4, 2] input) => (float[2, 2] output) <float[4, 2] i = {1, 2, 3, 4, 0.5, 0.25, 2, 1}> { t = Transpose<perm = [1, 0]>(input) output = MatMul(t, i) }",
    "fp16_converter.matmul_model_without_init": "g (float[4, 2] input) => (float[2, 2] output) { t = Transpose<perm = [1, 0]>(input) output = MatMul(t, input) }",
}
SUITE.case(" ".join(HALVES))


@pytest.mark.parametrize("name", HALVES)
def test_chosen_operators_alone_become_half(name):
    before = parse(HALVES[name], opset=13)
    heavy = "Conv" if "Conv(" in HALVES[name] else "MatMul"
    after = gk.precision(before, to="float16", keep_io=True, only_ops=[heavy])
    assert "Cast" in ops(after)
    node = next(n for n in after.nodes if n.op_type == heavy)
    got = run_ort(gk.tap(after, list(node.output)), feeds_of(before))
    assert got[node.output[0]].dtype == np.float16
    assert_runs_the_same(after, before, rtol=1e-2, atol=1e-2)


def weights(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {f"w{i}": (rng.standard_normal(shape, np.float32) * 0.3) for i, shape in enumerate(shapes)}


PICTURE = (
    """g (float[1, 3, 8, 8] x) => (float[1, 4] y) <int64[8] p = {0, 0, 1, 1, 0, 0, 1, 1}, float[4] s = {1, 1, 2, 2}, float lo = {0}, float hi = {6},
    int64[1] axes = {1}, int64[2] flat = {1, 8}> {
    a = Conv<pads = [1, 1, 1, 1]>(x, w0) r = Relu(a) q = Pad(r, p) m = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(q)
    u = Resize<mode = "nearest">(m, , s) t = ConvTranspose(u, w1) k = Clip(t, lo, hi) v = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(k)
    c = Concat<axis = 1>(v, v) z = GlobalAveragePool(c) f = Flatten(z) g1 = Gemm<transB = 1>(f, w2) y = Softmax(g1) }""",
    weights((4, 3, 3, 3), (4, 4, 1, 1), (4, 8)),
)
TEXT = (
    """g (int64[1, 6] ids) => (float[1, 6, 8] y) <int64[1] one = {1}, int64[3] back = {1, 6, 8}, int64[4] heads = {1, 6, 2, 4}, int64[1] b = {0}, int64[1] e = {6}, int64[1] a = {1}> {
    h = Gather(w0, ids) q = MatMul(h, w1) r = Reshape(q, heads) t = Transpose<perm = [0, 2, 1, 3]>(r) k = Transpose<perm = [0, 2, 3, 1]>(r)
    d = MatMul(t, k) p = Softmax(d) o = MatMul(p, t) n = Transpose<perm = [0, 2, 1, 3]>(o) m = Reshape(n, back) l = Slice(m, b, e, a)
    u = Unsqueeze(l, one) z = Squeeze(u, one) s1, s2 = Split<axis = 2, num_outputs = 2>(z) c = Concat<axis = 2>(s1, s2) y = MatMul(c, w2) }""",
    weights((20, 8), (8, 8), (8, 8), seed=1),
)
BRANCHED = (
    """g (float[1, 8, 1, 3] x) => (float[1, 8, 1, 3] y) { a = Conv(x, w0) r = Relu(a) b = Conv(r, w1) c = Conv(x, w2) y = Add(b, c) }""",
    weights((8, 8, 1, 1), (8, 8, 1, 1), (8, 8, 1, 1), seed=2),
)
GEMMS = (
    "g (float[n, 10] x) => (float[n, 10] y) <float lo = {-1}, float hi = {1}> { a = Gemm<transB = 1>(x, w0, w1) k = Clip(a, lo, hi) y = Gemm<transB = 1>(k, w2, w3) }",
    weights((40, 10), (40,), (10, 40), (10,), seed=3),
)
NETS = {"picture": PICTURE, "text": TEXT, "branched": BRANCHED, "gemms": GEMMS}
SUITE.case(
    "quantize.conv*4 quantize.gemm*8 quantize.matmul*4 quantize.maxpool*3 quantize.pad*6 quantize.avgpool*3 quantize.gavgpool*3 quantize.concat*3"
    " quantize.resize*3 quantize.relu_clip*4 quantize.reshape*3 quantize.transpose*3 quantize.softmax*3 quantize.split*3 quantize.squeeze*3"
    " quantize.slice quantize.flatten quantize.conv_transpose*4 quantize.gather quantize.save_as_external quantize.static_config"
)
SUITE.case(
    "quantize.qoperator*20 quantize.smooth_quant quantize.argmax*2 quantize.attention*2 quantize.instance_norm quantize.topk quantize.where*2 quantize.embed_layer_norm*2",
    differs="QuantizeLinear and DequantizeLinear pairs only (QDQ), which every runtime reads; operators of com.microsoft and SmoothQuant are not written, and other operators stay float",
)


def loss(after, before, seed):
    """Relative L2 error on feeds that calibration did not see."""
    feeds = feeds_of(before, seed)
    got, want = run_ort(after, feeds)["y"], run_ort(before, feeds)["y"]
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@pytest.mark.parametrize(
    ("net", "kind"),
    [
        *((net, kind) for net in NETS for kind in ("int8", "int8-dynamic")),
        ("gemms", "int8-weights"),
        ("text", "int8-weights"),
    ],
)
def test_quantized_nets_run_and_are_within_a_tenth(net, kind, tmp_path):
    text, held = NETS[net]
    before = parse(text, **held)
    after = gk.precision(before, to=kind)
    smaller = {t.data_type for t in after.proto.graph.initializer} & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    assert smaller
    assert max(loss(after, before, seed) for seed in (11, 12)) < 0.1
    after.save(tmp_path / "q.onnx", external="q.data")
    feeds = feeds_of(before, 11)
    assert_same(run_ort(tmp_path / "q.onnx", feeds), run_ort(after, feeds))


@SUITE.case("quant_issues.minimal_model")
def test_chosen_operators_are_quantized_alone():
    text, held = PICTURE
    before = parse(text, **held)
    after = gk.precision(before, to="int8", only_ops=["Gemm"])
    assert ops(after).count("DequantizeLinear") < 6
    assert loss(after, before, 11) < 0.1


@SUITE.case("quant_issues.dynamic_quantize_per_channel_emits_axis")
@pytest.mark.parametrize("kind", ["int8", "int8-dynamic"])
def test_a_weight_that_is_an_output_too_is_quantized_by_channel_and_given_back(kind):
    before = parse(
        "g (float[5, 4] x) => (float[5, 8] y, float[4, 8] w_out) { y = MatMul(x, w0) w_out = Identity(w0) }",
        **weights((4, 8)),
    )
    after = gk.precision(before, to=kind, per_channel=True)
    x = feeds_of(before, 3)
    got, want = run_ort(after, x), run_ort(before, x)
    assert np.abs(got["y"] - want["y"]).max() < 0.05
    assert np.abs(got["w_out"] - want["w_out"]).max() < 0.02
    assert names(after.outputs) == ["y", "w_out"]


@SUITE.case("quantizer_shape_inference.com_microsoft")
def test_types_behind_an_operator_of_com_microsoft_are_no_obstacle():
    before = parse(
        "g (float[1, 4] x) => (float[1, 4] y) { a = MatMul(x, w0) b = com.microsoft.FusedMatMul(a, w1) c = MatMul(b, w2) y = MatMul(c, w3) }",
        imports='"com.microsoft" : 1',
        **weights(*[(4, 4)] * 4),
    )
    after = gk.precision(before, to="int8-dynamic")
    assert "FusedMatMul" in ops(after)
    assert ops(after).count("MatMulInteger") == 3
    assert loss(after, before, 11) < 0.1


@SUITE.case(
    "quantize.subgraph",
    differs="weights that bodies read become int8 with int8-weights; int8 and int8-dynamic leave bodies in float32, and say so",
)
@pytest.mark.parametrize("kind", ["int8", "int8-dynamic", "int8-weights"])
def test_what_bodies_read_is_quantized_or_said_to_stay(kind):
    before = parse(
        """g (bool c, float[2, 16] x) => (float[2, 16] y) { h = MatMul(x, w0) y = If(c) <then_branch = t () => (float[2, 16] r) { r = MatMul(h, w1) },
        else_branch = e () => (float[2, 16] s) { s = Neg(h) }> }""",
        **weights((16, 16), (16, 16)),
    )
    after = gk.precision(before, to=kind)
    left = {t.name for t in after.proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2}
    assert left == (set() if kind == "int8-weights" else {"w1"})
    assert ("what is in the bodies of If 'y' stays float32" in after.history[-1].notes) == (kind != "int8-weights")
    for c in (True, False):
        x = {"c": np.array(c), "x": feeds_of(before, 5)["x"]}
        got, want = run_ort(after, x)["y"], run_ort(before, x)["y"]
        assert np.linalg.norm(got - want) < 0.1 * np.linalg.norm(want)


def declared(model):
    """Value -> its dims, of outputs and inner values."""
    graph = model.proto.graph
    return {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*graph.value_info, *graph.output]
    }


@SUITE.case("symbolic.unsqueeze_opset_11 symbolic.unsqueeze_opset_13")
@pytest.mark.parametrize(("opset", "node"), [(11, "t = Unsqueeze<axes = [0]>(x)"), (13, "t = Unsqueeze(x, axes)")])
def test_inferred_shapes_are_written_with_their_symbols(opset, node):
    held = "<int64[1] axes = {0}>" if opset > 11 else ""
    before = parse(f"g (float[b, s] x) => (float[k, l, m] y) {held} {{ {node} y = Identity(t) }}", opset=opset)
    before.graph.output[0].type.tensor_type.ClearField("shape")
    after = gk.set_parts(before, shapes="infer")
    assert declared(after)["t"] == [1, "b", "s"]
    assert_runs_the_same(after, before)


@SUITE.case(
    "symbolic.embed_layer_norm symbolic.softmax_cross_entropy_loss symbolic.infer_all_models",
    differs="operators of com.microsoft are followed as far as ONNX Runtime types them at load; their shapes are not written",
)
def test_operators_of_com_microsoft_do_not_stop_the_rest():
    before = parse(
        "g (float[b, 4] x) => (float[b, 4] y) { a = Neg(x) c = com.microsoft.QuickGelu(a) y = Exp(a) z = Abs(c) }",
        imports='"com.microsoft" : 1',
    )
    after = gk.set_parts(before, shapes="infer")
    assert declared(after)["a"] == ["b", 4]
    assert_runs_the_same(after, before)


SLICES = {
    "symbolic.numeric_negative_indices_forward": ("M", "-10", "-1", "1"),
    "symbolic.numeric_negative_indices_backward": ("M", "-1", "-10", "-1"),
    "symbolic.non_unit_step": ("M", "0", "4294967296", "2"),
    "symbolic.flip symbolic.flip_of_concat": ("M", "-1", "-4294967296", "-1"),
}
SUITE.case(" ".join(SLICES))


@pytest.mark.parametrize("name", SLICES)
def test_slices_of_free_axes_keep_what_is_true_of_their_sizes(name):
    axis, start, end, step = SLICES[name]
    before = parse(
        f"g (float[B, {axis}] x) => (float[p, q] y) <int64[1] s = {{{start}}}, int64[1] e = {{{end}}}, int64[1] a = {{1}}, int64[1] t = {{{step}}}> {{ h = Slice(x, s, e, a, t) y = Neg(h) }}"
    )
    after = gk.set_parts(before, shapes="infer")
    assert declared(after)["h"][0] == "B"
    for size in (12, 7, 20):
        x = {"x": np.random.default_rng(size).standard_normal((2, size), np.float32)}
        got = run_ort(gk.tap(after, ["h"]), x)
        assert_same(got["y"], run_ort(before, x)["y"])
        said = declared(after)["h"][1]
        assert not isinstance(said, int) or said in (0, got["h"].shape[1]), "a number that is declared has to be true"


@SUITE.case(
    "symbolic.symbolic_end_index symbolic.symbolic_negative_start_index symbolic.symbolic_step symbolic.symbolic_negative_step",
    differs="sizes that are computed from other sizes (2*M - 1, floor(-1/N) + 3) are not written as formulas: such an axis is free",
)
def test_a_computed_bound_leaves_a_free_axis():
    before = parse(
        "g (float[B, M] x, float[B, N] z) => (float[p, q] y) <int64[1] o = {1}, int64[1] t = {2}, int64[1] n = {0}> { c = Concat<axis = 1>(x, z) s = Shape(x) m = Slice(s, o, t, n) h = Slice(c, n, m, o) y = Neg(h) }"
    )
    after = gk.set_parts(before, shapes="infer")
    assert not isinstance(declared(after)["h"][1], int) or declared(after)["h"][1] == 0
    x = {"x": np.ones((2, 3), np.float32), "z": np.zeros((2, 4), np.float32)}
    assert_same(run_ort(after, x), {"y": -np.ones((2, 3), np.float32)})


@SUITE.case("model_utils.replace_symbolic_dim model_utils.replace_input_shape_with_dim_params")
def test_a_symbol_becomes_a_size_everywhere():
    before = parse("g (float[D] x, float[D] z) => (float[D] y) { a = Mul(x, z) y = Neg(a) }")
    before = gk.set_parts(before, shapes="infer")
    after = gk.dims(before, {"D": 4})
    assert declared(after) == {"a": [4], "y": [4]}
    assert {d.dim_value for v in after.inputs for d in v.type.tensor_type.shape.dim} == {4}
    x = {"x": np.float32([1, 2, 3, 4]), "z": np.float32([2, 2, 2, 2])}
    assert_same(run_ort(after, x), run_ort(before, x))


@SUITE.case("model_utils.replace_input_shape model_utils.fix_output_shape")
def test_dims_without_a_name_become_sizes_and_outputs_follow():
    before = parse("g (float[?, ?, 4] x, float[?, 4] z) => (float[?, ?, ?] y) { y = Add(x, z) }")
    after = gk.dims(before, {"x:0": 2, "x:1": 3, "z:0": 3})
    assert declared(after)["y"] == [2, 3, 4]
    x = {"x": np.ones((2, 3, 4), np.float32), "z": np.ones((3, 4), np.float32)}
    assert_same(run_ort(after, x), run_ort(before, x))


@SUITE.case(
    "model_utils.invalid_replace_input_shape",
    differs="another size in the place of a fixed one is no error where the model takes it: dims follows it, and refuses or names where it cannot",
)
def test_dims_that_are_not_there_are_refused():
    before = parse("g (float[N, 2] input) => (float[N, 3] y) { y = MatMul(input, w) }", w=np.ones((2, 3)))
    for wrong in ({"input:2": 3}, {"X1:0": 2}, {"Q": 3}):
        with pytest.raises(gk.GraphkitError):
            gk.dims(before, wrong)
    with pytest.raises(gk.GraphkitError):
        gk.dims(before, {"input:1": 3})
    x = {"input": np.ones((4, 2), np.float32)}
    assert_same(run_ort(gk.dims(before, {"N": 4}), x), run_ort(before, x))


@SUITE.case("model_utils.producer_consumer_maps")
def test_a_body_that_hides_a_name_is_not_taken_for_a_reader_of_it():
    before = parse(
        """g (float[1] x, float[1] y) => (float[1] out) <int64 n = {2}, bool k = {1}, float[1] w = {1}> { a1 = Add(x, y) z = Add(a1, w) s = Identity(z)
        v = Loop(n, k, s) <body = b (int64 i, bool c, float[1] st) => (bool c2, float[1] so) { c2 = Identity(c) b1 = Add(st, st) a2 = Add(w, x) a3 = Add(z, b1) so = Add(a2, a3) }>
        out = Sub(a1, v) }"""
    )
    readers = gk.extract(before, inputs=["z", "x", "a1"], outputs=["out"])
    assert ops(readers) == "Identity Loop Sub"
    feeds = feeds_of(before)
    values = {**feeds, **run_ort(gk.tap(before, ["z", "a1"]), feeds)}
    assert_same(run_ort(readers, {n: values[n] for n in ("z", "x", "a1")}), {"out": values["out"]})

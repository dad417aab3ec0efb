"""int8: names, weights wherever they stand, ranges that say nothing, and how far off the result is."""

import functools

import numpy as np
import onnx
import onnx.parser
import pytest

import graphkit as gk
import onnx_text
from backend_cases import node_cases
from graphkit.surgery.precision.accuracy import relative_error
from graphkit.surgery.precision.calibration import DRAWN, GIVEN, Range
from oracle import run_ort

RNG = np.random.default_rng(0)


parse = functools.partial(onnx_text.parse, opset=17)


def normal(*shape, scale=1.0, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def off(small, model, feeds):
    """The largest relative L2 error of an output."""
    got, want = run_ort(small, feeds), run_ort(model, feeds)
    return max(relative_error(got[name], want[name]) for name in want)


def names(small):
    graph = small.proto.graph
    made = [name for node in graph.node for name in node.output]
    return [*(t.name for t in graph.initializer), *made]


def notes(small):
    return " ".join(small.history[-1].notes)


TAKEN = ["h_scale", "h_zero_point", "h_quantized", "w_quantized", "w_scale", "h_QuantizeLinear_Output", "x_scale"]


@pytest.mark.parametrize("taken", TAKEN)
@pytest.mark.parametrize("place", ["weight", "inner", "input", "body"])
def test_a_name_that_the_quantizer_would_like_may_be_taken(taken, place):
    body = f"b = If (c) <then_branch = t () => (float[1,8] {taken}) {{ {taken} = Mul(h, two) }}, else_branch = e () => (float[1,8] q) {{ q = Neg(h) }}>"
    line = {
        "weight": f"t = Mul(h, {taken}) z = MatMul(t, w)",
        "inner": f"{taken} = Mul(h, two) z = MatMul({taken}, w)",
        "input": f"t = Mul(h, {taken}) z = MatMul(t, w)",
        "body": f"{body} z = MatMul(b, w)",
    }[place]
    extra = f", float[1] {taken}" if place == "input" else ", bool c" if place == "body" else ""
    weights = {"w": normal(8, 4), "two": [2]} | ({taken: [50]} if place == "weight" else {})
    model = parse(f"g (float[1,8] x{extra}) => (float[1,4] z) {{ h = Relu(x) {line} }}", **weights)
    feeds = {"x": abs(normal(1, 8))} | ({taken: np.float32([50])} if place == "input" else {})
    feeds |= {"c": np.array(True)} if place == "body" else {}
    small = gk.precision(model, to="int8", feeds=feeds)
    assert off(small, model, feeds) < 0.05
    there = {v.name for v in small.proto.graph.input} | set(names(small))
    assert {taken, f"{taken}_quantized"} & there or place == "body"


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("readers", [2, 3])
def test_a_bias_may_be_shared_beside_values_with_its_name_and_a_number(readers, per_channel):
    nodes = "".join(f"b{i} = Conv({f'b{i - 1}' if i else 'x'}, w{i}, b) " for i in range(readers))
    weights = {f"w{i}": normal(4, 4, 1, 1, scale=0.5, seed=i) for i in range(readers)}
    model = parse(
        f"g (float[1,4,9,9] x) => (float[1,4,9,9] y) {{ {nodes} y = Relu(b{readers - 1}) }}", b=normal(4), **weights
    )
    x = normal(1, 4, 9, 9)
    small = gk.precision(model, to="int8", feeds={"x": x}, per_channel=per_channel)
    assert off(small, model, {"x": x}) < 0.1
    assert {f"b{i}" for i in range(readers)} <= set(names(small))


@pytest.mark.parametrize("ir", [3, 8])
def test_weights_that_are_inputs_are_quantized_and_no_inputs_any_more(ir):
    model = parse(
        "g (float[1,3,8,8] x, float[4,3,3,3] w, float[4] b) => (float[1,4,6,6] y) { c = Conv(x, w, b) y = Relu(c) }"
    )
    for name, array in (("w", normal(4, 3, 3, 3, scale=0.2)), ("b", np.ones(4, np.float32))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model.ir_version = ir
    x = normal(1, 3, 8, 8)
    small = gk.precision(model, to="int8", feeds={"x": x})
    assert [v.name for v in small.proto.graph.input] == ["x"]
    assert "'w' is no input any more" in notes(small)
    assert off(small, model, {"x": x}) < 0.05


def test_a_default_that_is_fed_stays_an_input_with_its_default():
    model = parse("g (float[1,8] x, float[8,4] w) => (float[1,4] y) { h = Relu(x) y = MatMul(h, w) }", w=normal(8, 4))
    x, other = abs(normal(1, 8)), normal(8, 4, seed=5)
    small = gk.precision(model, to="int8", feeds={"x": x, "w": other})
    assert [v.name for v in small.proto.graph.input] == ["x", "w"]
    assert off(small, model, {"x": x, "w": other}) < 0.05
    assert off(small, model, {"x": x}) < 0.05


def test_a_default_that_no_quantized_node_reads_stays():
    model = parse(
        """g (float[1,1,4,4] x, float[4] scales) => (float[1,1,p,q] y)
        <float[4] scales = {1, 1, 2, 2}> { c = Conv(x, w) y = Resize(c,, scales) }""",
        w=normal(1, 1, 1, 1),
    )
    small = gk.precision(model, to="int8", feeds={"x": normal(1, 1, 4, 4)})
    assert [v.name for v in small.proto.graph.input] == ["x", "scales"]
    feeds = {"x": normal(1, 1, 4, 4), "scales": np.float32([1, 1, 3, 3])}
    assert off(small, model, feeds) < 0.05


@pytest.mark.parametrize("per_channel", [False, True])
def test_weights_in_constants_are_quantized_and_other_constants_stay(per_channel):
    model = parse(
        "g (float[1,16,8,8] x) => (float[1,16,6,6] y, float k) { c = Conv(x, w) d = Div(c, two) y = Relu(d) }"
    )
    arrays = {"two": np.float32([2]), "w": normal(16, 16, 3, 3, scale=0.1), "k": np.float32(7)}
    for name, array in arrays.items():
        node = onnx.helper.make_node(
            "Constant", [], [name], name=f"make {name}", value=onnx.numpy_helper.from_array(array)
        )
        model.graph.node.insert(0, node)
    x = normal(1, 16, 8, 8)
    small = gk.precision(model, to="int8", feeds={"x": x}, per_channel=per_channel)
    assert [n.name for n in small.proto.graph.node if n.op_type == "Constant"] == ["make k", "make two"]
    assert small.proto.ByteSize() < model.ByteSize() / 2
    assert off(small, model, {"x": x}) < 0.05


def test_a_weight_that_a_body_reads_too_stays_there():
    model = parse(
        """g (float[1,4] x, bool c) => (float[1,4] y) { h = MatMul(x, w) y = If (c) <
        then_branch = t () => (float[1,4] a) { a = MatMul(h, w) }, else_branch = e () => (float[1,4] b) { b = Neg(h) }> }""",
        w=normal(4, 4),
    )
    for c in (True, False):
        feeds = {"x": normal(1, 4), "c": np.array(c)}
        small = gk.precision(model, to="int8", feeds=feeds)
        assert off(small, model, feeds) < 0.05
        assert "what is in the bodies of If 'y' stays float32" in notes(small)


def test_an_input_and_a_weight_may_be_outputs():
    model = parse(
        "g (float[1,4] x) => (float[1,4] x, float[4,4] w, float[1,4] y) { h = MatMul(x, w) y = Relu(h) }",
        w=normal(4, 4),
    )
    x = normal(1, 4)
    small = gk.precision(model, to="int8", feeds={"x": x})
    got = run_ort(small, {"x": x})
    assert np.array_equal(got["w"], normal(4, 4))
    assert np.array_equal(got["x"], x)
    assert off(small, model, {"x": x}) < 0.05


MASKS = {"-inf": -np.inf, "-1e9": -1e9, "finfo.min": np.finfo(np.float32).min, "-10000": -1e4, "-100": -100.0}


@pytest.mark.parametrize("spelling", ["Add", "Where", "Constant", "input"])
@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_stays_a_mask(mask, spelling):
    number = MASKS[mask]
    allowed = np.tril(np.ones((6, 6), bool))
    array = np.where(allowed, 0, number).astype(np.float32)
    masking = "sm = Where(allowed, s, far)" if spelling == "Where" else "[masking] sm = Add(s, causal_mask)"
    extra = ", float[6,6] causal_mask" if spelling == "input" else ""
    model = parse(
        f"""g (float[1,6,8] x{extra}) => (float[1,6,8] y, float[1,6,6] p) {{ q = MatMul(x, wq) k = Transpose<perm=[0,2,1]>(x)
        s = MatMul(q, k) {masking} p = Softmax(sm) y = MatMul(p, x) }}""",
        wq=normal(8, 8, scale=0.4),
        far=[number],
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(allowed, "allowed"))
    if spelling == "Constant":
        value = onnx.numpy_helper.from_array(array)
        model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["causal_mask"], value=value))
    elif spelling == "Add":
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, "causal_mask"))
    feeds = {"x": normal(1, 6, 8)} | ({"causal_mask": array} if spelling == "input" else {})
    small = gk.precision(model, to="int8", feeds=feeds)
    for seed in range(3):
        other = feeds | {"x": normal(1, 6, 8, seed=seed)}
        got, want = run_ort(small, other), run_ort(model, other)
        assert np.abs(got["p"] - want["p"]).max() < 0.1
    reach = "infinity" if np.isinf(number) else f"{-number:.3g}"
    assert f"'sm' reaches {reach}" in notes(small) or abs(number) <= 1e4
    assert "'sm' reaches" in notes(small) or number == -100
    assert "MatMul" in notes(small)


ATTENTION = [
    "test_attention_3d_causal_expanded",
    "test_attention_4d_attn_mask_bool_4d_expanded",
    "test_attention_4d_causal_expanded",
    "test_attention_4d_gqa_softcap_expanded",
    "test_attention_4d_with_past_and_present_expanded",
]


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_as_onnx_defines_it_stays_attention(name):
    [case] = [case for case in node_cases() if case.name == name]
    small = gk.precision(case.model, to="int8", feeds=case.feeds)
    got = run_ort(small, case.feeds)
    for output, want in case.expected.items():
        assert np.abs(got[output] - want).max() < 0.1
    assert "MatMul" in notes(small)


def test_what_is_kept_stays_float32():
    model = parse(
        "g (float[1,8] x) => (float[1,8] y) { [first] a = MatMul(x, w) [second] b = MatMul(a, v) y = Relu(b) }",
        w=normal(8, 8),
        v=normal(8, 8, seed=1),
    )
    x = normal(1, 8)
    held = {
        t.name: t.data_type
        for t in gk.precision(model, to="int8", feeds={"x": x}, keep_nodes=["first"]).proto.graph.initializer
    }
    assert held["w"] == onnx.TensorProto.FLOAT
    assert held["v_quantized"] == onnx.TensorProto.INT8
    only = gk.precision(model, to="int8", feeds={"x": x}, only_ops=["MatMul"])
    assert "quantized: 2 MatMul" in notes(only)
    with pytest.raises(gk.EditError, match="no node that ONNX Runtime's quantizer"):
        gk.precision(model, to="int8", feeds={"x": x}, only_ops=["Relu"])


@pytest.mark.parametrize("seed", range(3))
def test_the_error_on_feeds_that_calibration_did_not_see_is_small_or_said(seed):
    model = parse(
        """g (float[n,16] x) => (float[n,4] y) { a = MatMul(x, w1) b = Relu(a) c = Gemm(b, w2, bias)
        s = Sigmoid(c) d = Mul(c, s) e = LayerNormalization(d, g1, g2) y = MatMul(e, w3) }""",
        w1=normal(16, 32, scale=0.3),
        w2=normal(32, 16, scale=0.3, seed=1),
        bias=normal(16),
        g1=np.ones(16),
        g2=np.zeros(16),
        w3=normal(16, 4, seed=2),
    )
    x = normal(4, 16, seed=seed)
    small = gk.precision(model, to="int8", feeds={"x": x})
    unseen = {"x": normal(32, 16, seed=100 + seed)}
    assert off(small, model, unseen) < 0.1
    assert "relative L2 error" in notes(small)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_feeds_that_are_not_finite_are_said(number):
    model = parse("g (float[1,8] x) => (float[1,4] y) { y = MatMul(x, w) }", w=normal(8, 4))
    with pytest.raises(gk.EditError, match="no node is left to quantize: 'x' reaches infinity"):
        gk.precision(model, to="int8", feeds={"x": np.full((1, 8), number, np.float32)})


def test_an_error_that_is_large_is_said():
    model = parse(
        "g (float[1,8] x) => (float[1,4] y) { a = MatMul(x, w) b = Exp(a) c = MatMul(b, v) y = Exp(c) }",
        w=normal(8, 8, scale=2),
        v=normal(8, 4),
    )
    small = gk.precision(model, to="int8", feeds={"x": normal(1, 8)})
    assert "which is large" in notes(small)


def test_what_the_quantizer_fails_on_is_named():
    model = parse("g (float[1,8] x) => (float[1,4] y) { [product] y = MatMul(x, w) }", w=normal(8, 4))
    model.opset_import[0].domain = "ai.onnx"
    small = gk.precision(model, to="int8", feeds={"x": normal(1, 8)})
    assert "quantized: 1 MatMul" in notes(small)
    assert [e.domain for e in small.proto.opset_import] == ["ai.onnx"]


def summed(numbers):
    seen = Range()
    with np.errstate(over="ignore"):
        seen.add(
            *(float(each) for each in (numbers.min(), numbers.max(), numbers.sum(), (numbers**2).sum())), numbers.size
        )
    return seen


@pytest.mark.parametrize("seed", range(5))
def test_a_range_of_few_random_numbers_holds_those_to_come(seed):
    rng = np.random.default_rng(seed)
    numbers = np.prod(rng.standard_normal((2, 100_000)), axis=0).astype(np.float32)  # a tail longer than a normal one
    lowest, highest = summed(numbers[:300]).widened(DRAWN)
    assert np.mean((numbers < lowest) | (numbers > highest)) < 0.002
    assert summed(numbers).widened(DRAWN) == (numbers.min(), numbers.max())
    given = summed(numbers[:300]).widened(GIVEN)
    assert lowest <= given[0] <= numbers[:300].min()
    assert numbers[:300].max() <= given[1] <= highest


def test_a_widened_range_stays_finite():
    large = np.float32([0, 0, 0, 0, -1.7e38])
    assert all(np.isfinite(np.float32(edge)) for edge in summed(large).widened(DRAWN))
    assert all(np.isfinite(np.float32(edge)) for edge in summed(large / 1e20).widened(DRAWN))


@pytest.mark.parametrize("value", [-np.inf, -1e9, np.finfo(np.float32).min, -65504])
def test_a_causal_attention_is_one_on_many_feeds_that_calibration_did_not_see(value):
    mask = np.triu(np.full((7, 7), value, np.float32), 1)
    mask[np.tril_indices(7)] = 0
    weights = {name: normal(8, 8, scale=0.5, seed=seed) for seed, name in enumerate(("a", "b", "c"))}
    text = """g (float[2,7,8] x) => (float[2,7,8] y, float[2,7,7] p) {
        q = MatMul(x, a) k = MatMul(x, b) v = MatMul(x, c) t = Transpose<perm=[0,2,1]>(k) s = MatMul(q, t)
        r = Mul(s, root) m = Add(r, mask) p = Softmax<axis=-1>(m) y = MatMul(p, v) }"""
    model = parse(text, mask=mask, root=8**-0.5, **weights)
    small = gk.precision(model, to="int8")
    for seed in range(20):
        feeds = {"x": normal(2, 7, 8, seed=100 + seed)}
        assert np.abs(run_ort(small, feeds)["p"] - run_ort(model, feeds)["p"]).max() <= 0.1
        assert off(small, model, feeds) <= 0.1

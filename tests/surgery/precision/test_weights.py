"""int8-dynamic, int8-weights, int4-weights and keep_auto: close, smaller, and nothing else changed."""

import functools

import numpy as np
import onnx
import onnx.parser
import pytest

import graphkit as gk
import onnx_text
from graphkit.surgery.precision.accuracy import relative_error
from oracle import assert_same, run_ort

parse = functools.partial(onnx_text.parse, opset=17)


def normal(*shape, scale=1.0, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def off(small, model, feeds):
    got, want = run_ort(small, feeds), run_ort(model, feeds)
    return max(relative_error(got[name], want[name]) for name in want)


def notes(small):
    return " ".join(small.history[-1].notes)


def net():
    """Every kind of product, a shared weight, one in a Constant, one in a body."""
    model = parse(
        """g (float[n,32] x, bool t) => (float[n,32] y) { [mm] a = MatMul(x, w) [gt] b = Gemm<transB=1>(a, v, bias)
        [gn] c = Gemm(b, v) [plain] d = Relu(c) e = MatMul(d, k)
        [if] y = If (t) <then_branch = yes () => (float[n,32] p) { p = MatMul(e, u) }, else_branch = no () => (float[n,32] q) { q = Neg(e) }> }""",
        w=normal(32, 32, scale=0.2),
        v=normal(32, 32, scale=0.2, seed=1),
        bias=normal(32, seed=2),
        u=normal(32, 32, scale=0.2, seed=3),
    )
    value = onnx.numpy_helper.from_array(normal(32, 32, scale=0.2, seed=4))
    model.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["k"], value=value))
    model.doc_string = "mine"
    model.metadata_props.add(key="author", value="me")
    return model


FEEDS = {"x": normal(5, 32, seed=9), "t": np.array(True)}
BOUND = {"int8-dynamic": 0.05, "int8-weights": 0.02, "int4-weights": 0.2}


@pytest.mark.parametrize("t", [True, False])
@pytest.mark.parametrize("to", BOUND)
def test_the_result_is_close_and_says_how_close(to, t):
    model = net()
    before = model.SerializeToString()
    small = gk.precision(model, to=to, samples=2)
    assert model.SerializeToString() == before
    onnx.checker.check_model(small.proto) if to != "int4-weights" else None
    assert 0 < off(small, model, FEEDS | {"t": np.array(t)}) < BOUND[to]
    assert "relative L2 error" in notes(small)
    assert (small.proto.doc_string, small.proto.metadata_props[0].value) == ("mine", "me")
    assert small.proto.graph.input == model.graph.input
    assert small.proto.graph.output == model.graph.output
    assert {"plain", "if"} <= {node.name for node in small.proto.graph.node}
    assert [n.name for n in small.proto.graph.node if n.op_type == "Relu"] == ["plain"]


def test_int8_weights_are_a_quarter_and_int4_weights_an_eighth():
    model = parse("g (float[n,512] x) => (float[n,512] y) { y = MatMul(x, w) }", w=normal(512, 512))
    size = model.ByteSize()
    assert gk.precision(model, to="int8-weights").proto.ByteSize() < size / 3.9
    assert gk.precision(model, to="int4-weights").proto.ByteSize() < size / 6.2


def test_int4_of_a_matrix_whose_numbers_are_int4_is_exact():
    weight = np.random.default_rng(0).integers(-8, 8, (48, 20)).astype(np.float32)
    weight[::16] = -8
    weight[1::16] = 7
    model = parse("g (float[n,48] x) => (float[n,20] y) { y = MatMul(x, w) }", w=weight)
    x = normal(3, 48)
    assert_same(
        run_ort(gk.precision(model, to="int4-weights"), {"x": x}), run_ort(model, {"x": x}), rtol=1e-4, atol=1e-4
    )


def test_an_int4_error_that_is_large_is_said():
    model = parse(
        "g (float[n,64] x) => (float[n,8] y) { a = MatMul(x, w) b = Exp(a) y = MatMul(b, v) }",
        w=normal(64, 64, scale=0.5),
        v=normal(64, 8, seed=1),
    )
    small = gk.precision(model, to="int4-weights")
    assert "which is large" in notes(small)


@pytest.mark.parametrize("to", ["int8-dynamic", "int8-weights", "int4-weights"])
def test_kept_nodes_keep_their_weights_exactly(to):
    model = net()
    for options in ({"keep_nodes": ["mm"]}, {"only_ops": ["Gemm"]}):
        small = gk.precision(model, to=to, samples=2, **options)
        assert np.array_equal(small.array("w"), onnx.numpy_helper.to_array(model.graph.initializer[0]))
        assert "mm" in {node.name for node in small.proto.graph.node if node.op_type == "MatMul"}
    with pytest.raises(gk.NameNotFoundError, match="mmm"):
        gk.precision(model, to=to, keep_nodes=["mmm"])
    with pytest.raises(gk.EditError, match="the model has no"):
        gk.precision(model, to=to, only_ops=["Relu"])


@pytest.mark.parametrize("ir", [3, 8])
@pytest.mark.parametrize("to", BOUND)
def test_weights_that_are_inputs_are_no_inputs_any_more(to, ir):
    model = parse("g (float[n,32] x, float[32,32] w) => (float[n,32] y) { y = MatMul(x, w) }", w=normal(32, 32))
    model.ir_version = ir
    small = gk.precision(model, to=to)
    assert [value.name for value in small.proto.graph.input] == ["x"]
    assert "'w' is no input any more" in notes(small)
    assert off(small, model, {"x": normal(4, 32)}) < BOUND[to]


@pytest.mark.parametrize("to", ["int8-dynamic", "int8-weights"])
def test_convolutions_and_recurrent_nets_too(to):
    model = parse(
        "g (float[1,3,8,8] x) => (float[1,8,6,6] y) { c = Conv(x, w, b) y = Relu(c) }",
        w=normal(8, 3, 3, 3, scale=0.3),
        b=normal(8),
    )
    assert off(gk.precision(model, to=to), model, {"x": normal(1, 3, 8, 8)}) < 0.05
    model = parse(
        "g (float[s,1,16] x) => (float[s,1,1,16] y) { y = LSTM<hidden_size=16>(x, w, r) }",
        w=normal(1, 64, 16, scale=0.3),
        r=normal(1, 64, 16, scale=0.3, seed=1),
    )
    assert off(gk.precision(model, to=to), model, {"x": normal(4, 1, 16)}) < 0.05


@pytest.mark.parametrize(
    "taken", ["w_quantized", "w_scale", "w_zero_point", "w_int4", "w_scales", "x_scale", "fixed_zero"]
)
@pytest.mark.parametrize("to", BOUND)
def test_names_that_are_taken_are_left_alone(to, taken):
    model = parse(
        f"g (float[n,32] x) => (float[n,32] y) {{ {taken} = Relu(x) y = MatMul({taken}, w) }}", w=normal(32, 32)
    )
    small = gk.precision(model, to=to)
    assert off(small, model, {"x": normal(4, 32)}) < BOUND[to]
    assert [node.output[0] for node in small.proto.graph.node if node.op_type == "Relu"] == [taken]


def test_keep_auto_finds_the_node_that_overflows():
    model = parse("""g (float[n,4] x) => (float[n,4] y) <float[1] big = {100000}, float[1] small = {0.00001}>
        { a = Relu(x) [grows] b = Mul(a, big) [shrinks] c = Mul(b, small) y = Neg(c) }""")
    x = abs(normal(3, 4)) + 1
    plain = gk.precision(model, to="float16", keep_io=True)
    assert off(plain, model, {"x": x}) > 0.3
    auto = gk.precision(model, to="float16", keep_io=True, keep_auto=True, feeds={"x": x})
    assert off(auto, model, {"x": x}) < 0.01
    assert "found to need float32: Mul 'grows'" in notes(auto)
    assert onnx.TensorProto.FLOAT16 in {n.attribute[0].i for n in auto.proto.graph.node if n.op_type == "Cast"}


@pytest.mark.parametrize("to", ["int8-dynamic", "int8-weights", "int4-weights"])
def test_the_replay_gives_the_same_bytes(tmp_path, to):
    onnx.save(net(), tmp_path / "net.onnx")
    gk.precision(tmp_path / "net.onnx", to=to, samples=1).save(tmp_path / "small.onnx")
    gk.replay(tmp_path / "small.onnx", tmp_path / "net.onnx").save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "small.onnx").read_bytes()


def test_options_go_with_their_precisions():
    model = net()
    for options in (
        {"to": "int8-weights", "keep_io": True},
        {"to": "bfloat16", "keep_auto": True},
        {"to": "int4-weights", "per_channel": True},
        {"to": "float16", "feeds": {"t": True}},
    ):
        with pytest.raises(ValueError, match=r"go(es)? with"):
            gk.precision(model, **options)

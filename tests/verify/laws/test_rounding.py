"""What rounds otherwise is no broken law, and what is wrong is one all the same."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse

LAYERS = 40


@pytest.fixture(scope="module")
def deep():
    """Forty convolutions, each scaled and shifted by channel, and a sum at the end that cancels."""
    random = np.random.default_rng(1)
    lines, weights, last = [], {}, "x"
    for k in range(LAYERS):
        weights[f"w{k}"] = random.standard_normal((4, 4, 3, 3)) / 6
        weights[f"s{k}"], weights[f"b{k}"] = (random.standard_normal((1, 4, 1, 1)) for _ in range(2))
        lines.append(
            f"c{k} = Conv<pads = [1, 1, 1, 1]>({last}, w{k}) m{k} = Mul(c{k}, s{k}) a{k} = Add(m{k}, b{k}) h{k} = Tanh(a{k})"
        )
        last = f"h{k}"
    text = f"g (float[1,4,8,8] x) => (float[1,4,8,8] y) {{ {' '.join(lines)} y = Identity({last}) }}"
    return parse(text, **weights)


def test_scales_that_go_into_forty_convolutions_are_proved(deep):
    edited = gk.simplify(deep)
    assert [node.op_type for node in edited.proto.graph.node].count("Mul") == 0
    proof = gk.prove(edited, deep, replay=False)
    assert proof, gk.text(proof)
    assert "x 10" in proof.tolerance


def scaled(edited, path, name, factor):
    """What was saved, with a weight that somebody scaled afterwards."""
    gk.save(edited, path)
    model = onnx.load(path)
    (tensor,) = (one for one in model.graph.initializer if one.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(factor), name))
    onnx.save(model, path)
    return path


def test_one_of_the_weights_that_is_off_by_a_thousandth_is_found(deep, tmp_path):
    edited = gk.simplify(deep)
    name = [node.input[1] for node in edited.proto.graph.node if node.op_type == "Conv"][-1]
    assert not gk.prove(scaled(edited, tmp_path / "m.onnx", name, 1.001), deep, replay=False)


SIGMOID = """g (float[1,3,8,8] x) => (float[1,3,8,8] y) <float[1] far = {-14.5}, float[1] t = {0.3}> {
  a = Mul(x, t) b = Add(a, far) y = Sigmoid(b) }"""


@pytest.mark.parametrize(("factor", "holds"), [(1.0, True), (3.0, False)])
def test_the_steps_of_a_sigmoid_near_zero_break_no_law_and_hide_no_error(tmp_path, factor, holds):
    before = parse(SIGMOID)
    edited = gk.image(before, "x", mean=[0.5, 0.4, 0.3], std=[0.2, 0.3, 0.4], order="bgr")
    assert bool(gk.prove(scaled(edited, tmp_path / "m.onnx", "t", factor), before, replay=False)) is holds


def test_weights_of_4_bits_among_inputs_with_defaults_are_proved_without_being_fed():
    before = parse(
        """g (float[2,3] x) => (float[2,3] y) <float s = {0.5}, float[3] w = {1, 2, 3}> {
      d = DequantizeLinear(q, s) a = Add(x, d) y = Mul(a, w) }""",
        opset=22,
        ir=10,
    )
    before.graph.initializer.append(onnx.helper.make_tensor("q", onnx.TensorProto.INT4, [3], [1, 2, 3]))
    proof = gk.prove(gk.promote(before, every=True, keep_default=True), before, replay=False)
    assert proof, gk.text(proof)
    assert "other values of" in gk.text(proof)

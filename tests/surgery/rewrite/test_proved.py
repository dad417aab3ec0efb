"""What rewrite promises is proved: the same numbers, or within the rule's own bound; a wrong rule is caught."""

import onnx
import pytest

import graphkit as gk

MODEL = """<ir_version: 10, opset_import: ["" : 24]>
g (float[2,3] x) => (float[2,3] y) <float root = {1.4142135}, float half = {0.5}, float one = {1}> {
  s = Sigmoid(x) a = Mul(x, s)
  d = Div(a, root) e = Erf(d) t = Add(e, one) m = Mul(a, t) y = Mul(m, half) }"""

WRONG = "pattern (x) => (y) { s = Sigmoid(x) y = Mul(x, s) }\nreplacement (x) => (y) { y = Relu(x) }"


@pytest.mark.parametrize(
    ("rules", "held"),
    [(["silu", "gelu"], True), (["erf-to-tanh"], True), (["gelu", "gelu-tanh"], True), ([WRONG], False)],
)
def test_a_proof_holds_where_the_rule_is_right(tmp_path, rules, held):
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "a.onnx")
    edited = gk.rewrite(tmp_path / "a.onnx", rules)
    edited.save(tmp_path / "b.onnx")
    proof = gk.prove(tmp_path / "b.onnx")
    assert bool(proof) is held, gk.text(proof)

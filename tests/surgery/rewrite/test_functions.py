"""Rules match in functions too: what they need is known there, or they say why not."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

X = {"x": np.float32([[1, -2, 3], [4, 5, -6]])}


def model(body, call="y = my.F(x)", attributes=""):
    function = f'<domain: "my", opset_import: ["" : 24]> F {attributes} (a) => (b) {{ {body} }}'
    return parse(
        f"g (float[2,3] x) => (float[p,q] y) {{ {call} }}", opset=24, ir=10, imports='"my" : 1', functions=function
    )


def rewritten(before, rule):
    after = gk.rewrite(before, rule)
    onnx.checker.check_model(after.materialize(), full_check=True)
    assert_same(run_ort(after, X), run_ort(before, X), rtol=1e-5, atol=1e-6)
    assert gk.prove(after, before)
    return [node.op_type for node in after.proto.functions[0].node], after.history[-1].notes[0]


PLACES = {
    "silu": ("s = Sigmoid(a) b = Mul(a, s)", ["Swish"]),
    "expand-silu": ("s = Swish(a) b = Neg(s)", ["Sigmoid", "Mul", "Neg"]),
    "softplus": ("e = Exp(a) o = Constant<value = float {1}>() s = Add(e, o) b = Log(s)", ["Softplus"]),
}


@pytest.mark.parametrize("rule", PLACES)
def test_a_rule_matches_in_a_function(rule):
    body, left = PLACES[rule]
    ops, note = rewritten(model(body), rule)
    assert ops == left
    assert "of my::F" in note


def test_a_domain_that_a_rule_writes_is_imported_by_the_function_and_the_model():
    before = model("s = Sigmoid(a) b = Mul(a, s)")
    rule = "pattern (x) => (y) { s = Sigmoid(x) y = Mul(x, s) }\nreplacement (x) => (y) { y = com.microsoft.QuickGelu<alpha = 1.0>(x) }"
    after = gk.rewrite(before, rule)
    assert {entry.domain for entry in after.proto.functions[0].opset_import} == {"", "com.microsoft"}
    assert {entry.domain for entry in after.proto.opset_import} >= {"", "my", "com.microsoft"}
    assert_same(run_ort(after, X), run_ort(before, X), rtol=1e-5, atol=1e-6)


def test_a_body_in_a_function_is_looked_into():
    body = """s = Sigmoid(a) z = Constant<value = float {0}>() m = ReduceSum<keepdims = 0>(a) k = Less(z, m)
      b = If(k) <then_branch = t () => (float[2,3] u) { s2 = Sigmoid(s) u = Mul(s, s2) },
                 else_branch = e () => (float[2,3] r) { r = Neg(s) }>"""
    assert rewritten(model(body), "silu")[1] == "silu: 1 rewritten: Mul 'u' of my::F"


def test_an_attribute_that_the_call_gives_is_no_match():
    before = model("s = Softmax<axis: int = @ax>(a) b = Log(s)", "y = my.F<ax = 0>(x)", "<ax>")
    ops, note = rewritten(before, "log-softmax")
    assert ops == ["Softmax", "Log"]
    assert "Softmax 's' takes an attribute from the call of its function" in note


def test_a_type_that_a_call_decides_is_said_to_be_unknown():
    ops, note = rewritten(model("b = Erf(a)"), "erf-to-tanh")
    assert ops == ["Erf"]
    assert "the type of 'a' is not known (in my::F, whose inputs have no types)" in note

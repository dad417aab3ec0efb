"""A value or node of a function is reached by its address: the function is inlined, and what each call has is meant."""

import numpy as np
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

HEAD = '<domain: "my", opset_import: ["" : 18, "my" : 1]>'
FUNCTIONS = f"""{HEAD} F (a) => (b) {{ c = Exp(a) k = Constant<value = float[2] {{2, 3}}>() [times] d = Mul(c, k) b = Neg(d) }}
{HEAD} G (a) => (b) {{ u = my.F(a) b = Add(u, a) }}
{HEAD} U (a) => (b) {{ b = Neg(a) }}"""
X = np.float32([0.1, -0.2])
K = np.float32([2, 3])


def once():
    return parse("g (float[2] x) => (float[2] y) { h = Neg(x) y = my.G(h) }", imports='"my" : 1', functions=FUNCTIONS)


def often():
    net = """g (float[2] x, bool t) => (float[2] y) { h = my.G(x)
      y = If(t) <then_branch = p () => (float[2] v) { v = my.F(h) }, else_branch = q () => (float[2] w) { w = Neg(h) }> }"""
    return parse(net, imports='"my" : 1', functions=FUNCTIONS)


def test_what_each_call_computes_is_tapped():
    before = often()
    after = gk.tap(before, "function:my::F/c")
    assert after.history[-1].notes[1] == "'function:my::F/c' is 'c', 'y.then_branch/c_1'"
    h = -np.exp(X) * K + X
    for taken in (True, False):
        got = run_ort(after, {"x": X, "t": np.array(taken)})
        want = [-np.exp(h) * K if taken else -h, np.exp(X), np.exp(h) if taken else np.zeros(0, np.float32)]
        assert_same(list(got.values()), want, rtol=1e-6, atol=1e-6)
    assert gk.prove(after, before)


def test_a_part_of_a_function_is_cut_out():
    before = once()
    part = gk.extract(before, inputs=["function:my::F/c"], outputs=["function:my::F/b"])
    assert_same(list(run_ort(part, {"c": X}).values()), [-X * K])
    assert gk.prove(part, before)
    by_node = gk.extract(before, nodes=["function:my::F/times"])
    assert [node.op_type for node in by_node.nodes] == ["Constant", "Mul"]
    across = gk.extract(before, inputs=["h"], outputs=["function:my::F/d"])
    assert_same(list(run_ort(across, {"h": X}).values()), [np.exp(X) * K])
    assert gk.prove(across, before)


def test_a_constant_of_a_function_becomes_an_input():
    before = once()
    after = gk.promote(before, {"function:my::F/k": "by"})
    for by in (K, np.float32([-5, 7])):
        assert_same(run_ort(after, {"x": X, "by": by}), {"y": -np.exp(-X) * by - X}, rtol=1e-6, atol=1e-6)
    assert gk.prove(after, before)


def test_a_node_of_a_function_stays_in_float32_in_each_call():
    after = gk.precision(often(), to="float16", keep_io=True, keep_nodes=["function:my::F/times"])
    assert any(note.startswith("these nodes stay in float32: Mul 'times'") for note in after.history[-1].notes)


REFUSED = {
    "extract of one of two calls": (lambda m: gk.extract(m, outputs=["function:my::F/c"]), "called 2 times"),
    "promote of one of two calls": (lambda m: gk.promote(m, "function:my::F/k"), "called 2 times"),
    "tap of what nothing calls": (lambda m: gk.tap(m, "function:my::U/a"), "nothing calls"),
    "a name that the function has not": (lambda m: gk.tap(m, "function:my::F/zz"), "no value named"),
    "a node that the function has not": (lambda m: gk.extract(m, nodes=["function:my::F/zz"]), "no node named"),
    "a value that is no constant": (lambda m: gk.promote(m, "function:my::G/u"), "no constant"),
    "a stage that ends in a function": (lambda m: gk.split(m, at=["function:my::F/c"]), "inside of a body or function"),
    "a stage that ends in a body": (lambda m: gk.split(m, at=["y.then_branch/v"]), "inside of a body or function"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_an_address_does_not_say_is_refused(what):
    edit, why = REFUSED[what]
    with pytest.raises(gk.GraphkitError, match=why) as error:
        edit(often())
    assert error.value.hint

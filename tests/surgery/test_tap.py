"""tap: the outputs that are added are the inner values, also those of bodies."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort

NET = """<ir_version: 8, opset_import: ["": 17]> g (float[2] x, bool c, int64 n) => (float[2] y) <float[2] w = {1, 2}> {
  [first] a = Mul(x, w)
  b = Neg(a)
  [if] r = If(c) <
    then_branch = t () => (float[2] u) { h = Exp(a) u = Sqrt(h) },
    else_branch = e () => (float[2] v) { v = Identity(b) }>
  [turns] y = Loop(n, , r) <body = l (int64 i, bool go, float[2] s) => (bool on, float[2] q) {
    on = Identity(go) [add] d = Add(s, w)
    [inner] q = If(go) <then_branch = t2 () => (float[2] m) { k = Abs(d) m = Neg(k) },
                        else_branch = e2 () => (float[2] o) { o = Identity(d) }> }>
}"""
X = np.float32([1, -2])
W = np.float32([1, 2])


def net(text=NET):
    return onnx.parser.parse_model(text)


def outputs(model, c=True, n=3):
    onnx.checker.check_model(model.proto)
    return run_ort(model, {"x": X, "c": np.array(c), "n": np.array(n)})


def turns(start, n):
    """(what d is, what s is) turn by turn."""
    d, s = [], [start]
    for _ in range(n):
        d.append(s[-1] + W)
        s.append(-np.abs(d[-1]))
    return np.array(d, np.float32), s


def test_values_of_the_main_graph_and_patterns():
    edited = gk.tap(net(), "*")
    assert [value.name for value in edited.outputs] == ["y", "a", "b", "r"]
    found = outputs(edited)
    assert_same([found["a"], found["b"]], [X * W, -X * W])
    assert [v.name for v in gk.tap(net(), ["[ab]"], regex=True).outputs] == ["y", "a", "b"]
    assert [v.name for v in gk.tap(net(), ["x", "w", "y"]).outputs] == ["y", "x", "w"]


@pytest.mark.parametrize("c", [True, False])
def test_a_branchs_value_is_empty_where_the_other_branch_ran(c):
    edited = gk.tap(net(), ["if.then_branch/h", "if.else_branch/v"])
    found = outputs(edited, c)
    assert list(found) == ["y", "if.then_branch/h", "if.else_branch/v"]
    none = np.zeros(0, np.float32)
    assert_same(found["if.then_branch/h"], np.exp(X * W) if c else none)
    assert_same(found["if.else_branch/v"], none if c else -X * W)
    assert_same(found["y"], outputs(gk.tap(net(), "a"), c)["y"])
    assert gk.inspect(edited).outputs[1].type == "float32[?]"


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_loops_values_are_stacked(n):
    d, s = turns(np.sqrt(np.exp(X * W)), n)
    found = outputs(gk.tap(net(), ["turns.body/d", "turns.body/s"]), n=n)
    assert_same(found["y"], s[-1], rtol=1e-5)
    if n:
        assert_same(found["turns.body/d"], d, rtol=1e-5)
        assert_same(found["turns.body/s"], np.array(s[:-1], np.float32), rtol=1e-5)
    else:
        assert found["turns.body/d"].shape[0] == 0


def test_through_two_bodies():
    d, _ = turns(np.sqrt(np.exp(X * W)), 2)
    found = outputs(gk.tap(net(), "turns.body/inner.then_branch/k"), n=2)
    assert_same(found["turns.body/inner.then_branch/k"], np.abs(d), rtol=1e-5)


def test_all_of_a_model_with_bodies_by_one_pattern():
    edited = gk.tap(net(), ".*", regex=True)
    assert len(edited.outputs) == 13
    assert_same(outputs(edited)["y"], outputs(gk.tap(net(), "a"))["y"])


def test_a_scans_values_are_stacked():
    model = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[3,2] x, float[2] s) => (float[2] t, float[3,2] z) {
        [scan] t, z = Scan<num_scan_inputs = 1, scan_output_axes = [0],
          body = b (float[2] p, float[2] e) => (float[2] q, float[2] f) { h = Mul(p, e) q = Add(h, e) f = Neg(q) }>(s, x) }"""
    )
    x = np.float32([[1, 2], [3, 4], [5, 6]])
    found = run_ort(gk.tap(model, "scan.body/h"), {"x": x, "s": np.ones(2, np.float32)})
    p, h = np.ones(2, np.float32), []
    for e in x:
        h.append(p * e)
        p = h[-1] + e
    assert_same(found["scan.body/h"], np.array(h))


def test_a_bare_name_from_a_body_is_refused_with_its_address():
    with pytest.raises(gk.NameNotFoundError, match=r"write 'if\.then_branch/h'"):
        gk.tap(net(), "h")


def test_a_pattern_without_a_slash_leaves_functions_alone():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18, "my" : 1]> g (float[2] x) => (float[2] y) { a = Neg(x) y = my.F(a) }
        <domain: "my", opset_import: ["" : 18]> F (d) => (f) { e = Abs(d) f = Tanh(e) }"""
    )
    assert [value.name for value in gk.tap(model, "*").outputs] == ["y", "a"]


def test_a_pattern_that_matches_inside_of_bodies_alone_is_refused_with_an_address():
    with pytest.raises(gk.NameNotFoundError, match=r"'if\.\*'.*\n.*'if\.then_branch/h' is one"):
        gk.tap(net(), "if.*")

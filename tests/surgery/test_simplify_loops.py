"""simplify: a Loop whose number of turns is constant, and small, is its turns; every other Loop stays."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

X = np.float32([0.3, -0.7])
FEEDS = {"x": X, "n": np.array(3), "c": np.array(True)}
TURN = "keep = Identity(go) a = Mul(v, x) k = Constant<value = float[2] {3, 4}>() w = Add(a, k) e = Tanh(w)"
COUNTED = "keep = Identity(go) f = Cast<to = 1>(i) w = Add(v, f) e = Mul(w, f)"


def loop(body, given="n, ", count=3, signature="(int64 i, bool go, float[2] v) => (bool keep, float[2] w, float[2] e)"):
    return f"""g (float[2] x) => (float[2] y, float[k,2] s) {{
      n = Constant<value = int64 {{{count}}}>() yes = Constant<value = bool {{1}}>() no = Constant<value = bool {{0}}>()
      y, s = Loop({given}, x) <body = b {signature} {{ {body} }}>
    }}"""


def while_below(turns):
    return f"end = Constant<value = int64 {{{turns - 1}}}>() keep = Less(i, end) w = Mul(v, x) e = Abs(w)"


RESOLVED = {
    "no turn": loop(TURN, count=0),
    "one turn": loop(TURN, count=1),
    "three turns": loop(TURN),
    "sixteen turns": loop(TURN, count=16),
    "a condition that is false": loop(TURN, "n, no"),
    "a condition that is true": loop(TURN, "n, yes"),
    "the turn is read": loop(COUNTED, "n, yes"),
    "as long as the turn is below": loop(while_below(5), ", yes"),
    "a count that ends it before its condition does": loop(while_below(5), "n, yes"),
    "a body that stops itself": loop("keep = Constant<value = bool {0}>() w = Neg(v) e = Abs(w)", ", "),
    "nothing but copies": loop("keep = Identity(go) w = Identity(v) e = Identity(x)"),
    "one value is carried and stacked": loop(
        "keep = Identity(go) w = Neg(v)", signature="(int64 i, bool go, float[2] v) => (bool keep, float[2] w, float[2] w)"
    ),
    "a constant is stacked": loop("keep = Identity(go) e = Constant<value = float[2] {3, 4}>() w = Mul(v, e)"),
    "sizes that grow": """g (float[2] x) => (float[m] y, float[j] s) { n = Constant<value = int64 {3}>() y, s = Loop(n, , x)
      <body = b (int64 i, bool go, float[q] v) => (bool keep, float[r] w, float e) {
        keep = Identity(go) w = Concat<axis = 0>(v, x) e = ReduceSum<keepdims = 0>(w) }> }""",
    "values change places": """g (float[2] x) => (float[2] y, float[2] z) { n = Constant<value = int64 {3}>() h = Exp(x)
      y, z = Loop(n, , x, h) <body = b (int64 i, bool go, float[2] v, float[2] u) => (bool keep, float[2] u, float[2] t) {
        keep = Identity(go) t = Neg(v) }> }""",
    "a loop in a loop": """g (float[2] x) => (float[2] y, float[j,2] s) { n = Constant<value = int64 {2}>() y, s = Loop(n, , x)
      <body = b (int64 i, bool go, float[2] v) => (bool keep, float[2] w, float[2] e) { keep = Identity(go)
        w, rows = Loop(n, , v) <body = c (int64 p, bool on, float[2] u) => (bool more, float[2] o, float[2] r) {
          more = Identity(on) f = Cast<to = 1>(p) h = Mul(u, x) o = Add(h, f) r = Identity(o) }>
        e = ReduceMax<axes = [0], keepdims = 0>(rows) }> }""",
    "two loops whose bodies use the same names": """g (float[2] x) => (float[2] y, float[2] z) {
      n = Constant<value = int64 {2}>()
      y = Loop(n, , x) <body = b (int64 i, bool go, float[2] v) => (bool keep, float[2] w) { keep = Identity(go) w = Neg(v) }>
      z = Loop(n, , y) <body = b (int64 i, bool go, float[2] v) => (bool keep, float[2] w) { keep = Identity(go) w = Exp(v) }> }""",
    "an If in the body": """g (float[2] x, bool c) => (float[2] y) { n = Constant<value = int64 {2}>() y = Loop(n, , x)
      <body = b (int64 i, bool go, float[2] v) => (bool keep, float[2] w) { keep = Identity(go) w = If(c)
        <then_branch = t () => (float[2] z) { z1 = Neg(v) z = Mul(z1, x) },
         else_branch = f () => (float[2] q) { z1 = Abs(v) q = Mul(z1, x) }> }> }""",
    "a weight in the body": """g (float[2] x) => (float[2] y) { n = Constant<value = int64 {3}>() y = Loop(n, , x)
      <body = b (int64 i, bool go, float[2] v) => (bool keep, float[2] w) <float[2] k = {1, 2}> {
        keep = Identity(go) w = Mul(v, k) }> }""",
}  # fmt: skip

STAYS = {
    "a count that is fed": loop(TURN).replace("float[2] x)", "float[2] x, int64 n)", 1).replace("n = Constant<value = int64 {3}>()", ""),
    "seventeen turns": loop(TURN, count=17),
    "many nodes": loop(TURN + "".join(f" d{i} = Neg({'e' if not i else f'd{i - 1}'})" for i in range(40)), signature="(int64 i, bool go, float[2] v) => (bool keep, float[2] w, float[2] d39)"),
    "a condition that depends on values": loop("m = ReduceMax<keepdims = 0>(v) z = Constant<value = float {9}>() keep = Less(m, z) w = Add(v, v) e = Abs(w)"),
    "nothing stacked, of no known size": loop(TURN, count=0, signature="(int64 i, bool go, float[2] v) => (bool keep, float[2] w, float[q] e)"),
}  # fmt: skip


def loops(model):
    return sum(node.op_type == "Loop" for node in model.nodes)


def same(text, opset):
    model = parse(text, opset=opset, ir=8)
    small = gk.simplify(model)
    onnx.checker.check_model(small.materialize(), full_check=True)
    feeds = {value.name: FEEDS[value.name] for value in model.graph.input}
    assert_same(run_ort(small, feeds), run_ort(model, feeds), rtol=1e-6, atol=1e-6)
    return small


@pytest.mark.parametrize("what", RESOLVED)
def test_a_loop_of_a_constant_number_of_turns_is_its_turns(what):
    small = same(RESOLVED[what], 13)
    assert loops(small) == 0
    assert "became" in " ".join(small.history[-1].notes)


@pytest.mark.parametrize("what", STAYS)
def test_a_loop_stays_whose_turns_are_unknown_or_many(what):
    assert loops(same(STAYS[what], 18)) == 1


@pytest.mark.parametrize("opset", [11, 21])
def test_turns_are_stacked_as_the_opset_has_it(opset):
    assert loops(same(RESOLVED["the turn is read"], opset)) == 0


def test_the_law_is_same_and_a_weight_of_the_body_is_there_once():
    model = parse(RESOLVED["a weight in the body"], opset=18)
    small = gk.simplify(model)
    assert [tensor.name for tensor in small.proto.graph.initializer] == ["k"]
    assert gk.prove(small, model)
    assert gk.simplify(small).proto == small.proto


def test_a_loop_that_draws_is_drawn_by_itself_unless_it_runs_once():
    body = "keep = Identity(go) r = RandomUniformLike<seed = 1.0>(v) w = Add(v, r) e = Identity(r)"
    assert loops(gk.simplify(parse(loop(body, count=2)))) == 1
    assert loops(gk.simplify(parse(loop(body, count=1)))) == 0


def test_a_weight_that_callers_may_override_counts_no_turns():
    text = loop(TURN).replace("float[2] x)", "float[2] x, int64 n)", 1).replace("n = Constant<value = int64 {3}>()", "")
    model = parse(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(3), "n"))
    assert loops(gk.simplify(model)) == 1

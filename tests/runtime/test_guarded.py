"""Numbers over which ONNX Runtime ends the process are met by a guard: an answer or an error, wherever they come from."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.runtime.guarded import guard, may_be_fatal

HEAD = '<ir_version: 10, opset_import: ["" : 18, "m" : 1]> '

LOWEST = {"int32": -(2**31), "int64": -(2**63)}

DIVISIONS = {
    "fed": "g (T[n] a, T[n] c) => (T[k] y) { y = OP(a, c) }",
    "computed": "g (T[n] a, T[n] c) => (T[k] y) { m = Neg(c) p = Identity(m) b = Neg(p) y = OP(a, b) }",
    "cast": "g (T[n] a, T[n] c) => (T[k] y) { m = Cast<to = 7>(c) p = Abs(c) q = Sign(c) b = Mul(p, q) y = OP(a, b) }",
    "in a function": """g (T[n] a, T[n] c) => (T[k] y) { y = m.f(a, c) }
        <domain: "m", opset_import: ["" : 18]> f (p, q) => (r) { s = Neg(q) t = Neg(s) r = OP(p, t) }""",
    "in a body": """g (T[n] a, T[n] c) => (T[k] y) <bool k = {1}> { y = If (k) <
        then_branch = t () => (T[j] p) { s = Neg(c) u = Neg(s) p = OP(a, u) }, else_branch = e () => (T[j] q) { q = Neg(a) }> }""",
}


@pytest.mark.parametrize("kind", LOWEST)
@pytest.mark.parametrize("text", DIVISIONS.values(), ids=DIVISIONS)
def test_the_smallest_integer_divided_by_minus_one_wraps_and_other_numbers_are_as_they_are(text, kind):
    a = np.array([LOWEST[kind], 7, -7, LOWEST[kind]], kind)
    c = np.array([-1, -2, 2, 1], kind)
    quotient, rest = np.array([LOWEST[kind], -3, -3, LOWEST[kind]], kind), np.array([0, -1, 1, 0], kind)
    for op, right in (("Div", quotient), ("Mod", rest)):
        model = onnx.parser.parse_model(HEAD + text.replace("OP", op).replace("T[", f"{kind}["))
        assert np.array_equal(gk.run(model, {"a": a, "c": c})["y"], right)
        assert gk.session(model, device="cpu", optimize=False).run({"a": a, "c": c})["y"].tolist() == right.tolist()


def test_constants_divide_when_the_model_is_loaded(tmp_path):
    text = "g (int64[2] x) => (int64[2] y) <int64[2] a = {-9223372036854775808, 6}, int64 b = {-1}> { z = Div(a, b) y = Add(x, z) }"
    onnx.save(onnx.parser.parse_model(HEAD + text), tmp_path / "m.onnx")
    assert gk.check(tmp_path / "m.onnx")
    assert gk.run(tmp_path / "m.onnx", {"x": [0, 1]})["y"].tolist() == [LOWEST["int64"], -5]
    assert gk.prove(gk.simplify(tmp_path / "m.onnx"), tmp_path / "m.onnx")


REFUSED = {
    "a SplitToSequence by a computed 0": (
        "g (float[4] x, int64 a) => (seq(float[]) y) { p = Neg(a) y = SplitToSequence(x, p) }",
        {"x": np.ones(4, np.float32), "a": 0},
        "'y' divides by 0",
    ),
    "a position of no number": (
        "g (float[4] x, int64[k] a) => (float[n] y) { p = Neg(a) s = SplitToSequence(x) y = SequenceAt(s, p) }",
        {"x": np.ones(4, np.float32), "a": np.zeros(0, np.int64)},
        "'y' reads one number from a tensor that has not one",
    ),
    "a constant depth of no number": (
        "g (int64[2] i) => (float[a,b] y) <int64[0] d = {}, float[2] v = {0, 1}> { y = OneHot(i, d, v) }",
        {"i": [0, 1]},
        "'y' reads one number from a tensor that has not one",
    ),
}


@pytest.mark.parametrize(("text", "feeds", "why"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_answer_is_an_error(text, feeds, why):
    model = onnx.parser.parse_model(HEAD + text)
    for use in (gk.run, lambda m, feeds: gk.bisect(m, against=m, feeds=feeds)):
        with pytest.raises(gk.SessionError, match=why):
            use(model, feeds)


def test_a_window_without_an_axis_is_one_of_one_number():
    text = "g (float[1,16,1] x, float w) => (float[a,b,c,d] y) <int64 f = {4}, int64 l = {LENGTH}> { y = STFT(x, f, w, l) }"
    feeds = {"x": np.ones((1, 16, 1), np.float32), "w": np.float32(2)}
    assert gk.run(onnx.parser.parse_model(HEAD + text.replace("LENGTH", "1")), feeds)["y"].tolist() == [[[[2, 0]]] * 4]
    with pytest.raises(gk.SessionError):
        gk.run(onnx.parser.parse_model(HEAD + text.replace("LENGTH", "4")), feeds)


def test_a_block_whose_square_is_zero_is_refused():
    model = onnx.parser.parse_model(
        HEAD + "g (float[1,4,2,2] x) => (float[a,b,c,d] y) { y = DepthToSpace <blocksize = 1099511627776> (x) }"
    )
    with pytest.raises(gk.InvalidGraphError, match="DepthToSpace 'y' has blocksize = 1099511627776"):
        gk.run(model, {"x": np.ones((1, 4, 2, 2), np.float32)})


LENGTHS = {"scalar": (-2, [[1, 1], [1, 1]]), "lengths of which one is 0": ([0, -4], [[], [1, 1, 1, 1]])}


@pytest.mark.parametrize(("lengths", "parts"), LENGTHS.values(), ids=LENGTHS)
def test_a_guard_leaves_a_split_as_it_is(lengths, parts):
    text = "g (float[4] x, int64[] a) => (seq(float[]) y) { p = Neg(a) y = SplitToSequence(x, p) }"
    text = text.replace("int64[]", "int64" if isinstance(lengths, int) else "int64[2]")
    made = gk.run(onnx.parser.parse_model(HEAD + text), {"x": np.ones(4, np.float32), "a": lengths})["y"]
    assert [part.tolist() for part in made] == parts


UNTOUCHED = {
    "floats behind a Sqrt": "g (float[n] a, float[n] c) => (float[n] y) { s = Sqrt(c) t = Identity(s) y = Div(a, t) }",
    "floats in a function": """g (float[n] a, float[n] c) => (float[n] y) { y = m.f(a, c) }
        <domain: "m", opset_import: ["" : 18]> f (p, q) => (r) { s = Sqrt(q) r = Div(p, s) }""",
    "a constant divisor": "g (int64[n] a) => (int64[n] y) <int64 b = {2}> { y = Div(a, b) }",
    "a constant dividend": "g (int64[n] c) => (int64[n] y) <int64 a = {12}> { y = Div(a, c) }",
    "narrow integers": "g (int8[n] a, int8[n] c) => (int8[n] y) { y = Div(a, c) }",
    "a remainder of C": "g (int64[n] a, int64[n] c) => (int64[n] y) { y = Mod <fmod = 1> (a, c) }",
    "a constant position": "g (float[4] x) => (float[n] y) <int64 p = {1}> { s = SplitToSequence(x) y = SequenceAt(s, p) }",
}


@pytest.mark.parametrize("text", UNTOUCHED.values(), ids=UNTOUCHED)
def test_nodes_that_cannot_end_the_process_get_no_guard(text):
    model = onnx.parser.parse_model(HEAD + text)
    before = model.SerializeToString()
    guard(model)
    assert model.SerializeToString() == before
    assert not may_be_fatal(model)

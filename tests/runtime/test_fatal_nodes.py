"""Models over which ONNX Runtime ends the whole process are refused before it sees them."""

import re

import numpy as np
import onnx
import pytest

import graphkit as gk

HEAD = '<ir_version: 10, opset_import: ["" : 23, "m" : 1]> '

FATAL = {
    "a SplitToSequence by a constant 0": (
        "g (float[4] x) => (seq(float[]) y) <int64 s = {0}> { y = SplitToSequence(x, s) }",
        "SplitToSequence 'y' divides by 'split', which is 0",
    ),
    "an STFT with frames of length 0": (
        "g (float[1,16,1] x) => (float[a,b,c,d] y) <int64 f = {4}, int64 l = {0}> { y = STFT(x, f, , l) }",
        "STFT 'y' divides by 'frame_length', which is 0",
    ),
    "an Attention without heads": (
        "g (float[1,4,2] x) => (float[a,b,c] y) { y = Attention <q_num_heads = 1, kv_num_heads = 0> (x, x, x) }",
        "Attention 'y' has kv_num_heads = 0",
    ),
    "an Attention with more heads than 32 bits hold": (
        "g (float[1,4,2] x) => (float[a,b,c] y) { y = Attention <q_num_heads = 1099511627776, kv_num_heads = 1> (x, x, x) }",
        "Attention 'y' has q_num_heads = 1099511627776",
    ),
    "a Conv whose kernel has no places": (
        "g (float[1,2,4,4] x) => (float[a,b,c,d] y) <float[2,2,0,3] w = {}> { y = Conv(x, w) }",
        "Conv 'y' has a kernel of [2, 2, 0, 3], which has no places",
    ),
    "an InstanceNormalization of a constant without numbers": (
        "g () => (float[1,2,0] y) <float[1,2,0] x = {}, float[2] s = {1, 1}> { y = InstanceNormalization(x, s, s) }",
        "InstanceNormalization 'y' normalizes a constant of [1, 2, 0], which has no numbers",
    ),
    "one in a function": (
        """g (float[4] x) => (seq(float[]) y) { y = m.f(x) }
        <domain: "m", opset_import: ["" : 23]> f (a) => (b) { z = Constant <value_int = 0> () b = SplitToSequence(a, z) }""",
        "SplitToSequence 'b' divides by 'split', which is 0",
    ),
    "one in a body, by a constant of the graph around": (
        """g (float[4] x, bool c) => (float[n] y) <int64 z = {0}> { y = If (c) <
          then_branch = t () => (float[n] p) { s = SplitToSequence(x, z) i = Constant <value_int = 0> () p = SequenceAt(s, i) },
          else_branch = e () => (float[n] q) { q = Neg(x) }> }""",
        "SplitToSequence 's' divides by 'split', which is 0",
    ),
}


@pytest.mark.parametrize(("text", "why"), FATAL.values(), ids=FATAL)
def test_it_is_refused_by_whatever_loads_a_model(text, why):
    model = onnx.parser.parse_model(HEAD + text)
    for use in (gk.session, gk.run, lambda m: gk.validate(m, against=m)):
        with pytest.raises(gk.InvalidGraphError, match=re.escape(why)):
            use(model)
    checked = gk.check(model)
    assert not checked
    assert why in " ".join(gk.text(checked).split())


def test_a_fed_zero_is_refused_and_another_number_runs():
    text = "g (float[1,16,1] x, int64 l) => (float[a,b,c,d] y) <int64 f = {4}> { y = STFT(x, f, , l) }"
    session = gk.session(onnx.parser.parse_model(HEAD + text), device="cpu")
    x = np.ones((1, 16, 1), np.float32)
    with pytest.raises(gk.FeedError, match="STFT 'y' divides by 'frame_length', which is 0"):
        session.run({"x": x, "l": 0})
    assert session.run({"x": x, "l": 4})["y"].shape == (1, 4, 3, 2)


def test_a_fed_kernel_without_places_is_refused_and_one_without_channels_runs():
    text = "g (float[1,2,4,4] x, float[a,b,c,d] w) => (float[e,f,h,i] y) { y = Conv(x, w) }"
    session = gk.session(onnx.parser.parse_model(HEAD + text), device="cpu")
    x = np.ones((1, 2, 4, 4), np.float32)
    with pytest.raises(gk.FeedError, match=r"Conv 'y' has a kernel of \[3, 2, 2, 0\], which has no places"):
        session.run({"x": x, "w": np.zeros((3, 2, 2, 0), np.float32)})
    assert session.run({"x": x, "w": np.zeros((0, 2, 2, 2), np.float32)})["y"].shape == (1, 0, 3, 3)


def test_lengths_of_which_one_is_zero_are_no_division():
    text = "g (float[4] x) => (seq(float[]) y) <int64[2] s = {0, 4}> { y = SplitToSequence(x, s) }"
    made = gk.run(onnx.parser.parse_model(HEAD + text), np.arange(4, dtype=np.float32))["y"]
    assert [part.tolist() for part in made] == [[], [0, 1, 2, 3]]

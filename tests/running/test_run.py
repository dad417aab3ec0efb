"""run: what is fed where nothing, or not a mapping, is given; how far the runtime rewrites a model."""

import numpy as np
import onnx
import pytest

import graphkit as gk

ONE = gk.build([onnx.helper.make_node("Neg", ["x"], ["y"])], {"x": "float32[2,3]"}, {"y": "float32[2,3]"})
TWO = gk.build(
    [onnx.helper.make_node("Add", ["a", "b"], ["y"])], {"a": "float32[2]", "b": "float32[2]"}, {"y": "float32[2]"}
)


def test_without_feeds_every_input_is_drawn_and_that_is_said():
    assert np.array_equal(gk.run(TWO)["y"], gk.run(TWO, {"a": "random", "b": "random"})["y"])
    assert not np.array_equal(gk.run(TWO, seed=1)["y"], gk.run(TWO, seed=2)["y"])
    assert gk.run_report(TWO, {}).notes[-1] == "inputs that were drawn at random (seed 0): a, b"


def test_an_array_alone_is_for_the_only_input():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(gk.run(ONE, x)["y"], -x)
    assert np.array_equal(gk.run(ONE, x.tolist())["y"], -x)
    assert np.array_equal(gk.run(ONE, 2.0)["y"], np.full((2, 3), -2, np.float32))


def test_an_array_alone_is_refused_where_there_are_two_inputs():
    with pytest.raises(gk.FeedError, match="2: 'a', 'b'"):
        gk.run(TWO, np.zeros(2, np.float32))


def test_some_feeds_are_no_reason_to_draw_the_others():
    with pytest.raises(gk.FeedError, match="no feed for 'b'"):
        gk.run(TWO, {"a": [1, 2]})


@pytest.mark.parametrize("level", ["all", "extended", "basic", "none"])
def test_a_level_of_optimization_is_what_the_session_gets(level):
    made = gk.session(ONE, device="cpu", optimization=level)
    wanted = {"all": "ORT_ENABLE_ALL", "extended": "ORT_ENABLE_EXTENDED", "basic": "ORT_ENABLE_BASIC"}
    assert made._raw.get_session_options().graph_optimization_level.name == wanted.get(level, "ORT_DISABLE_ALL")
    assert gk.run(ONE, 1.0, optimization=level)["y"].sum() == -6


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="one of all, extended, basic, none"):
        gk.session(ONE, device="cpu", optimization="most")


def test_a_declared_shape_that_is_false_is_said():
    text = '<ir_version: 9, opset_import: ["" : 17]> g (float[N,4] x) => (float[N,7] y, float[M,4] z) { y = Relu(x) z = Neg(x) }'
    notes = gk.run_report(onnx.parser.parse_model(text), {"x": np.ones((2, 4), np.float32)}).notes
    assert [note for note in notes if "declared" in note] == [
        "the declared shape is false: 'y' is declared as [N,7] and comes out as [2, 4]"
    ]


OPEN = """<ir_version: 9, opset_import: ["" : 17]> g (float[n,2] x, int64[k] i) => (float[m,2] y, float[n,2] z) <float[5,2] w = {0,1,2,3,4,5,6,7,8,9}> {
  y = Gather(w, i) a = Abs(x) b = Neg(a) z = Exp(b) }"""


@pytest.fixture
def open_model():
    return onnx.parser.parse_model(OPEN)


def test_sizes_of_what_is_drawn_are_bound_by_symbol_or_axis(open_model):
    made = gk.run(open_model, bind={"n": 7, "i:0": 3})
    assert made["y"].shape == (3, 2)
    assert made["z"].shape == (7, 2)
    with pytest.raises(gk.FeedError, match="no input has a symbolic dim 'q'"):
        gk.run(open_model, bind={"q": 7})
    with pytest.raises(gk.FeedError, match="'n' is 4 in what is fed, and cannot be 5"):
        gk.run(open_model, {"x": np.ones((4, 2), np.float32), "i": "random"}, bind={"n": 5})


def test_an_input_that_two_stages_read_is_drawn_once_at_the_size_that_was_bound(tmp_path):
    text = """<ir_version: 9, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) { a = Exp(x) b = Neg(a) c = Add(b, x) y = Abs(c) }"""
    gk.split(onnx.parser.parse_model(text), at=["a", "b"]).save(tmp_path / "parts")
    made = gk.run(tmp_path / "parts", outputs=["a", "y"], bind={"n": 6}, seed=3)
    x = np.log(made["a"])
    assert made["y"].shape == (6,)
    assert np.allclose(made["y"], np.abs(x - made["a"]), atol=1e-5)
    with pytest.raises(gk.FeedError, match="no input that is drawn has the dim 'k'"):
        gk.run(tmp_path / "parts", bind={"k": 6})


def test_the_values_of_a_small_output_fit_beside_the_rest(open_model):
    text = gk.text(gk.run_report(open_model, {"x": np.full((7, 2), 1 / 3, np.float32), "i": [1]}, outputs=["y", "z"]))
    assert "[[2, 3]]" in text
    assert "[[0.7165, 0.7165], [0.7165" in text
    assert text.count("...") == 1
    assert max(map(len, text.splitlines())) < 130

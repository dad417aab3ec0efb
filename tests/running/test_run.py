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

"""How long work says how far it is, to whoever watches."""

import onnx
import pytest

import graphkit as gk

NET = """<ir_version: 9, opset_import: ["": 17]>
g (float[n,4] x) => (float[n,4] y) <float[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
    h = MatMul(x, w)
    r = Relu(h)
    y = MatMul(r, w)
}"""


@pytest.fixture
def heard():
    told = []
    with gk.watched(lambda done, total, what: told.append((done, total, what))):
        yield told


def check(told):
    """Every total is known, and nothing is done beyond it."""
    assert told
    assert all(total is not None and 0 <= done <= total for done, total, _ in told)


def test_int8_says_which_run_of_how_many_it_calibrates_with(heard):
    gk.precision(onnx.parser.parse_model(NET), to="int8", samples=5)
    check(heard)
    assert [done for done, total, what in heard if what == "calibrating"][:6] == [0, 1, 2, 3, 4, 5]
    assert {total for _, total, what in heard if what == "calibrating"} == {5}
    assert "quantizing" in {what for _, _, what in heard}


def test_a_recipe_says_which_step_it_is_at(heard, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        '[[step]]\ndo = "rename"\nvalues = { x = "image" }\n[[step]]\nexpect = { inputs = ["image"] }\n', "utf-8"
    )
    gk.Recipe.load(recipe).run(onnx.parser.parse_model(NET))
    assert heard == [(0, 2, "rename"), (1, 2, "expect")]


def test_saving_says_how_many_bytes_are_written(heard, tmp_path):
    gk.save(onnx.parser.parse_model(NET), tmp_path / "m.onnx")
    check(heard)
    assert heard[-1][0] == heard[-1][1] == (tmp_path / "m.onnx").stat().st_size


def test_nobody_hears_it_outside_of_the_block():
    told = []
    with gk.watched(lambda *now: told.append(now)):
        pass
    gk.precision(onnx.parser.parse_model(NET), to="int8", samples=2)
    assert told == []

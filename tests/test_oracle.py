"""The judge is judged: each mutant of a right answer must fail."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort, run_reference

RIGHT = {
    "y": np.linspace(-2, 3, 12, dtype=np.float32).reshape(3, 4),
    "z": np.array([1.5, np.nan, np.inf], np.float32),
    "n": np.array([1, 2, 3], np.int64),
}

MUTANTS = {
    "doubled": lambda a: a | {"y": a["y"] * 2},
    "zeroed": lambda a: a | {"y": np.zeros_like(a["y"])},
    "one number off": lambda a: a | {"y": a["y"] + np.eye(3, 4, dtype=np.float32) * 1e-3},
    "nan for a number": lambda a: a | {"y": np.full_like(a["y"], np.nan)},
    "a number for nan": lambda a: a | {"z": np.array([1.5, 0, np.inf], np.float32)},
    "other infinity": lambda a: a | {"z": np.array([1.5, np.nan, -np.inf], np.float32)},
    "a number for infinity": lambda a: a | {"z": np.array([1.5, np.nan, 3e38], np.float32)},
    "swapped values": lambda a: a | {"y": a["z"], "z": a["y"]},
    "swapped outputs": lambda a: {"z": a["z"], "y": a["y"], "n": a["n"]},
    "missing output": lambda a: {"y": a["y"], "z": a["z"]},
    "other name": lambda a: {"x": a["y"], "z": a["z"], "n": a["n"]},
    "other shape": lambda a: a | {"y": a["y"].reshape(4, 3)},
    "shape that broadcasts": lambda a: a | {"y": a["y"][None]},
    "empty": lambda a: a | {"y": a["y"][:0]},
    "other float type": lambda a: a | {"y": a["y"].astype(np.float64)},
    "other integer type": lambda a: a | {"n": a["n"].astype(np.int32)},
    "integer one off": lambda a: a | {"n": a["n"] + 1},
    "list for array": lambda a: a | {"y": [a["y"]]},
    "none for array": lambda a: a | {"y": None},
    "array for mapping": lambda a: a["y"],
}


def test_a_right_answer_passes():
    assert_same({name: value.copy() for name, value in RIGHT.items()}, RIGHT)


def test_an_error_within_the_tolerance_passes():
    assert_same(RIGHT | {"y": RIGHT["y"] * np.float32(1 + 1e-6)}, RIGHT, rtol=1e-5)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_fails(mutant):
    with pytest.raises(AssertionError):
        assert_same(MUTANTS[mutant](dict(RIGHT)), RIGHT)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_fails_in_the_other_place_too(mutant):
    with pytest.raises(AssertionError):
        assert_same(RIGHT, MUTANTS[mutant](dict(RIGHT)))


def test_sequences_and_optionals_are_compared_element_by_element():
    array = np.ones(2, np.float32)
    assert_same([array, None], [array, None])
    for wrong in ([array], [array, array], [None, array], [array * 2, None]):
        with pytest.raises(AssertionError):
            assert_same(wrong, [array, None])


def test_strings_are_compared():
    with pytest.raises(AssertionError):
        assert_same(np.array(["a", "b"], dtype=object), np.array(["a", "c"], dtype=object))


@pytest.mark.parametrize("run", [run_reference, run_ort])
def test_both_runners_compute(run, tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y, float[2] z) { y = Add(x, x) z = Neg(x) }'
    )
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    x = np.array([1, -3], np.float32)
    for given in (model, path, str(path), gk.load(path)):
        assert_same(run(given, {"x": x}), {"y": x + x, "z": -x})

"""Errors of ONNX Runtime, raised here by the runtime itself, explained."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import graphkit as gk
from graphkit_cli.main import main

PICTURE = "float[1,3,4,4] x) => (float[1,2,2,2] y) <float[2,3,3,3] w = {" + ", ".join(["1"] * 54) + "}>"


def model(text):
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g ({text}').SerializeToString()


CONV = model(PICTURE + " { y = Conv(x, w) }")
FREE_CONV = model(
    "float[n,c,h,v] x) => (float[n,2,p,q] y) <float[2,3,3,3] w = {" + ", ".join(["1"] * 54) + "}> { y = Conv(x, w) }"
)
SUM = model("float[n] x, float[m] z) => (float[k] y) { y = Add(x, z) }")
SHAPED = model("float[n] x) => (float[2,3] y) <int64[2] s = {2, 3}> { y = Reshape(x, s) }")
TAKEN = model("float[4] x, int64[n] i) => (float[n] y) { y = Gather(x, i) }")


def error(content, feeds, outputs=None):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever the runtime raises)
        ort.InferenceSession(content, providers=["CPUExecutionProvider"]).run(outputs, feeds)
    return str(caught.value)


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


CASES = {
    "axis": (
        CONV,
        {"x": zeros(1, 3, 4, 6)},
        "axis 3 of the array fed for input 'x' has the size 6, and the model fixes it to 4",
    ),
    "rank": (CONV, {"x": zeros(3, 4, 4)}, "has 3 axes, and the model wants 4"),
    "type": (CONV, {"x": zeros(1, 3, 4, 4, dtype=np.float64)}, "fed as double, and the model wants float"),
    "missing": (SUM, {"x": zeros(2)}, "inputs 'z' were not fed; fed were 'x'"),
    "feed": (CONV, {"x": zeros(1, 3, 4, 4), "factor": zeros(1)}, "'factor' was fed, and is no input of the model"),
    "channels": (FREE_CONV, {"x": zeros(1, 4, 4, 3)}, "got 4 channels, and its weight is made for 3"),
    "broadcast": (SUM, {"x": zeros(2), "z": zeros(3)}, "got an axis of the size"),
    "reshape": (SHAPED, {"x": zeros(7)}, "was to give the shape [2,3] to [7]"),
    "index": (TAKEN, {"x": zeros(4), "i": np.array([5])}, "was given the index 5, and there are indices -4 to 3"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_the_runtime_raises_is_explained_with_a_remedy(name):
    content, feeds, meaning = CASES[name]
    found = gk.explain(error(content, feeds))
    assert found
    assert meaning in found.meaning[0]
    assert found.remedies
    assert "[ONNXRuntimeError]" not in found.message


def test_an_output_that_is_not_there_names_tap():
    found = gk.explain(error(CONV, {"x": zeros(1, 3, 4, 4)}, ["inner"]))
    assert "'inner' was asked for, and is no output" in found.meaning[0]
    assert any("tap" in remedy for remedy in found.remedies)


@pytest.mark.parametrize(
    ("content", "meaning"),
    [
        (b"no model", "no ONNX model"),
        (model("float[n] x) => (float[n] y) { y = MyOpr(x) }"), "MyOpr"),
        (model("float[n] x, double[n] z) => (float[n] y) { y = Add(x, z) }"), "both must be of one type"),
    ],
)
def test_a_model_that_does_not_load_is_explained(content, meaning):
    found = gk.explain(error(content, {}))
    assert found
    assert meaning in found.meaning[0]
    assert found.remedies


def test_a_whole_traceback_will_do_and_another_text_is_not_known():
    text = "Traceback (most recent call last):\n  File 'run.py', line 3\n" + error(CONV, {"x": zeros(3, 4, 4)})
    assert "has 3 axes" in gk.explain(text).meaning[0]
    assert not gk.explain("KeyError: 'x'")


def test_the_command_prints_the_dims_command_that_frees_the_axis(capsys):
    assert main(["doctor", "--explain", error(CONV, {"x": zeros(1, 3, 4, 6)})]) == 0
    printed = capsys.readouterr().out
    assert "graphkit dims MODEL OUT --set x:3=dim_3" in printed
    assert "graphkit probe MODEL" in printed
    assert main(["doctor", "--explain", "nothing that is known"]) == 1


def test_the_command_that_frees_the_axis_frees_it(tmp_path):
    (tmp_path / "m.onnx").write_bytes(CONV)
    freed = gk.dims(str(tmp_path / "m.onnx"), {"x:3": "dim_3"})
    assert gk.run(freed, feeds={"x": zeros(1, 3, 4, 6)})["y"].shape == (1, 2, 2, 4)

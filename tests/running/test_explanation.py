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


def two(signature, body):
    """A model of two inputs of floats with two free axes each."""
    return model(f"float[n,k] x, float[p,q] z) => ({signature}) {{ {body} }}")


ONES = "{" + ", ".join(["1"] * 9) + "}"
MORE = {
    "matmul": (
        two("float[a,b] y", "y = MatMul(x, z)"),
        "the last axis of its first input and the last but one",
        "dims",
    ),
    "gemm": (
        two("float[a,b] y", "y = Gemm(x, z)"),
        "got rows of 3 numbers, and its weight has the shape [4,5]",
        "dims",
    ),
    "concat": (
        two("float[a,b] y", "y = Concat<axis = 1>(x, z)"),
        "whose axis 0 has the sizes 4 and 2",
        "multiples of 32",
    ),
    "where": (two("float[a,b] y", "c = Less(x, x) y = Where(c, x, z)"), "got an axis of the size", "probe"),
    "squeeze": (
        two("float[a] y", "a = Constant<value_ints = [1]>() y = Squeeze(x, a)"),
        "drops axis 1, which has to be of size 1 and is of size 3",
        "dims",
    ),
    "split": (
        two("float[a,b] y, float[c,d] v", "s = Constant<value_ints = [2, 2]>() y, v = Split<axis = 1>(x, s)"),
        "do not add up to that of the axis",
        "dims",
    ),
    "expand": (
        two("float[a,b] y", "s = Constant<value_ints = [2, 4]>() y = Expand(x, s)"),
        "the shape that it expands to, a constant as a rule",
        "dims",
    ),
    "scales": (
        two(
            "float[a,b,c,d] y",
            "s = Constant<value_ints = [1, 1, 2, 3]>() r = Reshape(x, s) f = Constant<value_floats = [1.0, 2.0, 2.0, 2.0]>()"
            ' y = Resize<mode = "cubic">(r, , f)',
        ),
        "can scale the last two axes only",
        "resize",
    ),
    "ir": (
        two("float[a,b] y", "y = Relu(x)"),
        "is of IR version 99, and this onnxruntime reads",
        "set_parts(model, ir=",
    ),
    "opset": (two("float[a,b] y", "y = Relu(x)"), "is of opset 99 of ai.onnx", "opset"),
    "undefined": (two("float[a,b] y", "y = Add(x, nowhere)"), "a node reads 'nowhere'", "reorder"),
    "circle": (two("float[a,b] y", "y = Add(x, v) v = Relu(y)"), "in a circle", "check"),
    "twice": (two("float[a,b] y", "y = Relu(x) y = Neg(x)"), "two nodes of the model make 'y'", "check"),
    "attribute": (
        model("float[n,c,h,w] x) => (float[n,c,p,q] y) { y = MaxPool(x) }"),
        "MaxPool lacks the attribute 'kernel_shape'",
        "set_parts(model, attributes={NODE:kernel_shape: VALUE})",
    ),
    "axis": (
        two("float[a,b] y", "y = Softmax<axis = 5>(x)"),
        "Softmax contradicts itself or what it reads: 'axis'",
        "graphkit.operator(",
    ),
    "kernel": (
        model("bfloat16[n] x) => (bfloat16[n] y) { y = Relu(x) }"),
        "Relu reads a type that this provider of onnxruntime has no kernel for",
        "precision",
    ),
    "empty": (b"", "the bytes hold no graph", "check"),
    "text": (model("string[n] x) => (float[n] y) { y = Cast<to = 1>(x) }"), "a number from a text", "texts"),
    "small": (
        model(f"float[1,1,h,w] x) => (float[1,1,p,q] y) <float[1,1,3,3] k = {ONES}> {{ y = Conv(x, k) }}"),
        "smaller than its kernel",
        "larger picture",
    ),
}


@pytest.mark.parametrize("name", MORE)
def test_raw_errors_say_what_happened_and_what_to_do(name):
    content, meaning, remedy = MORE[name]
    if name in ("ir", "opset"):
        proto = onnx.load_from_string(content)
        proto.ir_version = 99 if name == "ir" else 8
        proto.opset_import[0].version = 99 if name == "opset" else 17
        content = proto.SerializeToString()
    feeds = {"x": zeros(2, 3), "z": zeros(4, 5)}
    if name == "text":
        feeds = {"x": np.array(["a"], object)}
    if name == "small":
        feeds = {"x": zeros(1, 1, 2, 2)}
    if name == "where":
        feeds["z"] = zeros(2, 2)
    found = gk.explain(f"Traceback (most recent call last):\nonnxruntime.Fail: {error(content, feeds)}")
    assert found
    assert meaning in found.meaning[0]
    assert remedy in " ".join(found.remedies)
    assert "onnxruntime_src" not in found.message
    assert "[ONNXRuntimeError]" not in found.message


def test_a_feed_that_is_no_array_is_explained():
    assert "'x' is no numpy array" in gk.explain(error(SUM, {"x": "abc", "z": zeros(2)})).meaning[0]
    assert "'x' was fed with None" in gk.explain(error(SUM, {"x": None, "z": zeros(2)})).meaning[0]


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


def test_a_library_of_operators_that_does_not_load_is_explained():
    with pytest.raises(Exception, match="cannot open") as caught:
        ort.SessionOptions().register_custom_ops_library("nowhere.so")
    found = gk.explain(str(caught.value))
    assert "the library nowhere.so could not be loaded: nowhere.so: cannot open shared object file" in found.meaning[0]
    assert any("ldd" in remedy for remedy in found.remedies)

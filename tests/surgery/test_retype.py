"""retype: fed the cast array, the model gives what it gave, cast."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort

NET = """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x, int64[2] i, bool c) => (float[2,3] y, int64[2] j, float[2,3] z) {
  [neg] a = Neg(x) [exp] y = Exp(a) [gather] j = Add(i, i)
  [if] z = If(c) <then_branch = t () => (float[2,3] u) { u = Mul(x, y) }, else_branch = e () => (float[2,3] v) { v = Identity(a) }>
}"""
X = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)
I = np.array([1, 2])  # noqa: E741 (the model's name)


def net(text=NET):
    return onnx.parser.parse_model(text)


def outputs(model, x=X, i=I):
    onnx.checker.check_model(model.proto, full_check=True)
    return run_ort(model, {"x": x, "i": i, "c": np.array(True)})


def test_inputs_and_outputs_are_cast_also_where_bodies_read_them():
    edited = gk.retype(net(), {"x": "uint8", "y": "float16", "j": "int32"})
    assert [gk.inspect(edited).inputs[0].type, gk.inspect(edited).outputs[0].type] == ["uint8[2,3]", "float16[2,3]"]
    x = X.astype(np.float32)
    y = np.exp(-x)
    expected = {"y": y.astype(np.float16), "j": (I + I).astype(np.int32), "z": x * y}
    assert_same(outputs(edited), expected, rtol=1e-3)
    assert edited.history[-1].notes == (
        "'x' is uint8, it was float32",
        "'y' is float16, it was float32",
        "'j' is int32, it was int64",
        "3 nodes convert",
    )


def test_a_type_and_a_pattern_name_several():
    edited = gk.retype(net(), {"int64": "int32"})
    assert [t.type for t in (*gk.inspect(edited).inputs, *gk.inspect(edited).outputs)] == [
        *("float32[2,3]", "int32[2]", "bool[]", "float32[2,3]", "int32[2]", "float32[2,3]")
    ]
    assert_same(outputs(edited, X.astype(np.float32), I.astype(np.int32))["j"], np.array([2, 4], np.int32))
    edited = gk.retype(net(), {"*": "float64", "c": "bool", "i": "int64", "j": "int64"})
    assert_same(outputs(edited, X.astype(np.float64))["y"], np.exp(-X.astype(np.float32)).astype(np.float64))


def test_casts_that_stand_there_are_folded_away():
    model = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) <float16[2] h, float16[2] e> {
        h = Cast<to = 10>(x) e = Exp(h) y = Cast<to = 1>(e) }"""
    )
    edited = gk.retype(model, {"x": "float16", "y": "float16"})
    assert [node.op_type for node in edited.nodes] == ["Exp"]
    onnx.checker.check_model(edited.proto, full_check=True)
    x = np.float16([1, 2])
    assert_same(run_ort(edited, {"x": x}), {"y": np.exp(x)}, rtol=1e-3)
    wide = gk.retype(model, {"x": "uint8", "y": "float64"})
    assert [node.op_type for node in wide.nodes] == ["Cast", "Exp", "Cast"]
    assert_same(run_ort(wide, {"x": np.array([1, 2], np.uint8)}), {"y": np.exp(x).astype(np.float64)}, rtol=1e-3)


def test_a_cast_that_would_round_otherwise_is_kept():
    model = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { h = Cast<to = 6>(x) y = Cast<to = 1>(h) }"""
    )
    edited = gk.retype(model, {"x": "float64", "y": "int32"})
    x = np.array([16777217.0, 3.0])
    expected = x.astype(np.float32).astype(np.int32).astype(np.float32).astype(np.int32)
    assert_same(run_ort(edited, {"x": x}), {"y": expected})
    assert len(edited.nodes) == 4


def test_back_and_forth_is_the_model_again():
    there = gk.retype(net(), {"x": "float64", "y": "float64"})
    back = gk.retype(there, {"x": "float32", "y": "float32"})
    assert [node.op_type for node in back.nodes] == ["Neg", "Exp", "Add", "If"]
    x = X.astype(np.float32)
    assert_same(outputs(back, x), run_ort(net(), {"x": x, "i": I, "c": np.array(True)}))


@pytest.mark.parametrize(
    ("io", "error", "said"),
    [
        ({"a": "float16"}, gk.NameNotFoundError, "no input or output named 'a'"),
        ({"x": "float99"}, gk.EditError, "float99"),
        ({"x": "int4"}, gk.EditError, "Cast of opset 17 does not know int4"),
        ({}, ValueError, "at least one"),
    ],
)
def test_what_cannot_be_is_refused(io, error, said):
    with pytest.raises(error, match=said):
        gk.retype(net(), io)


def test_an_input_that_is_an_output_or_has_a_default_is_refused():
    model = net(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2] x, float[2] w) => (float[2] x, float[2] y) <float[2] w = {1, 2}> { y = Add(x, w) }'
    )
    with pytest.raises(gk.EditError, match="an input and an output in one"):
        gk.retype(model, {"x": "float16"})

"""layout: fed the transposed array, the model gives what it gave, transposed."""

import re

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.edit.layout_evidence import channels_first_at
from oracle import assert_same, run_ort

NET = """<ir_version: 8, opset_import: ["": 17]> g (float[n,3,4,5] x) => (float[n,3,4,5] y, float[n,c] z) <float[1,3,1,1] w = {1, 2, 3}> {
  a = Mul(x, w) y = Exp(a) m = GlobalAveragePool(a) z = Flatten(m)
}"""
X = np.random.default_rng(0).standard_normal((2, 3, 4, 5), dtype=np.float32)


def net(text=NET):
    return onnx.parser.parse_model(text)


@pytest.mark.parametrize("io", [{"x": "NHWC"}, {"y": "NHWC"}, {"x": "NHWC", "y": "NHWC"}])
def test_channels_last(io):
    model = net()
    edited = gk.layout(model, io)
    onnx.checker.check_model(edited.proto, full_check=True)
    x = X.transpose(0, 2, 3, 1) if "x" in io else X
    expected = run_ort(model, {"x": X})
    if "y" in io:
        expected["y"] = expected["y"].transpose(0, 2, 3, 1)
    assert_same(run_ort(edited, {"x": x}), expected)
    port = (gk.inspect(edited).inputs if "x" in io else gk.inspect(edited).outputs)[0]
    assert port.type == "float32[n,4,5,3]"


def test_a_transpose_that_stands_there_goes_and_back_is_the_model_again():
    there = gk.layout(net(), {"x": "NHWC", "y": "NHWC"})
    back = gk.layout(there, {"x": "NCHW", "y": "NCHW"})
    assert [node.op_type for node in back.nodes] == ["Mul", "Exp", "GlobalAveragePool", "Flatten"]
    assert_same(run_ort(back, {"x": X}), run_ort(net(), {"x": X}))
    model = net(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1,4,5,3] x) => (float[5,4,3,1] y) { t = Transpose<perm = [0,3,1,2]>(x) y = Transpose<perm = [3,2,1,0]>(t) }'
    )
    edited = gk.layout(model, {"x": "NCHW"})
    assert [node.op_type for node in edited.nodes] == ["Transpose"]
    x = X[:1].transpose(0, 2, 3, 1)
    assert_same(run_ort(edited, {"x": X[:1]}), run_ort(model, {"x": x}))


def test_other_ranks_and_patterns():
    model = net('<ir_version: 8, opset_import: ["": 17]> g (float[3,4,5] x) => (float[3,4,5] y) { y = Neg(x) }')
    edited = gk.layout(model, {"*": "HWC"})
    x = X[0].transpose(1, 2, 0)
    assert_same(run_ort(edited, {"x": x}), {"y": -x})


@pytest.mark.parametrize(
    ("io", "error", "said"),
    [
        ({"z": "NHWC"}, gk.EditError, "'z' is .*and NHWC has 4 axes"),
        ({"x": "NHCW"}, gk.EditError, "'NHCW', for 'x', is no layout"),
        ({"a": "NHWC"}, gk.NameNotFoundError, "no input or output named 'a'"),
        ({}, ValueError, "at least one"),
    ],
)
def test_what_cannot_be_is_refused(io, error, said):
    with pytest.raises(error, match=said):
        gk.layout(net(), io)


@pytest.mark.parametrize("opset", [11, 17])
def test_axes_of_size_1_come_and_go(opset):
    head = f'<ir_version: 3, opset_import: ["": {opset}]> '
    text = "g (float[n,3] x, float[1,2] k) => (float[n,3] z, float[1,2] l) { z = Neg(x) l = Exp(k) }"
    model = onnx.parser.parse_model(head + text)
    edited = gk.layout(model, {"x": "+0,+3", "z": "+1", "k": "-0", "l": "-0"})
    onnx.checker.check_model(edited.proto, full_check=True)
    shown = [port.type for port in (*gk.inspect(edited).inputs, *gk.inspect(edited).outputs)]
    assert shown == ["float32[1,n,3,1]", "float32[2]", "float32[n,1,3]", "float32[2]"]
    x, k = X[0, :, 0, :3], X[0, :1, 0, :2]
    now = run_ort(edited, {"x": x[None, ..., None], "k": k[0]})
    assert_same(now, {"z": -x[:, None], "l": np.exp(k[0])})
    proof = gk.prove(edited, model)
    assert proof
    back = gk.layout(edited, {"x": "-0,-3", "z": "-1", "k": "+0", "l": "+0"})
    assert_same(run_ort(back, {"x": x, "k": k}), run_ort(model, {"x": x, "k": k}))


@pytest.mark.parametrize(
    ("io", "said"),
    [
        ({"x": "-0"}, "axis 0 is of size n, and only one of size 1"),
        ({"x": "-1"}, "axis 1 is of size 3"),
        ({"x": "+7"}, "does not name axes of rank 5"),
        ({"x": "+0,+0"}, "each once"),
        ({"x": "+0,-1"}, "is no layout"),
    ],
)
def test_axes_that_cannot_come_or_go_are_refused(io, said):
    with pytest.raises(gk.EditError, match=re.escape(said)):
        gk.layout(net(), io)


def test_a_layout_that_an_operator_shows_to_be_there_already_is_refused():
    with pytest.raises(gk.EditError, match="'x' is NCHW already: GlobalAveragePool"):
        gk.layout(net(), {"x": "NCHW"})
    last = gk.layout(net(), {"x": "NHWC", "y": "NHWC"})
    with pytest.raises(gk.EditError, match=r"'x' is NHWC already: GlobalAveragePool .* axis 3"):
        gk.layout(last, {"x": "NHWC"})
    pooled = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[n,3,4,5] x) => (float[n,4,5,3] y) {
            p = MaxPool<kernel_shape = [1,1]>(x) t = Transpose<perm = [0,2,3,1]>(p) y = Relu(t)
        }"""
    )
    with pytest.raises(gk.EditError, match=r"'y' is NHWC already: MaxPool .* makes it with its channels at axis 3"):
        gk.layout(pooled, {"y": "NHWC"})
    assert gk.layout(pooled, {"y": "NCHW"}).outputs


@pytest.mark.parametrize("body", ["x = Identity(x)", "z = Relu(x) x = Relu(z)"])
def test_a_graph_that_goes_round_ends(body):
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 18]> g (float[n,3,h,w] x) => (float[n,3,h,w] y) {{ {body} y = Relu(x) }}'
    )
    for is_input in (True, False):
        assert channels_first_at(model.graph, "x", 4, is_input=is_input) is None


def test_a_transpose_into_no_order_is_refused():
    model = onnx.parser.parse_model(
        """<ir_version: 9, opset_import: ["" : 18]> g (float[n,3,h,w] x) => (float[n,3,h,w] y) {
            y = Transpose <perm = [0, 9, 3, 1]> (x) }"""
    )
    with pytest.raises(gk.EditError, match=r"Transpose 'y' has perm = \[0, 9, 3, 1\], which is no order of 4 axes"):
        gk.layout(model, {"x": "NHWC"})

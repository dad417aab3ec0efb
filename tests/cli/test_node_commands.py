"""insert, remove, replace, set, reorder, retype, layout, image: as they are spelt, and what they refuse."""

import json

import numpy as np
import onnx
import pytest

from oracle import assert_same, run_ort

NET = """<ir_version: 8, opset_import: ["": 18]> g (float[1,3,4,4] x) => (float[1,3,4,4] y) <float[3,1,1] w = {1, 2, 3}> {
  [scale] a = Mul(x, w) [soft] y = Softmax<axis = 1>(a) }"""
X = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(NET), path)
    return path


def softmax(a):
    e = np.exp(a - a.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


A = X * np.float32([1, 2, 3]).reshape(3, 1, 1)

DONE = {
    "insert": (["--at", "a", "--function", "relu", "--reader", "soft"], X, softmax(A)),
    "insert by text": (["--at", "y", "--function", "(a) => (b) { b = Neg(a) }"], X, -softmax(A)),
    "remove": (["--node", "soft"], X, A),
    "replace": (["--node", "soft", "--function", "(a) => (b) { b = Abs(a) }"], X, np.abs(A)),
    "replace a region": (["--input", "x", "--output", "a", "--function", "identity"], X, softmax(X)),
    "set": (["--operand", "scale:1=x", "--attribute", "soft:axis=-3", "--metadata", "k=v=w"], X, softmax(X * X)),
    "reorder": (["--sort", "--name-all"], X, softmax(A)),
    "retype": (["--io", "x=float64"], X.astype(np.float64), softmax(A)),
    "layout": (["--io", "x=NHWC"], X.transpose(0, 2, 3, 1), softmax(A)),
    "image": (
        ["--input", "x", "--from", "uint8", "--mean", "0,0,0", "--std", "1,1,1", "--order", "bgr"],
        (X * 255).astype(np.uint8).transpose(0, 2, 3, 1)[..., ::-1],
        softmax((X * 255).astype(np.uint8) / np.float32(255) * np.float32([1, 2, 3]).reshape(3, 1, 1)),
    ),
}


@pytest.mark.parametrize("case", DONE)
def test_each_command_writes_what_computes_that(graphkit, net, tmp_path, case):
    options, x, wanted = DONE[case]
    out = tmp_path / "out.onnx"
    code, text, _ = graphkit(case.split()[0], net, out, *options, "--json")
    assert code == 0, text
    assert json.loads(text)["operation"] == {"set": "set_parts"}.get(case.split()[0], case.split()[0])
    assert json.loads(text)["notes"]
    assert_same(run_ort(out, {"x": np.ascontiguousarray(x)}), {"y": wanted}, rtol=1e-5)


def test_bodies_weights_and_sizes_from_files(graphkit, net, tmp_path):
    out = tmp_path / "out.onnx"
    body = "g (float[1,3,4,4] p) => (float[1,3,4,4] q) { q = Neg(p) }"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]> {body}'), tmp_path / "body.onnx")
    assert graphkit("insert", net, out, "--at", "a", "--model", tmp_path / "body.onnx").code == 0
    assert_same(run_ort(out, {"x": X}), {"y": softmax(-A)}, rtol=1e-5)
    np.save(tmp_path / "w.npy", np.float32([3, 2, 1]).reshape(3, 1, 1))
    assert graphkit("set", net, out, "--tensor", f"w=@{tmp_path / 'w.npy'}", "--ir", "9", "--shapes", "infer").code == 0
    assert onnx.load(out).ir_version == 9
    assert_same(run_ort(out, {"x": X}), {"y": softmax(X * np.float32([3, 2, 1]).reshape(3, 1, 1))}, rtol=1e-5)
    assert graphkit("image", net, out, "--input", "x", "--resize").code == 0
    assert run_ort(out, {"x": np.zeros((1, 9, 7, 3), np.uint8)})["y"].shape == (1, 3, 4, 4)


@pytest.mark.parametrize(
    ("command", "options", "code", "said"),
    [
        ("insert", ["--at", "a", "--function", "(p) => (q) { q = Swish(p) }"], 3, "no operator 'Swish' in opset 18"),
        ("insert", ["--at", "scale", "--function", "relu"], 3, "it is the name of a node, Mul, which makes 'a'"),
        ("insert", ["--at", "a"], 2, "give one of --function"),
        ("insert", ["--at", "a", "--function", "argmax"], 3, "leaves types that do not fit"),
        ("remove", [], 2, "say what to remove"),
        ("remove", ["--input", "x"], 3, "cannot do without it"),
        ("replace", ["--input", "w", "--output", "y", "--function", "relu"], 3, "not closed: it also reads 'x'"),
        ("replace", ["--node", "soft", "--function", "argmax"], 3, "argmax makes int64"),
        ("set", ["--attribute", "soft:axes=1"], 3, "has no attribute 'axes'"),
        ("set", ["--attribute", "soft:axis=no"], 3, "of type INT"),
        ("set", [], 2, "say what to set"),
        ("retype", ["--io", "a=float16"], 3, "no input or output named 'a'"),
        ("layout", ["--io", "x=NCWH"], 3, "no layout"),
        ("retype", ["--io", "x=float99"], 3, "float99"),
        ("rename", ["--regex", "(=x"], 3, "no regular expression"),
        ("rename", ["--regex", "^a$="], 3, "is empty"),
        ("insert", ["--at", "(", "--regex", "--function", "relu"], 3, "no regular expression"),
        ("insert", ["--at", "a", "--function", "transpose:perm=x"], 3, "cannot be written"),
        ("insert", ["--at", "a", "--function", "nowhere.txt"], 3, "cannot read the body"),
        ("set", ["--tensor", "w=@nowhere.npy"], 3, "cannot be read"),
        ("set", ["--operand", "soft:0=3,x"], 3, "neither a value of the model nor a number"),
        ("set", ["--opset-import", "ai.onnx=0"], 3, "opset 0"),
        ("image", ["--input", "x", "--std", "0"], 3, "no std may be 0"),
        ("image", ["--input", "y"], 3, "no input named 'y'"),
        ("rename", ["--regex", "nowhere=x"], 3, "no value and no node"),
        ("reorder", [], 2, "say what to order"),
        ("tap", ["--value", "q*"], 3, "q*"),
    ],
)
def test_what_is_refused_leaves_nothing(graphkit, net, tmp_path, command, options, code, said):
    out = tmp_path / "out.onnx"
    result = graphkit(command, net, out, *options)
    assert (result.code, out.exists()) == (code, False)
    assert said in result.err

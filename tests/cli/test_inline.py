"""graphkit inline from the shell."""

import numpy as np
import onnx
import pytest

from oracle import assert_same, run_ort


@pytest.fixture
def calls(tmp_path, monkeypatch):
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18, "my" : 1]> g (float[2,3] x) => (float[2,3] y) { a = my.F(x) y = my.G(a) }
           <domain: "my", opset_import: ["" : 18]> F (a) => (b) { b = Neg(a) }
           <domain: "my", opset_import: ["" : 18]> G (a) => (b) { b = Exp(a) }"""
    )
    onnx.save(model, tmp_path / "calls.onnx")
    monkeypatch.chdir(tmp_path)


def test_all_functions_and_some(graphkit, calls):
    x = {"x": np.arange(6, dtype=np.float32).reshape(2, 3)}
    for options, left in (((), []), (("--function", "my::F"), ["G"])):
        code, out, err = graphkit("inline", "calls.onnx", "out.onnx", *options)
        assert (code, out.startswith("wrote out.onnx")) == (0, True)
        assert "inlined: my::F (1x)" in err
        assert [function.name for function in onnx.load("out.onnx").functions] == left
        assert_same(run_ort("out.onnx", x), run_ort("calls.onnx", x))


def test_a_function_that_is_not_there(graphkit, calls):
    code, _, err = graphkit("inline", "calls.onnx", "out.onnx", "--function", "my::H")
    assert code == 3
    assert "my::H" in err

"""graphkit opset from the shell."""

import numpy as np
import onnx
import pytest

from oracle import assert_same, run_ort


@pytest.fixture
def soft(tmp_path, monkeypatch):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[2,3] x) => (float[2,3] y) { [gate] y = Softmax<axis=0>(x) }'
    )
    onnx.save(model, tmp_path / "soft.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lower_and_run(graphkit, soft):
    code, out, err = graphkit("opset", "soft.onnx", "out.onnx", "--to", 12)
    assert (code, out.startswith("wrote out.onnx")) == (0, True)
    assert "lowered from opset 18 to 12; rewritten: Softmax 'gate'" in err
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert_same(run_ort("out.onnx", {"x": x}), run_ort("soft.onnx", {"x": x}))


def test_refusals(graphkit, soft):
    code, _, err = graphkit("opset", "soft.onnx", "out.onnx", "--to", 6)
    assert (code, "opset 7 at least" in err) == (3, True)
    code, _, err = graphkit("opset", "soft.onnx", "out.onnx", "--to", 999)
    assert (code, "knows opsets 1 to" in err) == (2, True)
    assert graphkit("opset", "soft.onnx", "out.onnx").code == 2
    assert not (soft / "out.onnx").exists()

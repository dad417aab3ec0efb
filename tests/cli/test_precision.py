"""graphkit precision from the shell."""

import numpy as np
import onnx
import pytest

from oracle import run_ort


@pytest.fixture
def folder(tmp_path, monkeypatch):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[n,4] x) => (float[n,4] y)
           <float[4,4] w = {0.3,2,3,4,1,2.1,3,4,1,2,3.3,4,1,2,3,4.7}> { [mm] m = MatMul(x, w) [relu] y = Relu(m) }"""
    )
    onnx.save(model, tmp_path / "net.onnx")
    np.save(tmp_path / "ones.npy", np.ones((3, 4), np.float32))
    np.save(tmp_path / "wide.npy", np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4))
    monkeypatch.chdir(tmp_path)
    return tmp_path


X = np.random.default_rng(0).random((2, 4), dtype=np.float32)


@pytest.mark.parametrize(
    "options",
    [
        ["float16", "--keep-io"],
        ["float16", "--keep-io", "--keep-auto", "--feed", "x=@wide.npy"],
        ["int8"],
        ["int8", "--feed", "x=@wide.npy"],
        ["int8", "--only-op", "MatMul"],
        ["int8-dynamic", "--feed", "x=@wide.npy"],
    ],
    ids=str,
)
def test_convert_run_validate(graphkit, folder, options):
    code, out, err = graphkit("precision", "net.onnx", "out.onnx", "--to", *options)
    assert (code, out.startswith("wrote out.onnx")) == (0, True), err
    want = run_ort("net.onnx", {"x": X})["y"]
    assert np.abs(run_ort("out.onnx", {"x": X})["y"] - want).max() < 0.03 * want.max()
    told = ["validate", "out.onnx", "--against", "net.onnx", "--any-dtype", "--device", "cpu"]
    assert graphkit(*told, "--rtol", 0.05, "--atol", 0.5).code == 0
    assert graphkit(*told, "--rtol", 0, "--atol", 1e-7).code == 1


def test_notes_and_refusals(graphkit, folder):
    code, _, err = graphkit(
        "precision", "net.onnx", "out.onnx", "--to", "int8", "--feed", "x=random", "--feed", "x=@ones.npy"
    )
    assert (code, "quantized: 1 MatMul" in err, "ranges are from 2 runs" in err) == (0, True, True)
    code, _, err = graphkit("precision", "net.onnx", "half.onnx", "--to", "float16", "--keep-node", "mm")
    assert (code, "these nodes stay in float32: MatMul 'mm'" in err) == (0, True)
    assert graphkit("precision", "net.onnx", "no.onnx", "--to", "int8", "--keep-io").code == 2
    assert graphkit("precision", "net.onnx", "no.onnx", "--to", "float16", "--feed", "x=1").code == 2
    assert graphkit("precision", "net.onnx", "no.onnx", "--to", "int8", "--keep-auto").code == 2
    assert graphkit("precision", "net.onnx", "no.onnx", "--to", "float16", "--keep-node", "nn").code == 3
    assert graphkit("precision", "net.onnx", "no.onnx", "--to", "float16", "--keep-op", "Mat").code == 3
    assert graphkit("precision", "net.onnx", "no.onnx", "--to", "int4-weights", "--only-op", "Relu").code == 3
    assert not (folder / "no.onnx").exists()

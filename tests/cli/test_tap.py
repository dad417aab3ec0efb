"""graphkit tap."""

import numpy as np

from oracle import assert_same, run_ort


def test_the_inner_value_is_an_output_with_its_numbers(graphkit, chain, tmp_path):
    out = tmp_path / "tapped.onnx"
    assert graphkit("tap", chain, out, "--value", "hidden").code == 0
    x = np.array([[-1, 2, -3]], np.float32)
    hidden = np.maximum(x, 0)
    assert_same(run_ort(out, {"x": x}), {"y": hidden + np.array([1, 2, 3], np.float32), "hidden": hidden})


def test_replace_drops_the_other_outputs(graphkit, chain, tmp_path):
    out = tmp_path / "tapped.onnx"
    assert graphkit("tap", chain, out, "--value", "hidden", "--replace").code == 0
    assert list(run_ort(out, {"x": np.ones((1, 3), np.float32)})) == ["hidden"]

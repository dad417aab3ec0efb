"""Small models as files, and recipes as texts."""

import numpy as np
import onnx
import pytest

NET = """<ir_version: 9, opset_import: ["" : 18], producer_name: "pytorch">
net (float[1, 3, 4, 4] image) => (float[1, 2, 8, 8] y)
<float[2] b = {0.5, -0.5}, float[4] scales = {1, 1, 2, 2}> {
  [conv] c = Conv(image, w, b)
  [act] r = Relu(c)
  [up] y = Resize<mode = "nearest">(r, , scales)
}"""


@pytest.fixture
def net(tmp_path):
    """A model of three nodes on disk: Conv, Relu, Resize."""
    model = onnx.parser.parse_model(NET)
    weights = np.random.default_rng(0).standard_normal((2, 3, 1, 1), dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def write(tmp_path):
    """Write a recipe and give its path."""

    def write(text, name="recipe.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write

"""Small nets that operations are tried on: each has a node for every option."""

import numpy as np
import onnx

NET = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1, 3, 8, 8] x, float[2] t) => (float[1, 3, n, m] y, float[2] u)
<float[3] b = {1, 2, 3}, float[4] scales = {1, 1, 2, 2}, int64[2] flat = {3, 256}> {
  [conv] c = Conv<pads = [1, 1, 1, 1]>(x, w, b)
  [relu] r = Relu(c)
  [up] y = Resize<mode = "nearest">(r, , scales)
  [double] u = Add(t, t)
}"""

FIXED = """<ir_version: 10, opset_import: ["" : 18]>
g (float[2, 3] x) => (float[2, 3] y) <int64[2] target = {2, 3}> { [flat] y = Reshape(x, target) }"""

CUSTOM = (
    """<ir_version: 10, opset_import: ["" : 18, "mine" : 1]> g (float[2] x) => (float[2] y) { y = mine.Twice(x) }"""
)

DEFINED = CUSTOM + """ <domain: "mine", opset_import: ["" : 18]> Twice (a) => (b) { b = Add(a, a) }"""

TWICE = '<domain: "mine", opset_import: ["" : 18]> Twice (a) => (b) { b = Add(a, a) }'


def net(text=NET):
    model = onnx.parser.parse_model(text)
    if text == NET:
        values = np.random.default_rng(0).standard_normal((3, 3, 3, 3), dtype=np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, "w"))
    return model

"""Shapes that onnx infers, and what it must not be asked."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.shapes.inference import LONG, inferred, run_inference
from oracle import run_ort

TEXT = """<ir_version: 8, opset_import: ["" : 18]> g (float[{0}] x, float[2, 3] t) => (float[a] y, float[b, c] u)
<float[1] k = {{2}}, int64[1] two = {{2}}> {{
  y = Mul(x, k)
  s = Shape(t)
  d = Mul(s, two)
  u = Expand(k, d)
}}"""


def dims_of(model, name):
    return [d.dim_value for v in (*model.graph.output,) if v.name == name for d in v.type.tensor_type.shape.dim]


def test_a_computed_shape_is_known():
    assert dims_of(inferred(onnx.parser.parse_model(TEXT.format(5))), "u") == [4, 6]


def test_a_long_vector_is_not_propagated_as_a_shape(monkeypatch):
    asked = []
    plain = onnx.shape_inference.infer_shapes
    monkeypatch.setattr(
        onnx.shape_inference,
        "infer_shapes",
        lambda model, **options: asked.append(options["data_prop"]) or plain(model, **options),
    )
    assert dims_of(inferred(onnx.parser.parse_model(TEXT.format(LONG))), "y") == [LONG]
    inferred(onnx.parser.parse_model(TEXT.format(LONG - 1)))
    assert asked == [False, False, True]  # at first without, to see how long the vectors are


@pytest.mark.parametrize(("dims", "at"), [([2, 3], [[0, 1]]), ([2, 3], [4])])
def test_what_is_computed_from_a_sparse_weight_has_a_type(dims, at):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20]> g (float[2] x) => (y) { m = MatMul(x, s) y = Neg(m) }'
    )
    values = onnx.helper.make_tensor("s", onnx.TensorProto.FLOAT, [1], [3.0])
    indices = onnx.numpy_helper.from_array(np.array(at, np.int64), "at")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, dims))
    found = run_inference(model, propagate=False)
    known = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in found.graph.value_info}
    assert known["m"] == [3]
    assert "s" not in known
    assert found.graph.sparse_initializer == model.graph.sparse_initializer
    part = gk.extract(model, outputs=["m"])
    assert run_ort(part, {"x": np.array([2.0, 1.0], np.float32)})["m"].shape == (3,)

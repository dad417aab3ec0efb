"""Shapes that onnx infers, and what it must not be asked."""

import onnx

from graphkit.shapes.inference import LONG, inferred

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

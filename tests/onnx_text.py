"""A model from ONNX's own syntax: the head is written here, once."""

import numpy as np
import onnx


def parse(text, opset=18, ir=8, imports="", functions="", **weights):
    """A model.

    Args:
        text: The graph, ``g (float[2] x) => (float[2] y) { y = Neg(x) }``, or a whole model, whose head is taken then.
        opset: The version of ai.onnx.
        ir: The IR version.
        imports: Further imports, as ``"my" : 1``.
        functions: Functions behind the graph.
        weights: float32 initializers.
    """
    if not text.lstrip().startswith("<ir_version"):
        more = f", {imports}" if imports else ""
        text = f'<ir_version: {ir}, opset_import: ["" : {opset}{more}]> {text} {functions}'
    model = onnx.parser.parse_model(text)
    for name, array in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array, np.float32), name))
    return model

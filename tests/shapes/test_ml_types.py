"""Types of what the operators of ai.onnx.ml make: a part can begin and end there."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import graphkit as gk
from graphkit.graph.values import format_type
from oracle import assert_same, run_ort

TREE = {
    "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [0, 0, 0], "nodes_values": [2.0, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0],
    "class_treeids": [0, 0], "class_nodeids": [1, 2], "class_ids": [0, 1], "class_weights": [1.0, 1.0],
}  # fmt: skip
CASES = {
    "Scaler": ({"offset": [1.0], "scale": [2.0]}, ["float32[n,3]"]),
    "Normalizer": ({"norm": "L2"}, ["float32[n,3]"]),
    "TreeEnsembleClassifier": ({**TREE, "classlabels_int64s": [0, 1]}, ["int64[n]", "float32[n,?]"]),
    "TreeEnsembleClassifier, texts": ({**TREE, "classlabels_strings": ["no", "yes"]}, ["string[n]", "float32[n,?]"]),
    "LinearRegressor": ({"coefficients": [1.0, 2.0, 3.0], "intercepts": [0.5], "targets": 1}, ["float32[n,?]"]),
    "Imputer": ({"imputed_value_floats": [1.0], "replaced_value_float": 2.0}, ["float32[n,3]"]),
    "Binarizer": ({"threshold": 1.5}, ["float32[n,3]"]),
}


def model(case):
    """Two nodes of ai.onnx.ml in a row, without a type between them."""
    attributes, types = CASES[case]
    names = ["made", "more"][: len(types)]
    first = helper.make_node("Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])
    node = helper.make_node(case.partition(",")[0], ["scaled"], names, domain="ai.onnx.ml", **attributes)
    last = helper.make_node("Identity", ["made"], ["y"])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    kind = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "string": TensorProto.STRING}[
        types[0].partition("[")[0]
    ]
    graph = helper.make_graph([first, node, last], "g", [x], [helper.make_tensor_value_info("y", kind, None)])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets), names


@pytest.mark.parametrize("case", CASES)
def test_a_part_ends_and_begins_at_what_an_ml_operator_makes(case):
    whole, names = model(case)
    x = {"x": np.float32([[1, 2, 3], [4, 5, 6]])}
    head = gk.extract(whole, inputs=["x"], outputs=names)
    assert [format_type(v.type) for v in head.proto.graph.output] == CASES[case][1]
    made = run_ort(head, x)
    tail = gk.extract(whole, inputs=["made"], outputs=["y"])
    assert_same(run_ort(tail, {"made": made["made"]}), run_ort(whole, x))
    middle = gk.extract(whole, inputs=["scaled"], outputs=["made"])
    assert_same(run_ort(middle, {"scaled": x["x"]})["made"], made["made"])

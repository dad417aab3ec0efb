"""Nodes that do not fit their operator: sizes stop at them, and the command says so in its own words."""

import onnx
import pytest

import graphkit as gk


@pytest.mark.parametrize("node", ["Clip<axes = [1]>(x, lo, hi)", "Mul<axis = 1>(x, lo)", "Relu<nothing = 1.0>(x)"])
def test_an_attribute_that_the_operator_does_not_have_is_no_bug(node):
    text = f"""<ir_version: 8, opset_import: ["": 18]> g (float[2, 3] x) => (float[2, 3] y)
        <float lo = {{0}}, float hi = {{6}}> {{ a = {node}  y = Relu(a) }}"""
    with pytest.warns(gk.GraphkitWarning, match="cannot be followed past"):
        edited = gk.dims(onnx.parser.parse_model(text), {"x:1": 5})
    assert [d.dim_value for d in edited.proto.graph.input[0].type.tensor_type.shape.dim] == [2, 5]


@pytest.mark.parametrize("version", [2**31, 2**62, 99])
def test_a_version_that_nobody_has_is_no_bug_and_no_old_size_stays(version):
    text = '<ir_version: 8, opset_import: ["": 18]> g (float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }'
    model = onnx.parser.parse_model(text)
    model.opset_import[0].version = version
    graph = gk.dims(model, {"x:1": 5}).proto.graph
    assert graph.input[0].type.tensor_type.shape.dim[1].dim_value == 5
    assert graph.output[0].type.tensor_type.shape.dim[1].dim_value in (0, 5)  # 0: not known

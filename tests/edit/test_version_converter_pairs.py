"""What onnx's own tests of single adapters of its version converter convert, as a list: ``operator FROM>TO inputs | attributes``.

``CONVERTED`` come out as the operator behind the arrow, with the attributes that they need; ``REFUSED`` are so by both; what
onnx converts and graphkit refuses stands in ``DIFFERENT``, each kind with its reason. Lines are ``one_node_lines``.
Source: onnx/test/version_converter_test.py. Left out are those of its cases that begin and end below opset 7
(Add 3>2, Concat 3>5 and 5>3, Reshape 6>4 and 5>4), in which ONNX Runtime has no operators, and one-dimensional operands of Gemm.
"""

import numpy as np
import onnx
import pytest

import graphkit as gk
import onnx_text
from graphkit.edit.converting import convert_opset
from one_node_lines import lines, model_of

CONVERTED = """
Add 5>8 f[5] f[5]
Add 5>8 f[5,2] f[5] | axis=0, broadcast=1
Mul 5>8 f[5] f[5]
Gemm 1>8 f[5,5] f[5,5] f[5,5]
Relu 5>7 f[5]
BatchNormalization 5>8 f[1,5] f[5] f[5] f[5] f[5] | consumed_inputs=[0,0,0,1,1], is_test=1
Concat 3>7 f[1] f[1] f[1] f[1] f[1] | axis=0
Reshape 4>7 f[10] | shape=[2,5]
Sum 7>8 f[5] f[5] f[5] f[5] f[5]
Sum 5>8 f[5] f[5] f[5] f[5] f[5]
AveragePool 1>8 f[5,5,5,5] | kernel_shape=[1,1]
Dropout 1>8 f[5,5] | is_test=1
Max 7>8 f[2,3,4]
Min 7>8 f[2,3,4]
Mean 7>8 f[3]
MaxPool 1>8 f[5,5,5,5] | kernel_shape=[1,1]
MaxPool 8>7 f[5,5,5,5] | kernel_shape=[1,1]
Upsample 6>7 f[1,1,2,2] | mode="nearest", width_scale=3.0, height_scale=2.0
BatchNormalization 8>9 f[1,2,1,3] f[2] f[2] f[2] f[2]
BatchNormalization 9>8 f[2,3,4,5] f[3] f[3] f[3] f[3]
Constant 8>9 | value=float[2] {1,2}
Flatten 8>9 f[2,3,4] | axis=1
Flatten 9>8 f[2,3,4] | axis=1
PRelu 8>9 f[2,3,4] f[2,3,4]
PRelu 9>8 f[2,3,4] f[2,3,4]
Greater 8>9 f[2,3,4] f[2,3,4]
Greater 9>8 f[2,3,4] f[2,3,4]
Less 8>9 f[2,3,4] f[2,3,4]
Less 9>8 f[2,3,4] f[2,3,4]
MatMul 8>9 f[3,4] f[4,3]
MatMul 9>8 f[3,4] f[4,3]
Gemm 8>9 f[3,4] f[4,3] f[3,3]
Gemm 9>8 f[3,4] f[4,3] f[3,3]
Upsample 8>9 f[1,1,2,2] | mode="nearest", scales=[1.0,1.0,2.0,3.0]
Upsample 9>8 f[1,1,2,2] f{1,1,2,3} | mode="nearest"
Upsample 9>8 f[1,1,2,2] Cf{1,1,2,3} | mode="nearest"
Cast 8>9 f[2,3] | to=12
Split:2 13>12 f[5] Ci{2,3}
Split:2 13>12 f[4,2] i{1,3} | axis=0
Split:2 13>12 f[10] | axis=0
Split:2 12>18 f[2,6] | axis=1
Split:2 12>13 f[5] | split=[2,3]
ReduceSum 13>12 f[5,5] Ci{0}
ReduceSum 13>12 f[5,5] i{0}
ReduceSum 12>13 f[5,5] | axes=[0]
Squeeze 13>11 f[1,10,1]
Resize 10>11 f[1,1,2,2] Cf{1,1,2,2} | mode="nearest"
Scatter 10>11 f[3] i[2] f[2] | axis=0
Slice 9>10 f[20,10,5] | axes=[0,1], starts=[0,0], ends=[3,10]
RNN:2 13>14 f[1,2,3] f[1,5,3] f[1,5,5] | hidden_size=5
GRU:2 13>14 f[1,2,3] f[1,15,3] f[1,15,5] | hidden_size=5
LSTM:3 13>14 f[1,2,3] f[1,20,3] f[1,20,5] | hidden_size=5
RNN:2 14>13 f[1,2,3] f[1,5,3] f[1,5,5] | hidden_size=5, layout=0
GRU:2 14>13 f[1,2,3] f[1,15,3] f[1,15,5] | hidden_size=5, layout=0
LSTM:3 14>13 f[1,2,3] f[1,20,3] f[1,20,5] | hidden_size=5, layout=0
Pad 10>11 f[1,2,2] | pads=[0,1,2,0,2,1]
Pad 10>11 f[1,2,2] | pads=[0,1,2,0,2,1], value=1.0
BatchNormalization 11>12 f[1,2,2,3] f{0.55,0.72} f{0.60,0.54} f{0.42,0.65} f{0.44,0.89}
Softmax 11>13 f[1,2,3] | axis=0
Softmax 13>12 f[1,2,3] | axis=-1
QuantizeLinear 21>20 f[16,3] f[] i8[]
QuantizeLinear 21>20 f[3,16] f[16] i8[16] | axis=1
QuantizeLinear 21>20 f[3,16] f[16] i8[16] | axis=1, block_size=0
DequantizeLinear 21>20 i8[16,3] f[] i8[]
DequantizeLinear 21>20 i8[3,16] f[16] i8[16] | axis=1
DequantizeLinear 21>20 i8[3,16] f[16] i8[16] | axis=1, block_size=0
Where 16>15 b[2,3] f[2,3] f[2,3]
ScatterElements 16>15 f[2,3] i[2,3] f[2,3] | axis=0, reduction="none"
ScatterND 16>15 f[4,5] i[2,1] f[2,5] | reduction="none"
ScatterElements 18>17 f[2,3] i[2,3] f[2,3] | axis=0
ScatterElements 18>17 f[2,3] i[2,3] f[2,3] | axis=0, reduction="none"
ScatterElements 18>17 f[2,3] i[2,3] f[2,3] | axis=0, reduction="add"
ScatterElements 18>17 f[2,3] i[2,3] f[2,3] | axis=0, reduction="mul"
ScatterND 18>17 f[4,5] i[2,1] f[2,5]
ScatterND 18>17 f[4,5] i[2,1] f[2,5] | reduction="none"
ScatterND 18>17 f[4,5] i[2,1] f[2,5] | reduction="add"
ScatterND 18>17 f[4,5] i[2,1] f[2,5] | reduction="mul"
DFT 20>19 f[1,8,2] - i(1)
Range 26>27 f[] f[] f[]
Range 27>26 f[] f[] f[] | stash_type=1
Celu 27>28 f[3,4] | alpha=2.0
Celu 28>27 f[3,4] | alpha=2.0
"""

MORE = """
ScatterElements 16>15 bf[2,3] i[2,3] bf[2,3] | axis=0
ScatterND 16>15 bf[4,5] i[2,1] bf[2,5]
Range 27>26 h[] h[] h[]
Range 27>26 bf[] bf[] bf[]
Celu 28>27 h[3,4] | alpha=2.0
Celu 28>27 bf[3,4] | alpha=2.0
Celu 28>27 d[3,4] | alpha=2.0
"""
"""What onnx refuses and graphkit converts: the older version has the type, or ONNX defines the operator by others."""

REFUSED = """
QuantizeLinear 21>20 f[16,3] f[16,2] i8[16,2] | axis=1, block_size=2
QuantizeLinear 21>20 f[16,3] f[4,3] i8[4,3] | axis=0, block_size=4
QuantizeLinear 21>20 f[4,3,32] f[4,3,8] i8[4,3,8] | axis=2, block_size=4
QuantizeLinear 21>20 f[3,16] f[16] | axis=1, output_dtype=17
QuantizeLinear 21>20 f[3,16] f[16] u16[16] | axis=1
DequantizeLinear 21>20 i8[16,3] f[16,2] i8[16,2] | axis=1, block_size=2
DequantizeLinear 21>20 i8[16,3] f[4,3] i8[4,3] | axis=0, block_size=4
DequantizeLinear 21>20 i8[4,3,32] f[4,3,8] i8[4,3,8] | axis=2, block_size=4
Where 16>15 b[2,3] bf[2,3] bf[2,3]
ScatterElements 16>15 f[2,3] i[2,3] f[2,3] | reduction="add"
ScatterElements 16>15 f[2,3] i[2,3] f[2,3] | reduction="mul"
ScatterND 16>15 f[4,5] i[2,1] f[2,5] | reduction="add"
ScatterND 16>15 f[4,5] i[2,1] f[2,5] | reduction="mul"
ScatterElements 18>17 f[2,3] i[2,3] f[2,3] | reduction="max"
ScatterElements 18>17 f[2,3] i[2,3] f[2,3] | reduction="min"
ScatterND 18>17 f[4,5] i[2,1] f[2,5] | reduction="max"
ScatterND 18>17 f[4,5] i[2,1] f[2,5] | reduction="min"
"""

DIFFERENT = {
    "onnx puts Casts to float around it, which lose the numbers above 2 ** 24": """
Flatten 9>8 u64[2,3,4] | axis=1
PRelu 9>8 u64[2,3,4] u64[2,3,4]
Greater 9>8 u64[2,3,4] u64[2,3,4]
Less 9>8 u64[2,3,4] u64[2,3,4]
MatMul 9>8 u64[3,4] u64[4,3]
Gemm 9>8 u64[3,4] u64[4,3] u64[3,3]
""",
    "opset 7 is ONNX Runtime's first": """
Cos 8>6 f[5]
Add 8>5 f[5] f[1]
Mul 8>5 f[5] f[1]
Gemm 8>1 f[5,5] f[5,5] f[5,5]
Relu 7>5 f[5]
BatchNormalization 8>5 f[1,5] f[5] f[5] f[5] f[5]
Sum 8>5 f[5] f[5] f[5] f[5] f[5]
AveragePool 8>1 f[5,5,5,5] | kernel_shape=[1,1]
Dropout 8>1 f[5,5]
MaxPool 8>1 f[5,5,5,5] | kernel_shape=[1,1]
""",
}
"""Reason -> what onnx converts and graphkit refuses. Beside it: onnx lowers a Scan of opset 9 to 8 without giving it a batch
axis, where graphkit refuses."""


def converted(line):
    """The model of a line, converted, and its node that is not a Constant or beside the point."""
    before, after = map(int, line.split()[1].split(">"))
    model = model_of(line)
    convert_opset(model, after)
    assert model.opset_import[0].version == after
    return model, before


@pytest.mark.parametrize("line", lines(CONVERTED))
def test_it_is_converted_and_valid(line):
    op = line.partition(" ")[0].partition(":")[0]
    model, before = converted(line)
    assert {"Scatter": "ScatterElements"}.get(op, op) in [node.op_type for node in model.graph.node]
    for output in model.graph.output:  # inference knows nothing of many operators below opset 7
        if not output.type.tensor_type.HasField("shape"):
            assert before < 7 or " f[] f[] f[]" in line
            output.CopyFrom(onnx.shape_inference.infer_shapes(model).graph.output[0])
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("line", lines(REFUSED))
def test_it_is_refused_by_both(line):
    op = line.partition(" ")[0]
    with pytest.raises(gk.EditError, match=f"{op} 'n' cannot be lowered"):
        converted(line)
    model = model_of(line)
    with pytest.raises(RuntimeError):
        onnx.version_converter.convert_version(model, int(line.split()[1].partition(">")[2]))


@pytest.mark.parametrize("line", [line for text in DIFFERENT.values() for line in lines(text)])
def test_it_is_refused_where_onnx_is_content_with_less(line):
    with pytest.raises(gk.EditError, match=r"'n' cannot be lowered|lowered to opset 7 at least"):
        converted(line)


@pytest.mark.parametrize("line", lines(MORE))
def test_what_onnx_refuses_is_converted_where_it_can_be_said(line):
    model, _ = converted(line)
    onnx.checker.check_model(model, full_check=True)
    with pytest.raises(RuntimeError):
        onnx.version_converter.convert_version(model_of(line), int(line.split()[1].partition(">")[2]))


def test_bodies_are_converted_with_their_graph():
    model = onnx_text.parse(
        """g (bool t) => (float[2] y) <float[2] x = {4,5}> {
             y = If(t) <then_branch = a () => (float[2] p) { p = Clip<min=2.0, max=3.0>(x) },
                        else_branch = b () => (float[2] q) { q = Clip<min=2.0, max=3.0>(x) }> }""",
        10,
    )
    convert_opset(model, 11)
    for attribute in model.graph.node[0].attribute:
        clip = attribute.g.node[-1]
        assert (clip.op_type, len(clip.input), len(clip.attribute)) == ("Clip", 3, 0)


def test_a_body_that_hands_out_a_value_from_around_it_is_converted():
    model = onnx_text.parse(
        """g (bool t, float[1] x) => (float[1] y) {
             y = If(t) <then_branch = a () => (float[1] x) { }, else_branch = b () => (float[1] x) { }> }""",
        13,
    )
    convert_opset(model, 14)
    assert [output.name for output in model.graph.output] == ["y"]


def test_other_domains_keep_their_version_whatever_the_first_is_called():
    model = onnx_text.parse("g (float[1] x, float[1] y) => (float[1] z) { z = Add(x, y) }", 9)
    model.opset_import[0].domain = "ai.onnx"
    model.opset_import.add(domain="custom.domain", version=1)
    convert_opset(model, 8)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"ai.onnx": 8, "custom.domain": 1}


BROKEN = {
    "an output that nothing makes": "g (float[1] x) => (float[1] z) { y = Identity(x) }",
    "an input that nothing makes": "g (float[1] x) => (float[1] y) { y = Add(x, w) }",
    "an operand that is missing": "g () => (float[1] y) { y = Softmax<axis=1>() }",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_model_that_contradicts_itself_is_refused(name):
    with pytest.raises(gk.InvalidGraphError):
        gk.opset(onnx_text.parse(BROKEN[name], 13), to=14)


def test_a_constant_whose_bytes_do_not_fit_its_dims_is_refused():
    model = onnx_text.parse(
        "g (float[4,2] x) => (float[1,2] y, float[3,2] z) { s = Constant<value=int64[2] {1,3}>() y, z = Split(x, s) }",
        13,
    )
    tensor = model.graph.node[0].attribute[0].t
    tensor.CopyFrom(onnx.TensorProto(data_type=tensor.data_type, dims=[2], raw_data=np.int64(1).tobytes()))
    with pytest.raises(gk.TensorError):
        gk.opset(model, to=12)


def test_external_data_stays_where_it_is(tmp_path):
    model = onnx_text.parse("g () => (float[2,3] y) { y = Add(w, v) }", 20, w=np.ones((2, 3)), v=np.float32(1))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    raised = gk.opset(tmp_path / "m.onnx", to=21)
    assert np.array_equal(raised.array("w"), np.ones((2, 3)))

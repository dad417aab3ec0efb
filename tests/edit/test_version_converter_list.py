"""What onnx's own tests of its version converter convert, as a list: the same nodes, raised to the newest opset and lowered.

A line is an operator, the opset to start from, its inputs (a letter for the type, the shape) and its attributes. As there,
the result has to pass the checker and strict inference. What differs from onnx's converter stands in ``DIFFERENT``.
Source: onnx/test/version_converter, automatic_upgrade_test.py and automatic_downgrade_test.py.
"""

import re

import onnx
import pytest

import graphkit as gk
from graphkit.edit.converting import convert_opset
from graphkit.runtime.written import unfit

NEWEST = onnx.defs.onnx_opset_version()

TYPES = {"f": 1, "u8": 2, "i8": 3, "i16": 5, "i32": 6, "i": 7, "s": 8, "b": 9, "h": 10}

CONSUMED = "Abs Ceil Elu Exp Floor HardSigmoid LeakyRelu Log Neg Reciprocal Relu Selu Sigmoid Sqrt Tanh Clip"
ALONE = {
    1: "Hardmax Identity LogSoftmax LpNormalization Softplus Softsign Shape Size",
    7: "Acos Asin Atan Cos Sin Tan",
    9: "Acosh Asinh Atanh Cosh Sinh Erf Shrink Sign",
    10: "ThresholdedRelu",
    11: "Round",
    12: "Celu",
    14: "HardSwish Trilu",
    15: "Bernoulli",
    18: "Mish",
    20: "Gelu",
}
REDUCED = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean ReduceMax ReduceMin ReduceProd ReduceSum ReduceSumSquare"
)

UPGRADED = f"""
{chr(10).join(f"{op} 1 f[3,4,5] | consumed_inputs=[0]" for op in CONSUMED.split())}
{chr(10).join(f"{op} {since} f[3,4,5]" for since, ops in ALONE.items() for op in ops.split())}
{chr(10).join(f"{op} 1 f[3,4,5]" for op in REDUCED.split())}
{chr(10).join(f"{op} 1 f[2,3,4] f[2,3,4] | consumed_inputs=[0]" for op in "Max Mean Min Mul PRelu Sub Sum".split())}
{chr(10).join(f"{op} 7 b[2,3] b[2,3]" for op in "And Or Xor".split())}
{chr(10).join(f"{op} 7 f[2,3] f[2,3]" for op in "Equal Greater Less".split())}
{chr(10).join(f"{op} 12 f[2,3] f[2,3]" for op in "GreaterOrEqual LessOrEqual".split())}
{chr(10).join(f"{op} 18 i16[2,3] i16[2,3]" for op in "BitwiseAnd BitwiseOr BitwiseXor".split())}
{chr(10).join(f"Softmax 1 f[3,4,5] | axis={axis}" for axis in range(-3, 3))}
Add 1 f[3,4,5] f[3,4,5] | consumed_inputs=[0]
Add 1 f[3,4,5] f[5] | consumed_inputs=[0], broadcast=1
Add 1 f[3,4,5] f[3] | consumed_inputs=[0], broadcast=1, axis=0
AffineGrid 20 f[2,2,3] i[4]
ArgMax 7 f[2,3,4]
ArgMax 7 f[2,3,4] | axis=1
ArgMin 7 f[2,3,4]
Attention 23 f[2,3,4,8] f[2,3,6,8] f[2,3,6,8] | is_causal=1, softcap=2.0, scale=2.0
Attention 23 f[2,9,4,8] f[2,3,6,8] f[2,3,6,10] f[4,6]
AveragePool 1 f[1,1,5,5] | kernel_shape=[2,2]
BitShift 11 u8[2,3] u8[2,3] | direction="RIGHT"
BitwiseNot 18 i32[2,3]
BatchNormalization 1 f[1,3] f[3] f[3] f[3] f[3] | consumed_inputs=[1,1], is_test=1, spatial=1
Cast 6 i[2,3] | to=1
CastLike 15 f[2,3,4] h[2,1,4]
Clip 1 f[3,4,5] | consumed_inputs=[0], min=-1.4
Clip 1 f[3,4,5] | consumed_inputs=[0], max=2.6
Clip 1 f[3,4,5] | consumed_inputs=[0], min=-1.4, max=2.6
Col2Im 18 f[1,5,5] i[2] i[2]
Compress 9 f[6,7] b[3]
Concat 1 f[2,3] f[2,4] | axis=1
ConstantOfShape 9 i[3]
Conv 1 f[1,3,5,5] f[4,3,2,2] f[4]
Conv 1 f[1,3,5,5] f[3,1,2,2] f[3] | dilations=[1,2], group=3, pads=[0,1,2,3], strides=[2,1]
ConvInteger 10 u8[1,3,5,5] u8[4,3,2,2] u8[]
ConvTranspose 1 f[1,1,5,5] f[1,1,3,3]
CumSum 11 f[3,4,5] i[]
DeformConv 19 f[1,1,3,3] f[1,1,2,2] f[1,8,2,2]
DepthToSpace 1 f[1,8,3,3] | blocksize=2
DequantizeLinear 10 i8[2,3] f[] i8[]
Det 11 f[3,5,5]
Div 1 f[3,4,5] f[3,1,5] | consumed_inputs=[0]
Dropout 1 f[3,4,5] | consumed_inputs=[0], is_test=1
DFT 17 f[2,16,1] i[] | onesided=1
DFT 17 f[2,16,2] i[] | inverse=1, axis=0
Einsum 12 f[3,4,5] f[3,5,6] | equation="bij, bjk -> bik"
Expand 8 f[2,1,4] i[4]
EyeLike 9 f[4,5]
Flatten 1 f[3,4,5] | axis=1
Gather 1 f[3,4,5] i[6,7]
GatherElements 11 f[3,4] i[3,4]
GatherND 11 f[1,2,3] i[1,2,3]
Gelu 20 f[3,4,5] | approximate="tanh"
Gemm 1 f[5,4] f[4,3] f[3] | broadcast=1
GlobalAveragePool 1 f[1,3,10,10]
GlobalMaxPool 1 f[1,3,10,10]
GlobalLpPool 2 f[1,3,10,10]
GridSample 16 f[1,1,3,3] f[1,3,3,2] | mode="nearest", padding_mode="border", align_corners=1
GroupNormalization 21 f[3,4,2,2] f[4] f[4] | num_groups=2
GRU 7 f[5,3,4] f[2,18,4] f[2,18,4] | hidden_size=6, direction="bidirectional"
LSTM 7 f[5,3,4] f[2,24,4] f[2,24,4] | hidden_size=6, direction="bidirectional"
RNN 7 f[5,3,4] f[2,6,4] f[2,6,4] | hidden_size=6, direction="bidirectional"
ImageDecoder 20 u8[n]
InstanceNormalization 1 f[1,3,4] f[3] f[3] | consumed_inputs=[0]
IsInf 10 f[2,3]
IsNaN 9 f[2,3]
LayerNormalization 17 f[2,3,4,5] f[4,5] f[4,5] | axis=2
LpPool 2 f[1,1,5,5] | kernel_shape=[2,2]
LRN 1 f[2,3,4,5] | size=3
MatMul 1 f[5,2,3] f[5,3,4]
MatMulInteger 10 i8[2,3] i8[3,4] i8[] i8[]
MaxPool 1 f[1,1,5,5] | kernel_shape=[2,2]
MaxRoiPool 1 f[2,3,20,20] f[4,5] | pooled_shape=[3,3]
MaxUnpool 9 f[1,1,5,5] i[1,1,5,5] | kernel_shape=[2,2]
MeanVarianceNormalization 9 f[3,4,5] | axes=[1,2]
Mod 10 f[2,3] f[2,3] | fmod=1
Mod 10 f[2,3] f[2,3]
Multinomial 7 f[3,5] | sample_size=7
NegativeLogLikelihoodLoss 12 f[3,4,5] i[3,5] f[4]
NonMaxSuppression 10 f[2,3,4] f[2,5,3]
NonZero 9 f[3,3]
Not 1 b[2,3]
OneHot 9 f[3,4,5] f[] f[2]
Pad 2 f[3,4] | pads=[1,2,1,2], value=1.5
Pow 1 f[2,3,4] f[2,3,4]
QLinearMatMul 10 u8[2,3] f[] u8[] u8[3,4] f[] u8[] f[] u8[]
QuantizeLinear 10 f[3,4,5] f[] u8[]
RandomNormalLike 1 f[3,4,5]
RandomUniformLike 1 f[3,4,5]
Range 11 f[] f[] f[]
Reshape 1 f[3,4,5] | consumed_inputs=[0], shape=[3,10,2]
Resize 10 f[3,4,5] f[3]
ReverseSequence 10 f[3,4,5] i[4]
RMSNormalization 23 f[2,3,4,5] f[4,5] | axis=2
RoiAlign 10 f[2,3,20,20] f[10,4] i[10]
RoiAlign 16 f[2,3,20,20] f[10,4] i[10] | coordinate_transformation_mode="half_pixel"
RotaryEmbedding 23 f[2,3,32] f[50,4] f[50,4] i[2,3] | num_heads=4
Scatter 9 f[2,3] i[1,2] f[1,2]
ScatterElements 16 f[2,3] i[1,2] f[1,2] | reduction="add"
ScatterND 16 f[4] i[4,1] f[4] | reduction="mul"
Slice 1 f[3,4,5] | axes=[1,2], starts=[0,1], ends=[2,3]
SoftmaxCrossEntropyLoss 12 f[3,4,5,6] i[3,5,6]
SpaceToDepth 1 f[1,3,8,8] | blocksize=2
Squeeze 1 f[2,1,3,4,1]
StringConcat 20 s[2,3] s[2,3]
StringNormalizer 10 s[1,3] | case_change_action="LOWER"
RegexFullMatch 20 s[2,3] | pattern="a"
Swish 24 f[3,4,5] | alpha=0.2
TensorScatter 24 f[2,3,4,5] f[2,3,2,5] i[2]
Tile 6 f[3,4,5] i[3]
TopK 1 f[3,4,5] | k=2
Transpose 1 f[1,2,5,3,7] | perm=[0,4,2,1,3]
Unique 11 f[3,4,5] | axis=1
Unsqueeze 1 f[3,4,5] | axes=[2]
Upsample 1 f[1,3,4,5] | width_scale=2.0, height_scale=1.5
Where 9 b[2,3] f[2,3] f[2,3]
"""

DOWNGRADED = f"""
{chr(10).join(f"{op} 18 f[3,4,5]" for op in REDUCED.split())}
DFT 20 f[2,16,1]
Attention 25 f[2,3,4,8] f[2,3,6,8] f[2,3,6,8]
"""

DIFFERENT = {
    "Mod 10 f[2,3] f[2,3]": "fmod=0 on floats came with opset 28: what the model says at 10 is nothing that 10 has",
}
"""What onnx's converter converts and graphkit does not, with the reason."""

OUTPUTS = {"TopK": 2}


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


def model_of(line):
    """The model of a line: one node whose outputs have the types that inference gives them."""
    head, _, attributes = line.partition(" | ")
    op, opset, *inputs = head.split()
    values = [
        onnx.helper.make_tensor_value_info(
            f"v{i}", TYPES[kind], [d if d == "n" else int(d) for d in dims.split(",") if d]
        )
        for i, (kind, dims) in enumerate(re.fullmatch(r"(\w+)\[(.*)\]", one).groups() for one in inputs)
    ]
    made = [f"y{i}" for i in range(OUTPUTS.get(op, 1))]
    text = f"{', '.join(made)} = {op}{f'<{attributes}>' if attributes else ''}({', '.join(v.name for v in values)})"
    node = onnx.parser.parse_node(text)
    graph = onnx.helper.make_graph([node], "g", values, [onnx.ValueInfoProto(name=name) for name in made])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", int(opset))], ir_version=8)
    return onnx.shape_inference.infer_shapes(model)


def sizes(value):
    """The element type, and the dims, None for those that nobody knows; None for a rank that nobody knows."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    return tensor.elem_type, [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]


def checked(model, before):
    """Let onnx check a converted model, whose outputs have the types that they had."""
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    for now, then in zip(map(sizes, found.graph.output), map(sizes, before.graph.output), strict=True):
        if then[1] is not None:
            assert now == then
    if all(output.type.tensor_type.HasField("shape") for output in found.graph.output):
        onnx.checker.check_model(found)


@pytest.mark.parametrize("line", lines(UPGRADED))
def test_raised_to_the_newest(line):
    model = model_of(line)
    before = onnx.ModelProto.FromString(model.SerializeToString())
    if line in DIFFERENT:
        assert [one.why for one in unfit(model)]
        return
    convert_opset(model, NEWEST)
    checked(model, before)


@pytest.mark.parametrize("line", lines(DOWNGRADED))
def test_lowered_from_the_newest(line):
    model = model_of(line)
    before = onnx.ModelProto.FromString(model.SerializeToString())
    lower = model.opset_import[0].version - 1
    model.opset_import[0].version = NEWEST
    convert_opset(model, lower)
    checked(model, before)


def test_an_axis_that_nobody_knows_is_refused():
    text = """<ir_version: 9, opset_import: ["": 20]> g (float[N,M,1] x, int64 n, int64 axis) => (float[P,K,2] y)
              { [far] y = DFT(x, n, axis) }"""
    with pytest.raises(gk.EditError, match="DFT 'far' cannot be lowered"):
        convert_opset(onnx.parser.parse_model(text), 19)

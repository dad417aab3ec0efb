"""What onnx's own tests of its version converter convert, as a list: the same nodes, raised to the newest opset and lowered.

A line is a model (``one_node_lines``), what has bodies is in words. As there, the result has to pass the checker and strict
inference. What differs from onnx's converter stands in ``DIFFERENT``.
Source: onnx/test/version_converter, automatic_upgrade_test.py and automatic_downgrade_test.py.
"""

import onnx
import pytest

import graphkit as gk
from graphkit.edit.converting import convert_opset
from graphkit.runtime.written import unfit
from one_node_lines import lines, model_of

NEWEST = onnx.defs.onnx_opset_version()

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
AffineGrid 20 f[2,3,4] i[5]
ArgMax 7 f[2,3,4]
ArgMax 7 f[2,3,4] | axis=1
ArgMin 7 f[2,3,4]
ArgMin 7 f[2,3,4] | axis=1
Attention 23 f[2,3,4,8] f[2,3,6,8] f[2,3,6,8]
Attention 23 f[2,9,4,8] f[2,3,6,8] f[2,3,6,8]
Attention 23 f[2,3,4,8] f[2,3,6,8] f[2,3,6,10]
Attention 23 f[2,3,4,8] f[2,3,6,8] f[2,3,6,8] | scale=2.0
Attention 23 f[2,3,4,8] f[2,3,6,8] f[2,3,6,8] | is_causal=1
Attention 23 f[2,3,4,8] f[2,3,6,8] f[2,3,6,8] f[4,6]
Attention 23 f[2,3,4,8] f[2,3,6,8] f[2,3,6,8] b[4,6]
Attention 23 f[2,3,4,8] f[2,3,6,8] f[2,3,6,8] | softcap=2.0
AveragePool 1 f[1,1,5,5] | kernel_shape=[2,2]
BitShift 11 u8[2,3] u8[2,3] | direction="RIGHT"
BitwiseNot 18 i32[2,3]
BatchNormalization 1 f[1,3] f[3] f[3] f[3] f[3] | consumed_inputs=[1,1], is_test=1, spatial=1
BatchNormalization:3 14 f[1,3] f[3] f[3] f[3] f[3] | training_mode=1
BlackmanWindow 17 i(10)
HannWindow 17 i(10)
HammingWindow 17 i(10)
BitCast 26 f[2,3] | to=6
Cast 6 i[2,3] | to=1
CastLike 15 f[2,3,4] h[2,1,4]
Clip 1 f[3,4,5] | consumed_inputs=[0], min=-1.4
Clip 1 f[3,4,5] | consumed_inputs=[0], max=2.6
Clip 1 f[3,4,5] | consumed_inputs=[0], min=-1.4, max=2.6
CausalConvWithState:2 27 f[2,4,8] f[4,1,4]
CenterCropPad 18 f[2,4] i{{3,3}}
Col2Im 18 f[1,5,5] i[2] i[2]
Col2Im 18 f[1,10,12] i[3] i[3]
Compress 9 f[6,7] b[3]
Concat 1 f[2,3] f[2,4] | axis=1
Constant 1 | value=float[2,3] {{1,2,3,4,5,6}}
ConstantOfShape 9 i[3]
Conv 1 f[1,3,5,5] f[4,3,2,2] f[4]
Conv 1 f[1,3,5,5] f[3,1,2,2] f[3] | dilations=[1,2], group=3, pads=[0,1,2,3], strides=[2,1]
ConvInteger 10 u8[1,3,5,5] u8[4,3,2,2] u8[]
ConvTranspose 1 f[1,1,5,5] f[1,1,3,3]
CumProd 23 f[3,4,5] i[]
CumProd 26 f[3,4,5] i[]
CumSum 11 f[3,4,5] i[]
DeformConv 19 f[1,1,3,3] f[1,1,2,2] f[1,8,2,2]
DepthToSpace 1 f[1,8,3,3] | blocksize=2
DequantizeLinear 10 i8[2,3] f[] i8[]
Det 11 f[3,5,5]
Det 11 f[5,5]
DynamicQuantizeLinear:3 11 f[3,4,5]
Div 1 f[3,4,5] f[3,1,5] | consumed_inputs=[0]
Dropout 1 f[3,4,5] | consumed_inputs=[0], is_test=1
DFT 17 f[2,16,1] i[]
DFT 17 f[2,16,2] i[]
DFT 17 f[2,16,1] i[] | onesided=1
DFT 17 f[2,16,1] i[] | inverse=1
DFT 17 f[2,16,2] i[] | inverse=1
DFT 17 f[2,16,2] i[] | inverse=1, axis=0
Einsum 12 f[4,5] | equation="ij->ji"
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
GRU:2 7 f[5,3,4] f[1,18,4] f[1,18,6] | hidden_size=6
GRU:2 7 f[5,3,4] f[2,18,4] f[2,18,6] | hidden_size=6, direction="bidirectional"
GRU:2 7 f[5,3,4] f[1,18,4] f[1,18,6] f[1,36] i32[3] f[1,3,6] | hidden_size=6
GRU:2 7 f[5,3,4] f[1,18,4] f[1,18,4] f[1,36] i[5] f[1,3,6] | hidden_size=6
LSTM:3 7 f[5,3,4] f[1,24,4] f[1,24,6] | hidden_size=6
LSTM:3 7 f[5,3,4] f[2,24,4] f[2,24,6] | hidden_size=6, direction="bidirectional"
LSTM:3 7 f[5,3,4] f[1,24,4] f[1,24,6] f[1,48] i32[3] f[1,3,6] f[1,3,6] f[1,18] | hidden_size=6
LSTM:3 7 f[5,3,4] f[1,24,4] f[1,24,4] f[1,48] i[5] f[1,3,6] f[1,3,6] f[1,18] | hidden_size=6
RNN:2 7 f[5,3,4] f[1,6,4] f[1,6,6] | hidden_size=6
RNN:2 7 f[5,3,4] f[2,6,4] f[2,6,6] | hidden_size=6, direction="bidirectional"
RNN:2 7 f[5,3,4] f[1,6,4] f[1,6,6] f[1,12] i32[3] f[1,3,6] | hidden_size=6
RNN:2 7 f[5,3,4] f[1,6,4] f[1,6,4] f[1,12] i[5] f[1,3,6] | hidden_size=6
ImageDecoder 20 u8[n]
InstanceNormalization 1 f[1,3,4] f[3] f[3] | consumed_inputs=[0]
IsInf 10 f[2,3]
IsNaN 9 f[2,3]
LayerNormalization 17 f[2,3,4,5] f[4,5] f[4,5] | axis=2
LpPool 2 f[1,1,5,5] | kernel_shape=[2,2]
LinearAttention:2 27 f[2,4,64] f[2,4,64] f[2,4,64] | q_num_heads=4, kv_num_heads=4, update_rule="linear"
LRN 1 f[3,4,5] | size=3
LRN 1 f[2,3,4,5] | size=3
MatMul 1 f[2,3] f[3,4]
MatMul 1 f[5,2,3] f[5,3,4]
MatMulInteger 10 i8[2,3] i8[3,4]
MatMulInteger 10 i8[2,3] i8[3,4] i8[] i8[]
MatMulInteger 10 i8[2,3] i8[3,4] i8[2] i8[4]
MaxPool 1 f[1,1,5,5] | kernel_shape=[2,2]
MaxPool:2 8 f[1,1,5,5] | kernel_shape=[2,2]
MelWeightMatrix 17 i(10) i(64) i(0) f(0) f(1)
MelWeightMatrix 17 i(20) i(31) i(0) f(0) f(1)
MaxRoiPool 1 f[2,3,20,20] f[4,5] | pooled_shape=[3,3]
MaxUnpool 9 f[1,1,5,5] i[1,1,5,5] | kernel_shape=[2,2]
MeanVarianceNormalization 9 f[3,4,5] | axes=[1,2]
Mod 10 f[2,3] f[2,3] | fmod=1
Mod 10 f[2,3] f[2,3]
Multinomial 7 f[3,5] | sample_size=7
NegativeLogLikelihoodLoss 12 f[3,4,5] i[3,5]
NegativeLogLikelihoodLoss 12 f[3,4,5] i[3,5] f[4]
NonMaxSuppression 10 f[2,3,4] f[2,5,3]
NonZero 9 f[3,3]
Not 1 b[2,3]
OneHot 9 f[3,4,5] f[] f[2]
Pad 2 f[3,4] | pads=[1,2,1,2], value=1.5
Pow 1 f[2,3,4] f[2,3,4]
QLinearConv 10 u8[1,3,5,5] f[] u8[] u8[4,3,2,2] f[] u8[] f[] u8[]
QLinearMatMul 10 u8[2,3] f[] u8[] u8[3,4] f[] u8[] f[] u8[]
QuantizeLinear 10 f[3,4,5] f[] u8[]
RandomNormal 1 | shape=[3,4,5]
RandomUniform 1 | shape=[3,4,5]
RandomNormalLike 1 f[3,4,5]
RandomUniformLike 1 f[3,4,5]
Range 11 f[] f[] f[]
Reshape 1 f[3,4,5] | consumed_inputs=[0], shape=[3,10,2]
Resize 10 f[3,4,5] f[3]
ReverseSequence 10 f[3,4,5] i[4]
RMSNormalization 23 f[2,3,4,5] f[4,5] | axis=2
RoiAlign 10 f[2,3,20,20] f[10,4] i[10]
RoiAlign 16 f[2,3,20,20] f[10,4] i[10] | coordinate_transformation_mode="half_pixel"
RotaryEmbedding 23 f[2,4,3,8] f[2,3,4] f[2,3,4]
RotaryEmbedding 23 f[2,4,3,8] f[50,4] f[50,4] i[2,3]
RotaryEmbedding 23 f[2,3,32] f[50,4] f[50,4] i[2,3] | num_heads=4
RotaryEmbedding 23 f[2,4,3,8] f[50,4] f[50,4] i[2,3] | interleaved=1
RotaryEmbedding 23 f[2,4,3,8] f[50,2] f[50,2] i[2,3] | rotary_embedding_dim=4
Scatter 9 f[2,3] i[1,2] f[1,2]
ScatterElements 11 f[2,3] i[1,2] f[1,2]
ScatterElements 16 f[2,3] i[1,2] f[1,2] | reduction="add"
ScatterND 11 f[4] i[4,1] f[4]
ScatterND 16 f[4] i[4,1] f[4] | reduction="mul"
Slice 1 f[3,4,5] | axes=[1,2], starts=[0,1], ends=[2,3]
SoftmaxCrossEntropyLoss 12 f[3,4,5,6] i[3,5,6]
SpaceToDepth 1 f[1,3,8,8] | blocksize=2
Split:3 2 f[3,4,7] | axis=2, split=[2,1,4]
Squeeze 1 f[2,1,3,4,1]
STFT 17 f[2,64] i(8) f[16]
STFT 17 f[2,64] i(8) f[16] | onesided=1
STFT 17 f[2,64,2] i(8) f[16] | onesided=0
STFT 17 f[2,64,2] i(8) f[16] i(16) | onesided=1
StringConcat 20 s[2,3] s[2,3]
StringSplit:2 20 s[2]
StringNormalizer 10 s[1,3] | case_change_action="LOWER"
RegexFullMatch 20 s[2,3] | pattern="a"
SwiGLU 28 f[3,4] f[3,4]
Swish 24 f[3,4,5] | alpha=0.2
TensorScatter 24 f[2,3,4,5] f[2,3,2,5] i[2]
TfIdfVectorizer 9 i[3] | max_gram_length=3, max_skip_count=1, min_gram_length=2, mode="TFIDF", ngram_counts=[0,20], ngram_indexes=[3,4]
Tile 6 f[3,4,5] i[3]
TopK:2 1 f[3,4,5] | k=2
Transpose 1 f[1,2,5,3,7] | perm=[0,4,2,1,3]
Unique 11 f[3,4,5]
Unique 11 f[3,4,5] | axis=1
Unsqueeze 1 f[3,4,5] | axes=[2]
Upsample 1 f[1,3,4,5] | width_scale=2.0, height_scale=1.5
Where 9 b[2,3] f[2,3] f[2,3]
"""

DOWNGRADED = f"""
{chr(10).join(f"{op} {NEWEST}>13 f[3,4,5] i{{0,1,2}}" for op in REDUCED.split())}
DFT 20>19 f[n,m,1]
DFT 20>19 f[n,m,1] i[] i(1)
DFT 20>19 f[n,m,1] i[] Ci(1)
Attention 25>24 f[2,3,4,8] f[2,3,6,8] f[2,3,6,8] | left_window_size=-1, right_window_size=-1
Attention 25>24 f[2,3,6,8] f[2,3,6,8] f[2,3,6,8] | left_window_size=3
LinearAttention:2 27>24 f[2,4,64] f[2,4,64] f[2,4,64] | q_num_heads=4, kv_num_heads=4, update_rule="linear"
CausalConvWithState:2 27>24 f[2,4,8] f[4,1,4]
"""

REFUSED = """
DFT 20>19 f[n,m,1] i[] i[]
Attention 25>24 f[2,3,6,8] f[2,3,6,8] f[2,3,6,8] | local_window_size=3
"""

DIFFERENT = {
    "Mod 10 f[2,3] f[2,3]": "fmod=0 on floats came with opset 28: what the model says at 10 is nothing that 10 has",
    "CumProd 23 f[3,4,5] i[]": "CumProd came with opset 26",
    **{line: "the lengths of sequences are int32" for line in UPGRADED.splitlines() if " i[5] " in line},
}
"""What onnx's converter converts and graphkit does not, with the reason. It also raises a Scan of opset 8 to 9 by taking the batch
axis off the model's inputs and outputs, where graphkit refuses, and a one-sided DFT of complex numbers, which onnx's own inference
refuses. It refuses to lower LinearAttention, CausalConvWithState and windows of Attention, which graphkit lowers by definition."""


def sizes(value):
    """The element type, and the dims, None for those that nobody knows; None for a rank that nobody knows."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    return tensor.elem_type, [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]


def checked(model, before, *, whole=True):
    """Let onnx check a converted model, whose outputs have the types that they had; ``whole``: as far as they were known."""
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    for now, then in zip(map(sizes, found.graph.output), map(sizes, before.graph.output), strict=True):
        assert then[0] in (0, now[0])
        if whole and then[1] is not None:
            assert now == then
        for one, other in zip(now[1] or (), then[1] or (), strict=False):
            assert None in (one, other) or one == other
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
    convert_opset(model, target_of(line))
    checked(model, before, whole=False)  # what is lowered by definition, inference follows less far


@pytest.mark.parametrize("line", lines(REFUSED))
def test_what_an_older_opset_does_not_have_is_refused(line):
    with pytest.raises(gk.EditError, match=f"{line.split(':')[0].split()[0]} 'n' cannot be lowered"):
        convert_opset(model_of(line), target_of(line))


def target_of(line):
    return int(line.split()[1].partition(">")[2])


BODIES = {
    "If": (
        1,
        """g (bool t) => (float[3] y) {
             y = If(t) <then_branch = a () => (float[3] p) { p = Constant<value = float[3] {1,2,3}>() },
                        else_branch = b () => (float[3] q) { q = Constant<value = float[3] {4,5,6}>() }> }""",
    ),
    "Loop": (
        1,
        """g (int64 n, float[1] x) => (float[1] y, float[k,1] z) {
             y, z = Loop(n, , x) <body = b (int64 i, bool c, float[1] u) => (bool d, float[1] v, float[1] w) {
               one = Constant<value = float[1] {1}>() v = Add(u, one) w = Identity(v) d = Identity(c) }> }""",
    ),
    "Loop, with operators in it that changed": (
        12,
        """g (int64 n, float[2,1] x) => (float[2,1] y) {
             y = Loop(n, , x) <body = b (int64 i, bool c, float[2,1] u) => (bool d, float[2,1] v) {
               s = Squeeze<axes=[1]>(u) v = Unsqueeze<axes=[1]>(s) d = Identity(c) }> }""",
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_are_raised_to_the_newest(name):
    opset, text = BODIES[name]
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    before = onnx.ModelProto.FromString(model.SerializeToString())
    convert_opset(model, NEWEST)
    onnx.checker.check_model(model, full_check=True)
    assert list(model.graph.output) == list(before.graph.output)


def test_a_scan_with_a_batch_axis_is_refused():
    text = """g (float[1,2] h, float[1,3,2] x) => (float[1,2] y, float[1,3,2] z) {
                [n] y, z = Scan<num_scan_inputs = 1, body = b (float[2] s, float[2] u) => (float[2] t, float[2] v) {
                    t = Add(s, u) v = Identity(t) }>( , h, x) }"""
    with pytest.raises(gk.EditError, match=r"Scan 'n' cannot be raised from opset 8 to 9: .*no batch axis"):
        convert_opset(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 8]> {text}'), 9)


WITH_SEQUENCES = (  # onnx's own converter cannot, and its tests leave them out; test_raising and test_lowering have them
    "ConcatFromSequence SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength "
    "SequenceMap SplitToSequence Optional OptionalGetElement OptionalHasElement"
)


def test_the_list_has_every_operator():
    listed = {line.split()[0].partition(":")[0] for line in lines(UPGRADED)} | {"If", "Loop", "Scan"}
    known = {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain}
    assert known - listed == set(WITH_SEQUENCES.split())

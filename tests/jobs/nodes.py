"""Jobs 41 to 78: nodes in, out and instead; rules that keep the numbers."""

import numpy as np
import onnx

import graphkit as gk
from jobs.job import Job, Look
from onnx_text import parse
from oracle import assert_same, run_ort

AXB = "g (float[2,3] x) => (float[2,3] y) { h = Neg(x) y = Exp(h) }"
X = "g (float[2,3] x) => (float[2,3] y)"
RNG = np.random.default_rng(0)


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def ops(*expected):
    """The operators after, in order; and the same numbers."""

    def check(trial):
        assert trial.ops == list(expected), trial.ops
        trial.same()

    return check


def has(*expected, without=()):
    """Operators that are there after, and those that are not; and the same numbers."""

    def check(trial):
        found = {(f"{node.domain}." if node.domain else "") + node.op_type for node in trial.after.nodes}
        assert found.issuperset(expected), found
        assert found.isdisjoint(without), found
        trial.same()

    return check


def rule(number, what, name, net, check, opset=18, close=(1e-5, 1e-6), **more):
    """A job that one built-in rule does."""
    return Job(number, what, net, [{"do": "rewrite", "rules": name}], check, opset=opset, close=close, **more)


def relu_between(trial):
    trial.gives({"y": np.exp(np.maximum(-trial.feeds["x"], 0))})


def only_exp(trial):
    trial.gives({"y": np.exp(trial.feeds["x"])})


def only_one_output(trial):
    assert [value.name for value in trial.after.outputs] == ["y"]
    assert trial.ops == ["Neg"]
    trial.gives({"y": -trial.feeds["x"]})


def reads_x(trial):
    trial.gives({"y": np.exp(trial.feeds["x"])})


def one_clip(trial):
    assert trial.ops == ["Clip"]
    trial.same()


def part_of(trial):
    assert trial.ops == ["Exp"]
    h = drawn(2, 3)
    trial.gives({"y": np.exp(h)}, h=h)


def from_nothing():
    x, w = drawn(2, 3), drawn(3, 4)
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    model = gk.build([node], {"x": "float32[2,3]"}, {"y": "float32[2,4]"}, initializers={"w": w}, opset=18)
    assert_same(run_ort(model, {"x": x}), {"y": x @ w})


def brain_floats():
    import ml_dtypes

    w = np.array([1, 2.5], ml_dtypes.bfloat16)
    node = onnx.helper.make_node("Cast", ["w"], ["y"], to=1)
    model = gk.build([node], {}, {"y": "float32[2]"}, initializers={"w": w}, opset=18)
    assert model.array("w").dtype == w.dtype
    assert run_ort(model, {})["y"].tolist() == [1, 2.5]


CUSTOM = """g (float[2,3] x) => (float[2,3] y) { y = my.Shifted<by = 2.0>(x) }"""
DEFINITION = '<domain: "my", opset_import: ["" : 18]> Shifted <by> (x) => (y) { c = Constant<value_float: float = @by>() y = Add(x, c) }'


def shifted(trial):
    trial.gives({"y": trial.feeds["x"] + 2})


def several(trial):
    assert [value.name for value in trial.after.inputs] == ["image"]
    trial.gives({"out": np.maximum(np.exp(-trial.feeds["x"]), 0)}, image=trial.feeds["x"])


FOLDED = "g (float[3] x) => (float[3] y) { a = Mul(c, c) s = Shape(a) n = Cast<to = 1>(s) b = Add(a, n) y = Add(x, b) }"
KNOWN_IF = """g (float[2] x) => (float[2] y) { c = Constant<value = bool {1}>() y = If(c) <
  then_branch = t () => (float[2] u) { u = Exp(x) }, else_branch = e () => (float[2] v) { v = Neg(x) }> }"""


def littered():
    model = parse(
        "g (float[2] x) => (float[2] y) { y = Neg(x) dead = Exp(x) }",
        imports='"my" : 1',
        functions='<domain: "my", opset_import: ["" : 18]> Idle (a) => (b) { b = Neg(a) }',
        unused=[1, 2],
    )
    assert len(model.functions) == 1
    return model


def nothing_idle(trial):
    proto = trial.after.proto
    assert trial.ops == ["Neg"]
    assert not proto.functions
    assert not proto.graph.initializer
    assert [entry.domain for entry in proto.opset_import] == [""]
    trial.same()


CONV = "g (float[1,2,5,5] x) => (float[1,3,3,3] y)"
BN = {"w": drawn(3, 2, 3, 3), "s": drawn(3), "o": drawn(3), "m": drawn(3), "v": np.abs(drawn(3)) + 1}
LN = "g (float[2,3,4] x) => (float[2,3,4] y)"
EPS = "e = Constant<value_float = 1e-5>()"
AXIS = "a = Constant<value_ints = [-1]>()"
ROPE = "g (float[1,2,3,4] x) => (float[1,2,3,4] y)"

SLICES = """
pattern (x, zero, half, end, axes) => (a, b) {
  a = Slice(x, zero, half, axes)
  b = Slice(x, half, end, axes)
}
where numbers(zero) == [0] and numbers(half)[0] * 2 == dim(x, numbers(axes)[0]) and numbers(end)[0] >= dim(x, numbers(axes)[0])
let axis = numbers(axes)[0]
replacement (x) => (a, b) { a, b = Split<axis: int = @axis, num_outputs = 2>(x) }
"""
NEG = """
pattern (x) => (y) { y = Neg(x) }
let minus = like(x, -1)
replacement (x) => (y) { y = Mul(x, minus) }
"""
BIAS_GELU = """
opset 20
pattern (x, b) => (y) { a = Add(x, b) y = Gelu(a) }
where rank(b) == 1
replacement (x, b) => (y) { y = com.microsoft.BiasGelu(x, b) }
"""
MINE = """
# x * x + x is x * (x + 1).
pattern (x) => (y) { s = Mul(x, x) y = Add(s, x) }
let one = like(x, 1)
replacement (x) => (y) { p = Add(x, one) y = Mul(x, p) }
"""
SILU = "{ s = Sigmoid(x) y = Mul(s, x) }"


def custom_norm(trial):
    assert trial.ops.count("LpNormalization") == 1
    trial.same()


def rms(trial):
    x, g = trial.feeds["x"], trial.feeds["g"]
    expected = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-5)) * g
    trial.gives({"y": expected})
    assert "SimplifiedLayerNormalization" not in trial.ops


def upsampled(trial):
    assert "Resize" in trial.ops
    trial.same()


JOBS = [
    Job(41, "a node at a value, for all readers", AXB, [{"do": "insert", "at": "h", "function": "relu"}], relu_between),
    Job(42, "a node out, its readers take its input", AXB, [{"do": "remove", "nodes": ["h"]}], only_exp),
    Job(
        43,
        "a node out with all that needs it",
        "g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x) a = Exp(x) z = Abs(a) }",
        [{"do": "remove", "outputs": ["z"]}],
        only_one_output,
    ),
    Job(44, "a node reads another value", AXB, [{"do": "set", "operands": {"y:0": "x"}}], reads_x),
    Job(
        45,
        "a subgraph out, other nodes in",
        f"{X} <float a = {{0}}, float b = {{6}}> {{ h = Max(x, a) y = Min(h, b) }}",
        [
            {
                "do": "replace",
                "inputs": ["x"],
                "outputs": ["y"],
                "function": "(x) => (y) { a = Constant<value_float = 0.0>() b = Constant<value_float = 6.0>() y = Clip(x, a, b) }",
            },
            {"do": "rewrite", "rules": "constants-to-initializers"},
        ],
        one_clip,
    ),
    Job(46, "a part by its boundary", AXB, [{"do": "extract", "inputs": ["h"], "outputs": ["y"]}], part_of),
    Look(47, "a model from nothing", from_nothing),
    Job(
        48,
        "a local function for a custom operator",
        CUSTOM,
        [{"do": "define", "function": DEFINITION}],
        shifted,
        imports='"my" : 1',
    ),
    Look(49, "weights that numpy does not know", brain_floats),
    Job(
        50,
        "several edits of a model at once",
        AXB,
        [{"do": "rename", "values": {"x": "image", "y": "out"}}, {"do": "insert", "at": "out", "function": "relu"}],
        several,
    ),
    Job(
        51,
        "what hangs on constants only is computed",
        FOLDED,
        [{"do": "simplify"}],
        ops("Add"),
        weights={"c": drawn(3)},
    ),
    Job(52, "If with a known condition becomes its branch", KNOWN_IF, [{"do": "simplify"}], ops("Exp")),
    Job(53, "dead nodes, unused weights, functions, imports go", littered, [{"do": "simplify"}], nothing_idle),
    Job(
        54,
        "equal nodes once",
        f"{X} {{ a = Neg(x) b = Neg(x) y = Mul(a, b) }}",
        [{"do": "simplify"}],
        ops("Neg", "Mul"),
    ),
    Job(55, "Identity out", f"{X} {{ a = Identity(x) b = Neg(a) y = Identity(b) }}", [{"do": "simplify"}], ops("Neg")),
    rule(
        56,
        "attributes that are left out are written",
        "default-attributes",
        f"{X} {{ y = LeakyRelu(x) }}",
        ops("LeakyRelu"),
    ),
    rule(
        57,
        "MemcpyToHost, MemcpyFromHost out",
        "remove-memcpy",
        f"{X} {{ a = MemcpyFromHost(x) y = Neg(a) }}",
        lambda trial: trial.gives({"y": -trial.feeds["x"]}),
    ),
    Job(
        58,
        "nodes that change nothing go",
        f"{X} <float z = {{0}}, float o = {{1}}> {{ a = Add(x, z) b = Mul(a, o) c = Div(b, o) d = Dropout(c) t = Transpose<perm = [0,1]>(d) y = Neg(t) }}",
        [{"do": "simplify"}],
        ops("Neg"),
    ),
    Job(
        59,
        "two in a row become one",
        f"{X} <int64[1] s = {{6}}, int64[2] t = {{2,3}}> {{ a = Transpose<perm=[1,0]>(x) b = Transpose<perm=[1,0]>(a) r = Reshape(b, s) q = Reshape(r, t) c = Relu(q) y = Relu(c) }}",
        [{"do": "simplify"}],
        ops("Relu"),
    ),
    Job(
        60,
        "BatchNormalization, Mul and Add go into Conv",
        f"{CONV} <float[1,3,1,1] k = {{2,3,4}}, float[1,3,1,1] b = {{5,6,7}}> {{ a = Conv(x, w) n = BatchNormalization(a, s, o, m, v) c = Mul(n, k) y = Add(c, b) }}",
        [{"do": "rewrite", "rules": ["batchnorm", "conv-mul", "conv-add"]}],
        ops("Conv"),
        weights=BN,
        close=(1e-4, 1e-4),
    ),
    rule(
        61,
        "Pad goes into the pads of Conv",
        "pad-into-conv",
        "g (float[1,2,3,3] x) => (float[1,3,3,3] y) <int64[8] p = {0,0,1,1,0,0,1,1}> { q = Pad(x, p) y = Conv(q, w) }",
        ops("Conv"),
        weights={"w": BN["w"]},
    ),
    rule(
        62,
        "MatMul + Add becomes Gemm",
        "matmul-add-to-gemm",
        "g (float[2,3] x) => (float[2,2] y) { h = MatMul(x, w) y = Add(h, b) }",
        ops("Gemm"),
        weights={"w": drawn(3, 2), "b": drawn(2)},
    ),
    rule(
        63,
        "Gemm becomes MatMul + Add",
        "gemm-to-matmul-add",
        "g (float[2,3] x) => (float[2,2] y) { y = Gemm<transB = 1>(x, w, b) }",
        has("MatMul", "Add", without=["Gemm"]),
        weights={"w": drawn(2, 3), "b": drawn(2)},
    ),
    rule(
        64,
        "a * Reciprocal(x) becomes a / x",
        "reciprocal-mul-to-div",
        f"{X} {{ r = Reciprocal(x) y = Mul(x, r) }}",
        ops("Div"),
    ),
    rule(
        65,
        "x / sqrt(sum of squares) becomes LpNormalization",
        "lp-normalization",
        f"{X} {{ p = Constant<value_float = 2.0>() {AXIS} s = Pow(x, p) t = ReduceSum(s, a) n = Sqrt(t) y = Div(x, n) }}",
        custom_norm,
    ),
    rule(
        66,
        "SimplifiedLayerNormalization into its parts",
        "expand-simplified-layer-norm",
        "g (float[2,3] x, float[3] g) => (float[2,3] y) { y = SimplifiedLayerNormalization<axis = -1, epsilon = 1e-5>(x, g) }",
        rms,
    ),
    rule(
        67,
        "QuickGelu into Mul, Sigmoid, Mul",
        "expand-quick-gelu",
        f"{X} {{ y = com.microsoft.QuickGelu(x) }}",
        ops("Mul", "Sigmoid", "Mul"),
        imports='"com.microsoft" : 1',
    ),
    rule(
        68,
        "com.microsoft's RotaryEmbedding into its parts",
        "expand-microsoft-rotary-embedding",
        "g (float[1,2,3,4] x, int64[1,3] p) => (float[1,2,3,4] y) { y = com.microsoft.RotaryEmbedding(x, p, c, s) }",
        has("Gather", "Concat", without=["com.microsoft.RotaryEmbedding"]),
        imports='"com.microsoft" : 1',
        weights={"c": drawn(8, 2), "s": drawn(8, 2)},
    ),
    rule(
        69,
        "Flatten into Reshape",
        "flatten-to-reshape",
        "g (float[2,3,4] x) => (float[2,12] y) { y = Flatten(x) }",
        has("Reshape", without=["Flatten"]),
    ),
    Job(
        70,
        "two Slices of one value into Split",
        "g (float[2,4] x) => (float[2,2] y) <int64[1] z = {0}, int64[1] h = {2}, int64[1] e = {4}, int64[1] one = {1}> { a = Slice(x, z, h, one) b = Slice(x, h, e, one) y = Mul(a, b) }",
        [{"do": "rewrite", "rules": SLICES}],
        ops("Split", "Mul"),
    ),
    rule(
        71,
        "Reduce + Unsqueeze into keepdims",
        "reduce-keepdims",
        f"g (float[2,3] x) => (float[2,1] y) {{ {AXIS} m = ReduceMean<keepdims = 0>(x, a) y = Unsqueeze(m, a) }}",
        has("ReduceMean", without=["Unsqueeze"]),
    ),
    Job(
        72,
        "a Reshape target out of Concat becomes a constant",
        "g (float[n,6] x) => (float[n,2,3] y) <int64[2] t = {2,3}> { n = Shape<start = 0, end = 1>(x) s = Concat<axis = 0>(n, t) y = Reshape(x, s) }",
        [{"do": "simplify"}],
        ops("Reshape"),
    ),
    Job(
        73,
        "Einsum into Transpose and MatMul",
        'g (float[2,3,4] a, float[2,5,4] b) => (float[2,3,5] y) { y = Einsum<equation = "bid,bjd->bij">(a, b) }',
        [{"do": "rewrite", "rules": "einsum-to-matmul"}],
        ops("Transpose", "MatMul"),
    ),
    Job(
        74,
        "operators that a target lacks, said with others",
        f"{X} {{ a = Neg(x) p = Constant<value_float = 2.0>() y = Pow(a, p) }}",
        [{"do": "rewrite", "rules": [NEG, "pow2-to-mul"]}],
        has("Mul", without=["Neg", "Pow"]),
    ),
    Job(
        75,
        "Upsample into Resize",
        'g (float[1,1,2,2] x) => (float[1,1,4,4] y) <float[4] s = {1,1,2,2}> { y = Upsample<mode = "nearest">(x, s) }',
        [{"do": "opset", "to": 13}],
        upsampled,
        opset=9,
    ),
    Job(
        76,
        "subgraphs into com.microsoft's operators",
        "g (float[2,3] x) => (float[2,3] y) { a = Add(x, b) y = Gelu(a) }",
        [{"do": "rewrite", "rules": BIAS_GELU}],
        has("com.microsoft.BiasGelu"),
        opset=20,
        weights={"b": drawn(3)},
    ),
    rule(
        77,
        "subgraphs into ONNX's operators",
        ["layer-norm", "silu", "hard-swish", "gelu", "attention", "rms-norm", "rotary-embedding"],
        f"{LN} {{ {AXIS} {EPS} m = ReduceMean(x, a) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, a) w = Add(v, e) r = Sqrt(w) n = Div(d, r) g = Mul(n, k) h = Add(g, b) s = Sigmoid(h) y = Mul(h, s) }}",
        ops("LayerNormalization", "Swish"),
        opset=24,
        weights={"k": drawn(4), "b": drawn(4)},
    ),
    Job(
        78,
        "a user's own rule as data",
        f"{X} {{ s = Mul(x, x) y = Add(s, x) }}",
        [{"do": "rewrite", "rules": MINE}],
        ops("Add", "Mul"),
    ),
]

"""Jobs 79 to 103: rules that change numbers or hold for some inputs, rank 4 for accelerators, precision."""

import numpy as np
import onnx

from jobs.job import Job
from jobs.nodes import drawn, has, ops, rule
from onnx_text import parse
from oracle import assert_same, run_reference

X = "g (float[2,3] x) => (float[2,3] y)"
MICROSOFT = {"imports": '"com.microsoft" : 1'}


CACHES = """g (int64[s] ids) => (float[s,2] y) <int64 most = {4}, int64 zero = {0}> {
  n = Shape(ids) k = Gather(n, zero) c = Greater(k, most)
  y = If(c) <then_branch = t () => (float[s,2] u) { u = Gather(long, ids) },
             else_branch = e () => (float[s,2] v) { v = Gather(short, ids) }>
}"""


def one_cache(trial):
    assert "If" not in trial.ops
    assert trial.weights == ["short"]
    assert_same(trial.now(ids=np.array([1, 0, 2])), trial.was(ids=np.array([1, 0, 2])))


LENGTHS = """g (float[2,3] x, int64[2,4] mask) => (float[2,3] y) {
  n = ReduceSum<keepdims = 0>(mask, last) f = Cast<to = 1>(n) u = Unsqueeze(f, last) y = Mul(x, u)
}"""


def lengths():
    model = parse(LENGTHS)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "last"))
    return model


def takes_lengths(trial):
    assert [value.name for value in trial.after.inputs] == ["x", "lengths"]
    mask = np.ones((2, 4), np.int64)
    assert_same(trial.now(lengths=mask.sum(1)), trial.was(mask=mask))


PACKED = "g (float[2,32] a) => (float[2,4] y) { y = com.microsoft.MatMulNBits<K = 32, N = 4, bits = 4, block_size = 16>"


def packed(operands, groups=False):
    rng = np.random.default_rng(0)
    model = parse(f"{PACKED}({operands}) }}", opset=21, ir=10, imports='"com.microsoft" : 1', s=drawn(8))
    held = {"b": rng.integers(0, 256, (4, 2, 8)).astype(np.uint8)}
    if groups:
        held["g"] = (np.arange(32) // 16).astype(np.int32)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in held.items())
    return model


def without_groups(trial):
    assert [len(node.input) for node in trial.after.nodes] == [3]
    trial.same()


QDQ = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Neg(d)"
SCALE = "<float s = {0.1}, uint8 z = {128}>"


def within_a_step(without):
    def check(trial):
        assert not {"QuantizeLinear", "DequantizeLinear"}.intersection(trial.ops) or not without
        assert np.abs(trial.now()["y"] - trial.was()["y"]).max() <= 0.051

    return check


def eight_bits():
    model = parse(
        "g (float[2,3] x) => (float[2,4] y) { d = DequantizeLinear(w, s, z) y = MatMul(x, d) }",
        s=np.float32([0.1, 0.2, 0.3, 0.4]),
    )
    held = {"w": np.arange(12, dtype=np.int8).reshape(3, 4), "z": np.zeros(4, np.int8)}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in held.items())
    return model


def stored_transposed(trial):
    assert trial.ops == ["DequantizeLinear", "Transpose", "MatMul"]
    assert [list(t.dims) for t in trial.after.proto.graph.initializer if t.data_type == onnx.TensorProto.INT8][-1] == [
        4,
        3,
    ]
    trial.same()


RANK_4 = {
    "weights": """
pattern (x, w) => (y) { y = Add(x, w) }
where constant(w) and rank(x) == 4 and rank(w) == 1
let shape = ints([1, 1, 1, dim(w, 0)])
replacement (x, w) => (y) { r = Reshape(w, shape) y = Add(x, r) }
""",
    "transpose": """
pattern <perm> (x) => (y) { y = Transpose<perm: ints = @perm>(x) }
where rank(x) == 3
let zero = ints([0])
let longer = [0] + added(perm, [1, 1, 1])
replacement (x) => (y) { a = Unsqueeze(x, zero) b = Transpose<perm: ints = @longer>(a) y = Squeeze(b, zero) }
""",
    "reduce": """
pattern <keep> (x, axes) => (y) { y = ReduceSum<keepdims: int = @keep>(x, axes) }
where keep == 0
replacement (x, axes) => (y) { s = ReduceSum<keepdims = 1>(x, axes) y = Squeeze(s, axes) }
""",
    "gather": """
pattern <axis> (x, i) => (y) { y = Gather<axis: int = @axis>(x, i) }
where rank(i) == 0 and constant(i)
let one = ints([1])
let where = ints([0 if axis is None else axis])
replacement (x, i) => (y) { v = Reshape(i, one) g = Gather<axis: int = @axis>(x, v) y = Squeeze(g, where) }
""",
    "not": """
pattern (c) => (y) { n = Not(c) y = Cast<to = 1>(n) }
let one = floats(1)
replacement (c) => (y) { f = Cast<to = 1>(c) y = Sub(one, f) }
""",
    "where": """
pattern (c, x, z) => (y) { y = Where(c, x, z) }
where constant(z) and all(value(z) == 0) and dtype(x) == "float32"
replacement (c, x) => (y) { f = Cast<to = 1>(c) y = Mul(f, x) }
""",
}


def half(trial):
    assert {t.data_type for t in trial.after.proto.graph.initializer} == {onnx.TensorProto.FLOAT16}
    assert_close(trial.now(), trial.was(), 2e-3)


def brain(trial):
    assert onnx.TensorProto.BFLOAT16 in {t.data_type for t in trial.after.proto.graph.initializer}
    now = run_reference(trial.after, trial.feeds)  # the runtime's CPU has no kernels for bfloat16
    assert_close(now, trial.was(), 2e-2)


def assert_close(now, was, error):
    for name, array in was.items():
        assert now[name].shape == array.shape
        difference = np.linalg.norm(np.asarray(now[name], np.float64) - array)
        assert 0 < difference <= error * np.linalg.norm(array)


def saved(trial):
    assert trial.ops.count("Cast") > 2, "the square of large numbers does not fit into float16"
    assert onnx.TensorProto.FLOAT16 in {t.data_type for t in trial.after.proto.graph.initializer}
    now, was = trial.now()["y"], trial.was()["y"]
    assert np.linalg.norm(now - was) <= 1e-2 * np.linalg.norm(was)


def smaller(*operators, error=0.1):
    def check(trial):
        assert set(operators).issubset(trial.ops), trial.ops
        assert_close(trial.now(), trial.was(), error)

    return check


DENSE = "g (float[4,32] x) => (float[4,8] y) { h = MatMul(x, w) a = Relu(h) y = MatMul(a, v) }"
DENSE_WEIGHTS = {"w": drawn(32, 16), "v": drawn(16, 8)}

JOBS = [
    rule(79, "Erf into Tanh", "erf-to-tanh", f"{X} {{ y = Erf(x) }}", has("Tanh", without=["Erf"]), close=(0, 0.02)),
    rule(80, "Gelu by Tanh", "gelu-tanh", f"{X} {{ y = Gelu(x) }}", has("Gelu"), opset=20, close=(0, 1e-3)),
    rule(
        81,
        "RMSNorm into LpNormalization and Mul",
        "rms-norm-to-lp",
        "g (float[2,3] x) => (float[2,3] y) { y = SimplifiedLayerNormalization<epsilon = 1e-6>(x, g) }",
        has("LpNormalization", "Mul", without=["SimplifiedLayerNormalization"]),
        weights={"g": drawn(3)},
        close=(1e-4, 1e-4),
    ),
    Job(
        82,
        "one of two cos/sin tables",
        CACHES,
        [
            {"do": "replace", "nodes": ["c"], "function": "(a, b) => (c) { c = Constant<value = bool {0}>() }"},
            {"do": "simplify"},
        ],
        one_cache,
        feeds={"ids": [1, 0]},
        weights={"long": drawn(9, 2), "short": drawn(4, 2)},
    ),
    Job(
        83,
        "lengths in place of an attention mask",
        lengths,
        [{"do": "extract", "inputs": ["x", "n"]}, {"do": "rename", "values": {"n": "lengths"}}],
        takes_lengths,
    ),
    rule(
        84,
        "a g_idx that only ascends is dropped",
        "drop-g-idx",
        lambda: packed('a, b, s, "", g', groups=True),
        without_groups,
    ),
    rule(
        85,
        "pairs of QuantizeLinear and DequantizeLinear out",
        "remove-qdq",
        f"{X} {SCALE} {{ {QDQ} }}",
        within_a_step(without=True),
    ),
    rule(86, "the pair becomes Clip", "qdq-to-clip", f"{X} {SCALE} {{ {QDQ} }}", within_a_step(without=True)),
    rule(87, "DequantizeLinear of constants computed", "dequantize-constants", eight_bits, ops("MatMul")),
    rule(88, "quantized weights stored transposed", "transpose-dequantize", eight_bits, stored_transposed),
    rule(
        89,
        "MatMulNBits into DequantizeLinear + MatMul",
        "expand-matmul-nbits",
        lambda: packed("a, b, s"),
        ops("DequantizeLinear", "Transpose", "MatMul"),
        close=(1e-4, 1e-4),
    ),
    Job(
        90,
        "weights of rank 1 to 3 get axes of size 1",
        "g (float[1,2,2,3] x) => (float[1,2,2,3] y) { y = Add(x, w) }",
        [{"do": "rewrite", "rules": RANK_4["weights"]}],
        lambda trial: (trial.same(), [list(t.dims) for t in trial.after.proto.graph.initializer].index([1, 1, 1, 3])),
        weights={"w": drawn(3)},
    ),
    Job(
        91,
        "perm, axes, axis for the longer shape",
        "g (float[2,3,4] x) => (float[2,4,3] y) { y = Transpose<perm = [0,2,1]>(x) }",
        [{"do": "rewrite", "rules": RANK_4["transpose"]}],
        ops("Unsqueeze", "Transpose", "Squeeze"),
    ),
    Job(
        92,
        "reductions keep their dims",
        "g (float[2,3] x) => (float[2] y) { a = Constant<value_ints = [1]>() y = ReduceSum<keepdims = 0>(x, a) }",
        [{"do": "rewrite", "rules": RANK_4["reduce"]}],
        has("ReduceSum", "Squeeze"),
    ),
    Job(
        93,
        "scalar indices become vectors",
        "g (float[2,3] x) => (float[2] y) <int64 i = {1}> { y = Gather<axis = 1>(x, i) }",
        [{"do": "rewrite", "rules": RANK_4["gather"]}],
        ops("Gather", "Squeeze"),
    ),
    rule(
        94,
        "MatMul by a weight into a 1x1 Conv",
        "matmul-to-conv",
        "g (float[1,2,3] x) => (float[1,2,4] y) { y = MatMul(x, w) }",
        has("Conv", without=["MatMul"]),
        weights={"w": drawn(3, 4)},
    ),
    Job(
        95,
        "inner Squeeze and Unsqueeze out",
        "g (float[1,2,3] x) => (float[1,2,3] y) <int64[1] a = {0}> { s = Squeeze(x, a) u = Unsqueeze(s, a) y = Neg(u) }",
        [{"do": "simplify"}],
        ops("Neg"),
    ),
    Job(
        96,
        "Where with 0 to Mul, Not to Sub",
        f"{X} <float[1] z = {{0}}, float[1] h = {{0.5}}> {{ c = Greater(x, h) w = Where(c, x, z) n = Not(c) f = Cast<to = 1>(n) y = Add(w, f) }}",
        [{"do": "rewrite", "rules": [RANK_4["where"], RANK_4["not"]]}],
        has("Mul", "Sub", without=["Where", "Not"]),
    ),
    Job(97, "float16", DENSE, [{"do": "precision", "to": "float16", "keep_io": True}], half, weights=DENSE_WEIGHTS),
    Job(98, "bfloat16", DENSE, [{"do": "precision", "to": "bfloat16", "keep_io": True}], brain, weights=DENSE_WEIGHTS),
    Job(
        99,
        "which nodes have to stay in float32 is searched",
        "g (float[2,3] x) => (float[2,3] y) { h = MatMul(x, w) k = Exp(h) l = Mul(k, big) m = Mul(l, l) n = Sqrt(m) y = Div(n, big) }",
        [{"do": "precision", "to": "float16", "keep_io": True, "keep_auto": True, "samples": 2}],
        saved,
        weights={"big": [1e3, 2e3, 3e3], "w": drawn(3, 3)},
    ),
    Job(
        100,
        "int8 with ranges from feeds",
        DENSE,
        [{"do": "precision", "to": "int8", "samples": 4}],
        smaller("QuantizeLinear", "DequantizeLinear"),
        weights=DENSE_WEIGHTS,
    ),
    Job(
        101,
        "int8 without feeds",
        DENSE,
        [{"do": "precision", "to": "int8-dynamic"}],
        smaller("DynamicQuantizeLinear", "MatMulInteger"),
        weights=DENSE_WEIGHTS,
    ),
    Job(
        102,
        "4 bits for weights only",
        DENSE,
        [{"do": "precision", "to": "int4-weights"}],
        smaller("MatMulNBits", error=0.15),
        weights=DENSE_WEIGHTS,
    ),
    Job(
        103,
        "shapes and fusions before quantizing",
        "g (float[4,32] x) => (float[4,16] y) { i = Identity(x) h = MatMul(i, w) y = Add(h, b) }",
        [{"do": "simplify"}, {"do": "set", "shapes": "infer"}, {"do": "rewrite", "rules": "matmul-add-to-gemm"}],
        ops("Gemm"),
        weights={"w": drawn(32, 16), "b": drawn(16)},
    ),
]

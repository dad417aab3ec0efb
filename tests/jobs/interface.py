"""Jobs 1 to 40: inputs, outputs, names; dims and shapes; values."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from jobs.job import Job, Look, Out
from onnx_text import parse
from oracle import assert_same, run_ort

AXB = "g (float[2,3] x) => (float[2,3] y) { h = Neg(x) y = Exp(h) }"
BATCH = "g (float[n,3] x) => (float[n,3] y) { h = Neg(x) y = Exp(h) }"
COLOURS = np.arange(24, dtype=np.float32).reshape(1, 3, 2, 4)


def unnamed():
    return parse(
        "g (bool c, float[2] x) => (float[2] y) { h = Neg(x) y = If(c) <"
        "then_branch = t () => (float[2] u) { u = Exp(h) }, else_branch = e () => (float[2] v) { v = Abs(h) }> }"
    )


def written_twice(tmp_path):
    whole = parse("g (float[2] x) => (float[2] y) { a = Add(x, w) y = Neg(a) }", w=[1, 2])
    twice = parse("g (float[2] x) => (float[2] y) { a = Add(x, w) y = Neg(a) }", w=[1, 2])
    twice.graph.initializer.append(twice.graph.initializer[0])
    twice.graph.node.insert(1, twice.graph.node[0])
    onnx.save(twice, tmp_path / "twice.onnx")
    repaired = gk.deduplicate(gk.load(tmp_path / "twice.onnx", strict=False))
    assert repaired.proto.graph == whole.graph
    assert_same(run_ort(repaired, {"x": np.ones(2, np.float32)}), {"y": np.float32([-2, -3])})
    twice.graph.node[1].op_type = "Sub"
    onnx.save(twice, tmp_path / "other.onnx")
    with pytest.raises(gk.InvalidGraphError, match="two definitions: Add 'a' and Sub 'a'"):
        gk.deduplicate(gk.load(tmp_path / "other.onnx", strict=False))


def every_node_has_a_name(trial):
    bodies = [a.g for node in trial.after.nodes for a in node.attribute if a.HasField("g")]
    names = [node.name for graph in (trial.after.proto.graph, *bodies) for node in graph.node]
    assert all(names)
    assert len(set(names)) == 4
    trial.same()


def renamed(trial):
    assert [value.name for value in (*trial.after.inputs, *trial.after.outputs)] == ["image", "out"]
    trial.same()


def prefixed(trial):
    assert [node.output[0] for node in trial.after.nodes] == ["a/hidden", "y"]
    trial.same()


def in_order(trial):
    assert [value.name for value in trial.after.inputs] == ["z", "x"]
    assert_same(trial.now(), trial.was())


def without_a_bound(trial):
    assert [value.name for value in trial.after.inputs] == ["x"]
    trial.gives({"y": np.maximum(trial.feeds["x"], 0)})


def all_are_outputs(trial):
    x = trial.feeds["x"]
    trial.gives({"y": np.exp(-x), "h": -x})


def one_output(trial):
    assert [value.name for value in trial.after.outputs] == ["y"]
    assert trial.ops == ["Neg"]
    trial.gives({"y": -trial.feeds["x"]})


QUANTIZED = """g (float[4] x) => (float[4] y) <float s = {0.1}, uint8 z = {128}> {
  q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) y = Relu(d)
}"""


def integers_come_out(trial):
    q = np.clip(np.round(trial.feeds["x"] / np.float32(0.1)) + 128, 0, 255).astype(np.uint8)
    trial.gives({"q": q, "s": np.float32(0.1), "z": np.uint8(128)})


def weights_as_inputs():
    model = parse("g (float[2] x) => (float[2] y) { y = Mul(x, w) }", w=[3, 4])
    model.graph.input.add(name="w").type.CopyFrom(onnx.helper.make_tensor_type_proto(1, [2]))
    return model


def weight_is_constant(trial):
    assert [value.name for value in trial.after.proto.graph.input] == ["x"]
    trial.gives({"y": trial.feeds["x"] * np.float32([3, 4])})


def weight_can_be_fed(trial):
    assert_same(run_ort(trial.after, {"x": trial.feeds["x"]}), trial.was())
    w = np.float32([5, 6])
    assert_same(run_ort(trial.after, {"x": trial.feeds["x"], "w": w}), {"y": trial.feeds["x"] * w})


def begins_at_h(trial):
    assert [value.name for value in trial.after.inputs] == ["h"]
    h = np.float32([[1, 2, 3], [4, 5, 6]])
    trial.gives({"y": np.exp(h)}, h=h)


def through_identities(trial):
    assert trial.ops == ["Identity", "Identity"]
    assert_same(trial.now(), {"y": trial.feeds["x"], "z": trial.feeds["x"]})


def integers_at_the_interface(trial):
    assert [gk.inspect(trial.after).inputs[0].type, gk.inspect(trial.after).outputs[0].type] == [
        "uint8[2,3]",
        "float16[2,3]",
    ]
    x = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)
    assert_same(trial.now(x=x), {"y": np.exp(-x.astype(np.float32)).astype(np.float16)})


def channels_last(trial):
    x = np.ascontiguousarray(COLOURS.transpose(0, 2, 3, 1))
    trial.gives({"y": -x}, x=x)


def colours_turned(trial):
    assert_same(trial.now(x=np.ascontiguousarray(COLOURS[:, ::-1])), trial.was(x=COLOURS))


def rank_4(trial):
    x = trial.feeds["x"]
    trial.gives({"y": np.exp(-x)[None, None]}, x=x[None, :, None])


def unsorted():
    model = parse(AXB)
    first = onnx.NodeProto()
    first.CopyFrom(model.graph.node[0])
    del model.graph.node[0]
    model.graph.node.append(first)
    return model


def is_sorted(trial):
    assert trial.ops == ["Neg", "Exp"]
    trial.gives({"y": np.exp(-trial.feeds["x"])})


def freed(trial):
    x = np.float32([[1, 2, 3]] * 5)
    assert gk.inspect(trial.after).inputs[0].type == "float32[N,3]"
    trial.gives({"y": np.exp(-x)}, x=x)


def output_axis(trial):
    assert gk.inspect(trial.after).outputs[0].type == "float32[batch,3]"
    trial.gives({"y": np.exp(-trial.feeds["x"])})


def fixed(trial):
    assert [value.type for value in (*gk.inspect(trial.after).inputs, *gk.inspect(trial.after).outputs)] == [
        "float32[4,3]"
    ] * 2
    x = np.float32([[1, 2, 3]] * 4)
    trial.gives({"y": np.exp(-x)}, x=x)


STATIC_BATCH = """g (float[1,2,6] x) => (float[1,3,4] y) <int64[3] t = {1,3,4}> { h = Reshape(x, t) y = Neg(h) }"""


def stacked(trial):
    x = np.random.default_rng(0).standard_normal((3, 2, 6), dtype=np.float32)
    single = [trial.was(x=x[i : i + 1])["y"] for i in range(3)]
    trial.gives({"y": np.concatenate(single)}, x=x)


def written_types(trial):
    assert [value.name for value in trial.after.proto.graph.value_info] == ["h"]
    trial.same()


def declared():
    model = parse("g (float[2] x) => (float[2] y) <float[2] h> { h = Neg(x) y = Exp(h) }")
    assert [value.name for value in model.graph.value_info] == ["h"]
    return model


def no_types(trial):
    assert not trial.after.proto.graph.value_info
    trial.same()


def negative_dims():
    model = parse(BATCH)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = -1
    return model


def unknown_dims(trial):
    assert gk.inspect(trial.after).inputs[0].type == "float32[n,3]"
    x = np.float32([[1, 2, 3]] * 5)
    trial.gives({"y": np.exp(-x)}, x=x)


DATA_SIZE = """g (int64 n) => (int64[m] y) <int64 a = {0}, int64 d = {1}> { r = Range(a, n, d) y = Neg(r) }"""


def bounded(trial):
    assert [trial.now(n=np.array(n))["y"].size for n in (3, 8, 50)] == [3, 8, 8]


SHAPE_CHAIN = """g (float[n,3,4] x) => (float[n,12] y) <int64 zero = {0}, int64[1] first = {0}, int64[1] rest = {-1}> {
  s = Shape(x) b = Gather(s, zero) u = Unsqueeze(b, first) t = Concat<axis = 0>(u, rest) y = Reshape(x, t)
}"""


def constant_target(trial):
    assert trial.ops == ["Reshape"]
    x = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
    trial.gives({"y": x.reshape(5, 12)}, x=x)


LANGUAGE = """g (int64[batch,seq] ids) => (float[batch,seq,2] y) {
  e = Gather(table, ids) h = Tanh(e) y = MatMul(h, w)
}"""


def fixed_and_split(trial):
    chain = trial.after
    ids = np.array([[0, 2, 1, 1]])
    first, second = chain.models
    assert [first.inputs[0].name, second.inputs[0].name] == ["ids", "h"]
    assert_same(run_ort(second, run_ort(first, {"ids": ids})), run_ort(trial.before, {"ids": ids}))
    assert gk.inspect(first).inputs[0].type == "int64[1,4]"


AFFINE = "g (float[2,3] x) => (float[2,2] y) { h = MatMul(x, w) y = Add(h, b) }"
AFFINE_WEIGHTS = {"w": [[1, 2], [3, 4], [5, 6]], "b": [7, 8]}
SOFT = "g (float[2,3] x) => (float[2,3] y) { [soft] y = Softmax<axis = 0>(x) }"


def other_weight(trial):
    x = trial.feeds["x"]
    trial.gives({"y": x @ np.ones((3, 2), np.float32) + np.float32([7, 8])})


def other_axis(trial):
    e = np.exp(trial.feeds["x"])
    trial.gives({"y": e / e.sum(1, keepdims=True)})


def zeroed(trial):
    trial.gives(
        {"y": np.broadcast_to(np.float32([0, 0]), (2, 2)) + trial.feeds["x"] @ np.float32([[1, 2], [3, 4], [5, 6]])}
    )


def randomized(trial):
    x = trial.feeds["x"]
    held = {t.name: onnx.numpy_helper.to_array(t) for t in trial.after.materialize().graph.initializer}
    assert held["big"].shape == (3, 100)
    assert not np.allclose(held["big"], 1)
    trial.gives({"y": x @ held["big"]})


BIG = "g (float[2,3] x) => (float[2,100] y) { y = MatMul(x, big) }"


def all_weights_stay(trial):
    assert_same(trial.now(), trial.was())


def lora():
    text = "g (float[2,3] x) => (float[2,3] y) { a = MatMul(x, lora_A) b = MatMul(a, lora_B) h = MatMul(x, w) y = Add(h, b) }"
    return parse(text, lora_A=np.ones((3, 2)), lora_B=np.ones((2, 3)), w=np.eye(3))


def adapters_are_inputs(trial):
    assert [value.name for value in trial.after.inputs] == ["x", "lora_A", "lora_B"]
    assert trial.weights == ["w"]
    fed = {"lora_A": np.ones((3, 2), np.float32), "lora_B": np.ones((2, 3), np.float32)}
    assert_same(trial.now(**fed), trial.was())


def constants_lifted(trial):
    assert trial.ops == ["Mul"]
    assert trial.weights == ["c"]
    trial.same()


BODY_WEIGHT = """g (bool c, float[2] x) => (float[2] y) {
  y = If(c) <then_branch = t () => (float[2] u) <float[2] k = {1, 2}> { u = Add(x, k) },
             else_branch = e () => (float[2] v) <float[2] k = {3, 4}> { v = Mul(x, k) }>
}"""


def in_the_main_graph(trial):
    assert len(trial.weights) == 2
    for condition in (True, False):
        assert_same(trial.now(c=np.array(condition)), trial.was(c=np.array(condition)))


def stored_once(trial):
    assert len(trial.weights) == 1
    trial.same()


TIED = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def tied(trial):
    assert trial.weights == ["t"]
    trial.same()


def masked(trial):
    assert gk.Model.array(trial.after, "m").tolist() == [-10000.0, 0.0]
    trial.same()


JOBS = [
    Job(
        1, "other names for inputs and outputs", AXB, [{"do": "rename", "values": {"x": "image", "y": "out"}}], renamed
    ),
    Job(
        2,
        "a prefix or a pattern over many names",
        AXB,
        [{"do": "rename", "regex": {"^h$": "hidden"}}, {"do": "rename", "prefix": "a/"}],
        prefixed,
    ),
    Job(
        3,
        "names for nodes that have none",
        unnamed,
        [{"do": "reorder", "name_all": True}],
        every_node_has_a_name,
        feeds={"c": True},
    ),
    Job(
        4,
        "inputs in another order",
        "g (float[2] x, float[2] z) => (float[2] y) { y = Sub(x, z) }",
        [{"do": "reorder", "inputs": ["z", "x"]}],
        in_order,
    ),
    Job(
        5,
        "an input goes, out of its readers' operands too",
        "g (float[4] x, float top) => (float[4] y) <float low = {0}> { y = Clip(x, low, top) }",
        [{"do": "remove", "inputs": ["top"]}],
        without_a_bound,
    ),
    Job(6, "inner values become outputs too", AXB, [{"do": "tap", "names": ["*"]}], all_are_outputs),
    Job(
        7,
        "fewer outputs",
        "g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x) z = Exp(y) }",
        [{"do": "remove", "outputs": ["z"]}],
        one_output,
    ),
    Job(
        8,
        "an output behind DequantizeLinear gives the integers",
        QUANTIZED,
        [{"do": "tap", "names": ["q", "s", "z"], "replace": True}],
        integers_come_out,
    ),
    Job(
        9,
        "weights that are inputs too stop being inputs",
        weights_as_inputs,
        [{"do": "freeze", "defaults": True}],
        weight_is_constant,
    ),
    Job(
        10,
        "every weight can be fed",
        "g (float[2] x) => (float[2] y) { y = Mul(x, w) }",
        [{"do": "promote", "every": True, "keep_default": True}],
        weight_can_be_fed,
        weights={"w": [3, 4]},
    ),
    Job(11, "an inner value becomes an input", AXB, [{"do": "extract", "inputs": ["h"]}], begins_at_h),
    Job(
        12,
        "Identity where an output is an input itself",
        "g (bool c, float[2] x) => (float[2] y, float[2] z) { y = Identity(x) z = If(c) <"
        "then_branch = t () => (float[2] x) { a = Neg(x) }, else_branch = e () => (float[2] v) { v = Neg(x) }> }",
        [{"do": "rewrite", "rules": "identity-outputs"}, {"do": "freeze", "values": {"c": True}}, {"do": "simplify"}],
        through_identities,
        feeds={"c": True},
    ),
    Job(
        13,
        "other element types at inputs and outputs",
        AXB,
        [{"do": "retype", "io": {"x": "uint8", "y": "float16"}}],
        integers_at_the_interface,
    ),
    Job(
        14,
        "NHWC at inputs and outputs",
        "g (float[1,3,2,4] x) => (float[1,3,2,4] y) { y = Neg(x) }",
        [{"do": "layout", "io": {"*": "NHWC"}}],
        channels_last,
    ),
    Job(
        15,
        "RGB to BGR at an input",
        "g (float[1,3,2,4] x) => (float[1,3,2,4] y) { y = Mul(x, w) }",
        [
            {
                "do": "insert",
                "at": "x",
                "function": "(a) => (b) { i = Constant<value = int64[3] {2, 1, 0}>() b = Gather<axis = 1>(a, i) }",
            }
        ],
        colours_turned,
        weights={"w": [[[1]], [[10]], [[100]]]},
    ),
    Job(
        16,
        "another rank at inputs and outputs",
        AXB,
        [{"do": "layout", "io": {"x": "+0,+2", "y": "+0,+1"}}],
        rank_4,
    ),
    Job(17, "nodes sorted", unsorted, [{"do": "reorder", "sort": True}], is_sorted),
    Job(18, "an axis of an input gets a symbolic name", AXB, [{"do": "dims", "values": {"x:0": "N"}}], freed),
    Job(19, "an output's declared axis gets one", BATCH, [{"do": "dims", "values": {"y:0": "batch"}}], output_axis),
    Job(20, "a symbolic dim becomes a size", BATCH, [{"do": "dims", "values": {"n": 4}}], fixed),
    Job(
        21,
        "a batch of 1 becomes N, Reshape targets follow",
        STATIC_BATCH,
        [{"do": "dims", "values": {"x:0": "N"}, "repair_shapes": True}],
        stacked,
    ),
    Job(22, "types of inner values are written", AXB, [{"do": "set", "shapes": "infer"}], written_types),
    Job(23, "types of inner values go", declared, [{"do": "set", "shapes": "clear"}], no_types),
    Job(
        24,
        "dims below 1 become unknown",
        negative_dims,
        [{"do": "dims", "values": {"x:0": "n", "y:0": "n"}}],
        unknown_dims,
    ),
    Job(
        25,
        "a size that depends on data gets an upper bound",
        DATA_SIZE,
        [{"do": "insert", "at": "n", "function": "(a) => (b) { m = Constant<value = int64 {8}>() b = Min(a, m) }"}],
        bounded,
    ),
    Job(
        26,
        "a target that is computed from sizes becomes a constant",
        SHAPE_CHAIN,
        [{"do": "simplify"}],
        constant_target,
    ),
    Job(
        27,
        "all sizes of a language model fixed, then split",
        LANGUAGE,
        [{"do": "dims", "values": {"batch": 1, "seq": 4}}, {"do": "split", "at": ["h"]}],
        fixed_and_split,
        weights={"table": np.arange(9).reshape(3, 3), "w": [[1, 2], [3, 4], [5, 6]]},
    ),
    Job(
        28,
        "another value for a weight",
        AFFINE,
        [{"do": "set", "tensors": {"w": np.ones((3, 2), np.float32)}}],
        other_weight,
        weights=AFFINE_WEIGHTS,
    ),
    Job(
        29,
        "attributes of a node changed, or taken away",
        SOFT,
        [{"do": "set", "clear": ["soft:axis"]}, {"do": "set", "attributes": {"soft:axis": 1}}],
        other_axis,
    ),
    Job(
        30,
        "one operand of one node becomes zeros",
        AFFINE,
        [{"do": "set", "operands": {"y:1": [0.0, 0.0]}}],
        zeroed,
        weights=AFFINE_WEIGHTS,
    ),
    Job(
        31,
        "random weights, so that a graph can be shown around",
        BIG,
        [{"do": "set", "strip_weights": True}, {"do": "set", "fill_weights": "random"}],
        randomized,
        weights={"big": np.ones((3, 100))},
    ),
    Job(
        32,
        "weights out, and back in",
        BIG,
        [{"do": "set", "strip_weights": True}, {"do": "set", "restore_weights": parse(BIG, big=np.ones((3, 100)))}],
        all_weights_stay,
        weights={"big": np.ones((3, 100))},
    ),
    Out(
        33,
        "2:4 sparsity made, and looked for",
        "which weights become zero is a decision of training; the array that came out of it goes in with set --tensor (28)",
    ),
    Job(
        34,
        "LoRA weights become inputs",
        lora,
        [{"do": "promote", "tensors": ["lora_A", "lora_B"]}],
        adapters_are_inputs,
    ),
    Job(
        35,
        "Constant nodes become initializers",
        "g (float[2] x) => (float[2] y) { c = Constant<value = float[2] {3, 4}>() y = Mul(x, c) }",
        [{"do": "rewrite", "rules": "constants-to-initializers"}],
        constants_lifted,
    ),
    Job(
        36,
        "weights of bodies move to the main graph",
        BODY_WEIGHT,
        [{"do": "rewrite", "rules": "lift-initializers"}],
        in_the_main_graph,
    ),
    Job(
        37,
        "equal weights stored once",
        "g (float[2,3] x) => (float[2,3] y) { h = MatMul(x, a) y = MatMul(h, b) }",
        [{"do": "deduplicate"}],
        stored_once,
        weights={"a": np.ones((3, 3)), "b": np.ones((3, 3))},
    ),
    Job(
        38,
        "one table for embedding and head",
        "g (int64[2] i) => (float[2,5] y) { e = Gather(t, i) y = MatMul(e, h) }",
        [{"do": "rewrite", "rules": "tie-embeddings"}],
        tied,
        weights={"t": TIED, "h": np.ascontiguousarray(TIED.T)},
    ),
    Job(
        39,
        "numbers of masks below -3e30 become -1e4",
        "g (float[2] x) => (float[2] y) { a = Add(x, m) y = Softmax(a) }",
        [{"do": "rewrite", "rules": "mask-value:threshold=-3e30,value=-10000"}],
        masked,
        weights={"m": [-3.4e38, 0]},
    ),
    Look(40, "two weights of one name, two nodes that make one value", written_twice),
]

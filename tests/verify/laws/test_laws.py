"""What a law is asked beyond one honest step: chains, kinds of models, and what cannot be said."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.errors import GraphkitWarning
from graphkit.model import Model

CONV = """<ir_version: 10, opset_import: ["" : 18]>
g (float[1, 3, 8, 8] x) => (float[1, 4, 16, 16] y) <float[4] b = {1, 2, 3, 4}, float[4] scales = {1, 1, 2, 2}> {
  [conv] c = Conv<pads = [1, 1, 1, 1]>(x, w, b) [relu] r = Relu(c) [up] y = Resize<mode = "nearest">(r, , scales) }"""


def text(source):
    model = onnx.parser.parse_model(source)
    reads = {name for node in model.graph.node for name in node.input}
    if "w" in reads and "w" not in {t.name for t in model.graph.initializer}:
        values = np.random.default_rng(0).standard_normal((4, 3, 3, 3), dtype=np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, "w"))
    return model


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
def test_a_chain_is_proved_against_the_first_file_in_one_run(tmp_path):
    onnx.save(text(CONV), tmp_path / "first.onnx")
    model = gk.resize(tmp_path / "first.onnx")
    model = gk.rename(model, values={"x": "image", "factor": "by"})
    model = gk.dims(model, {"image:0": "n"})
    model = gk.precision(model, to="float16", keep_io=True)
    model.save(tmp_path / "last.onnx")
    proof = gk.prove(tmp_path / "last.onnx")
    assert proof, gk.text(proof)
    whole = proof.laws[0]
    assert whole.steps == ("resize", "rename", "dims", "precision")
    assert "float16" in proof.tolerance
    assert any("samples in one batch" in also for also in whole.also)


def test_the_step_that_broke_a_chain_is_named(tmp_path):
    first = text(CONV)
    good = gk.rename(gk.promote(gk.opset(first, to=20), "b"), values={"x": "image"})
    proto = good.copy_proto()
    proto.graph.node[1].op_type = "Abs"
    proof = gk.prove(Model(proto, good.sources, original=good.original, steps=good.history), first, replay=False)
    verdicts = {held.steps: held.verdict for held in proof.laws}
    assert verdicts == {("opset",): "proved", ("promote",): "proved", ("rename",): "broken"}
    assert proof.laws[-1].first == "r"


def test_an_original_on_the_way_is_where_the_proof_begins(tmp_path):
    onnx.save(text(CONV), tmp_path / "a.onnx")
    gk.rename(tmp_path / "a.onnx", values={"x": "image"}).save(tmp_path / "b.onnx")
    gk.promote(tmp_path / "b.onnx", "b").save(tmp_path / "c.onnx")
    proof = gk.prove(tmp_path / "c.onnx", tmp_path / "b.onnx")
    assert proof
    assert proof.steps == ("promote",)
    assert gk.prove(tmp_path / "c.onnx").steps == ("rename", "promote")


@pytest.mark.parametrize("options", [{"external": "w.bin"}, {"weights": "keep"}, {"weights": "link"}])
def test_weights_may_lie_elsewhere(tmp_path, options):
    model = text(CONV)
    large = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(large, "unread"))
    onnx.save(model, tmp_path / "a.onnx")
    gk.rename(tmp_path / "a.onnx", values={"x": "image"}).save(tmp_path / "b.onnx", **options)
    assert gk.prove(tmp_path / "b.onnx")


def test_a_weight_that_no_output_shows_is_found_by_the_first_question(tmp_path):
    model = text(CONV)
    large = np.random.default_rng(1).standard_normal((64, 64)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(large, "unread"))
    onnx.save(model, tmp_path / "a.onnx")
    gk.rename(tmp_path / "a.onnx", values={"x": "image"}).save(tmp_path / "b.onnx", external="w.bin")
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[-1] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    proof = gk.prove(tmp_path / "b.onnx")
    assert (proof.verdict, proof.replayed.why) == ("broken", "the weight 'unread' has other bytes")


KINDS = {
    "if and loop": """<ir_version: 10, opset_import: ["" : 18]> g (float[2, 3] x, bool c, int64 n) => (float[2, 3] y) {
        [choose] a = If(c) <then_branch = t () => (float[2, 3] p) { p = Relu(x) }, else_branch = e () => (float[2, 3] q) { q = Neg(x) }>
        yes = Constant<value = bool {1}>()
        [loop] y = Loop(n, yes, a) <body = b (int64 i, bool go, float[2, 3] s) => (bool again, float[2, 3] o) { again = Identity(go) o = Tanh(s) }> }""",
    "function": """<ir_version: 10, opset_import: ["" : 18, "mine" : 1]> g (float[2] x) => (float[2] y) { y = mine.Twice(x) }
        <domain: "mine", opset_import: ["" : 18]> Twice (a) => (b) { b = Add(a, a) }""",
    "sequence": """<ir_version: 10, opset_import: ["" : 18]> g (float[4, 3] x) => (seq(float[2, 3]) s) {
        two = Constant<value_int = 2>() s = SplitToSequence<axis = 0>(x, two) }""",
    "optional": """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (optional(float[2]) y) { y = Optional(x) }""",
    "sequence in": """<ir_version: 10, opset_import: ["" : 18]> g (seq(float[2, 3]) x) => (float[m, 3] y) {
        y = ConcatFromSequence<axis = 0>(x) }""",
    "optional in": """<ir_version: 10, opset_import: ["" : 18]> g (optional(float[2]) x) => (float[2] y) {
        a = OptionalGetElement(x) y = Neg(a) }""",
    "texts": """<ir_version: 10, opset_import: ["" : 20]> g (string[2] x) => (string[2] y) { y = StringConcat(x, x) }""",
    "bfloat16": """<ir_version: 10, opset_import: ["" : 18]> g (bfloat16[2, 3] x) => (bfloat16[2, 3] y) { r = Sin(x) y = Mul(r, x) }""",
    "float8": """<ir_version: 10, opset_import: ["" : 20]> g (float[2, 3] x) => (float[2, 3] y) {
        q = Cast<to = 17>(x) y = Cast<to = 1>(q) }""",
    "free batch": """<ir_version: 10, opset_import: ["" : 18]> g (float[n, 3] x) => (float[n, 3] y) { y = Softmax<axis = 1>(x) }""",
    "NaN here and there": """<ir_version: 10, opset_import: ["" : 18]> g (float[64] x) => (float[64] y) { a = Sin(x) y = Log(a) }""",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_is_proved(kind):
    model = text(KINDS[kind])
    proof = gk.prove(gk.rename(model, values={"x": "input"}), model)
    assert proof, gk.text(proof)


UNKNOWN = {
    "no runtime has the operator": ("y = no.such.Op(x)", "cannot be run"),
    "nothing but NaN": ("z = Sub(x, x) y = Div(z, z)", "nothing but NaN"),
    "nothing to compare": ("zero = Constant<value_ints = [0]>() y = Gather(x, none)", "no elements"),
    "random numbers": ("y = RandomNormalLike(x)", "draws"),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_what_cannot_be_said_is_not_yes(why):
    body, said = UNKNOWN[why]
    model = text(
        f"""<ir_version: 10, opset_import: ["" : 18, "no.such" : 1]>
        g (float[4] x) => (float[m] y) <int64[0] none = {{}}> {{ {body} }}""".replace("no.such.Op", "no.such.Op")
    )
    proof = gk.prove(gk.rename(model, values={"x": "input"}), model)
    assert (proof.verdict, said in proof.laws[0].why) == ("unproved", True), gk.text(proof)


def test_without_a_runtime_the_reference_evaluator_says_it(monkeypatch):
    from graphkit.verify.laws import side

    def missing(*_):
        raise gk.MissingExtraError("onnxruntime", "cpu", "running")

    monkeypatch.setattr(side, "_runtime", missing)
    model = text(CONV)
    proof = gk.prove(gk.rename(model, values={"x": "input"}), model)
    assert proof
    assert proof.laws[0].evaluator == "onnx.reference"


def test_an_axis_that_runs_at_one_size_only_is_not_proved():
    model = text(
        """<ir_version: 10, opset_import: ["" : 18]>
        g (float[2, 6] x) => (float[3, 4] y) <int64[2] t = {3, 4}> { y = Reshape(x, t) }"""
    )
    with pytest.warns(GraphkitWarning):
        edited = gk.dims(model, {"x:1": "n"})
    proof = gk.prove(edited, model)
    assert (proof.verdict, "its old size only" in proof.laws[0].why) == ("unproved", True), gk.text(proof)


def test_a_first_axis_that_is_no_batch_is_asked_at_other_sizes():
    model = text(
        """<ir_version: 10, opset_import: ["" : 18]>
        g (float[4, 3] x) => (float[4, 3] y) <int64 zero = {0}> { y = CumSum(x, zero) }"""
    )
    proof = gk.prove(gk.dims(model, {"x:0": "n"}), model)
    assert proof, gk.text(proof)
    assert not any("batch" in also for also in proof.laws[0].also)


def test_rows_that_mix_in_a_freed_batch_break_the_law():
    model = text(
        """<ir_version: 10, opset_import: ["" : 18]>
        g (float[1, 6] x) => (float[1, 6] y) <int64[1] zero = {0}> { m = ReduceMean<keepdims = 1>(x, zero) y = Add(m, x) }"""
    )
    proof = gk.prove(gk.dims(model, {"x:0": "n"}), model)
    assert (proof.verdict, "samples in one batch" in proof.laws[0].why) == ("broken", True), gk.text(proof)


def test_all_weights_promoted_and_all_defaults_frozen_are_proved():
    text = '<ir_version: 8, opset_import: ["" : 18]> g (float[2] x{}) => (float[2] y) <float[2] k = {{1, 2}}> {{ y = Add(x, k) }}'
    plain, listed = onnx.parser.parse_model(text.format("")), onnx.parser.parse_model(text.format(", float[2] k"))
    for keep in (True, False):
        assert gk.prove(gk.promote(plain, every=True, keep_default=keep), plain)
    assert gk.prove(gk.freeze(listed, defaults=True), listed)
    wrong = gk.freeze(listed, defaults=True)
    wrong.proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float32([1, 2.5]), "k"))
    assert not gk.prove(wrong, listed, replay=False)


INTEGERS = """<ir_version: 10, opset_import: ["" : 18]>
g (int64[4] x, float[4, 8] f) => (int64[4] y, int64[4] best, float[4, 8] z) <int64[4] w = {3, 1, 2, 5}, float[8, 8] m> {
  [mul] y = Mul(x, w) [mm] z = MatMul(f, m) [best] best = ArgMax<axis = 1, keepdims = 0>(z) }"""


def integers():
    text = INTEGERS.replace("float[8, 8] m", "float[1] unread = {0}")
    model = onnx.parser.parse_model(text)
    values = np.random.default_rng(0).standard_normal((8, 8), dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, "m"))
    return model


@pytest.mark.parametrize("to", ["int8", "float16"])
def test_only_what_floats_decide_may_be_another_integer_where_precision_is_lower(to):
    model = integers()
    made = gk.precision(model, to=to, **({"samples": 4} if to == "int8" else {"keep_io": True}))
    assert gk.prove(made, model)
    for change in (
        lambda proto: proto.graph.node[[n.name for n in proto.graph.node].index("mul")].input.__setitem__(1, "x"),
        lambda proto: setattr(next(n for n in proto.graph.node if n.name == "best").attribute[0], "i", 0),
        lambda proto: setattr(next(n for n in proto.graph.node if n.name == "best"), "op_type", "ArgMin"),
    ):
        proto = made.materialize()
        change(proto)
        wrong = Model(proto, {}, original=made.original, steps=made.history)
        assert gk.prove(wrong, model, replay=False).verdict == "broken"


@pytest.mark.parametrize("to", ["int8", "int8-weights", "int8-dynamic"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_a_channel_of_an_int8_weight_that_is_gone_is_found_though_few_numbers_hang_on_it(to, per_channel):
    text = """<ir_version: 10, opset_import: ["" : 18]>
    g (float[4, 32] f, bool c) => (float[4, 32] z) <float[1] unread = {0}> {
      z = If(c) <then_branch = t () => (float[4, 32] p) { p = Identity(h) }, else_branch = e () => (float[4, 32] q) { q = Neg(f) }>
      h = MatMul(f, m) }"""
    model = onnx.parser.parse_model(text)
    model.graph.node.append(model.graph.node.pop(0))
    values = np.random.default_rng(0).standard_normal((32, 32), dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(values, "m"))
    if to == "int8-weights" and per_channel:
        return
    made = gk.rename(gk.precision(model, to=to, per_channel=per_channel), values={"f": "input"})
    assert gk.prove(made, model), gk.text(gk.prove(made, model))
    proto = made.materialize()
    tensor = next(t for t in proto.graph.initializer if t.name == "m_quantized")
    array = np.array(onnx.numpy_helper.to_array(tensor))
    array[:, 3] = 0
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    wrong = Model(proto, {}, original=made.original, steps=made.history)
    assert gk.prove(wrong, model, replay=False).verdict == "broken"


def test_a_default_that_is_quantized_is_no_input_any_more_and_that_is_proved():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2, 4] x, float[4, 4] k) => (float[2, 4] y)
        <float[4, 4] k = {1, 2, 3, 4, 2, 3, 4, 5, 6, 5, 4, 3, 1, 0, 1, 0}> { y = MatMul(x, k) }"""
    )
    made = gk.precision(model, to="int8", samples=4)
    assert [value.name for value in made.inputs] == ["x"]
    assert gk.prove(made, model)


PROMOTED = {
    "an attribute whose input has one element": (9, "y, i = TopK<k = 1>(x) z = Identity(y)", "n:k"),
    "an attribute that only its default says": (6, "z = Clip<max = 2.0>(x)", "n:min"),
}


@pytest.mark.parametrize("kind", PROMOTED)
def test_attributes_that_became_inputs_are_proved(kind):
    opset, body, name = PROMOTED[kind]
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : {opset}]> g (float[2, 3] x) => (float[m, n] z) {{ [n] {body} }}'
    )
    assert gk.prove(gk.promote(model, name), model)


@pytest.mark.parametrize("keep", [True, False])
def test_a_default_that_is_promoted_under_another_name_is_fed_other_values_too(keep):
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x, float[2] c) => (float[2] y) <float[2] c = {1, 2}> {
        y = Add(x, c) }"""
    )
    proof = gk.prove(gk.promote(model, {"c": "k"}, keep_default=keep), model)
    assert proof, gk.text(proof)
    assert "k=2" in " ".join(proof.laws[0].sizes)


def test_what_the_runtime_refuses_is_asked_of_the_reference_evaluator():
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { [twin] h = Exp(x) [twin] y = Neg(h) }'
    )
    proof = gk.prove(gk.rename(model, values={"x": "input"}), model)
    assert (bool(proof), proof.laws[0].evaluator) == (True, "onnx.reference")


def test_a_body_of_another_opset_is_proved():
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18, "my" : 1]> g (float[2] x) => (float[2] y) { y = my.Twice(x) }'
    )
    made = gk.define(model, '<domain: "my", opset_import: ["" : 17]> Twice (a) => (b) { b = Add(a, a) }')
    assert gk.prove(made, model)


def test_a_mask_beyond_the_range_of_float16_is_its_largest_number_and_no_infinity():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2, 3] x, bool[2, 3] keep) => (float[2, 3] y)
        <float low = {-1000000000}> { y = Where(keep, x, low) }"""
    )
    made = gk.precision(model, to="float16", keep_io=True)
    assert gk.prove(made, model), gk.text(gk.prove(made, model))
    proto = made.materialize()
    tensor = next(t for t in proto.graph.initializer if not t.dims)
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(-np.inf, np.float16), tensor.name))
    wrong = Model(proto, {}, original=made.original, steps=made.history)
    assert gk.prove(wrong, model, replay=False).verdict == "broken"


def test_a_symbol_that_had_two_sizes_before_is_no_fault_of_the_next_step():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[n, 4] x, float[n, 4] y) => (float[n, 4] z) { z = Mul(x, y) }"""
    )
    frozen = gk.freeze(model, {"x": np.ones((2, 4), np.float32)})
    made = gk.insert(frozen, "z", "clip:low=-1,high=1")
    assert gk.prove(made, model), gk.text(gk.prove(made, model))


def test_a_step_on_a_model_in_half_precision_may_round_as_half_precision_does():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[1, 2, 6, 6] x) => (float[1, 2, 12, 9] y)
        <int64[4] s = {1, 2, 12, 9}> { [relu] r = Relu(x) [one] y = Resize<mode = "linear">(r, , , s) }"""
    )
    halved = gk.precision(model, to="float16", keep_io=True)
    proof = gk.prove(gk.resize(halved), halved)
    assert proof, gk.text(proof)
    assert "float16" in proof.tolerance


def test_types_that_do_not_fit_are_a_fault_and_no_missing_kernel():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[4, 3] x) => (seq(float[2, 3]) s, float[2, 3] y) {
        two = Constant<value_int = 2>() one = Constant<value_int = 1>()
        s = SplitToSequence<axis = 0>(x, two) a = SequenceAt(s, one) y = Abs(a) }"""
    )
    made = gk.precision(model, to="float16")
    assert gk.prove(made, model)
    for cast in [node.output[0] for node in made.proto.graph.node if node.op_type == "Cast"]:
        proto = made.materialize()
        node = next(node for node in proto.graph.node if node.output[0] == cast)
        for other in proto.graph.node:
            other.input[:] = [node.input[0] if name == cast else name for name in other.input]
        proto.graph.node.remove(node)
        wrong = Model(proto, {}, original=made.original, steps=made.history)
        assert gk.prove(wrong, model, replay=False).verdict == "broken"


def test_a_float64_that_comes_out_of_float32_rounds_as_float32_does():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2, 4] x, float[4] k) => (float[2, 4] y) {
        a = Add(x, k) s = Sigmoid(a) t = Mul(s, a) y = Softplus(t) }"""
    )
    wide = gk.retype(model, io={"y": "float64"})
    values = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    frozen = gk.freeze(wide, {"x": values}, fold=True)
    proof = gk.prove(frozen, model)
    assert proof, gk.text(proof)
    assert "float32" in proof.tolerance


def test_outputs_removed_from_a_model_that_the_runtime_refuses_are_proved_by_the_reference_evaluator():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] y, float[2] z) {
        [twin] a = Exp(x) [twin] unread = Neg(a) y = Abs(a) z = Sin(x) }"""
    )
    proof = gk.prove(gk.remove(model, outputs="z"), model)
    assert (bool(proof), proof.laws[0].evaluator) == (True, "onnx.reference"), gk.text(proof)


@pytest.mark.parametrize("to", ["float16", "bfloat16", "int8"])
def test_a_weight_that_is_one_percent_off_is_found_whatever_the_tolerance_of_outputs_is(to):
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[n, 8] x) => (float[n, 8] y) { h = MatMul(x, m) y = Softmax(h) }"""
    )
    values = np.random.default_rng(0).standard_normal((8, 8), dtype=np.float32)
    values[0, 0], values[1, 1] = 1e9, 1e-9
    model.graph.initializer.append(onnx.numpy_helper.from_array(values if to != "int8" else values.clip(-1, 1), "m"))
    made = gk.precision(model, to=to, **({"samples": 2} if to == "int8" else {}))
    assert gk.prove(made, model).verdict == "proved", gk.text(gk.prove(made, model))
    proto = made.materialize()
    tensor = next(t for t in proto.graph.initializer if t.name in ("m", "m_scale"))
    array = onnx.numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.numpy_helper.from_array((array.astype(np.float32) * 0.99).astype(array.dtype), tensor.name))
    wrong = Model(proto, {}, original=made.original, steps=made.history)
    proof = gk.prove(wrong, model, replay=False)
    assert proof.verdict == "broken", gk.text(proof)


def test_a_stale_shape_that_a_body_declares_is_found():
    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]> g (float[2, 3] x, bool c) => (float[2, 3] y) {
        y = If(c) <then_branch = t () => (float[2, 3] p) <float[2, 3] q> { q = Neg(x) p = Abs(q) },
                   else_branch = e () => (float[2, 3] r) { r = Exp(x) }> }"""
    )
    made = gk.rename(model, values={"x": "input"})
    assert gk.prove(made, model)
    proto = made.materialize()
    branch = proto.graph.node[0].attribute[0].g
    branch.value_info[0].type.tensor_type.shape.dim[0].dim_value = 3
    wrong = Model(proto, {}, original=made.original, steps=made.history)
    proof = gk.prove(wrong, model, replay=False)
    assert (proof.verdict, "does not fit" in proof.laws[0].why) == ("broken", True), gk.text(proof)


def test_a_default_of_four_bits_is_left_alone_for_nothing_else_can_be_fed():
    text = """<ir_version: 10, opset_import: ["": 21]> g (float[3] x) => (float[3] y) <float scale = {0.5}> {
        d = DequantizeLinear(q, scale) y = Add(x, d)
    }"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.helper.make_tensor("q", onnx.TensorProto.INT4, [3], [1, -2, 3]))
    assert gk.prove(gk.promote(model, "q", keep_default=True), model)

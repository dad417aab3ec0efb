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

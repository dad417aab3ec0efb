"""Feeds and factors that a law is asked with, beyond plain random ones."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.model import Model

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'


def picture(operator="Relu"):
    text = f"""{HEAD} g (float[1, 3, 4, 4] image) => (float[1, 2] y) {{
        h = {operator}(image) c = Conv(h, w) p = GlobalAveragePool(c) f = Flatten(p) y = MatMul(f, v) }}"""
    model = onnx.parser.parse_model(text)
    random = np.random.default_rng(2)
    for name, shape in {"w": (4, 3, 2, 2), "v": (4, 2)}.items():
        array = random.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def test_a_fault_that_only_a_normalised_picture_shows_is_found():
    good = gk.opset(picture(), to=22)
    proto = good.copy_proto()
    proto.graph.node[0].op_type = "Abs"
    wrong = Model(proto, good.sources, original=good.original, steps=good.history)
    proof = gk.prove(wrong, picture(), replay=False)
    assert (proof.verdict, proof.laws[0].first) == ("broken", "h")


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("rename", ["before", "after", "not at all"])
@pytest.mark.parametrize("most", [0.5, 255.0])
def test_a_model_is_fed_what_lies_between_the_pictures_that_it_was_calibrated_with(most, rename, tmp_path):
    random = np.random.default_rng(0)
    feeds = [random.uniform(0, most, (1, 3, 4, 4)).astype(np.float32) for _ in range(3)]
    np.save(tmp_path / "one.npy", feeds[0])
    first = picture("Neg")
    model = gk.rename(first, values={"image": "x"}) if rename == "before" else first
    name = model.graph.input[0].name if model is first else "x"
    for given in (feeds, f"@{tmp_path / 'one.npy'}"):
        made = gk.precision(model, to="int8", feeds={name: given})
        made = gk.rename(made, values={"image": "x"}) if rename == "after" else made
        proof = gk.prove(made, first)
        assert proof, gk.text(proof)
        assert len(proof.laws) == 1


@pytest.mark.parametrize(
    "options",
    [{"relative": True}, {"relative": True, "semantics": "scales"}, {"form": "sizes"}, {"repair_shapes": True}],
)
@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
def test_nodes_that_had_other_factors_or_sizes_share_an_input(options):
    text = f"""{HEAD} g (float[1, 2, 6, 6] x) => (float[1, 2, 18, 12] y, float[1, 2, 12, 12] z)
        <float[4] s = {{1, 1, 2, 2}}, int64[4] t = {{1, 2, 18, 12}}> {{
        [one] z = Resize<mode = "nearest">(x, , s) [two] y = Resize<mode = "linear">(z, , , t) }}"""
    model = onnx.parser.parse_model(text)
    proof = gk.prove(gk.resize(model, **options), model)
    assert proof, gk.text(proof)


def declared(change):
    """A rename whose result declares an input otherwise."""
    model = onnx.parser.parse_model(f"{HEAD} g (float[n, 3] x) => (float[n, 3] y) {{ y = Tanh(x) }}")
    good = gk.rename(model, values={"x": "image"})
    proto = good.copy_proto()
    change(proto.graph.input[0].type.tensor_type)
    return gk.prove(Model(proto, good.sources, original=good.original, steps=good.history), model, replay=False)


def test_an_input_takes_the_sizes_the_rank_and_the_type_that_it_took():
    def fix(found):
        found.shape.dim[0].dim_value = 2

    def lengthen(found):
        found.shape.dim.add(dim_value=1)

    def retype(found):
        found.elem_type = onnx.TensorProto.DOUBLE

    for change, said in ((fix, "takes the size 2 only along axis 0"), (lengthen, "and was"), (retype, "and was")):
        proof = declared(change)
        assert (proof.verdict, said in proof.laws[0].why) == ("broken", True), gk.text(proof)
    assert declared(lambda found: None)


def test_sizes_and_types_that_a_step_was_to_change_are_no_fault():
    text = f"{HEAD} g (float[n, m] x, float[n, m] u) => (float[n, m] y) {{ y = Add(x, u) }}"
    model = onnx.parser.parse_model(text)
    for made in (
        gk.dims(model, {"n": 2}),
        gk.dims(model, {"x:1": 3}),
        gk.freeze(model, {"u": np.ones((2, 3), np.float32)}),
        gk.retype(model, {"x": "float16"}),
        gk.precision(model, to="float16"),
        gk.precision(gk.dims(gk.rename(model, values={"x": "image"}), {"n": 2}), to="float16", keep_io=True),
    ):
        assert gk.prove(made, model), gk.text(gk.prove(made, model))


def test_each_model_is_loaded_once(monkeypatch):
    from graphkit.verify.laws import side

    loaded = []
    right = side.PieceSession
    monkeypatch.setattr(side, "PieceSession", lambda *args, **options: loaded.append(args) or right(*args, **options))
    text = f"{HEAD} g (float[2, 3] x) => (float[2, 3] y) <float[3] b = {{1, 2, 3}}> {{ h = Mul(x, b) y = Tanh(h) }}"
    model = onnx.parser.parse_model(text)
    edits = {
        "rename": (gk.rename(model, values={"x": "image"}), 2),
        "dims": (gk.dims(model, {"x:0": "n"}), 2),  # whether the axis is a batch is asked of the session that is there
        "promote": (gk.promote(model, "b"), 3),  # before, before with other values, after
    }
    for edited, sessions in edits.values():
        loaded.clear()
        assert gk.prove(edited, model)
        assert len(loaded) == sessions

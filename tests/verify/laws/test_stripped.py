"""set: weights taken out and put back are proved with the original's weights; where they come from elsewhere, that is said."""

import numpy as np
import onnx
import pytest

import graphkit as gk


def full(scale=1):
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> g (float[4, 64] x) => (float[4, 48] y) { a = MatMul(x, w) y = Tanh(a) }'
    )
    array = np.random.default_rng(0).standard_normal((64, 48)).astype(np.float32) * np.float32(0.1 * scale)
    model.graph.initializer.append(onnx.numpy_helper.from_array(array, "w"))
    return model


@pytest.fixture
def folder(tmp_path):
    onnx.save(full(), tmp_path / "full.onnx")
    onnx.save(full(2), tmp_path / "tuned.onnx")
    gk.set_parts(tmp_path / "full.onnx", strip_weights=True).save(tmp_path / "stripped.onnx")
    return tmp_path


def changed(path):
    """A file whose Tanh somebody made a Sigmoid."""
    proto = onnx.load(path)
    proto.graph.node[1].op_type = "Sigmoid"
    onnx.save(proto, path)
    return path


def test_a_stripped_model_is_proved_with_the_weights_of_its_original(folder):
    renamed = gk.rename(folder / "stripped.onnx", values={"w": "weight", "x": "image"})
    renamed.save(folder / "renamed.onnx")
    for file in ("stripped.onnx", "renamed.onnx"):
        proof = gk.prove(folder / file)
        assert proof, gk.text(proof)
        assert "the original's weights" in " ".join(proof.laws[0].also)
    for file, step in (("stripped.onnx", "set_parts"), ("renamed.onnx", "rename")):
        law = gk.prove(changed(folder / file), replay=False).laws[-1]
        assert (law.verdict, law.steps, law.first) == ("broken", (step,), "y")


LATER = {
    "insert": {"at": "a", "function": "relu"},
    "remove": {"nodes": "last"},
    "rename": {"values": {"w": "weight"}, "prefix": "net/"},
    "set_parts": {"attributes": {"last:alpha": 2.0}},
    "extract": {"outputs": ["a"]},
}


@pytest.mark.parametrize("name", LATER)
def test_a_step_behind_the_one_that_took_weights_out_is_proved_with_the_weights_of_the_original(folder, name):
    model = full()
    model.graph.node[1].CopyFrom(onnx.helper.make_node("Elu", ["a"], ["y"], name="last"))
    onnx.save(model, folder / "full.onnx")
    gk.set_parts(folder / "full.onnx", strip_weights=True).save(folder / "stripped.onnx")
    edited = getattr(gk, name)(folder / "stripped.onnx", **LATER[name])
    gk.rename(edited, values={"x": "image"}).save(folder / "edited.onnx")
    for original in (None, folder / "full.onnx", folder / "stripped.onnx"):
        proof = gk.prove(folder / "edited.onnx", original)
        assert proof, gk.text(proof)
        assert proof.steps == ("set_parts", name, "rename")
        assert all("the original's weights" in " ".join(law.also) for law in proof.laws)
    (folder / "full.onnx").unlink()
    proof = gk.prove(folder / "edited.onnx", folder / "stripped.onnx")
    assert (proof.verdict, "has no values" in proof.laws[0].why) == ("unproved", True), gk.text(proof)


def test_weights_that_were_put_back_are_proved_to_be_those_of_the_original(folder):
    restored = gk.set_parts(folder / "stripped.onnx", restore_weights=folder / "full.onnx")
    restored.save(folder / "restored.onnx")
    gk.rename(restored, values={"x": "image"}).save(folder / "renamed.onnx")
    for file, steps in (("restored.onnx", 2), ("renamed.onnx", 3)):
        proof = gk.prove(folder / file)
        assert proof, gk.text(proof)
        assert len(proof.laws[0].steps) == steps
    proof = gk.prove(changed(folder / "restored.onnx"))
    assert (proof.verdict, proof.replayed.verdict) == ("broken", "broken")


def test_weights_that_came_from_another_model_are_not_proved_and_that_is_said(folder):
    gk.set_parts(folder / "stripped.onnx", restore_weights=folder / "tuned.onnx").save(folder / "restored.onnx")
    proof = gk.prove(folder / "restored.onnx")
    assert proof.verdict == "unproved"
    assert "another model than" in proof.replayed.why
    assert "'w' is another" in proof.replayed.why


def test_weights_that_were_put_into_a_file_without_a_history_are_proved_against_the_model_that_has_them(folder):
    gk.set_parts(folder / "full.onnx", strip_weights=True).save(folder / "bare.onnx", history=False)
    gk.set_parts(folder / "bare.onnx", restore_weights=folder / "full.onnx").save(folder / "restored.onnx")
    assert gk.prove(folder / "restored.onnx", folder / "full.onnx")
    proof = gk.prove(folder / "restored.onnx")
    assert (proof.verdict, "not from the original" in proof.replayed.why) == ("unproved", True), gk.text(proof)


@pytest.mark.parametrize("together", [True, False])
def test_weights_that_were_taken_out_and_stood_in_for_are_what_was_asked_for(folder, together):
    source = folder / ("full.onnx" if together else "stripped.onnx")
    filled = gk.set_parts(source, strip_weights=together, fill_weights="random")
    filled.save(folder / "filled.onnx")
    assert gk.prove(folder / "filled.onnx")
    assert gk.prove(changed(folder / "filled.onnx"), replay=False).verdict == "broken"


def test_a_weight_goes_and_comes_back_byte_for_byte(folder):
    restored = gk.set_parts(folder / "stripped.onnx", restore_weights=folder / "full.onnx")
    assert restored.without_record().materialize() == onnx.load(folder / "full.onnx")

"""merge and split: interfaces, declared shapes and inner values are asked as those of any other operation are."""

import dataclasses

import onnx
import pytest

import graphkit as gk
from graphkit.model import Model


def text(source):
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {source}')


ONE = "g (float[n, 3] x) => (float[n, 3] y, float[n, 3] k) { h = Sin(x) y = Relu(h) k = Neg(x) }"
TWO = "g (float[n, 3] u, float[3] w) => (float[n, 3] v, float[3] t) <float[3] w = {1, 2, 3}> { h = Mul(u, w) v = Exp(h) t = Abs(w) }"


def merged(**options):
    models = {"one": text(ONE), "two": text(TWO)}
    return models, gk.merge(models, connect={"one:y": "two:u"}, **options)


def changed(model, change):
    proto = model.copy_proto()
    change(proto)
    return Model(proto, model.sources, original=model.original, steps=model.history)


def node_named(proto, operator):
    return next(node for node in proto.graph.node if node.op_type == operator)


def outputs_exchanged(proto):
    first, second = proto.graph.output[0], proto.graph.output[1]
    first.name, second.name = second.name, first.name


def another_default(proto):
    tensor = proto.graph.initializer[0]
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 2, tensor.name))


DAMAGES = {
    "an output is gone": (lambda proto: proto.graph.output.pop(), "the outputs are"),
    "an output more": (lambda proto: proto.graph.output.add(name="x"), "the outputs are"),
    "outputs in another order": (outputs_exchanged, "the outputs are"),
    "a stale shape": (lambda proto: setattr(proto.graph.output[1].type.tensor_type.shape.dim[1], "dim_value", 7), "declared"),
    "another edge": (lambda proto: node_named(proto, "Relu").input.__setitem__(0, "x"), "'y' differs|'v' differs"),
    "another default": (another_default, "differs"),
}  # fmt: skip


@pytest.mark.parametrize("prefix", [False, True])
def test_models_one_after_the_other_are_the_merged_one_at_several_sizes(prefix):
    models, model = merged(prefix=prefix)
    proof = gk.prove(model, models)
    assert proof, gk.text(proof)
    assert {"x=2x3", "x=4x3", "x=2x3, w=3"} <= set(proof.laws[0].sizes)


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_to_a_merged_model_is_refused(what):
    change, said = DAMAGES[what]
    models, model = merged()
    proof = gk.prove(changed(model, change), models)
    assert proof.verdict == "broken", gk.text(proof)
    assert any(each in proof.laws[0].why for each in said.split("|")), gk.text(proof)


def test_the_first_value_of_a_merged_model_that_differs_is_named():
    models, model = merged()
    proof = gk.prove(changed(model, lambda proto: setattr(node_named(proto, "Sin"), "op_type", "Cos")), models)
    assert (proof.verdict, proof.laws[0].first) == ("broken", "h"), gk.text(proof)


def test_a_shape_that_a_model_declares_wrongly_is_no_fault_of_merge():
    models = {"one": text(ONE), "two": text(TWO)}
    models["one"].graph.value_info.append(onnx.helper.make_tensor_value_info("h", 1, ["n", 4]))
    assert gk.prove(gk.merge(models, connect={"one:y": "two:u"}), models)


def test_nothing_but_nan_proves_no_merge():
    nan = text("g (float[2] x) => (float[2] y) { z = Sub(x, x) y = Div(z, z) }")
    models = {"one": nan, "two": text("g (float[2] u) => (float[2] v) { v = Neg(u) }")}
    proof = gk.prove(gk.merge(models, connect={"one:y": "two:u"}), models)
    assert (proof.verdict, "nothing but NaN" in proof.laws[0].why) == ("unproved", True), gk.text(proof)


STEPS = {
    "rename": {"values": {"v": "scores", "x": "image"}},
    "retype": {"io": {"x": "float16"}},
    "freeze": {"values": {"x": [[1, 2, 3]]}},
    "dims": {"values": {"x:0": 3}},
    "extract": {"inputs": ["y"], "outputs": ["t", "v"]},
    "insert": {"at": "v", "function": "relu"},
    "precision": {"to": "float16"},
}


def saved(folder, name="rename", **arguments):
    """The models' files and, beside them, their merge with a step behind it."""
    for part, source in (("one", ONE), ("two", TWO)):
        onnx.save(text(source), folder / f"{part}.onnx")
    model = gk.merge([folder / "one.onnx", folder / "two.onnx"], connect={"one:y": "two:u"})
    getattr(gk, name)(model, **(arguments or STEPS[name])).save(folder / "edited.onnx")
    return folder / "edited.onnx"


@pytest.mark.parametrize("name", STEPS)
def test_steps_behind_a_merge_are_proved_against_the_models_that_were_merged(tmp_path, name):
    edited = saved(tmp_path, name)
    files = [tmp_path / "two.onnx", tmp_path / "one.onnx"]
    for models in (None, files, {"one": files[1], "two": files[0]}):
        proof = gk.prove(edited, models)
        assert proof, gk.text(proof)
        assert (proof.steps, proof.original) == (("merge", name), "one, two")
    changed(gk.load(edited), another_default).save(edited)
    proof = gk.prove(edited)
    assert (proof.verdict, proof.replayed.verdict) == ("broken", "broken"), gk.text(proof)


def test_a_merged_file_that_somebody_changed_is_not_what_the_merge_makes(tmp_path):
    models, model = merged()
    proof = gk.prove(changed(model, lambda proto: setattr(proto.graph, "doc_string", "mine")), models)
    assert (proof.verdict, proof.replayed.verdict, proof.laws[0].verdict) == ("broken", "broken", "proved")


def test_the_step_behind_a_merge_that_breaks_its_law_is_named(tmp_path):
    edited = saved(tmp_path)
    changed(gk.load(edited), lambda proto: setattr(node_named(proto, "Exp"), "op_type", "Sqrt")).save(edited)
    proof = gk.prove(edited, replay=False)
    assert [(law.steps, law.verdict) for law in proof.laws] == [(("merge",), "proved"), (("rename",), "broken")]
    assert proof.laws[1].first == "scores"


def test_models_that_are_not_those_that_were_merged_are_refused(tmp_path):
    edited = saved(tmp_path)
    onnx.save(text(TWO.replace("Exp", "Tanh")), tmp_path / "other.onnx")
    for models, said in (
        ([tmp_path / "one.onnx"], "the model 'two' \\(two.onnx\\) that was merged is not at hand"),
        (tmp_path / "one.onnx", "the model 'two' \\(two.onnx\\) that was merged is not at hand"),
        ({"one": tmp_path / "one.onnx", "two": tmp_path / "other.onnx"}, "another model than the one that was merged as 'two'"),
        ([tmp_path / name for name in ("one.onnx", "two.onnx", "other.onnx")], "other.onnx is none of the models"),
    ):  # fmt: skip
        with pytest.raises(gk.GraphkitError, match=said):
            gk.prove(edited, models)
    renamed = gk.rename(tmp_path / "one.onnx", values={"x": "image"})
    with pytest.raises(gk.GraphkitError, match="does not begin with a merge"):
        gk.prove(renamed, [tmp_path / "one.onnx", tmp_path / "two.onnx"])


def test_a_merged_model_that_hands_a_cache_on_can_be_asked_for_that(tmp_path):
    proof = gk.prove(saved(tmp_path, values={"x": "image"}), state={"v": "image"})
    assert [law.law for law in proof.laws] == ["joined + same", "cached"]


WHOLE = """g (float[n, 3] x, float[n, 3] k) => (float[n, 3] y, float[n, 3] z) {
  a = Sin(x) b = Mul(a, k) c = Neg(b) z = Abs(a) y = Exp(c) }"""

STAGES = {
    "an operator": (lambda proto: setattr(proto.graph.node[0], "op_type", "Cos"), "differs"),
    "an output is gone": (lambda proto: proto.graph.output.pop(0), "no earlier stage makes"),
    "an output of the whole is gone": (lambda proto: proto.graph.output.pop(), "no stage gives"),
    "a stale shape": (lambda proto: setattr(proto.graph.output[0].type.tensor_type.shape.dim[1], "dim_value", 7), "declared"),
}  # fmt: skip


@pytest.mark.parametrize("what", STAGES)
def test_damage_to_a_stage_is_refused_and_the_stage_is_named(what):
    change, said = STAGES[what]
    whole = text(WHOLE)
    parts = gk.split(whole, at=["b"])
    assert gk.prove(parts, whole)
    first = 1 if what == "an output of the whole is gone" else 0
    models = [changed(model, change) if number == first else model for number, model in enumerate(parts.models)]
    proof = gk.prove(dataclasses.replace(parts, models=tuple(models)), whole)
    assert (proof.verdict, said in proof.laws[0].why) == ("broken", True), gk.text(proof)


def test_a_stage_with_a_step_behind_it_is_proved_against_the_whole(tmp_path):
    onnx.save(text(WHOLE), tmp_path / "whole.onnx")
    gk.split(tmp_path / "whole.onnx", at=["b"]).save(tmp_path / "parts")
    for number, output in ((0, "b"), (1, "y")):
        edited = tmp_path / "parts" / "edited.onnx"
        gk.rename(tmp_path / "parts" / f"stage{number}.onnx", values={output: "made"}).save(edited)
        proof = gk.prove(edited, tmp_path / "whole.onnx")
        assert (proof.verdict, proof.steps) == ("proved", ("extract", "rename")), gk.text(proof)

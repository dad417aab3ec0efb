"""gk.diff says of every operation what it did, and which step did it."""

import onnx
import pytest

import graphkit as gk
from graphkit.operation import operations
from operation_nets import net
from test_replay import cases

SAID = {
    "define": ["function mine::Twice: (a) -> b, 1 node"],
    "dims": ["input x: float32[1,3,8,8] -> float32[batch,3,h,8]", "flat (Reshape): input 1: target -> target_1"],
    "extract": ["- Conv 'conv'(x, w, b) {pads=[1, 1, 1, 1]} -> c", "+ output r: float32[1,3,8,8]"],
    "freeze": ["- input t: float32[2]", "+ u: float32[2] [3, inf]"],
    "image": ["+ Cast"],
    "inline": ["- function mine::Twice", "operator mine::Twice -> Add"],
    "insert": ["relu (Relu): input 0: c -> c_b", "+ Abs 'body_Abs'(c) -> c_b"],
    "layout": ["input x: float32[1,3,8,8] -> float32[1,8,8,3]", "not from Resize 'up'", "{perm=[0, 3, 1, 2]}"],
    "opset": ["opset ai.onnx: ai.onnx 18 -> ai.onnx 20"],
    "outline": ["+ function mine::"],
    "precision": ["w: float32[3,3,3,3] -> float16[3,3,3,3]; 81 of 81 numbers moved", "ConvInteger", "-> bfloat16["],
    "promote": ["+ input bias: float32[3]", "= weight b -> bias", "- b: float32[3] [1, 2, 3]"],
    "remove": ["- Relu 'relu'(c) -> r", "up (Resize): input 0: r -> c", "- input t"],
    "rename": ["= input x -> image", "= node conv -> first", "= weight scales -> net/scales", "equal but for names"],
    "reorder": ["> input x: input 0 -> input 1", "> output y: output 0 -> output 1"],
    "replace": ["relu (Abs): operator Relu -> Abs", "double (Mul): operator Add -> Mul; input 1: t -> w_1"],
    "resize": ["+ input f: float32[4]", "up (Resize): input 2: scales -> resize_scales"],
    "retype": ["input x: float32[1,3,8,8] -> uint8[1,3,8,8]", "+ Cast 'x_cast_Cast'(x) {to=1} -> x_cast"],
    "rewrite": ["(Sigmoid): operator Relu -> Sigmoid"],
    "simplify": ["- flat: int64[2] [3, 256]"],
    "set_parts": [
        "conv (Conv): pads: [1, 1, 1, 1] -> [0, 0, 0, 0]",
        "b: float32[3] [1, 2, 3] -> float32[3] [3, 2, 1]; 2 of 3 numbers moved, by 2 at most",
        "c: not declared -> float32[1,3,8,8]",
        "+ metadata a: b",
        "model ir_version: IR 10 -> IR 9",
    ],
    "tap": ["- output y", "+ output c: float32[1,3,8,8]"],
}
"""Operation -> what the differences of its cases say, taken together."""


def bare(model):
    proto = onnx.ModelProto()
    proto.CopyFrom(model.materialize())
    kept = [entry for entry in proto.metadata_props if entry.key != "graphkit.history"]
    del proto.metadata_props[:]
    proto.metadata_props.extend(kept)
    return proto.SerializeToString(deterministic=True)


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("name", sorted(set(operations()) - {"edit"}))
def test_the_difference_that_an_operation_makes_is_said_and_is_that_steps(name):
    texts = []
    for _, text, arguments in (case for case in cases() if case[0] == name):
        before = net(text)
        after = getattr(gk, name)(before, **arguments)
        found = gk.diff(before, after)
        said = gk.text(found)
        texts.append(" ".join(said.split()))
        assert found.equal == (bare(after) == bare(gk.Model(before))), said
        assert max(map(len, said.splitlines())) <= 80
        changes = [change for changes in found.lists.values() for change in changes]
        assert {step for change in changes for step in change.steps} == ({f"1 {name}"} if changes else set())
        assert [change for change in changes if not change.steps] == []
        assert not any(gk.diff(before, before).lists.values())
        back = gk.diff(after, before)
        assert (len(back.added), len(back.removed)) == (len(found.removed), len(found.added)), said
    missing = [wanted for wanted in SAID.get(name, []) if not any(wanted in text for text in texts)]
    assert missing == [], "\n".join(texts)


def test_each_of_several_steps_has_its_own_differences(tmp_path):
    onnx.save(net(), tmp_path / "a.onnx")
    renamed = gk.rename(tmp_path / "a.onnx", values={"x": "image"})
    inserted = gk.insert(renamed, at="r", function="(a) => (b) { b = Abs(a) }")
    gk.set_parts(inserted, attributes={"conv:pads": [0, 0, 0, 0]}).save(tmp_path / "b.onnx")
    found = gk.diff(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert [step.step for step in found.steps] == ["1 rename", "2 insert", "3 set_parts"]
    by_name = {(change.kind, change.name): change.steps for changes in found.lists.values() for change in changes}
    assert by_name["input", "image"] == ("1 rename",)
    assert by_name["node", "up"] == ("2 insert",)
    assert by_name["node", "conv"] == ("3 set_parts",)
    assert "(step 3 set_parts)" in gk.text(found)


def test_from_the_middle_of_a_history_only_the_later_steps_are_said():
    one = gk.rename(net(), values={"x": "image"})
    two = gk.tap(one, "c")
    assert [step.step for step in gk.diff(one, two).steps] == ["2 tap"]


def test_steps_that_go_on_from_an_export_are_said(tmp_path):
    made = gk.Step("export", {"module": "Net"}, obstacle="it was made from a torch module")
    gk.Model(net(), steps=(made,)).save(tmp_path / "a.onnx")
    gk.tap(gk.rename(tmp_path / "a.onnx", values={"x": "image"}), "c").save(tmp_path / "b.onnx")
    found = gk.diff(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert [step.step for step in found.steps] == ["2 rename", "3 tap"]
    assert found.notes == ()


def test_where_the_first_is_not_the_original_it_is_said(tmp_path):
    onnx.save(net(), tmp_path / "first.onnx")
    other = net()
    other.graph.node[1].op_type = "Abs"
    edited = gk.rename(tmp_path / "first.onnx", values={"x": "image"})
    found = gk.diff(other, edited)
    assert found.steps == ()
    assert "first.onnx" in found.notes[0]
    assert gk.diff(other, edited, steps=False).notes == ()


def test_a_step_that_cannot_be_replayed_is_named():
    before = gk.Model(net())
    renamed = gk.rename(before, values={"x": "image"})
    opaque = renamed.after(gk.Step("tap", {}, obstacle="it was lost"), gk.tap(renamed, "c").proto)
    found = gk.diff(before, opaque)
    assert [step.step for step in found.steps] == ["1 rename"]
    assert "step 2" in found.notes[0]
    assert "it was lost" in found.notes[0]

"""repaired: what was opened with faults loads now, and is the same model but for them."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.model import Model

UNSORTED = """<ir_version: 10, opset_import: ["" : 18]> g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}> {
  [choose] y = If(c) <then_branch = t () => (float[2] p) { [late] p = Neg(q) [early] q = Mul(h, w) },
                      else_branch = e () => (float[2] v) { v = Neg(x) }>
  [before] h = Exp(x) }"""


def saved(tmp_path, text=UNSORTED, change=lambda model: None):
    model = onnx.parser.parse_model(text)
    change(model)
    (tmp_path / "broken.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "broken.onnx"


def test_nodes_that_were_in_no_order_are_sorted_and_nothing_else_changed(tmp_path):
    path = saved(tmp_path)
    gk.reorder(path, sort=True).save(tmp_path / "out.onnx")
    held = gk.prove(tmp_path / "out.onnx").laws[0]
    assert (held.verdict, held.law, held.runs) == ("proved", "repaired", 0)
    renamed = gk.rename(gk.reorder(path, sort=True), values={"h": "hidden"}, prefix="p/")
    assert gk.prove(renamed, path), gk.text(gk.prove(renamed, path))


def weight(proto):
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float32([1, 2.5]), "w"))


def operator(proto):
    next(node for node in proto.graph.node if node.name == "before").op_type = "Abs"


def operator_of_a_branch(proto):
    branch = next(node for node in proto.graph.node if node.name == "choose").attribute[0].g
    next(node for node in branch.node if node.name == "late").op_type = "Abs"


def declared(proto):
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 3


@pytest.mark.parametrize("damage", [weight, operator, operator_of_a_branch, declared])
def test_whatever_else_changed_breaks_the_law(tmp_path, damage):
    path = saved(tmp_path)
    model = gk.reorder(path, sort=True)
    proto = model.materialize()
    damage(proto)
    proof = gk.prove(Model(proto, {}, original=model.original, steps=model.history), path, replay=False)
    assert (proof.verdict, proof.laws[0].law) == ("broken", "repaired"), gk.text(proof)


def test_a_weight_of_too_few_bytes_is_repaired_by_other_values(tmp_path):
    text = '<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Mul(x, w) }'
    short = onnx.TensorProto(name="w", data_type=1, dims=[2], raw_data=bytes(4))
    path = saved(tmp_path, text, lambda model: model.graph.initializer.append(short))
    with pytest.raises(gk.TensorError):
        gk.load(path)
    gk.set_parts(gk.load(path, strict=False), tensors={"w": np.float32([3, 4])}).save(tmp_path / "out.onnx")
    proof = gk.prove(tmp_path / "out.onnx")
    assert proof, gk.text(proof)
    assert proof.laws[0].runs > 1


def test_an_opset_that_was_missing_is_set(tmp_path):
    text = '<ir_version: 10, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Neg(x) }'
    path = saved(tmp_path, text, lambda model: model.ClearField("opset_import"))
    gk.set_parts(gk.load(path, strict=False), opset_import={"ai.onnx": 18}).save(tmp_path / "out.onnx")
    proof = gk.prove(tmp_path / "out.onnx")
    assert proof, gk.text(proof)


def test_a_file_that_is_not_the_one_that_was_edited_is_refused_for_its_faults(tmp_path):
    path = saved(tmp_path)
    gk.reorder(path, sort=True).save(tmp_path / "out.onnx")
    short = onnx.TensorProto(name="s", data_type=1, dims=[2], raw_data=bytes(4))
    saved(tmp_path, change=lambda model: model.graph.initializer.append(short))
    with pytest.raises(gk.TensorError):
        gk.prove(tmp_path / "out.onnx")

"""Scripts and passes that speak onnx-ir: what they do not touch comes back bit for bit."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, IdentityEliminationPass, RemoveUnusedNodesPass

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

X = np.arange(-4, 4, dtype=np.float32).reshape(2, 4)


def net():
    model = parse(
        "g (float[n,4] x, bool c) => (float[n,4] y) <float[4] only = {9, 8, 7, 6}> { a = Add(x, w) [mine] b = If(c) <"
        "then_branch = t () => (float[n,4] tb) { tb = Mul(a, only) }, else_branch = e () => (float[n,4] eb) { eb = loc.F(a) }> y = Relu(b) }",
        imports='"loc" : 1',
        functions='<domain: "loc", opset_import: ["" : 18]> F (p) => (q) { q = Neg(p) }',
        w=[1, 2, 3, 4],
    )
    model.metadata_props.add(key="owner", value="us")
    model.graph.node[0].doc_string = "adds"
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("a", 1, ["n", 4]))
    model.graph.quantization_annotation.add(tensor_name="a").quant_parameter_tensor_names.add(
        key="SCALE_TENSOR", value="w"
    )
    training = model.training_info.add()
    training.algorithm.name = "step"
    return model


def feeds(c):
    return {"x": X, "c": np.array(c)}


def test_a_model_that_was_not_touched_comes_back_the_same():
    model = net()
    made = gk.to_onnx_ir(model)
    assert gk.from_onnx_ir(made, like=model).proto == model
    model.graph.node[0].ClearField("name")
    assert gk.from_onnx_ir(gk.to_onnx_ir(model), like=model).proto == model


def test_what_a_script_changes_is_the_only_change():
    model = net()
    made = gk.to_onnx_ir(model)
    add = made.graph.node(0)
    add.metadata_props["seen"] = "yes"
    relu = made.graph.node(2)
    relu.op_type = "Neg"
    edited = gk.from_onnx_ir(made, like=model)
    expected = net()
    expected.graph.node[0].metadata_props.add(key="seen", value="yes")
    expected.graph.node[2].op_type = "Neg"
    assert edited.proto.graph.node[0] == expected.graph.node[0]
    assert edited.proto.graph.node[1] == expected.graph.node[1]
    assert edited.proto.training_info == expected.training_info
    assert edited.proto.graph.quantization_annotation == expected.graph.quantization_annotation
    del edited.proto.graph.node[:], expected.graph.node[:]
    assert edited.proto == expected


def test_an_edit_is_a_step_that_replays():
    model = gk.rename(net(), values={"y": "out"})
    with model.edit("onnx-ir") as edit:
        graph = edit.ir.graph
        value = ir.val("h", dtype=ir.DataType.FLOAT, shape=ir.Shape(["n", 4]))
        node = ir.node("Exp", [graph.inputs[0]], outputs=[value])
        graph.insert_before(graph.node(0), node)
        graph.node(1).replace_input_with(0, value)
    after = edit.model
    assert [step.operation for step in after.history] == ["rename", "edit"]
    for c in (True, False):
        assert_same(run_ort(after, feeds(c)), run_ort(model, {"x": np.exp(X), "c": np.array(c)}))
    assert gk.replay(after, net()).proto == after.proto
    assert gk.prove(after, net())


def test_passes_of_onnx_ir_run_on_it():
    model = parse(
        "g (float[2] x) => (float[2] y) { a = Identity(x) b = Neg(a) c = Neg(a) dead = Exp(a) y = Mul(b, c) }"
    )
    with gk.Model(model).edit("onnx-ir") as edit:
        for one in (IdentityEliminationPass(), CommonSubexpressionEliminationPass(), RemoveUnusedNodesPass()):
            one(edit.ir)
    assert [node.op_type for node in edit.model.nodes] == ["Neg", "Mul"]
    x = np.float32([1, -2])
    assert_same(run_ort(edit.model, {"x": x}), run_ort(model, {"x": x}))


@pytest.mark.parametrize("external", [None, "m.data"])
def test_weights_are_read_where_they_lie_and_only_when_asked_for(tmp_path, external, monkeypatch):
    model = parse(
        "g (float[2,3] x) => (float[2,20000] y) { h = MatMul(x, w) y = Add(h, b) }",
        w=np.ones((3, 20000)),
        b=np.arange(20000),
    )
    gk.save(model, tmp_path / "m.onnx", external=external)
    loaded = gk.load(tmp_path / "m.onnx")
    asked = []
    kept = gk.Model.array_of
    monkeypatch.setattr(gk.Model, "array_of", lambda self, tensor: asked.append(tensor.name) or kept(self, tensor))
    with loaded.edit("onnx-ir") as edit:
        bias = edit.ir.graph.initializers["b"]
        assert bias.const_value.numpy()[:3].tolist() == [0, 1, 2]
        assert len(bias.const_value.tobytes()) == 80000
        bias.const_value = ir.tensor(np.asarray(bias.const_value) * 2, name="b")
    assert set(asked) == {"b"}
    x = np.float32([[1, 2, 3], [4, 5, 6]])
    edit.model.save(tmp_path / "out.onnx")
    expected = x @ np.ones((3, 20000), np.float32) + 2 * np.arange(20000, dtype=np.float32)
    assert_same(run_ort(tmp_path / "out.onnx", {"x": x}), {"y": expected})
    assert edit.model.proto.graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL


def test_what_onnx_ir_cannot_hold_is_refused():
    model = net()
    sparse = onnx.helper.make_sparse_tensor(
        onnx.helper.make_tensor("s", 1, [1], [2.0]), onnx.helper.make_tensor("i", 7, [1], [1]), [4]
    )
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(gk.EditError, match="sparse initializers"):
        gk.to_onnx_ir(model)
    with pytest.raises(ValueError, match="'onnx-ir'"):
        gk.Model(net()).edit("ir")


BEFORE_IR_10 = """<ir_version: 9, opset_import: ["": 17, "my": 1]>
g (float[2] x) => (float[2] y) { y = my.f(x) }
<domain: "my", opset_import: ["": 17]>
f (i) => (o) { a = Neg(i) b = Abs(a) o = Neg(b) }"""


def test_what_is_known_of_a_functions_values_stays_in_its_older_place_too():
    model = onnx.parser.parse_model(BEFORE_IR_10)
    for name in ("a", "b"):
        model.graph.value_info.add(name=f"my::f/{name}", doc_string=name).type.CopyFrom(
            onnx.helper.make_tensor_type_proto(1, [2])
        )
    assert gk.from_onnx_ir(gk.to_onnx_ir(model), like=model).proto == model
    with gk.load(model).edit("onnx-ir") as edit:
        inner = next(iter(edit.ir.functions.values()))
        last = inner.graph.node(2)
        last.replace_input_with(0, inner.graph.node(0).outputs[0])
        inner.graph.remove(inner.graph.node(1), safe=True)
    assert list(edit.model.proto.graph.value_info) == [model.graph.value_info[0]]
    x = np.array([1, -2], np.float32)
    assert_same(run_ort(edit.model, {"x": x}), {"y": x})

"""Scripts that speak onnx-graphsurgeon: what they do not touch comes back bit for bit."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import helper

import graphkit as gk
from graphkit.storage.source import LocalFile
from oracle import assert_same, run_ort, run_reference

RICH = """
<ir_version: 10, opset_import: ["": 20, "loc": 1], producer_name: "tests", doc_string: "a model">
g (float[n, 4] x, bool c) => (float[n, 4] y) <float[4] w = {1, 2, 3, 4}, float[4] only_in_body = {9, 8, 7, 6}, float[1] unused = {0}> {
    a = Add(x, w)
    b = If (c) <
        then_branch = t () => (float[n, 4] tb) { tb = Mul(a, only_in_body) },
        else_branch = e () => (float[n, 4] eb) { z = Relu(only_in_body)  v = loc.F(a)  eb = Add(v, z) }
    >
    y = Relu(b)
}
<domain: "loc", opset_import: ["": 20]> F (p) => (q) { q = Neg(p) }
"""
X = np.arange(-4, 4, dtype=np.float32).reshape(2, 4)


def rich():
    model = onnx.parser.parse_model(RICH)
    model.metadata_props.add(key="owner", value="us")
    model.graph.metadata_props.add(key="stage", value="3")
    for node in (*model.graph.node, *model.graph.node[1].attribute[0].g.node):
        node.doc_string = f"makes {node.output[0]}"
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', '{node.output[0]}']")
    model.graph.initializer[0].doc_string = "a weight"
    model.graph.value_info.append(helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, ["n", 4]))
    model.graph.value_info[0].metadata_props.add(key="k", value="v")
    model.graph.quantization_annotation.add(tensor_name="a").quant_parameter_tensor_names.add(
        key="SCALE_TENSOR", value="unused"
    )
    overload = model.functions.add()
    overload.CopyFrom(model.functions[0])
    overload.overload = "twice"
    overload.node[0].op_type = "Abs"
    return model


def back(graph, like):
    edited = gk.from_graphsurgeon(graph, like=like)
    onnx.checker.check_model(edited.materialize(), full_check=True)
    return edited


def feeds(c):
    return {"x": X, "c": np.array(c)}


def test_a_graph_that_was_not_touched_comes_back_the_same():
    model = rich()
    assert back(gk.to_graphsurgeon(model), model).proto == model


def test_also_a_graph_that_gs_imported_itself_and_sorted_and_cleaned():
    model = rich()
    del model.functions[:]  # gs' own toposort recurses without end where a body calls a function
    model.graph.node[1].attribute[1].g.node[1].op_type = "Neg"
    model.graph.node[1].attribute[1].g.node[1].domain = ""
    graph = gs.import_onnx(model).toposort().cleanup()
    assert back(graph, model).proto == model


def test_one_changed_node_is_the_only_change():
    model = rich()
    graph = gk.to_graphsurgeon(model)
    graph.nodes[2].op = "Sigmoid"
    edited = back(graph, model)
    expected = rich()
    expected.graph.node[2].op_type = "Sigmoid"
    # Another operator is another node; what described the old one does not describe it.
    expected.graph.node[2].ClearField("doc_string")
    expected.graph.node[2].ClearField("metadata_props")
    got = onnx.ModelProto()
    got.CopyFrom(edited.proto)
    assert onnx.printer.to_text(got.graph) == onnx.printer.to_text(expected.graph)
    assert got.functions == expected.functions
    assert got.graph.node[1] == expected.graph.node[1]
    for c in (True, False):
        assert_same(run_reference(got, feeds(c)), run_reference(expected, feeds(c)), rtol=0, atol=0)


def test_a_change_inside_of_a_body_keeps_captured_weights_outside():
    model = rich()
    graph = gk.to_graphsurgeon(model)
    graph.nodes[1].attrs["else_branch"].nodes[0].op = "Abs"
    edited = back(graph, model)
    bodies = [a.g for a in edited.proto.graph.node[1].attribute]
    assert [len(b.initializer) for b in bodies] == [0, 0]
    assert [t.name for t in edited.proto.graph.initializer] == ["w", "only_in_body", "unused"]
    assert edited.proto.graph.node[1].doc_string == "makes b"
    assert bodies[0] == model.graph.node[1].attribute[0].g
    model.graph.node[1].attribute[1].g.node[0].op_type = "Abs"
    for c in (True, False):
        assert_same(run_reference(edited, feeds(c)), run_reference(model, feeds(c)), rtol=0, atol=0)


def test_values_that_are_changed_are_the_ones_that_run():
    model = rich()
    graph = gk.to_graphsurgeon(model)
    graph.tensors()["w"].values = np.full(4, 10, np.float32)
    edited = back(graph, model)
    assert edited.array("w").tolist() == [10, 10, 10, 10]
    assert edited.tensor("w").doc_string == "a weight"
    expected = np.maximum((X + 10) * np.array([9, 8, 7, 6], np.float32), 0)
    assert_same(run_reference(edited, feeds(True)), {"y": expected}, rtol=0, atol=0)


@pytest.fixture
def big(tmp_path):
    """A model whose two weights lie in the file: 64 KiB and 256 KiB."""
    rng = np.random.default_rng(0)
    weights = {"small": rng.standard_normal((128, 128)), "large": rng.standard_normal((256, 256))}
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "small"], ["a"]), helper.make_node("MatMul", ["z", "large"], ["b"])],
            "g",
            [
                helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 128]),
                helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["n", 256]),
            ],
            [
                helper.make_tensor_value_info("a", onnx.TensorProto.FLOAT, ["n", 128]),
                helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, ["n", 256]),
            ],
            [onnx.numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
        ),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20)],
    )
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_weights_are_read_only_when_asked_for(big, monkeypatch):
    read = []
    view = LocalFile.view
    monkeypatch.setattr(LocalFile, "view", lambda self, at, length: read.append(length) or view(self, at, length))
    graph = gk.to_graphsurgeon(big)
    assert read == []
    values = graph.tensors()["small"].values
    assert read == [128 * 128 * 4]
    expected = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(big).graph.initializer}
    assert np.array_equal(values, expected["small"])
    values[0, 0] += 1
    edited = gk.from_graphsurgeon(graph, like=big)
    assert 256 * 256 * 4 not in read
    gk.save(edited, big.parent / "out.onnx")
    x = {"x": np.ones((1, 128), np.float32), "z": np.ones((1, 256), np.float32)}
    got = run_ort(big.parent / "out.onnx", x)
    expected["small"] = expected["small"].copy()
    expected["small"][0, 0] += 1
    assert_same(got, {"a": x["x"] @ expected["small"], "b": x["z"] @ expected["large"]}, rtol=1e-4, atol=1e-4)


def test_values_that_were_only_looked_at_stay_references(big):
    graph = gk.to_graphsurgeon(big)
    assert graph.tensors()["large"].values.shape == (256, 256)
    edited = gk.from_graphsurgeon(graph, like=big)
    assert edited.proto == gk.load(big).proto


def test_a_script_that_inserts_removes_and_cuts():
    model = rich()
    graph = gk.to_graphsurgeon(model)
    tensors = graph.tensors()
    graph.outputs = [tensors["a"]]
    doubled = gs.Variable("doubled", np.float32, ["n", 4])
    graph.nodes.append(
        gs.Node("Mul", inputs=[tensors["a"], gs.Constant("two", np.array(2, np.float32))], outputs=[doubled])
    )
    graph.outputs.append(doubled)
    graph.cleanup().toposort()
    edited = back(graph, model)
    assert [n.op_type for n in edited.proto.graph.node] == ["Add", "Mul"]
    assert edited.proto.graph.node[0] == model.graph.node[0]
    assert [t.name for t in edited.proto.graph.initializer] == ["w", "unused", "two"]
    assert edited.proto.metadata_props == model.metadata_props
    a = X + np.array([1, 2, 3, 4], np.float32)
    assert_same(run_reference(edited, {"x": X, "c": np.array(True)}), {"a": a, "doubled": 2 * a}, rtol=0, atol=0)


def test_defaults_of_inputs_and_types_that_gs_cannot_say_survive():
    model = onnx.parser.parse_model(
        """
        <ir_version: 10, opset_import: ["": 18]>
        g (float[4] k, optional(float[4]) o, float[4] x) => (seq(float[4]) s, bool h) <float[4] k = {1, 2, 3, 4}> {
            a = Add(x, k)
            s = SequenceConstruct(a, x)
            h = OptionalHasElement(o)
            }
        """
    )
    # onnx's text form lists an initializer that is an input in both places already.
    graph = gk.to_graphsurgeon(model)
    edited = gk.from_graphsurgeon(graph, like=model)
    assert edited.proto == model


def test_what_gs_cannot_import_is_said(tmp_path):
    with pytest.raises(gk.ModelFileError):
        gk.to_graphsurgeon(tmp_path / "nothing.onnx")


def test_a_new_output_without_a_type_is_refused():
    model = rich()
    graph = gk.to_graphsurgeon(model)
    graph.outputs.append(gs.Variable("fresh"))
    graph.nodes.append(gs.Node("Relu", inputs=[graph.tensors()["a"]], outputs=[graph.outputs[-1]]))
    with pytest.raises(gk.EditError, match="fresh"):
        gk.from_graphsurgeon(graph, like=model)


def test_empty_lists_survive_in_functions_too():
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["": 20, "loc": 1]>
    g (float[n] x) => (float[n] y) {
        [none] sizes = Constant ()
        scalar = Reshape (x, sizes)
        y = loc.F <k: int = 1>(scalar)
    }
    <domain: "loc", opset_import: ["": 20]> F <k> (p) => (q) { words = loc.Words () c = Cast <to: int = @k>(p) q = Neg(c) }
    """)
    model.graph.node[0].attribute.add(name="value_ints", type=onnx.AttributeProto.INTS)
    model.functions[0].node[0].attribute.add(name="words", type=onnx.AttributeProto.STRINGS)
    graph = gk.to_graphsurgeon(model)
    assert gk.from_graphsurgeon(graph, like=model).proto == model
    graph.nodes[0].name = "touched"
    graph.functions[0].nodes[0].name = "touched too"
    edited = gk.from_graphsurgeon(graph, like=model).proto
    assert edited.graph.node[0].attribute == model.graph.node[0].attribute
    assert edited.functions[0].node[0].attribute == model.functions[0].node[0].attribute
    assert [node.name for node in edited.functions[0].node] == ["touched too", "", ""]


def test_constants_that_a_script_puts_into_a_function_become_nodes():
    model = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["": 20, "loc": 1]>
    g (float[2,4] x) => (float[2,4] y) { y = loc.F(x) }
    <domain: "loc", opset_import: ["": 20]> F (p) => (q) { q = Add(p, p) }
    """)
    graph = gk.to_graphsurgeon(model)
    graph.functions[0].nodes[0].inputs[1] = gs.Constant("two", np.array([2], np.float32))
    edited = back(graph, model)
    assert_same(run_ort(edited.proto, {"x": X})["y"], X + 2)


def test_types_of_functions_values_stay():
    model = rich()
    model.ir_version = 9
    del model.functions[1:]
    model.graph.value_info.append(helper.make_tensor_value_info("loc::F/q", onnx.TensorProto.FLOAT, [4]))
    graph = gk.to_graphsurgeon(model)
    graph.nodes[0].name = "renamed"
    edited = gk.from_graphsurgeon(graph, like=model)
    assert [v.name for v in edited.proto.graph.value_info] == ["a", "loc::F/q"]

"""gk.inspect: what a model holds."""

import importlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk

MODEL = """
<ir_version: 10, opset_import: ["" : 21, "mine" : 1], producer_name: "tool", producer_version: "2", doc_string: "about",
 metadata_props: ["licence" : "CC0"]>
net (float[n,3] x, float[3] bias) => (float[n,3] y, float[n,3] t)
<float[3] bias = {1, 2, 3}, int64[2] axes = {0, 1}, float[n,3] m>
{
  m = Add(x, bias)
  s = ReduceSum<keepdims = 0>(m, axes)
  c = Cast<to = 9>(s)
  [pick] p = If (c) <
    then_branch = yes () => (float[n,3] a) { a = Relu(m) },
    else_branch = no () => (float[n,3] b) { k = Constant<value_floats = [1.5, 2.0, 3.0]>() b = Mul(m, k) }
  >
  t = mine.Twice(p)
  y = Identity(p)
}
<domain: "mine", opset_import: ["" : 21]>
Twice (u) => (v) { v = Add(u, u) }
"""


@pytest.fixture
def summary() -> gk.Summary:
    return gk.inspect(onnx.parser.parse_model(MODEL))


def test_what_the_model_says_of_itself(summary: gk.Summary) -> None:
    assert summary.path is None
    assert summary.name == "net"
    assert summary.producer == "tool 2"
    assert summary.doc == "about"
    assert summary.ir_version == 10
    assert summary.opsets == {"ai.onnx": 21, "mine": 1}
    assert summary.metadata == {"licence": "CC0"}
    assert summary.history == ()


def test_interface(summary: gk.Summary) -> None:
    x, bias = summary.inputs
    assert (x.name, x.type, x.producer, x.consumers, x.has_default) == ("x", "float32[n,3]", None, 1, False)
    assert (bias.name, bias.type, bias.has_default) == ("bias", "float32[3]", True)
    y, t = summary.outputs
    assert (y.name, y.type, y.producer, y.consumers) == ("y", "float32[n,3]", "y", 0)
    assert t.producer == "t"


def test_nodes_of_every_scope(summary: gk.Summary) -> None:
    assert summary.node_count == 10
    assert summary.operators["Add"] == 2
    assert summary.operators["mine::Twice"] == 1
    assert sum(summary.operators.values()) == 10
    assert [n.scope for n in summary.nodes] == [""] * 6 + ["yes", "no", "no", "mine::Twice"]
    pick = summary.nodes[3]
    assert (pick.name, pick.operator, pick.inputs, pick.outputs) == ("pick", "If", ("c",), ("p",))
    assert pick.attributes == {"then_branch": "graph of 1 node", "else_branch": "graph of 2 nodes"}
    assert summary.nodes[1].attributes == {"keepdims": "0"}
    assert summary.nodes[7].attributes == {"value_floats": "[1.5, 2, 3]"}


def test_values_between_the_nodes(summary: gk.Summary) -> None:
    values = {value.name: value for value in summary.values}
    assert list(values) == ["m", "s", "c", "p"]
    assert (values["m"].type, values["m"].consumers) == ("float32[n,3]", 2)
    assert values["p"].producer == "pick"
    assert values["s"].type == "unknown"


def test_types_are_inferred_on_demand() -> None:
    values = {value.name: value.type for value in gk.inspect(onnx.parser.parse_model(MODEL), infer=True).values}
    assert values["m"] == "float32[n,3]"
    assert values["s"] == "float32[]"
    assert values["c"] == "bool[]"


def test_functions(summary: gk.Summary) -> None:
    (twice,) = summary.functions
    assert (twice.name, twice.inputs, twice.outputs, twice.nodes, twice.opsets) == (
        "mine::Twice",
        ("u",),
        ("v",),
        1,
        {"ai.onnx": 21},
    )


def test_weights(summary: gk.Summary) -> None:
    assert [(w.name, w.type, w.bytes, w.location) for w in summary.initializers] == [
        ("bias", "float32[3]", 12, None),
        ("axes", "int64[2]", 16, None),
    ]
    assert summary.weight_bytes == 28
    assert summary.weight_count == 5


def test_tensors_in_attributes_weigh_too() -> None:
    node = helper.make_node("Constant", [], ["y"], value=numpy_helper.from_array(np.zeros(5, np.float16)))
    summary = gk.inspect(gk.build([node], {}, {"y": "float16[5]"}))
    assert summary.weight_bytes == 10
    assert summary.nodes[0].attributes == {"value": "float16[5] [0, 0, 0, 0, 0]"}


def test_packed_sparse_and_string_weights() -> None:
    graph = helper.make_graph([], "g", [], [])
    graph.initializer.add(name="q", data_type=TensorProto.INT4, dims=[3], raw_data=b"\x21\x03")
    graph.initializer.add(name="s", data_type=TensorProto.STRING, dims=[2], string_data=[b"ab", b"cde"])
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    indices = numpy_helper.from_array(np.array([0, 4]), "w_indices")
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [7]))
    held = {w.name: (w.type, w.bytes) for w in gk.inspect(helper.make_model(graph)).initializers}
    assert held == {"q": ("int4[3]", 2), "s": ("string[2]", 5), "w": ("sparse(float32[7])", 24)}


def test_external_weights_are_located_and_not_read(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.arange(40_960, dtype=np.float32)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    model = gk.build([node], {"x": "float32[40960]"}, {"y": "float32[40960]"}, initializers={"w": weight})
    gk.save(model, tmp_path / "embedded.onnx")
    gk.save(model, tmp_path / "beside.onnx", external="beside.bin")

    def refuse(*_: object) -> None:
        raise AssertionError("weights are read")

    monkeypatch.setattr(importlib.import_module("graphkit.model").Model, "payload", refuse)
    beside, embedded = (gk.inspect(tmp_path / name) for name in ("beside.onnx", "embedded.onnx"))
    assert [(w.bytes, w.location) for w in beside.initializers] == [(163840, "beside.bin")]
    assert [(w.bytes, w.location) for w in embedded.initializers] == [(163840, None)]
    assert beside.path == str(tmp_path / "beside.onnx")


def test_modules_and_their_classes() -> None:
    first = helper.make_node("Relu", ["x"], ["m"], name="node_relu")
    first.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'body', 'body.act', 'relu']")
    first.metadata_props.add(
        key="pkg.torch.onnx.class_hierarchy",
        value="['net.Net', 'net.Body', 'torch.nn.modules.activation.ReLU', 'aten.relu.default']",
    )
    second = helper.make_node("Neg", ["m"], ["y"])
    summary = gk.inspect(gk.build([first, second], {"x": "float32[2]"}, {"y": "float32[2]"}))
    assert [(m.path, m.class_name, m.nodes) for m in summary.modules] == [
        ("", "net.Net", 1),
        ("body", "net.Body", 1),
        ("body.act", "torch.nn.modules.activation.ReLU", 1),
    ]
    assert [node.module for node in summary.nodes] == ["body.act", None]


def test_what_modules_hold() -> None:
    """A shared weight, one that goes through a node without a path, a body's own, sizes and scalars."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]>
        net (float[2, 3] x, bool c) => (float[3, 2] y)
        <float[3, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}, float[3] b = {1, 2, 3}, float s = {2}, int64[2] shape = {3, 2}>
        {
            [t] wt = Transpose(w)
            [x_a_m] m = MatMul(x, wt)
            [x_a_n] n = MatMul(m, wt)
            [x_b_o] o = MatMul(n, w)
            [x_b_p] p = Mul(o, s)
            [x_b_q] q = If(c) <
                then_branch = t () => (float[2, 3] u) <float[3] inner = {4, 5, 6}> { v = Add(p, b) u = Add(v, inner) },
                else_branch = e () => (float[2, 3] z) { z = Identity(p) }
            >
            [x_r] y = Reshape(q, shape)
        }"""
    )
    for node in model.graph.node[1:]:
        node.name = node.name.removeprefix("x").replace("_", "/")
    told = {m.path: (m.nodes, m.bytes, m.parameters, m.calls) for m in gk.inspect(model).modules}
    assert told == {"": (6, 36 + 12 + 4 + 12 + 16, 9 + 3 + 3, 1), "a": (2, 36, 9, 1), "b": (3, 36 + 12 + 4 + 12, 15, 1)}


def test_the_model_stays_as_it_was() -> None:
    model = onnx.parser.parse_model(MODEL)
    before = model.SerializeToString(deterministic=True)
    gk.inspect(model, infer=True)
    assert model.SerializeToString(deterministic=True) == before


def test_history_in_the_file_and_since(tmp_path) -> None:
    model = onnx.parser.parse_model(MODEL)
    gk.save(gk.load(model_path(tmp_path, model)).after(gk.Step("rename", {"to": "z"}), model), tmp_path / "edited.onnx")
    loaded = gk.load(tmp_path / "edited.onnx")
    again = loaded.after(gk.Step("tap", {"values": ["m"]}), loaded.copy_proto())
    assert [(step.operation, step.arguments) for step in gk.inspect(again).history] == [
        ("rename", {"to": "z"}),
        ("tap", {"values": ["m"]}),
    ]


@pytest.mark.parametrize("text", ["no json", "[1, {}]", '{"operation": 1}', "[" + "9" * 5000 + "]"])
def test_a_history_that_graphkit_did_not_write(text: str) -> None:
    model = onnx.parser.parse_model(MODEL)
    model.metadata_props.add(key="graphkit.history", value=text)
    assert gk.inspect(model).history == ()
    assert gk.inspect(model).metadata["graphkit.history"] == text


def model_path(folder: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def test_as_json(summary: gk.Summary) -> None:
    read = json.loads(gk.to_json(summary))
    assert read["inputs"][0]["type"] == "float32[n,3]"
    assert read["nodes"][3]["name"] == "pick"


def test_an_opset_that_no_installed_package_knows_is_not_mended_by_a_command_that_fails():
    newest, known = gk.runtime_limits().opset, onnx.defs.onnx_opset_version()
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) { y = Relu(x) }'
    )
    for opset in (newest + 1, known + 1):
        model.opset_import[0].version = opset
        (found,) = [one for one in gk.inspect(model).findings if one.kind == "opset"]
        if opset <= known:
            assert "opset" in str(found.remedy)
            assert gk.opset(model, to=newest).proto.opset_import[0].version == newest
        else:
            assert "pip install --upgrade onnx onnxruntime" in str(found.remedy)
            with pytest.raises(gk.EditError):
                gk.opset(model, to=newest)

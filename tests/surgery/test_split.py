"""split: the stages in a chain equal the whole."""

import json

import numpy as np
import onnx
import pytest

import graphkit as gk

NET = """<ir_version: 8, opset_import: ["" : 17]> g (float[n, 4] x, float[n, 4] t) => (float[n, 4] y, float[n, 4] early)
<float[4] a = {1, 2, 3, 4}, float[4] b = {5, 6, 7, 8}> {
  h = Add(x, a)
  early = Neg(h)
  p = Mul(h, b)
  q = Exp(early)
  r = Add(p, t)
  s = Sub(r, h)
  y = Add(s, q)
}"""

X = np.float32([[0.1, 0.2, 0.3, 0.4]])
FEEDS = {"x": X, "t": X * 2}


def parse(text=NET):
    return onnx.parser.parse_model(text)


def chained(parts, folder, feeds=FEEDS):
    parts.save(folder)
    return gk.run(folder, feeds)


WAYS = [
    {"stages": 2},
    {"stages": 3},
    {"stages": 7},
    {"at": ["h"]},
    {"at": ["h", "r"]},
    {"at": ["early"]},
    {"stages": 2, "by": "flops"},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_stages_in_a_chain_equal_the_whole(tmp_path, way):
    parts = gk.split(parse(), **way)
    want = gk.run(parse(), FEEDS)
    got = chained(parts, tmp_path / "parts")
    assert list(got) == ["y", "early"]
    for name, array in want.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-6)
    assert sum(stage.nodes for stage in parts.stages) == 7


def test_a_value_that_a_much_later_stage_reads_is_carried(tmp_path):
    parts = gk.split(parse(), at=["h", "p", "r"])
    assert [stage.inputs for stage in parts.stages] == [
        {"x": "input"},
        {"h": "stage0.onnx"},
        {"p": "stage1.onnx", "t": "input"},
        {"h": "stage0.onnx", "r": "stage2.onnx"},
    ]
    plan = json.loads(json.dumps(parts.plan()))
    assert plan["inputs"] == ["x", "t"]
    assert plan["outputs"] == ["y", "early"]


def test_stages_are_balanced_by_the_bytes_of_weights():
    nodes, tensors = [], []
    for i in range(40):
        size = 64 if i < 30 else 192  # the last ten layers hold half of the bytes
        tensors.append(onnx.numpy_helper.from_array(np.zeros((size,), np.float32), f"w{i}"))
        nodes.append(onnx.helper.make_node("ReduceSum", [f"w{i}"], [f"s{i}"], keepdims=0))
        nodes.append(onnx.helper.make_node("Add", [f"h{i}", f"s{i}"], [f"h{i + 1}"]))
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(nodes, "g", [info("h0", 1, [2])], [info("h40", 1, [2])], tensors)
    model = onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)])
    parts = gk.split(model, stages=4)
    sizes = [stage.weight_bytes for stage in parts.stages]
    assert max(sizes) <= 1.2 * min(sizes)
    assert all(len(stage.inputs) <= 2 for stage in parts.stages)


def test_a_weight_that_two_stages_read_is_in_both():
    model = parse(NET.replace("s = Sub(r, h)", "s = Sub(r, a)"))
    parts = gk.split(model, at=["p"])
    assert [sorted(t.name for t in part.proto.graph.initializer) for part in parts.models] == [["a", "b"], ["a"]]


def test_bodies_and_their_captures_cross(tmp_path):
    text = """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x, bool flag) => (float[2] y) {
      h = Neg(x) k = Exp(h)
      y = If(flag) <then_branch = t () => (float[2] p) { p = Add(h, k) }, else_branch = e () => (float[2] r) { r = Sub(h, x) }> }"""
    feeds = {"x": np.float32([1, 2]), "flag": np.array(False)}
    got = chained(gk.split(parse(text), at=["k"]), tmp_path / "parts", feeds)
    np.testing.assert_array_equal(got["y"], gk.run(parse(text), feeds)["y"])


def test_saving_replaces_an_earlier_split_and_nothing_else(tmp_path):
    gk.split(parse(), stages=3).save(tmp_path / "parts", external=True)
    gk.split(parse(), stages=2).save(tmp_path / "parts")
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == ["stage0.onnx", "stage1.onnx", "stages.json"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    with pytest.raises(gk.SaveError, match="holds no split"):
        gk.split(parse(), stages=2).save(tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "all of it"
    with pytest.raises(gk.SaveError, match="does not exist"):
        gk.split(parse(), stages=2).save(tmp_path / "no" / "parts")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "parts"]


WRONG = [
    ({}, ValueError, "one way"),
    ({"at": []}, ValueError, "one stage"),
    ({"modules": []}, ValueError, "one stage"),
    ({"stages": 1}, ValueError, "2 stages or more"),
    ({"stages": 8}, gk.EditError, "7 nodes"),
    ({"stages": 2, "by": "luck"}, ValueError, "luck"),
    ({"at": ["nowhere"]}, gk.NameNotFoundError, "nowhere"),
    ({"at": ["x"]}, gk.EditError, "made by no node"),
    ({"at": ["r", "h"]}, gk.EditError, "would be empty"),
    ({"at": ["y", "early"]}, gk.EditError, "would be empty"),
    ({"modules": ["layer"]}, gk.NameNotFoundError, "layer"),
]


@pytest.mark.parametrize(("way", "error", "text"), WRONG, ids=str)
def test_what_cannot_be_split_is_refused(way, error, text):
    with pytest.raises(error, match=text):
        gk.split(parse(), **way)


def test_modules_begin_stages():
    model = parse()
    for node, path in zip(model.graph.node, ["a", "a", "b", "b", "c", "c", "c"], strict=True):
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', '{path}', 'x']")
    parts = gk.split(model, modules=["c", "b"])
    assert [stage.nodes for stage in parts.stages] == [2, 2, 3]
    with pytest.raises(gk.EditError, match="begins where the model does"):
        gk.split(model, modules=["a"])


@pytest.mark.parametrize("text", ["", "{}", '{"format": 2}', '{"format": 1, "inputs": [], "outputs": [], "stages": []}',
                                  '{"format": 1, "inputs": [], "outputs": [], "stages": [{"file": "../a", "inputs": {}}]}'])  # fmt: skip
def test_a_damaged_plan_is_a_format_error(tmp_path, text):
    (tmp_path / "stages.json").write_text(text)
    with pytest.raises(gk.FormatError, match="plan of stages"):
        gk.run(tmp_path, {})


def test_a_feed_that_the_chain_does_not_have_is_named(tmp_path):
    gk.split(parse(), stages=2).save(tmp_path / "parts")
    with pytest.raises(gk.NameNotFoundError, match="'z'"):
        gk.run(tmp_path / "parts", {**FEEDS, "z": X})
    assert set(gk.run(tmp_path / "parts")) == {"y", "early"}


def test_a_split_is_proved_against_the_whole():
    parts = gk.split(parse(), stages=3)
    proof = gk.prove(parts, parse())
    assert proof
    assert proof.laws[0].law == "part"
    other = parse(NET.replace("{5, 6, 7, 8}", "{5, 6, 7, 8.01}"))
    assert gk.prove(parts, other).verdict == "broken"
    with pytest.raises(TypeError, match="the model that was split"):
        gk.prove(parts)


def test_a_value_that_only_a_dead_node_reads_does_not_cross():
    """Found by random models, seed 10017: it was carried, and a warning said so."""
    model = parse(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y)
        { a = Neg(x) b = Abs(x) dead = Exp(a) y = Relu(b) }"""
    )
    parts = gk.split(model, at=["b"])
    assert [stage.inputs for stage in parts.stages] == [{"x": "input"}, {"b": "stage0.onnx"}]
    assert [stage.outputs for stage in parts.stages] == [("b",), ("y",)]
    assert gk.prove(parts, model)


def test_sequences_and_optional_values_that_cross_are_fed_by_the_proof():
    """Found by random models, seeds 4 and 1008: only tensors were."""
    model = parse(
        """<ir_version: 8, opset_import: ["" : 18]> g (float[2] x) => (float[2] y, float[2] z)
        { s = SequenceConstruct(x, x) o = Optional(x) i = Constant<value_int = 1>()
          n = SequenceAt(s, i) y = Neg(n) g1 = OptionalGetElement(o) z = Exp(g1) }"""
    )
    parts = gk.split(model, at=["s", "o"])
    assert "s" in parts.stages[2].inputs
    assert "o" in parts.stages[2].inputs
    assert gk.prove(parts, model)


def test_stages_are_balanced_over_the_nodes_that_the_outputs_need():
    """Found by random models: a stage of dead nodes alone was refused as one with nothing to do."""
    model = parse(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y)
        { a = Neg(x) y = Abs(a) d = Exp(x) e = Exp(d) f = Exp(e) h = Exp(f) }"""
    )
    parts = gk.split(model, stages=2)
    assert [stage.outputs for stage in parts.stages] == [("a",), ("y",)]
    assert gk.prove(parts, model)
    with pytest.raises(gk.EditError, match="need 2 nodes"):
        gk.split(model, stages=3)

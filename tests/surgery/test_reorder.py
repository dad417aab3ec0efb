"""reorder: the same numbers in another order, a file that loads again, a name for each node."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.graph import walk
from oracle import assert_same, run_ort

NET = """<ir_version: 8, opset_import: ["": 17]> g (float[2] x, bool c, float[2] w) => (float[2] y, float[2] z, float[2] v) {
  a = Mul(x, w) [exp] y = Exp(a) z = Neg(a)
  v = If(c) <then_branch = t () => (float[2] u) { h = Abs(y) u = Neg(h) }, else_branch = e () => (float[2] o) { o = Identity(a) }>
}"""
FEEDS = {"x": np.float32([1, 2]), "c": np.array(True), "w": np.float32([3, 4])}


def net(text=NET):
    return onnx.parser.parse_model(text)


def test_inputs_and_outputs_in_another_order():
    model = net()
    edited = gk.reorder(model, inputs=["w", "x"], outputs="z")
    assert [value.name for value in edited.inputs] == ["w", "x", "c"]
    assert [value.name for value in edited.outputs] == ["z", "y", "v"]
    before = run_ort(model, FEEDS)
    assert_same(run_ort(edited, FEEDS), {name: before[name] for name in ("z", "y", "v")})
    assert edited.proto.graph.node == model.graph.node
    assert edited.history[-1].notes == ("the inputs are 'w', 'x', 'c'", "the outputs are 'z', 'y', 'v'")
    with pytest.raises(gk.NameNotFoundError, match="no input named 'y'"):
        gk.reorder(model, inputs=["y"])


def test_unsorted_nodes_are_sorted_also_in_bodies_and_functions():
    model = net(
        NET.replace('"": 17]', '"": 17, "my": 1]').replace("z = Neg(a)", "z = my.F(a)")
        + '<domain: "my", opset_import: ["": 17]> F (p) => (q) { h = Exp(p) q = Neg(h) }'
    )
    expected = run_ort(model, FEEDS)
    for holder in (model.graph.node[3].attribute[0].g, model.functions[0], model.graph):
        nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in holder.node]
        del holder.node[:]
        holder.node.extend(reversed(nodes))
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    edited = gk.reorder(model, sort=True)
    onnx.checker.check_model(edited.proto)
    assert_same(run_ort(edited, FEEDS), expected)
    assert edited.history[-1].notes == ("6 nodes have another place",)
    assert gk.reorder(edited, sort=True).history[-1].notes == ("the nodes were sorted already",)


def test_a_cycle_is_named():
    model = net()
    model.graph.node[0].input[0] = "z"
    with pytest.raises(gk.InvalidGraphError, match="cycle"):
        gk.reorder(model, sort=True)


def test_every_node_gets_a_name_of_its_own():
    edited = gk.reorder(net(), name_all=True)
    names = [node.name for node in walk.nodes(edited.proto.graph)]
    assert all(names)
    assert len(set(names)) == len(names) == 7
    assert names[1] == "exp"
    assert_same(run_ort(edited, FEEDS), run_ort(net(), FEEDS))


def test_nothing_to_do_is_no_call():
    with pytest.raises(ValueError, match="reorder needs"):
        gk.reorder(net())


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_a_name_that_is_given_twice_is_refused(kind):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[2] a, float[2] b) => (float[2] y, float[2] z) { y = Sub(a, b) z = Neg(a) }'
    )
    name = {"inputs": "b", "outputs": "z"}[kind]
    with pytest.raises(gk.EditError, match=f"{name}.* is named 2 times"):
        gk.reorder(model, **{kind: [name, name]})

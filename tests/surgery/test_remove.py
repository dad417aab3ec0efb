"""remove: what is bridged, dropped or left out computes what it should, and nothing else goes."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort

NET = """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x, bool c, float[3] spare) => (float[2,3] y, float[2,3] z)
<float[3] w = {1, 2, 3}> {
  [scale] a = Mul(x, w)
  [exp] b = Exp(a)
  [drop] y = Identity(b)
  [choose] z = If(c) <then_branch = t () => (float[2,3] u) { [in] h = Abs(b) [out] u = Neg(h) },
                      else_branch = e () => (float[2,3] v) { v = Identity(a) }>
}"""
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
W = np.float32([1, 2, 3])


def net(text=NET):
    return onnx.parser.parse_model(text)


def outputs(model, c=True):
    onnx.checker.check_model(model.proto, full_check=True)
    return run_ort(model, {"x": X, "c": np.array(c)} | {v.name: W for v in model.inputs if v.name == "spare"})


def test_readers_also_in_bodies_read_what_the_node_read_and_its_weight_goes():
    edited = gk.remove(net(), nodes="scale")
    assert_same(outputs(edited), {"y": np.exp(X), "z": -np.abs(np.exp(X))})
    assert_same(outputs(edited, c=False)["z"], X)
    assert not edited.proto.graph.initializer
    assert edited.history[-1].notes == ("removed 1 node: 'scale'",)


def test_an_output_keeps_its_name():
    edited = gk.remove(net(), nodes=["drop"])
    assert [node.op_type for node in edited.nodes] == ["Mul", "Exp", "If"]
    assert_same(outputs(edited), outputs(gk.rename(net(), nodes={"drop": "kept"})))


def test_an_output_behind_an_input_gets_an_identity():
    model = net(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[2,3] y, float[2,3] z) { [n] y = Neg(x) [m] z = Abs(x) }'
    )
    edited = gk.remove(model, nodes="*")
    assert_same(run_ort(edited, {"x": X}), {"y": X, "z": X})
    assert [node.name for node in edited.nodes] == ["n", "m"]


def test_a_chain_goes_whole_and_bodies_and_functions_are_reached():
    assert_same(outputs(gk.remove(net(), nodes=["scale", "exp", "drop"])), {"y": X, "z": -np.abs(X)})
    assert_same(outputs(gk.remove(net(), nodes=["choose.then_branch/out"]))["z"], np.exp(X * W))
    assert_same(outputs(gk.remove(net(), nodes="choose.then_branch/(in|out)", regex=True))["z"], np.exp(X * W))
    model = net(
        """<ir_version: 8, opset_import: ["": 17, "my": 1]> g (float[2,3] x) => (float[2,3] y) { y = my.F(x) }
        <domain: "my", opset_import: ["": 17]> F (p) => (q) { h = Exp(p) q = Neg(h) }"""
    )
    assert_same(run_ort(gk.remove(model, nodes="function:my::F/h"), {"x": X}), {"y": -X})
    assert_same(run_ort(gk.remove(model, nodes="function:my::F/q"), {"x": X}), {"y": np.exp(X)})


def test_a_shape_that_changes_is_declared_again():
    model = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[3,2] y) <float[3,2] t> { [turn] t = Transpose(x) y = Exp(t) }"""
    )
    edited = gk.remove(model, nodes="turn")
    onnx.checker.check_model(edited.proto, full_check=True)
    assert gk.inspect(edited).outputs[0].type == "float32[2,3]"
    assert_same(run_ort(edited, {"x": X}), {"y": np.exp(X)})


def test_outputs_go_with_what_only_they_needed():
    edited = gk.remove(net(), outputs=["z"])
    assert [node.name for node in edited.nodes] == ["scale", "exp", "drop"]
    assert edited.history[-1].notes[0].startswith("dropped the output 'z', and 4 nodes")
    assert "'c'" in edited.history[-1].notes[1]
    assert_same(run_ort(gk.remove(edited, inputs=["c", "spare"]), {"x": X}), {"y": np.exp(X * W)})
    with pytest.raises(gk.EditError, match="no output would be left"):
        gk.remove(net(), outputs=["y", "z"])


def test_an_optional_operand_is_left_out_and_those_behind_it_stay_in_place():
    model = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x, float low, float high) => (float[2,3] y) { y = Clip(x, low, high) }"""
    )
    high = np.array(0.2, np.float32)
    assert_same(run_ort(gk.remove(model, inputs="low"), {"x": X, "high": high}), {"y": np.minimum(X, high)})
    neither = gk.remove(model, inputs=["low", "high"])
    assert list(neither.nodes[0].input) == ["x"]
    assert_same(run_ort(neither, {"x": X}), {"y": X})


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"inputs": ["x"]}, gk.EditError, "Mul 'scale' reads the input 'x' and cannot do without it"),
        ({"nodes": ["choose"]}, gk.EditError, r"makes float32\[2,3\] of bool"),
        ({"nodes": ["a7"]}, gk.NameNotFoundError, "a7"),
        ({"nodes": ["in"]}, gk.NameNotFoundError, "write 'choose.then_branch/in'"),
        ({"outputs": ["a"]}, gk.NameNotFoundError, "no output named 'a'"),
        ({}, ValueError, "at least one"),
    ],
)
def test_what_cannot_go_is_refused_by_name(arguments, error, said):
    model = net()
    before = model.SerializeToString()
    with pytest.raises(error, match=said):
        gk.remove(model, **arguments)
    assert model.SerializeToString() == before


def test_nodes_that_cannot_be_bridged_are_refused():
    model = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[4,3] x) => (float[n,3] y, float[m,3] z)
        { [split] y, z = Split<axis = 0>(x) }"""
    )
    with pytest.raises(gk.EditError, match="Split 'split' makes 'z', which is read"):
        gk.remove(model, nodes="split")
    model = net(
        '<ir_version: 8, opset_import: ["": 17]> g (float x) => (float y) { [k] c = Constant<value_float = 1.0>() y = Add(x, c) }'
    )
    with pytest.raises(gk.EditError, match="Constant 'k' reads nothing"):
        gk.remove(model, nodes="k")
    unknown = net(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (int64[2] y) { [c] a = Cast<to = 7>(x) [n] y = Not7(a) }'.replace(
            "Not7", "Neg"
        )
    )
    with pytest.raises(gk.EditError, match="cannot stand in place of 'a'"):
        gk.remove(unknown, nodes="c")


@pytest.mark.parametrize("nodes", ["a = Identity(a) y = Relu(a)", "a = Relu(b) b = Relu(a) y = Relu(a)"])
def test_what_reads_itself_is_refused_and_not_followed_for_ever(nodes):
    text = f'<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) {{ {nodes} }}'
    model = gk.Model(onnx.parser.parse_model(text))
    with pytest.raises(gk.GraphkitError, match="reads"):
        gk.remove(model, nodes=["a", "b"] if "b" in nodes else ["a"])

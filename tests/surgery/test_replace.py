"""replace: the body computes what was asked for, the boundary keeps its names, the rest stays."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort

NET = """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x, bool c) => (float[2,3] y, float[2,3] z)
<float[3] w = {1, 2, 3}, float[3] v = {0, 1, 0}, float[2,3] s> {
  [scale] a = Mul(x, w)
  [shift] s = Add(a, v)
  [exp] b = Exp(s)
  [root] y = Sqrt(b)
  [choose] z = If(c) <then_branch = t () => (float[2,3] u) { [in] h = Abs(b) [out] u = Neg(h) },
                      else_branch = e () => (float[2,3] o) { o = Identity(a) }>
}"""
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
W, V = np.float32([1, 2, 3]), np.float32([0, 1, 0])


def net(text=NET):
    return onnx.parser.parse_model(text)


def outputs(model, c=True):
    onnx.checker.check_model(model.proto, full_check=True)
    return run_ort(model, {"x": X, "c": np.array(c)})


def test_a_node_by_a_body_with_fewer_inputs_whose_weight_goes():
    edited = gk.replace(net(), nodes="shift", function="(p) => (q) { r = Neg(p) q = Cos(r) }")
    s = np.cos(X * W)
    assert_same(outputs(edited), {"y": np.sqrt(np.exp(s)), "z": -np.exp(s)})
    assert [t.name for t in edited.proto.graph.initializer] == ["w"]
    assert edited.history[-1].notes == ("'body' stands in place of Add 'shift': 1 node went, 2 came",)


def test_one_node_by_one_keeps_the_nodes_name():
    edited = gk.replace(net(), nodes=["exp", "root"], function="relu")
    assert [node.name for node in edited.nodes] == ["scale", "shift", "exp", "root", "choose"]
    assert_same(outputs(edited)["y"], np.maximum(X * W + V, 0))


def test_a_region_by_a_model_with_a_weight():
    body = net(
        '<ir_version: 8, opset_import: ["": 17]> b (float[2,3] p) => (float[2,3] q) <float[3] w = {4, 5, 6}> { q = Sub(p, w) }'
    )
    edited = gk.replace(net(), inputs="a", outputs="b", body_model=body)
    b = X * W - np.float32([4, 5, 6])
    assert_same(outputs(edited)["z"], -np.abs(b))
    assert [node.op_type for node in edited.nodes] == ["Mul", "Sub", "Sqrt", "If"]
    assert not edited.proto.graph.value_info
    assert sorted(t.name for t in edited.proto.graph.initializer) == ["w", "w_1"]


def test_a_region_with_several_outputs_in_any_order_of_nodes():
    edited = gk.replace(net(), inputs="x", outputs=["b", "a"], function="(p) => (q, r) { q = Neg(p) r = Abs(p) }")
    with np.errstate(invalid="ignore"):
        assert_same(outputs(edited, c=False), {"y": np.sqrt(-X), "z": np.abs(X)})


def test_in_a_body_and_in_a_function():
    edited = gk.replace(net(), nodes="choose.then_branch/in", function="sigmoid")
    assert_same(outputs(edited)["z"], -1 / (1 + np.exp(-np.exp(X * W + V))))
    region = gk.replace(net(), inputs="b", outputs="choose.then_branch/u", function="(p) => (q) { q = Cos(p) }")
    assert_same(outputs(region)["z"], np.cos(np.exp(X * W + V)))
    model = net(
        """<ir_version: 8, opset_import: ["": 17, "my": 1]> g (float[2,3] x) => (float[2,3] y) { y = my.F(x) }
        <domain: "my", opset_import: ["": 17]> F (p) => (q) { h = Exp(p) q = Neg(h) }"""
    )
    inside = gk.replace(model, inputs="function:my::F/p", outputs="function:my::F/q", function="clip:low=0,high=0.5")
    assert_same(run_ort(inside, {"x": X}), {"y": np.clip(X, 0, 0.5)})


def test_a_branch_by_patterns():
    edited = gk.replace(net(), nodes="(exp|root)", function="identity", regex=True)
    assert_same(outputs(edited)["y"], X * W + V)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"inputs": ["a"], "outputs": ["y"], "function": "relu"}, r"also makes 'b' \(read by If 'choose'\)"),
        (
            {"inputs": ["w"], "outputs": ["b"], "function": "relu"},
            r"not closed: it also reads 'x' \(read by Mul 'scale'\)",
        ),
        ({"nodes": "exp", "function": "argmax"}, r"'b' is float32\[2,3\], and argmax makes int64\[2\]"),
        ({"nodes": "exp", "function": "transpose:perm=1,0"}, r"makes float32\[3,2\]"),
        ({"nodes": "exp", "function": "(p, q) => (r) { r = Add(p, q) }"}, "has 2 inputs, and Exp 'exp' reads 1"),
        (
            {"inputs": ["a"], "outputs": ["b"], "function": "(p, q) => (r) { r = Add(p, q) }"},
            "2 inputs, and the region 1",
        ),
        ({"nodes": "exp", "function": "(p) => (q) { q = Swish(p) }"}, "no operator 'Swish' in opset 17"),
        ({"inputs": ["a"], "outputs": ["a"], "function": "relu"}, "no node makes 'a'"),
        ({"nodes": "exp", "function": "g (float16[2,3] p) => (float16[2,3] q) { q = Exp(p) }"}, "takes float16"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(arguments, said):
    model = net()
    before = model.SerializeToString()
    with pytest.raises(gk.EditError, match=said):
        gk.replace(model, **arguments)
    assert model.SerializeToString() == before


def test_a_cycle_is_refused():
    model = net(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[2,3] y, float[2,3] z)
        { a = Neg(x) b = Exp(a) y = Abs(x) z = Add(b, y) }"""
    )
    with pytest.raises(gk.EditError, match="makes a cycle"):
        gk.replace(
            model, inputs=["x", "b"], outputs=["a", "y"], function="(p, q) => (r, s) { r = Add(p, q) s = Neg(p) }"
        )


def test_wrong_arguments():
    for arguments in ({}, {"nodes": "exp", "inputs": ["a"]}, {"inputs": ["a"]}):
        with pytest.raises(ValueError, match="name what to replace"):
            gk.replace(net(), function="relu", **arguments)
    with pytest.raises(ValueError, match="given once"):
        gk.replace(net(), nodes="exp")

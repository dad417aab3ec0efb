"""An If with a constant condition is the branch that runs, at any depth."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.edit.branches import resolve_branches
from oracle import assert_same, run_ort

X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)


def resolved(text, opset=17, ir=8, feeds=None):
    """The model without its Ifs, after the same numbers came out."""
    model = onnx.parser.parse_model(f'<ir_version: {ir}, opset_import: ["": {opset}]> {text}')
    feeds = {"x": X} if feeds is None else feeds
    want = run_ort(model, feeds)
    titles = resolve_branches(model)
    onnx.checker.check_model(model, full_check=True)
    assert_same(run_ort(model, feeds), want)
    return model.graph, titles


def operators(graph):
    return [node.op_type for node in graph.node]


BRANCHES = """<then_branch = t () => (float[2,3] p) <float[1] w = {2}> { q = Mul(x, w) p = Neg(q) },
              else_branch = e () => (float[2,3] p) <float[1] w = {3}> { q = Add(x, w) p = Exp(q) }>"""


@pytest.mark.parametrize("value", [0, 1])
def test_the_branch_that_runs_takes_the_place_of_the_if(value):
    graph, titles = resolved(
        f"g (float[2,3] x) => (float[2,3] y) <bool c = {{{value}}}> {{ [pick] y = If(c) {BRANCHES} }}"
    )
    assert operators(graph) == (["Mul", "Neg"] if value else ["Add", "Exp"])
    assert titles == [f"If 'pick' ({'then_branch' if value else 'else_branch'})"]
    assert len(graph.initializer) == 1


def test_two_ifs_whose_branches_have_the_same_names():
    graph, _ = resolved(
        "g (float[2,3] x) => (float[2,3] y) <bool c = {1}, bool d = {0}> "
        f"{{ a = If(c) {BRANCHES} b = If(d) {BRANCHES} y = Add(a, b) }}"
    )
    assert operators(graph) == ["Mul", "Neg", "Add", "Exp", "Add"]
    made = [name for node in graph.node for name in node.output] + [tensor.name for tensor in graph.initializer]
    assert len(set(made)) == len(made)


def test_conditions_that_are_computed_and_that_follow_from_another_if():
    graph, titles = resolved(
        """g (float[2,3] x) => (float[2,3] y) <int64 k = {5}, int64 five = {5}> {
             c = Equal(k, five)  n = Not(c)
             d = If(n) <then_branch = t () => (bool p) { p = Identity(n) }, else_branch = e () => (bool q) { q = Identity(c) }>
             y = If(d) <then_branch = t2 () => (float[2,3] r) { r = Neg(x) }, else_branch = e2 () => (float[2,3] s) { s = Exp(x) }> }"""
    )
    assert operators(graph) == ["Neg"]
    assert len(titles) == 2
    assert not graph.initializer


def test_an_if_in_a_loop_in_a_branch():
    graph, titles = resolved(
        """g (float[2,3] x, bool t) => (float[2,3] y) <bool c = {0}, int64 n = {3}> {
             y = If(t) <then_branch = th () => (float[2,3] p) {
                 p = Loop(n, , x) <body = b (int64 i, bool go, float[2,3] v) => (bool on, float[2,3] w) {
                    on = Identity(go)
                    w = If(c) <then_branch = u () => (float[2,3] a) { a = Exp(v) }, else_branch = l () => (float[2,3] d) { d = Neg(v) }> }> },
               else_branch = el () => (float[2,3] q) { q = Abs(x) }> }""",
        feeds={"x": X, "t": np.array(True)},
    )
    assert titles == ["If 'w' (else_branch)"]
    inner = graph.node[0].attribute[0].g.node[0].attribute[0].g
    assert operators(inner) == ["Identity", "Neg"]


def test_branches_that_hand_out_what_is_around_them():
    graph, _ = resolved(
        """g (float[2,3] x) => (float[2,3] y, float[2,3] z) <bool c = {1}> { o = Relu(x)
             y, z = If(c) <then_branch = t () => (float[2,3] i, float[2,3] p) { i = Identity(o) p = Neg(o) },
               else_branch = e () => (float[2,3] q, float[2,3] r) { q = Exp(x) r = Abs(x) }> }"""
    )
    assert operators(graph) == ["Relu", "Identity", "Neg"]


def test_a_branch_whose_output_is_a_value_around_it():
    """ONNX Runtime wants a node behind each output of a branch; what the reference evaluator takes is right too."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[2,3] y) <bool c = {1}> { o = Relu(x)
             y = If(c) <then_branch = t () => (float[2,3] o) { }, else_branch = e () => (float[2,3] q) { q = Exp(x) }> }"""
    )
    assert resolve_branches(model) == ["If 'y' (then_branch)"]
    assert operators(model.graph) == ["Relu", "Identity"]
    assert_same(run_ort(model, {"x": X}), {"y": np.maximum(X, 0)})


def test_what_is_not_constant_stays():
    graph = f"g (float[2,3] x, bool c) => (float[2,3] y) <bool c = {{1}}> {{ y = If(c) {BRANCHES} }}"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {graph}')
    before = model.SerializeToString()
    assert resolve_branches(model) == []
    assert model.SerializeToString() == before


def test_freezing_with_folding_decides_an_if_and_folds_on():
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,1,16] x, int64 sr) => (float[1,2,a] y) <int64 k = {16000}> {
             c = Equal(sr, k)
             y = If(c) <then_branch = t () => (float[1,2,b] p) <float[2,1,3] w1 = {1,1,1,1,1,1}> {
                 d = Equal(sr, k)
                 p = If(d) <then_branch = t2 () => (float[1,2,b] r) { r = Conv(x, w1) },
                            else_branch = e2 () => (float[1,2,b] s) { n = Neg(w1) s = Conv(x, n) }> },
               else_branch = e () => (float[1,2,d] q) <float[2,1,5] w2 = {1,1,1,1,1,1,1,1,1,1}> { q = Conv(x, w2) }> }"""
    )
    frozen = gk.freeze(model, {"sr": 16000}, fold=True)
    assert operators(frozen.proto.graph) == ["Conv"]
    assert [tensor.name for tensor in frozen.proto.graph.initializer] == ["w1"]
    x = {"x": np.random.default_rng(1).random((1, 1, 16)).astype(np.float32)}
    assert_same(run_ort(frozen, x), run_ort(model, {**x, "sr": np.array(16000)}))
    assert any("If 'y' (then_branch)" in note for note in frozen.history[-1].notes)


def test_simplify_decides_an_if_too():
    model = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]> g (float[2,3] x) => (float[2,3] y) <int64 k = {{3}}> {{
             d = Shape(x) n = Size(d) c = Less(n, k) y = If(c) {BRANCHES} }}"""
    )
    simple = gk.simplify(model)
    assert operators(simple.proto.graph) == ["Mul", "Neg"]
    assert_same(run_ort(simple, {"x": X}), run_ort(model, {"x": X}))

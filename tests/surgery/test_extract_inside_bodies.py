"""extract: a part of a body of If, Loop or Scan, as a model of its own."""

import re

import numpy as np
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

NET = """g (int64 n, bool c, float[2] x) => (float[2] y, float[k,2] s) {
  h = Neg(x)
  one = Constant<value = float[2] {1, 1}>()
  [loop] y, s = Loop(n, , h) <body = b (int64 i, bool go, float[2] v) => (bool keep, float[2] w, float[2] e) {
    keep = Identity(go)
    a = Mul(v, scale)
    [branch] d = If(c) <then_branch = t () => (float[2] u) { p = Add(a, one) u = Mul(p, h) },
                        else_branch = f () => (float[2] r) { q = Abs(a) r = Neg(q) }>
    w = Add(d, h)
    e = Exp(w)
  }>
}"""
V = np.float32([0.5, -2])
H = np.float32([3, 4])
SCALE = np.float32([2, 3])
BRANCH = "loop.body/branch.then_branch/"


def net():
    return parse(NET, scale=SCALE)


@pytest.mark.parametrize(
    ("inputs", "outputs", "feeds", "expected"),
    [
        (None, ["loop.body/a"], {"v": V}, {"a": V * SCALE}),
        (
            ["loop.body/d"],
            None,
            {"d": V, "h": H, "go": np.array(True)},
            {"keep": np.array(True), "w": V + H, "e": np.exp(V + H)},
        ),
        (["loop.body/d", "h"], ["loop.body/e"], {"d": V, "h": H}, {"e": np.exp(V + H)}),
        ([f"{BRANCH}p", "h"], [f"{BRANCH}u"], {"p": V, "h": H}, {"u": V * H}),
        (None, [f"{BRANCH}u"], {"a": V, "h": H}, {"u": (V + 1) * H}),
    ],
)
def test_a_part_of_a_body_computes_what_the_body_does(inputs, outputs, feeds, expected):
    if inputs is not None and outputs is None:
        inputs = [*inputs, "h", "loop.body/go"]
    part = gk.extract(net(), inputs=inputs, outputs=outputs)
    assert gk.check(part)
    assert sorted(value.name for value in part.inputs) == sorted(feeds)
    assert_same(run_ort(part, feeds), expected)
    assert gk.prove(part, net())
    assert gk.replay(part, net()).proto == part.proto


def test_nodes_of_a_body_and_those_around_them():
    part = gk.extract(net(), nodes=["loop.body/branch"])
    assert [node.name for node in part.nodes] == ["branch"] or [node.op_type for node in part.nodes] == [
        "Constant",
        "If",
    ]
    feeds = {"c": np.array(False), "a": V, "h": H}
    assert_same(run_ort(part, {value.name: feeds[value.name] for value in part.inputs}), {"d": -np.abs(V)})
    part = gk.extract(net(), nodes=["loop.body/w"], hops=1)
    assert {"If", "Add", "Exp"} <= {node.op_type for node in part.nodes}


def test_a_wrong_part_of_a_body_is_no_proof():
    part = gk.extract(net(), inputs=["loop.body/v"], outputs=["loop.body/a"])
    wrong = part.copy_proto()
    wrong.graph.node[0].op_type = "Add"
    assert not gk.prove(gk.Model(wrong, part.sources, steps=part.history, original=part.original), net(), replay=False)


@pytest.mark.parametrize(
    ("inputs", "outputs", "error", "said"),
    [
        (["loop.body/a"], [f"{BRANCH}u"], gk.CutError, "are in two bodies"),
        (["loop.body/e"], ["loop.body/w"], gk.CutError, "do not determine"),
        (None, ["loop.body/nobody"], gk.NameNotFoundError, "no value named 'nobody'"),
        (None, ["other.body/a"], gk.NameNotFoundError, "no value named 'other.body/a'"),
    ],
)
def test_what_cannot_be_cut_is_named(inputs, outputs, error, said):
    with pytest.raises(error, match=re.escape(said)):
        gk.extract(net(), inputs=inputs, outputs=outputs)

"""Every operation reaches values and nodes of the main graph, of bodies at any depth and, where it can, of functions."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort

NET = """g (int64 n, bool c, float[2] x) => (float[2] y, float[k,2] s) {
  h = Neg(x)
  [loop] l, s = Loop(n, , h) <body = b (int64 i, bool go, float[2] v) => (bool keep, float[2] w, float[2] e) {
    keep = Identity(go)
    a = Mul(v, scale)
    d = If(c) <then_branch = t () => (float[2] u) <float[2] k1 = {1, 2}> { [add] p = Add(a, k1) u = LeakyRelu<alpha = 0.5>(p) },
               else_branch = f () => (float[2] r) { q = Abs(a) r = Neg(q) }>
    w = Add(d, h)
    e = Tanh(w)
  }>
  y = my.F(l)
}"""
F = '<domain: "my", opset_import: ["" : 18]> F (p0) => (q0) { [neg] m0 = Neg(p0) c0 = Constant<value = float[2] {2, 3}>() mm = Mul(m0, c0) q0 = Tanh(mm) }'
THEN = "loop.body/d.then_branch/"
FUNCTION = "function:my::F/"
SCALE, K1 = np.float32([0.25, 0.5]), np.float32([1, 2])


def net():
    return parse(NET, imports='"my" : 1', functions=F, scale=SCALE)


def expected(x, c, act=lambda v: v, tail=lambda v: v, k1=K1, alpha=0.5, inner=lambda v: v, outer=lambda v: v):
    """What the net gives in two turns; the keywords are what an edit puts in its place."""
    h = -x
    v, turns = h, []
    for _ in range(2):
        p = act(v * SCALE + k1)
        d = np.where(p < 0, p * np.float32(alpha), p) if c else -np.abs(v * SCALE)
        v = d + outer(h)
        turns.append(np.tanh(v))
    return {"y": np.tanh(inner(-v) * tail(np.float32([2, 3]))), "s": np.stack(turns)}


def relu(v):
    return np.maximum(v, 0)


X = np.float32([3, -8])

EDITS = {
    "insert in a branch in a loop": (lambda m: gk.insert(m, f"{THEN}p", "relu"), {"act": relu}),
    "insert in a function": (lambda m: gk.insert(m, f"{FUNCTION}m0", "relu"), {"inner": relu}),
    "insert by a regular expression": (lambda m: gk.insert(m, ".*then_branch/p", "relu", regex=True), {"act": relu}),
    "insert for one reader in a body": (lambda m: gk.insert(m, "h", "relu", readers="loop.body/w"), {"outer": relu}),
    "remove in a branch": (lambda m: gk.remove(m, nodes=f"{THEN}u"), {"alpha": 1}),
    "remove in a function": (lambda m: gk.remove(m, nodes=f"{FUNCTION}neg"), {"inner": np.negative}),
    "remove by a pattern": (lambda m: gk.remove(m, nodes=f"{FUNCTION}n*"), {"inner": np.negative}),
    "replace in a branch": (lambda m: gk.replace(m, nodes=f"{THEN}u", function="identity"), {"alpha": 1}),
    "replace a region of a branch": (
        lambda m: gk.replace(m, inputs=[f"{THEN}p"], outputs=[f"{THEN}u"], function="identity"),
        {"alpha": 1},
    ),
    "set an attribute in a branch": (lambda m: gk.set_parts(m, attributes={f"{THEN}u:alpha": 0.125}), {"alpha": 0.125}),
    "set an operand in a branch": (lambda m: gk.set_parts(m, operands={f"{THEN}add:1": "scale"}), {"k1": SCALE}),
    "set a weight of a branch": (
        lambda m: gk.set_parts(m, tensors={f"{THEN}k1": np.float32([5, 6])}),
        {"k1": np.float32([5, 6])},
    ),
    "set a constant of a function": (
        lambda m: gk.set_parts(m, tensors={f"{FUNCTION}c0": np.float32([5, 6])}),
        {"tail": lambda _: np.float32([5, 6])},
    ),
    "rename in a branch and a function": (
        lambda m: gk.rename(m, values={f"{THEN}p": "pp", f"{FUNCTION}m0": "mz"}, nodes={f"{THEN}u": "leaky"}),
        {},
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_at_an_address_changes_what_is_there_and_nothing_else(what):
    edit, changes = EDITS[what]
    model = net()
    after = edit(model)
    onnx.checker.check_model(after.materialize(), full_check=True)
    for c in (True, False):
        feeds = {"n": np.array(2), "c": np.array(c), "x": X}
        assert_same(run_ort(model, feeds), expected(X, c))
        assert_same(run_ort(after, feeds), expected(X, c, **changes))
    assert gk.prove(after, model)


def test_a_weight_of_a_branch_becomes_an_input_by_its_address():
    after = gk.promote(net(), {f"{THEN}k1": "k"})
    feeds = {"n": np.array(2), "c": np.array(True), "x": X}
    for k in (K1, np.float32([7, -9])):
        assert_same(run_ort(after, {**feeds, "k": k}), expected(X, True, k1=k))
    assert gk.prove(after, net())


def test_a_pattern_promotes_weights():
    model = parse(
        "g (float[2] x) => (float[2] y) { a = Mul(x, lora_A) b = Mul(a, lora_B) y = Add(b, w) }",
        lora_A=[1, 2],
        lora_B=[3, 4],
        w=[5, 6],
    )
    after = gk.promote(model, "lora_*")
    assert [value.name for value in after.inputs] == ["x", "lora_A", "lora_B"]
    assert gk.prove(after, model)
    with pytest.raises(gk.NameNotFoundError, match="'nope\\*'"):
        gk.promote(model, "nope*")


def test_a_node_of_a_branch_stays_in_float32_by_its_address():
    after = gk.precision(net(), to="float16", keep_io=True, keep_nodes=[f"{THEN}add"])
    loop = next(node for node in after.nodes if node.op_type == "Loop").attribute[0].g
    branch = next(node for node in loop.node if node.op_type == "If").attribute[0].g
    assert {tensor.data_type for tensor in branch.initializer} == {onnx.TensorProto.FLOAT}
    with pytest.raises(gk.NameNotFoundError, match="nobody"):
        gk.precision(net(), to="float16", keep_nodes=[f"{THEN}nobody"])


@pytest.mark.parametrize(
    "edit", [lambda m: gk.insert(m, "p", "relu"), lambda m: gk.remove(m, nodes="add"), lambda m: gk.tap(m, "p")]
)
def test_a_bare_name_from_a_body_is_answered_with_its_address(edit):
    with pytest.raises(gk.NameNotFoundError) as error:
        edit(net())
    assert "loop.body/d.then_branch/" in str(error.value.hint)

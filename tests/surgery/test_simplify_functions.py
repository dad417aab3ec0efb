"""simplify in functions: what holds for every call of one goes; what depends on a call stays."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.graph import walk
from onnx_text import parse
from oracle import assert_same, run_ort

X = np.float32([[1, -2, 3], [4, 5, -6]])


def function(body, signature="(a) => (b)", attributes="", imports='"" : 18'):
    return f'<domain: "my", opset_import: [{imports}]> F {attributes} {signature} {{ {body} }}'


def model(body, call="y = my.F(x)", **options):
    return parse(
        f"g (float[2,3] x) => (float[p,q] y) {{ {call} }}", imports='"my" : 1', functions=function(body, **options)
    )


def simplified(before):
    after = gk.simplify(before)
    onnx.checker.check_model(after.materialize(), full_check=True)
    assert_same(run_ort(after, {"x": X}), run_ort(before, {"x": X}))
    assert gk.simplify(after).proto == after.proto
    return after


def ops(model):
    return [node.op_type for node in model.proto.functions[0].node]


FEWER = {
    "identities": ("c = Identity(a) d = Identity(c) b = Neg(d)", ["Neg"]),
    "two transposes": ("c = Transpose<perm = [1, 0]>(a) d = Transpose<perm = [1, 0]>(c) b = Neg(d)", ["Neg"]),
    "twice the same": ("c = Exp(a) d = Exp(a) b = Add(c, d)", ["Exp", "Add"]),
    "constants": ("k = Constant<value = float {2}>() l = Constant<value = float {3}>() m = Mul(k, l) b = Mul(a, m)", ["Constant", "Mul"]),
    "dropout": ("c = Dropout(a) b = Neg(c)", ["Neg"]),
    "a constant condition": (
        """c = Constant<value = bool {1}>()
        b = If(c) <then_branch = t () => (float[2,3] u) { i = Identity(a) u = Neg(i) }, else_branch = f () => (float[2,3] r) { r = Abs(a) }>""",
        ["Neg"],
    ),
    "a constant count": (
        """n = Constant<value = int64 {2}>()
        b = Loop(n, , a) <body = l (int64 i, bool go, float[2,3] v) => (bool keep, float[2,3] w) { keep = Identity(go) w = Exp(v) }>""",
        ["Exp", "Exp"],
    ),
    "a body": (
        """z = Constant<value = float {0}>() s = ReduceSum<keepdims = 0>(a) c = Less(z, s)
        b = If(c) <then_branch = t () => (float[2,3] u) { i = Identity(a) j = Identity(i) u = Neg(j) },
                   else_branch = f () => (float[2,3] r) { r = Abs(a) }>""",
        ["Constant", "ReduceSum", "Less", "If"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FEWER)
def test_a_function_loses_what_no_call_needs(what):
    body, left = FEWER[what]
    after = simplified(model(body))
    assert ops(after) == left
    assert "Identity" not in {node.op_type for node in walk.function_nodes(after.proto.functions[0])}


REFERRING = {
    "a transpose": ("p = Transpose<perm = [1, 0]>(a) b = Transpose<perm: ints = @way>(p)", "<way>", "y = my.F<way = [0, 1]>(x)"),
    "a cast": ("c = Cast<to: int = @kind>(a) b = Cast<to = 1>(c)", "<kind>", "y = my.F<kind = 6>(x)"),
    "twice the same but for the attribute": (
        "c = Softmax<axis: int = @axis>(a) d = Softmax<axis = 0>(a) b = Sub(c, d)", "<axis>", "y = my.F<axis = 1>(x)"),
    "a constant": ("k = Constant<value_float: float = @by>() l = Neg(k) b = Mul(a, l)", "<by>", "y = my.F<by = 4.0>(x)"),
    "a shape that follows from it": (
        "k = Constant<value = float[2,3] {1,2,3,4,5,6}>() f = Flatten<axis: int = @axis>(k) s = Constant<value = int64[2] {1, 6}>() r = Reshape(f, s) b = Sum(a, f)",
        "<axis>",
        "y = my.F<axis = 1>(x)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFERRING)
def test_a_node_that_takes_an_attribute_from_the_call_stays(what):
    body, attributes, call = REFERRING[what]
    before = model(body, call=call, attributes=attributes)
    after = simplified(before)
    assert any(a.ref_attr_name for node in after.proto.functions[0].node for a in node.attribute)


def test_calls_of_other_sizes_and_left_out_inputs_are_as_before():
    body = "o = Constant<value = float[1] {1}>() c = Mul(a, o) d = Identity(c) e = Clip(d, low) b = Identity(e)"
    functions = function(body, signature="(a, low) => (b)")
    before = parse(
        "g (float[2,3] x, float l) => (float[2,3] y, float z) { y = my.F(x) w = ReduceSum<keepdims = 0>(x) z0 = my.F(w, l) z = ReduceSum<keepdims = 0>(z0) }",
        imports='"my" : 1',
        functions=functions,
    )
    after = gk.simplify(before)
    feeds = {"x": X, "l": np.array(-9, np.float32)}
    assert_same(run_ort(after, feeds), run_ort(before, feeds))
    assert ops(after) == ["Constant", "Mul", "Clip"]
    assert gk.prove(after, before)


def test_constants_and_the_order_of_nodes_stay_where_nothing_was_to_do():
    body = "u = Neg(a) k = Constant<value = float {2}>() b = Mul(u, k)"
    before = model(body)
    before.functions[0].node[1].doc_string = "two"
    after = gk.simplify(before)
    assert after.proto.functions == before.functions
    more = model(body + " z = Identity(a)")
    more.functions[0].node[1].doc_string = "two"
    assert list(gk.simplify(more).proto.functions[0].node) == list(before.functions[0].node)

"""onnx.utils, onnx.tools and onnx.inliner: a part of a model, other dims, stand-ins for weights, functions put in place."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort, run_reference
from peers.suites import Suite, assert_runs_the_same, feeds_of, names, ops

SUITE = Suite(
    "onnx.utils, onnx.tools, onnx.inliner", "onnx/onnx onnx/test/utils_test.py, tools_test.py, inliner_test.py"
)

NET = """g (float[1, 2] A0, float[1, 2] A1) => (float[1, 2] D0) {
B0 = Add(A0, A1) B1 = Sub(A0, A1) B2 = Mul(A0, A1) C0 = Add(B0, B1) C1 = Sub(B1, B2) D0 = Mul(C0, C1) }"""


@SUITE.case("extract_model")
def test_a_part_between_inner_values_has_their_types_and_the_models_versions(tmp_path):
    before = parse(NET)
    onnx.save(before, tmp_path / "whole.onnx")
    part = gk.extract(tmp_path / "whole.onnx", inputs=["B0", "B1", "B2"], outputs=["C0", "C1"])
    part.save(tmp_path / "part.onnx")
    proto = onnx.load(tmp_path / "part.onnx")
    assert ops(proto) == "Add Sub"
    assert (names(proto.graph.input), names(proto.graph.output)) == (["B0", "B1", "B2"], ["C0", "C1"])
    assert {str(v.type) for v in [*proto.graph.input, *proto.graph.output]} == {str(before.graph.input[0].type)}
    assert (proto.ir_version, list(proto.opset_import)) == (before.ir_version, list(before.opset_import))
    whole = run_ort(gk.tap(before, ["B0", "B1", "B2", "C0", "C1"]), feeds_of(before))
    assert_same(run_ort(proto, {n: whole[n] for n in ("B0", "B1", "B2")}), {n: whole[n] for n in ("C0", "C1")})


@SUITE.case(
    "update_inputs_outputs_dim",
    differs="-1 makes no name up: the user gives one; and the sizes that depend on the input follow it",
)
def test_fixed_dims_become_names_in_inputs_and_outputs():
    before = parse(
        "g (float[1, 1, 5, 5] x, float[1, 1, 3, 3] W) => (float[1, 1, 2, 2] y) { y = Conv<strides = [2, 2]>(x, W) }"
    )
    after = gk.dims(before, {"x:2": "x1", "x:3": "x_3"})
    sizes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in [*after.inputs, *after.outputs]
    }
    assert sizes["x"] == [1, 1, "x1", "x_3"]
    assert sizes["W"] == [1, 1, 3, 3]
    assert sizes["y"][:2] == [1, 1]
    assert 2 not in sizes["y"]
    feeds = feeds_of(before)
    assert_same(run_ort(after, feeds), run_ort(before, feeds))
    assert run_ort(after, {**feeds, "x": np.zeros((1, 1, 9, 7), np.float32)})["y"].shape == (1, 1, 4, 3)


LINEAR = "g (float[n, 2] X) => (float[n, 200] Y) { AX = MatMul(X, A) Y = Sub(AX, C) }"
A = np.random.default_rng(0).standard_normal((2, 200), np.float32)
C = np.float32([1])


@SUITE.case(
    "replace_initializer replace_range",
    differs="weights stay weights: --strip-weights leaves only their types (from 1 KiB on), --fill-weights puts zeros or random numbers in their place",
)
def test_a_model_can_be_shown_around_without_its_weights():
    before = parse(LINEAR, A=A, C=C)
    feeds = {"X": np.ones((3, 2), np.float32)}
    zeros = gk.set_parts(before, strip_weights=True, fill_weights="zeros")
    assert_same(run_ort(zeros, feeds), {"Y": np.full((3, 200), -1, np.float32)})
    other = gk.set_parts(before, strip_weights=True, fill_weights="random")
    assert run_ort(other, feeds)["Y"].shape == (3, 200)
    assert not np.array_equal(other.array("A"), A)
    stripped = gk.set_parts(before, strip_weights=True)
    with pytest.raises(gk.GraphkitError):
        gk.session(stripped)
    assert_same(run_ort(gk.set_parts(stripped, restore_weights=before), feeds), run_ort(before, feeds))


CONSTANT_NODE = "g (float[n, 2] X) => (float[n, 200] Y) { A = Constant<value = VALUE>() Y = MatMul(X, A) }"
VALUE = f"float[2, 200] {{{', '.join(map(str, range(1, 401)))}}}"
IN_FUNCTION = "g (float[n, 2] X) => (float[n, 200] Y) { Y = own.unit(X) }"
FUNCTION = (
    f'<domain: "own", opset_import: ["" : 18]> unit (X) => (Y) {{ A = Constant<value = {VALUE}>() Y = MatMul(X, A) }}'
)
IN_BODY = f"""g (float[n, 2] X, bool c) => (float[n, 200] Y) {{ Y = If(c)
<then_branch = t () => (float[n, 200] a) {{ A = Constant<value = {VALUE}>() a = MatMul(X, A) }},
else_branch = e () => (float[n, 200] b) {{ B = Constant<value = {VALUE}>() b = MatMul(X, B) }}> }}"""


@SUITE.case(
    "replace_constant replace_range_constant replace_constant_function replace_range_function replace_constant_graph replace_range_graph",
    differs="the same, in Constant nodes, functions and bodies",
)
@pytest.mark.parametrize("where", ["node", "function", "body"])
def test_weights_in_constant_nodes_functions_and_bodies_are_filled_too(where):
    if where == "function":
        before = parse(IN_FUNCTION, imports='"own" : 1', functions=FUNCTION)
    else:
        before = parse(CONSTANT_NODE.replace("VALUE", VALUE) if where == "node" else IN_BODY)
    zeros = gk.set_parts(before, strip_weights=True, fill_weights="zeros")
    assert_same(run_ort(zeros, feeds_of(before)), {"Y": np.zeros((3, 200), np.float32)})


NESTED = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
g (float[N] X) => (float[N] Y) { T = local.square (X) Y = local.double_and_square (T) }
<opset_import: ["" : 17, "local" : 1], domain: "local"> double_and_square (x) => (y) { d = Add(x, x) y = local.square(d) }
<opset_import: ["" : 17], domain: "local"> square (x) => (y) { y = Mul(x, x) }"""


@SUITE.case("inliner.basic")
def test_functions_that_call_functions_are_put_in_place():
    before = parse(NESTED)
    after = gk.inline(before)
    assert ops(after) == "Mul Add Mul"
    assert not after.proto.functions
    assert_runs_the_same(after, before)


@SUITE.case("inliner.selective_inlining inliner.selective_exclusion")
def test_chosen_functions_are_put_in_place_also_inside_of_others():
    before = parse(NESTED)
    after = gk.inline(before, ["local::square"])
    assert ops(after) == "Mul double_and_square"
    assert [[node.op_type for node in f.node] for f in after.proto.functions] == [["Add", "Mul"]]
    assert_runs_the_same(after, before)


@SUITE.case(
    "inliner.schema_function_inlining",
    differs="inline is about a model's own functions; what ONNX defines by older operators is lowered by opset or by an expand-* rule",
)
def test_an_operator_that_onnx_defines_by_others_is_expanded_by_a_rule():
    before = parse("g (float[N] X) => (float[N] Y) { Y = HardSwish(X) }", opset=20)
    assert ops(gk.inline(before)) == "HardSwish"
    after = gk.rewrite(before, "expand-hard-swish")
    assert "HardSwish" not in ops(after)
    for seed in range(3):
        feeds = feeds_of(before, seed)
        assert_same(run_reference(after, feeds), run_ort(before, feeds))

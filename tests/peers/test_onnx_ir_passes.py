"""onnx-ir's common passes: equal nodes and weights once, nothing dead, nothing that does nothing, constants as initializers, half precision."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort
from peers.suites import Row, Suite, assert_runs_the_same, feeds_of, names, ops

SUITE = Suite(
    "onnx-ir passes",
    "onnx/ir-py src/onnx_ir/passes/common/*_test.py",
    outside=[(6, "tests of the pass machinery, of the checker pass and of lists of operators in the package itself")],
)


def rule(name):
    return lambda model: gk.rewrite(model, name)


SIMPLIFIED = SUITE.rows([
    # common_subexpression_elimination
    Row("cse.duplicate_operations", "g (float[2, 2] x) => (float[2, 2] y) { a = Cos(x) b = Cos(x) c = Add(a, a) d = Add(b, b) y = Add(c, d) }", "Cos Add Add"),
    Row("cse.more_operations", "g (float[2] x) => (float[2] y) { a = Cos(x) b = Sin(a) c = Cos(x) d = Sin(c) e = Add(b, b) f = Add(d, d) y = Add(e, f) }", "Cos Sin Add Add"),
    Row(
        "cse.same_ops_with_attributes",
        "g (float[2, 2] x) => (float y) { a = ReduceSum<keepdims = 0>(x) b = ReduceSum<keepdims = 0>(x) c = ReduceSum<keepdims = 0>(x) d = Add(a, b) y = Add(d, c) }",
        "ReduceSum Add Add",
    ),
    Row("cse.different_attributes", "g (float[2, 2] x) => (float[1, 1] y) { a = ReduceSum<keepdims = 0>(x) b = ReduceSum<keepdims = 1>(x) y = Add(a, b) }", "ReduceSum ReduceSum Add"),
    Row(
        "cse.control_flow_if_ops",
        """g (bool c, float[2] a, float[2] b) => (float[2] y) {
        r1 = If(c) <then_branch = t () => (float[2] p) { p = Sub(a, b) }, else_branch = e () => (float[2] q) { q = Add(a, b) }>
        r2 = If(c) <then_branch = t () => (float[2] p) { p = Sub(a, b) }, else_branch = e () => (float[2] q) { q = Add(a, b) }>
        y = Add(r1, r2) }""",
        "If If Add",
    ),
    Row(
        "cse.nodes_following_control_flow",
        """g (bool c, float[2] a, float[2] b) => (float[2] y) {
        x = If(c) <then_branch = t () => (float[2] p) { p = Sub(a, b) }, else_branch = e () => (float[2] q) { q = Add(a, b) }>
        c1 = Cos(x) s1 = Sin(c1) c2 = Cos(x) s2 = Sin(c2) d = Add(s1, s1) f = Mul(s2, s2) y = Add(d, f) }""",
        "If Cos Sin Add Mul Add",
    ),
    Row("cse.graph_output_preserves_name", "g (float[2] x) => (float[2] y, float[2] z) { a = Cos(x) z = Cos(x) y = Add(a, z) }", "Cos Add"),
    Row("cse.both_outputs_are_graph_outputs", "g (float[2] x) => (float[2] y, float[2] z) { y = Cos(x) z = Cos(x) }", "Cos Identity"),
    Row("cse.constant_nodes_with_the_same_tensor", "g (float[2, 2] x) => (float[2, 2] y) { k = Constant<value = float[2] {1, 2}>() l = Constant<value = float[2] {1, 2}>() a = Add(x, k) b = Add(x, l) y = Add(a, b) }", "Add Add"),
    # identity_elimination
    Row("identity.not_graph_output", "g (float[2] x) => (float[2] y) { i = Identity(x) y = Sub(i, x) }", "Sub"),
    Row("identity.output_renaming identity.multiple_graph_outputs", "g (float[2] x) => (float[2] y, float[2] z) { h = Neg(x) y = Identity(h) z = Exp(h) }", "Neg Exp"),
    Row("identity.both_are_graph_boundaries", "g (float[2] x) => (float[2] y) { y = Identity(x) }", "Identity"),
    Row("identity.multiple_identity_nodes", "g (float[2] x) => (float[2] i1, float[2] y) { i1 = Identity(x) i2 = Identity(i1) y = Sub(i2, x) }", "Identity Sub"),
    Row("identity.no_identity_nodes identity.non_identity_node_skipped", "g (float[2] x) => (float[2] y) { y = Add(x, x) }", "Add"),
    Row("identity.chain_of_identities", "g (float[2] x) => (float[2] y) { a = Identity(x) b = Identity(a) y = Identity(b) }", "Identity"),
    # unused_removal
    Row("unused.nodes", "g (float[N] x) => (float[N] z) { two = Constant<value_float = 2.0>() four = Add(two, two) z = Mul(x, x) }", "Mul"),
    Row("unused.initializers", "g (float[N] x) => (float[N] z) <float two = {2}> { four = Add(two, two) z = Mul(x, x) }", "Mul", weights=0),
    Row("unused.inputs_are_not_removed", "g (float[N] x, float[N] two) => (float[N] z) { four = Add(two, two) z = Mul(x, x) }", "Mul"),
    Row("unused.partially_used_nodes", "g (float[9] x) => (float[3] z) { w1, w2, w3 = Split<num_outputs = 3>(x) z = Mul(w3, w3) }", "Split Mul"),
])  # fmt: skip


@pytest.mark.parametrize("row", SIMPLIFIED, ids=str)
def test_simplify_leaves_what_is_needed(row):
    row.check()


@SUITE.case(
    "cse.graph_output_names identity.duplicate_identity_output",
    differs="an output may not be listed twice: check names it, and identity-outputs mends it",
)
def test_outputs_keep_their_names_and_order():
    before = parse("g (float[2] x) => (float[2] b, float[2] a) { a = Cos(x) b = Cos(x) }")
    after = gk.simplify(before)
    assert names(after.outputs) == ["b", "a"]
    assert_runs_the_same(after, before)


@SUITE.case("cse.non_deterministic_ops")
def test_two_draws_stay_two():
    before = parse(
        "g (float[2] x) => (float[2] y) { a = RandomUniform<shape = [2]>() b = RandomUniform<shape = [2]>() c = Sub(a, b) y = Add(c, x) }"
    )
    after = gk.simplify(before)
    assert ops(after) == "RandomUniform RandomUniform Sub Add"
    assert np.any(run_ort(after, {"x": np.zeros(2, np.float32)})["y"] != 0)


@SUITE.case(
    "cse.constant_nodes_larger_than_size_limit",
    differs="no size limit: equal weights are found by their bytes, of any size",
)
def test_equal_weights_are_one_whatever_their_size():
    k = np.arange(5000, dtype=np.float32)
    before = parse("g (float[5000] x) => (float[5000] y) { a = Add(x, k) b = Mul(x, l) y = Add(a, b) }", k=k, l=k)
    after = gk.simplify(before)
    assert len(after.proto.graph.initializer) == 1
    assert_runs_the_same(after, before)


@SUITE.case("identity.invalid_identity identity.none_input")
def test_an_identity_without_an_input_is_named_and_not_followed():
    before = parse("g (float[2] x) => (float[2] y) { i = Identity() y = Add(x, i) }")
    assert not gk.check(before)
    with pytest.raises(gk.GraphkitError):
        gk.simplify(before)


@SUITE.case("identity.empty_graph")
def test_a_graph_without_nodes_stays_as_it_is():
    before = onnx.helper.make_model(
        onnx.helper.make_graph([], "g", [], []), opset_imports=[onnx.helper.make_opsetid("", 18)]
    )
    assert ops(gk.simplify(before)) == ""


OWN = "g (float[2] x) => (float[2] y) { i = own.Identity(x) y = Sub(i, x) }"


@SUITE.case("identity.non_standard_domain")
def test_an_operator_of_another_domain_that_is_called_identity_stays():
    before = parse(
        OWN,
        imports='"own" : 1',
        functions='<domain: "own", opset_import: ["" : 18]> Identity (a) => (b) { b = Neg(a) }',
    )
    after = gk.simplify(before)
    assert ops(after) == "Identity Sub"
    assert_runs_the_same(after, before)


@SUITE.case(
    "identity.function_with_identity",
    differs="functions lose what nothing reads; their other nodes stay until inline puts them in place",
)
def test_functions_are_simplified_where_they_are_called():
    body = '<domain: "own", opset_import: ["" : 18]> f (a) => (c) { b = Identity(a) c = Sub(b, a) }'
    before = parse("g (float[2] x) => (float[2] y) { y = own.f(x) }", imports='"own" : 1', functions=body)
    after = gk.simplify(gk.inline(before))
    assert ops(after) == "Sub"
    assert_runs_the_same(after, before)


@SUITE.case("unused.initialized_inputs_are_kept")
def test_an_input_with_a_default_that_nothing_reads_stays():
    before = parse(
        "g (float[2] x, float[2] two) => (float[2] z) <float[2] two = {2, 2}> { four = Add(two, two) z = Mul(x, x) }"
    )
    after = gk.simplify(before)
    assert (ops(after), names(after.proto.graph.input), names(after.proto.graph.initializer)) == (
        "Mul",
        ["x", "two"],
        ["two"],
    )
    assert_runs_the_same(after, before)


IMAGE = "float[1, 3, 5, 5]"
NORM = "LayerNormalization(x, s, b) s = X"
OPTIONAL_OUTPUTS = [
    ("unused.optional_outputs_maxpool", f"g ({IMAGE} x) => ({IMAGE} z) {{ z, i = MaxPool<pads = [2, 2, 2, 2], kernel_shape = [5, 5]>(x) }}", ["z"]),
    ("unused.used_optional_outputs_maxpool", f"g ({IMAGE} x) => ({IMAGE} z, int64[1, 3, 5, 5] i) {{ z, i = MaxPool<pads = [2, 2, 2, 2], kernel_shape = [5, 5]>(x) }}", ["z", "i"]),
    ("unused.multiple_unused_layernorm", f"g ({IMAGE} x, float[5] s) => ({IMAGE} z) {{ z, m, v = LayerNormalization(x, s, s) }}", ["z"]),
    ("unused.trailing_layernorm", f"g ({IMAGE} x, float[5] s) => ({IMAGE} z, float[1, 3, 5, 1] m) {{ z, m, v = LayerNormalization(x, s, s) }}", ["z", "m"]),
    ("unused.non_trailing_layernorm", f"g ({IMAGE} x, float[5] s) => ({IMAGE} z, float[1, 3, 5, 1] v) {{ z, m, v = LayerNormalization(x, s, s) }}", ["z", "", "v"]),
    ("unused.used_outputs_batchnorm", f"g ({IMAGE} x, float[3] s, float[3] m) => ({IMAGE} z, float[3] mo, float[3] vo) {{ v = Abs(m) z, mo, vo = BatchNormalization<training_mode = 1>(x, s, s, m, v) }}", ["z", "mo", "vo"]),
]  # fmt: skip
for one in OPTIONAL_OUTPUTS:
    SUITE.case(one[0])


@pytest.mark.parametrize("row", OPTIONAL_OUTPUTS, ids=lambda row: row[0])
def test_optional_outputs_that_nothing_reads_are_left_out(row):
    before = parse(row[1], opset=17)
    after = gk.simplify(before)
    assert list(after.nodes[-1].output) == row[2]
    assert_runs_the_same(after, before)


@SUITE.case("unused.optional_outputs_in_function")
def test_optional_outputs_in_functions_too():
    body = '<domain: "own", opset_import: ["" : 17]> f (x) => (z) { z, i = MaxPool<pads = [2, 2, 2, 2], kernel_shape = [5, 5]>(x) }'
    before = parse(f"g ({IMAGE} x) => ({IMAGE} z) {{ z = own.f(x) }}", opset=17, imports='"own" : 1', functions=body)
    after = gk.simplify(before)
    assert list(after.proto.functions[0].node[0].output) == ["z"]
    assert_runs_the_same(after, before)


@SUITE.case(
    "unused.trailing_batchnorm",
    differs="training_mode is left: without it the node would use other means, and another answer would come out",
)
def test_batch_normalization_in_training_mode_keeps_its_mode():
    before = parse(
        f"g ({IMAGE} x, float[3] s, float[3] m) => ({IMAGE} z) {{ v = Abs(m) z, mo, vo = BatchNormalization<training_mode = 1>(x, s, s, m, v) }}",
        opset=17,
    )
    after = gk.simplify(before)
    assert {a.name: a.i for a in after.nodes[-1].attribute}["training_mode"] == 1
    assert_runs_the_same(after, before)


FUNCTIONS = {
    "unused.removes_unused_function": ("Relu(x)", ["lonely"], []),
    "unused.keeps_used_function": ("own.used(x)", ["used"], ["used"]),
    "unused.keeps_transitively_used_function": ("own.outer(x)", ["outer", "used"], ["outer", "used"]),
    "unused.removes_only_unused_functions": ("own.used(x)", ["used", "lonely"], ["used"]),
}
BODIES = {
    "used": '<domain: "own", opset_import: ["" : 17]> used (a) => (b) { b = Neg(a) }',
    "lonely": '<domain: "own", opset_import: ["" : 17]> lonely (a) => (b) { b = Exp(a) }',
    "outer": '<domain: "own", opset_import: ["" : 17, "own" : 1]> outer (a) => (b) { c = own.used(a) b = Abs(c) }',
}


@SUITE.case(" ".join(FUNCTIONS))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_that_nothing_calls_go(name):
    call, given, kept = FUNCTIONS[name]
    before = parse(
        f"g (float[N] x) => (float[N] z) {{ z = {call} }}",
        opset=17,
        imports='"own" : 1',
        functions=" ".join(BODIES[f] for f in given),
    )
    after = gk.simplify(before)
    assert [f.name for f in after.proto.functions] == kept
    assert_runs_the_same(after, before)


@SUITE.case("unused.opset unused.keeps_used_opsets unused.default_domain_always_retained")
def test_imports_that_nothing_needs_go_and_ai_onnx_stays():
    before = parse(
        "g (float[N] x) => (float[N] z) { z = own.used(x) }",
        opset=17,
        imports='"own" : 1, "nobody" : 1',
        functions=BODIES["used"],
    )
    after = gk.simplify(before)
    assert sorted(i.domain for i in after.proto.opset_import) == ["", "own"]
    assert_runs_the_same(after, before)


@SUITE.case("unused.opset_in_function unused.process_functions_false")
def test_imports_of_functions_too():
    body = BODIES["used"].replace('"" : 17', '"" : 17, "nobody" : 1')
    before = parse("g (float[N] x) => (float[N] z) { z = own.used(x) }", opset=17, imports='"own" : 1', functions=body)
    after = gk.simplify(before)
    assert [i.domain for i in after.proto.functions[0].opset_import] == [""]
    assert_runs_the_same(after, before)


@SUITE.case("unused.nodes_in_if_subgraph")
def test_bodies_lose_what_they_do_not_need():
    before = parse(
        """g (bool c, float[2] x) => (float[2] z) { z = If(c) <then_branch = t () => (float[2] p) { dead = Relu(x) p = Sigmoid(x) },
        else_branch = e () => (float[2] q) { q = Tanh(x) }> }"""
    )
    after = gk.simplify(before)
    assert [node.op_type for node in after.nodes[0].attribute[0].g.node] == ["Sigmoid"]
    assert_runs_the_same(after, before)


DUPLICATES = {
    "dedup.identical": ("float[3] w1 = {1, 2, 3}, float[3] w2 = {1, 2, 3}", 1),
    "dedup.different_shapes": ("float[3] w1 = {1, 2, 3}, float[1, 3] w2 = {1, 2, 3}", 2),
    "dedup.scalar": ("float w1 = {5}, float w2 = {5}", 1),
    "dedup.unique_values": ("float[2] w1 = {1, 2}, float[2] w2 = {2, 1}", 2),
}


@SUITE.case(" ".join(DUPLICATES))
@pytest.mark.parametrize("name", DUPLICATES)
def test_equal_weights_are_stored_once(name):
    weights, left = DUPLICATES[name]
    before = parse(f"g (float x) => (float[n] y) <{weights}> {{ a = Add(x, w1) y = Mul(a, w2) }}")
    after = gk.deduplicate(before)
    assert len(after.proto.graph.initializer) == left
    assert_runs_the_same(after, before)


@SUITE.case("dedup.multiple_duplicates dedup.different_dtypes")
def test_three_become_one_and_another_dtype_stays():
    before = parse(
        "g (float x, double d) => (float[2] y, double[2] z) <float[2] a = {1, 1}, float[2] b = {1, 1}, float[2] c = {1, 1}, double[2] e = {1, 1}> "
        "{ p = Add(x, a) q = Mul(p, b) y = Sub(q, c) z = Add(d, e) }"
    )
    after = gk.deduplicate(before)
    assert names(after.proto.graph.initializer) == ["a", "e"]
    assert_runs_the_same(after, before)


STRINGS = {
    "dedup.identical_string": ([b"A", b"B"], [b"A", b"B"], [2], 1),
    "dedup.string_different_shapes": ([b"A", b"B"], [b"A", b"B"], [1, 2], 2),
    "dedup.string_different_grouping": ([b"AB", b"C"], [b"A", b"BC"], [2], 2),
}


@SUITE.case(" ".join(STRINGS))
@pytest.mark.parametrize("name", STRINGS)
def test_strings_are_compared_as_strings(name):
    one, two, shape, left = STRINGS[name]
    before = parse(
        "g (string[2] x) => (string[n] y) { a = StringConcat(x, s1) y = StringConcat(a, s2) }", opset=20, ir=9
    )
    before.graph.initializer.append(onnx.helper.make_tensor("s1", onnx.TensorProto.STRING, [2], one))
    before.graph.initializer.append(onnx.helper.make_tensor("s2", onnx.TensorProto.STRING, shape, two))
    after = gk.deduplicate(before)
    assert len(after.proto.graph.initializer) == left
    feeds = {"x": np.array(["p", "q"], object)}
    assert_same(run_ort(after, feeds), run_ort(before, feeds))


@SUITE.case(
    "dedup.subgraphs",
    differs="a body's weight that the main graph has too is read from there, so the body keeps none of its own",
)
def test_weights_of_bodies_too():
    body = "t () => (float[1] r) <float[1] b = {1}, float[1] c = {1}> { h = Add(x, b) r = Mul(h, c) }"
    before = parse(
        f"g (bool k, float[1] x) => (float[1] y, float[1] z) <float[1] a = {{1}}> {{ z = Sub(x, a) y = If(k) <then_branch = {body}, else_branch = {body.replace('t ()', 'e ()')}> }}"
    )
    after = gk.deduplicate(before)
    assert names(after.proto.graph.initializer) == ["a"]
    assert not any(a.g.initializer for a in after.nodes[1].attribute)
    assert_runs_the_same(after, before)


CALL = '<ir_version: 8, opset_import: ["" : 17, "local" : 1]> g (float[N] X) => (float[N] Y) { MAIN }'
FOO = '<opset_import: ["" : 17, "local" : 1], domain: "local"> foo (x) => (y) { temp = Add(x, x) y = Mul(temp, temp) }'
BAR = '<opset_import: ["" : 17], domain: "local"> bar (x) => (y) { y = Mul(x, x) }'
FOO_BAR = (
    '<opset_import: ["" : 17, "local" : 1], domain: "local"> foo (x) => (y) { temp = local.bar(x) y = Relu(temp) }'
)
SELU = '<opset_import: ["" : 17], domain: "local"> foo <alpha> (x) => (y) { y = Selu<alpha: float = @alpha>(x) }'
INLINED = [
    ("inline.single_call", "Y = local.foo(X)", [FOO], None, "Add Mul"),
    ("inline.two_calls", "T = local.foo(X) Y = local.foo(T)", [FOO], None, "Add Mul Add Mul"),
    ("inline.nested_call inline.nested_in_dependency_order inline.reverse_order", "Y = local.foo(X)", [FOO_BAR, BAR], None, "Mul Relu"),
    ("inline.attr_parameter", "Y = local.foo<alpha = 0.5>(X)", [SELU], None, "Selu"),
    ("inline.attr_parameter_with_default", "T = local.foo<alpha = 0.5>(X) Y = local.foo(T)", [SELU.replace("<alpha>", "<alpha: float = 0.6>")], None, "Selu Selu"),
    ("inline.criteria_skips", "T = local.foo(X) Y = local.bar(T)", [FOO, BAR], ["local::foo"], "Add Mul bar"),
    ("inline.criteria_true inline.independent_functions", "T = local.foo(X) Y = local.bar(T)", [FOO, BAR], None, "Add Mul Mul"),
    ("inline.diamond", "T = local.a(X) U = local.b(X) Y = Add(T, U)", [FOO_BAR.replace("foo", "a"), FOO_BAR.replace("foo", "b").replace("Relu", "Sigmoid"), BAR], None, "Mul Relu Mul Sigmoid Add"),
    ("inline.chain", "Y = local.a(X)", [f'<opset_import: ["" : 17, "local" : 1], domain: "local"> {f} (x) => (y) {{ y = local.{t}(x) }}' for f, t in ("ab", "bc")] + [BAR.replace("bar", "c")], None, "Mul"),
    ("inline.only_foo", "T = local.foo(X) U = local.bar(X) Y = Add(T, U)", [FOO_BAR, BAR], ["local::foo"], "bar Relu bar Add"),
    ("inline.only_bar", "T = local.foo(X) U = local.bar(X) Y = Add(T, U)", [FOO_BAR, BAR], ["local::bar"], "foo Mul Add"),
]  # fmt: skip
for one in INLINED:
    SUITE.case(one[0])


@pytest.mark.parametrize("row", INLINED, ids=lambda row: row[0].split()[0])
def test_calls_are_put_in_place(row):
    _, main, functions, chosen, left = row
    before = parse(f"{CALL.replace('MAIN', main)} {' '.join(functions)}")
    after = gk.inline(before, chosen)
    assert ops(after) == left
    assert_runs_the_same(after, before)


@SUITE.case(
    "inline.criteria_false", differs="nothing to put in place is said by name: a function that is not there is refused"
)
def test_a_function_that_is_not_there_is_refused():
    before = parse(f"{CALL.replace('MAIN', 'Y = local.foo(X)')} {FOO}")
    with pytest.raises(gk.NameNotFoundError):
        gk.inline(before, ["local::nothing"])


@SUITE.case("inline.cyclic")
def test_functions_that_call_each_other_are_refused():
    loop = [
        f'<opset_import: ["" : 17, "local" : 1], domain: "local"> {f} (x) => (y) {{ y = local.{t}(x) }}'
        for f, t in ("ab", "ba")
    ]
    before = parse(f"{CALL.replace('MAIN', 'Y = local.a(X)')} {' '.join(loop)}")
    with pytest.raises(gk.InvalidGraphError):
        gk.inline(before)


CONSTANTS = {
    "value": ("value = float[2, 3] {1, 2, 3, 4, 5, 6}", "float[2, 3]"),
    "value_of_ints": ("value = int64[2] {1, 2}", "int64[2]"),
    "value_float": ("value_float = 1.0", "float"),
    "value_int": ("value_int = 1", "int64"),
    "value_string": ('value_string = "hello"', "string"),
    "value_floats": ("value_floats = [1.0, 2.0]", "float[2]"),
    "value_ints": ("value_ints = [1, 2]", "int64[2]"),
    "value_strings": ('value_strings = ["hello", "you"]', "string[2]"),
}


@SUITE.case(
    " ".join(f"lift.{kind}" for kind in CONSTANTS),
    differs="all kinds are lifted; there is no switch for tensors alone and no size limit",
)
@pytest.mark.parametrize("kind", CONSTANTS)
def test_constant_nodes_become_initializers(kind):
    attribute, typed = CONSTANTS[kind]
    before = parse(f"g () => ({typed} y) {{ k = Constant<{attribute}>() y = Identity(k) }}", ir=10)
    before.graph.node[0].doc_string = "kept"
    before.graph.node[0].metadata_props.add(key="whose", value="mine")
    after = gk.rewrite(before, "constants-to-initializers")
    (weight,) = after.proto.graph.initializer
    assert (weight.doc_string, weight.metadata_props[0].value) == ("kept", "mine")
    assert (ops(after), names(after.proto.graph.initializer)) == ("Identity", ["k"])
    assert_runs_the_same(after, before)


def test_simplify_lifts_constants_with_what_is_said_about_them():
    before = parse("g (float[2] x) => (float[2] y) { k = Constant<value = float[2] {1, 2}>() y = Add(x, k) }", ir=10)
    before.graph.node[0].metadata_props.add(key="whose", value="mine")
    after = gk.simplify(before)
    assert after.proto.graph.initializer[0].metadata_props[0].value == "mine"
    assert_runs_the_same(after, before)


@SUITE.case("lift.within_subgraph")
def test_constants_of_bodies_become_initializers_of_the_bodies():
    branch = "() => (float[2] r) { k = Constant<value = float[2] {1, 2}>() r = OP(x, k) }"
    before = parse(
        f"g (bool c, float[2] x) => (float[2] y) {{ y = If(c) <then_branch = t {branch.replace('OP', 'Add')}, else_branch = e {branch.replace('OP', 'Mul')}> }}"
    )
    after = gk.rewrite(before, "constants-to-initializers")
    assert [len(a.g.initializer) for a in after.nodes[0].attribute] == [1, 1]
    assert_runs_the_same(after, before)


@SUITE.case(
    "lift.output",
    differs="a Constant behind an output is lifted too: an output may be an initializer; identity-outputs puts a node there for runtimes that want one",
)
def test_a_constant_that_is_an_output_keeps_its_number():
    before = parse("g (float[2] x) => (float[2] k, float[2] y) { k = Constant<value = float[2] {1, 2}>() y = Neg(x) }")
    after = gk.rewrite(before, "constants-to-initializers")
    assert_runs_the_same(after, before)


BRANCH = "() => (float[2] r) <float[2] NAME = {VALUE, 1}> { r = OP(x, NAME) }"


@SUITE.case("lift_initializers.unique_names lift_initializers.duplicated_names")
@pytest.mark.parametrize(("first", "second"), [("a", "b"), ("w", "w")])
def test_weights_of_bodies_move_to_the_main_graph(first, second):
    one = BRANCH.replace("NAME", first).replace("VALUE", "1").replace("OP", "Add")
    two = BRANCH.replace("NAME", second).replace("VALUE", "2").replace("OP", "Mul")
    before = parse(
        f"g (bool c, float[2] x) => (float[2] y) {{ y = If(c) <then_branch = t {one}, else_branch = e {two}> }}"
    )
    after = gk.rewrite(before, "lift-initializers")
    assert len(after.proto.graph.initializer) == 2
    assert not any(a.g.initializer for a in after.nodes[0].attribute)
    assert_runs_the_same(after, before)


@SUITE.case("lift_initializers.initialized_inputs lift_initializers.outputs")
def test_a_weight_that_is_a_bodys_output_stays_there():
    before = parse(
        "g (bool c, float[2] x) => (float[2] y) { y = If(c) <then_branch = t () => (float[2] r) <float[2] w = {1, 2}> { r = Add(x, w) }, "
        "else_branch = e () => (float[2] v) <float[2] v = {3, 4}> { }> }"
    )
    after = gk.rewrite(before, "lift-initializers")
    assert_runs_the_same(after, before)


@SUITE.case("lift_initializers.name_collision")
def test_a_lifted_weight_gets_another_name_where_its_own_is_taken():
    branch = "() => (float[2] r) <int64[1] v = {0}, int64[1] e = {2}> { r = Slice(x, v, e) }"
    before = parse(
        f"g (bool c, float[2] x) => (float[2] y, float[2] z) {{ v = Constant<value = float[2] {{7, 8}}>() z = Mul(x, v) y = If(c) <then_branch = t {branch}, else_branch = e {branch}> }}"
    )
    after = gk.rewrite(before, "lift-initializers")
    assert not any(a.g.initializer for a in after.nodes[-1].attribute)
    assert_runs_the_same(after, before)


@SUITE.case("inputs.remove_initializers inputs.remove_with_no_initializers")
def test_weights_stop_being_inputs():
    before = parse("g (float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    after = gk.freeze(before, defaults=True)
    assert names(after.inputs) == ["x"]
    assert_runs_the_same(after, before)


@SUITE.case("inputs.add_initializers inputs.add_with_no_initializers")
def test_every_weight_can_be_fed():
    before = parse("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    after = gk.promote(before, every=True, keep_default=True)
    assert names(after.proto.graph.input) == ["x", "w"]
    assert_runs_the_same(after, before)
    x = np.float32([3, 4])
    assert_same(run_ort(after, {"x": x, "w": x}), {"y": x * x})
    bare = parse("g (float[2] x) => (float[2] y) { y = Neg(x) }")
    assert names(gk.promote(bare, every=True).proto.graph.input) == ["x"]


@SUITE.case(
    "outputs.direct_output outputs.one_direct_output outputs.multiple_direct outputs.preserve_metadata outputs.same_input_twice",
    differs="a main graph's output that is an input cannot come out of a node under the same name, so it stays, which is valid; one listed twice gets an Identity",
)
def test_an_input_that_is_an_output_stays_and_runs():
    before = parse("g (float[2] x, float[2] w) => (float[2] x, float[2] y) { y = Neg(w) }")
    after = gk.rewrite(before, "identity-outputs")
    assert names(after.outputs)[1] == "y"
    feeds = feeds_of(before)
    assert_same([*run_ort(after, feeds).values()], [*run_ort(before, feeds).values()])


@SUITE.case("outputs.when_identity_exists outputs.when_node_exists outputs.no_direct outputs.empty_graph")
def test_outputs_of_nodes_stay_as_they_are():
    before = parse("g (float[2] x) => (float[2] y, float[2] z) { y = Identity(x) z = Neg(x) }")
    after = gk.rewrite(before, "identity-outputs")
    assert ops(after) == "Identity Neg"
    assert_runs_the_same(after, before)


@SUITE.case("outputs.subgraph")
def test_a_bodys_output_that_is_an_outer_value_comes_out_of_an_identity():
    before = parse(
        "g (bool c, float[2] x) => (float[2] y) { h = Neg(x) y = If(c) <then_branch = t () => (float[2] r) { r = Identity(h) }, else_branch = e () => (float[2] s) { s = Add(x, x) }> }"
    )
    branch = next(a.g for a in before.graph.node[1].attribute if a.name == "then_branch")
    branch.node.pop()
    branch.output[0].name = "h"
    after = gk.rewrite(before, "identity-outputs")
    assert [[n.op_type for n in a.g.node] for a in after.nodes[1].attribute] == [["Identity"], ["Add"]]
    x = np.float32([1, 2])
    for c in (True, False):
        assert_same(run_ort(after, {"c": np.array(c), "x": x}), {"y": -x if c else x + x})


@SUITE.case("outputs.function")
def test_a_functions_output_that_is_its_input_comes_out_of_an_identity():
    before = parse(
        "g (float[2] x) => (float[2] y) { y = own.f(x) }",
        imports='"own" : 1',
        functions='<domain: "own", opset_import: ["" : 18]> f (a) => (b) { b = Identity(a) }',
    )
    before.functions[0].node.pop()
    before.functions[0].output[0] = "a"
    after = gk.rewrite(before, "identity-outputs")
    assert [n.op_type for n in after.proto.functions[0].node] == ["Identity"]
    x = np.float32([1, 2])
    assert_same(run_ort(after, {"x": x}), {"y": x})


DEFAULTS = [
    ("defaults.conv defaults.existing", "g (float[1, 2, 5, 5] x, float[2, 1, 3, 3] w) => (float[1, 2, 3, 3] y) { y = Conv<group = 2>(x, w) }", {"group": 2, "auto_pad": b"NOTSET"}),
    ("defaults.batchnorm", f"g ({IMAGE} x, float[3] s) => ({IMAGE} y) {{ y = BatchNormalization(x, s, s, s, v) v = Abs(s) }}", {"epsilon": np.float32(1e-5), "momentum": np.float32(0.9), "training_mode": 0}),
    ("defaults.none", "g (float[2] x) => (float[2] y) { y = Relu(x) }", {}),
    ("defaults.pad", "g (float[2] x) => (float[4] y) <int64[2] p = {1, 1}> { y = Pad(x, p) }", {"mode": b"constant"}),
]  # fmt: skip
for one in DEFAULTS:
    SUITE.case(one[0])


@pytest.mark.parametrize("row", DEFAULTS, ids=lambda row: row[0].split()[0])
def test_attributes_that_are_left_out_are_written(row):
    before = parse(
        row[1].replace(
            "y = BatchNormalization(x, s, s, s, v) v = Abs(s)", "v = Abs(s) y = BatchNormalization(x, s, s, s, v)"
        )
    )
    after = gk.rewrite(before, "default-attributes")
    written = {a.name: onnx.helper.get_attribute_value(a) for a in after.nodes[-1].attribute}
    assert (
        {k: v for k, v in written.items() if k in row[2]} == pytest.approx(row[2])
        if row[0].endswith("batchnorm")
        else written.items() >= row[2].items()
    )
    assert_runs_the_same(after, before)


@SUITE.case("defaults.subgraph")
def test_attributes_in_bodies_are_written_too():
    before = parse(
        "g (bool c, float[2] x) => (float[2] y) { y = If(c) <then_branch = t () => (float[2] r) { r = Softmax(x) }, else_branch = e () => (float[2] s) { s = Neg(x) }> }"
    )
    after = gk.rewrite(before, "default-attributes")
    assert [a.name for a in after.nodes[0].attribute[0].g.node[0].attribute] == ["axis"]
    assert_runs_the_same(after, before)


HALF = "g (float[3] x) => (float[3] y) <float[3] c = {1, 2, 3}> { [first] h = Add(x, c) [second] y = Mul(h, h) }"


@SUITE.case("half.simple_model")
def test_a_model_becomes_half_precision_with_its_interface():
    after = gk.precision(parse(HALF), to="float16")
    assert {v.type.tensor_type.elem_type for v in [*after.inputs, *after.outputs]} == {onnx.TensorProto.FLOAT16}
    x = np.float16([1, 2, 3])
    assert_same(run_ort(after, {"x": x}), {"y": np.float16([4, 16, 36])})


@SUITE.case(
    "half.non_float32 half.already_float16",
    differs="a model in which nothing is float32 is refused with a word, so that nobody takes it for converted",
)
@pytest.mark.parametrize("dtype", ["int32", "float16"])
def test_a_model_without_float32_is_refused(dtype):
    with pytest.raises(gk.EditError):
        gk.precision(parse(f"g ({dtype}[2] x) => ({dtype}[2] y) {{ y = Identity(x) }}"), to="float16")


@SUITE.case("half.tensor_attributes")
def test_constant_nodes_become_half_too():
    after = gk.precision(
        parse("g (float[3] x) => (float[3] y) { k = Constant<value = float[3] {1, 2, 3}>() y = Add(x, k) }"),
        to="float16",
    )
    assert after.nodes[0].attribute[0].t.data_type == onnx.TensorProto.FLOAT16
    assert_same(run_ort(after, {"x": np.float16([1, 2, 3])}), {"y": np.float16([2, 4, 6])})


@SUITE.case("half.op_block_list half.node_block_list")
@pytest.mark.parametrize("kept", [{"keep_ops": ["Add"]}, {"keep_nodes": ["first"]}])
def test_operators_and_nodes_can_stay_in_float32(kept):
    after = gk.precision(parse(HALF), to="float16", **kept)
    (add,) = [node for node in after.nodes if node.op_type == "Add"]
    tapped = gk.tap(after, list(add.output))
    got = run_ort(tapped, {"x": np.float16([1, 2, 3])})
    assert got[add.output[0]].dtype == np.float32
    assert_same(got["y"], np.float16([4, 16, 36]))


@SUITE.case(
    "half.clamping_small half.clamping_large half.special_values half.basic_conversion",
    differs="small numbers round as float16 does (to 0 below 3e-8) and are not raised to 1e-7",
)
def test_weights_beyond_half_precision_become_its_largest_number_with_a_note():
    before = parse(
        "g (float[4] x) => (float[4] y, float[4] z) { y = Mul(x, big) z = Add(x, odd) }",
        big=[1e5, 1, 1, 1],
        odd=[0, np.inf, -np.inf, 1],
    )
    after = gk.precision(before, to="float16")
    assert "beyond 65504" in " ".join(after.history[-1].notes)
    assert_same(run_ort(after, {"x": np.float16([0.5, 1, 2, 3])})["y"], np.float16([32752, 1, 2, 3]))
    assert_same(run_ort(after, {"x": np.float16([0.5, 1, 2, 3])})["z"], np.float16([0.5, np.inf, -np.inf, 4]))


@SUITE.case("naming.nodes naming.values naming.bodies naming.functions")
def test_nodes_without_a_name_get_one_in_bodies_too():
    before = parse(
        "g (bool c, float[2] x) => (float[2] y) { h = Neg(x) [Neg_0] k = Neg(h) y = If(c) <then_branch = t () => (float[2] r) { r = Abs(k) }, else_branch = e () => (float[2] s) { s = Neg(k) }> }"
    )
    after = gk.reorder(before, name_all=True)
    inner = [node for a in after.nodes[-1].attribute for node in a.g.node]
    given = [node.name for node in [*after.nodes, *inner]]
    assert all(given)
    assert len(set(given)) == len(given)
    assert_runs_the_same(after, before)

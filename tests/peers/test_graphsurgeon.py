"""onnx-graphsurgeon: sorting, cleaning up, folding, patterns."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort
from peers.suites import Row, Suite, assert_runs_the_same, feeds_of, names, ops

SUITE = Suite(
    "onnx-graphsurgeon",
    "NVIDIA/TensorRT tools/onnx-graphsurgeon/tests/ir/test_graph.py, test_graph_pattern.py",
    outside=[
        (31, "its own objects: registered functions, layers, tensors, copies and lists that follow each other"),
        (
            100,
            "test_ir.py, test_importers.py, test_exporters.py, test_util.py: the library's classes; the bridge to it has tests/bridge",
        ),
    ],
)

LINEAR = "g (float[2] x) => (float[2] y) { [n0] a = Neg(x) [n2] c = Exp(b) [n3] y = Abs(c) [n1] b = Sin(a) }"
TIERS = "g (float[2] x) => (float[2] a, float[2] b, float[2] c) { [n2] c = Exp(b) [n0] a = Neg(x) [n1] b = Sin(a) }"
MANY = "g (float[2] p, float[2] q, float[2] r, float[2] s) => (float[2] y) { [n2] y = Sub(b, s) [n0] a = Add(r, q) [n1] b = Mul(a, p) }"
IMPLICIT = """g (float[1] x) => (float[1] y) <float[1] k = {1.5}, bool c = {1}> {
[n2] y = If(c) <then_branch = t () => (float[1] r) { r = Add(a, b) }, else_branch = e () => (float[1] s) { s = Sub(a, b) }>
[n1] b = Relu(a) [n0] a = Add(x, k) }"""
ORDERS = {
    "linear": (LINEAR, "n0 n1 n2 n3"),
    "multi_tier_output": (TIERS, "n0 n1 n2"),
    "multi_tier_input": (MANY, "n0 n1 n2"),
    "implicit_subgraph_inputs": (IMPLICIT, "n0 n1 n2"),
}
SUITE.case(" ".join(f"toposort.{name} toposort_nested.{name}" for name in ORDERS))


def sorted_by_hand(proto, order):
    """The same model, its nodes in the order that makes it one that runs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    nodes = {node.name: node for node in proto.graph.node}
    del copy.graph.node[:]
    copy.graph.node.extend(nodes[name] for name in order.split())
    return copy


@pytest.mark.parametrize("name", ORDERS)
def test_nodes_are_sorted_by_what_they_read(name):
    text, order = ORDERS[name]
    before = parse(text)
    after = gk.reorder(before, sort=True)
    assert " ".join(node.name for node in after.nodes) == order
    assert_runs_the_same(after, sorted_by_hand(before, order))


@pytest.mark.parametrize("name", ["linear", "multi_tier_input"])
def test_nodes_of_bodies_are_sorted_too(name):
    text, order = ORDERS[name]
    inner = parse(text)
    plain = sorted_by_hand(inner, order)
    for graph in (inner.graph, plain.graph):
        del graph.input[:]
    before, want = (nested(m) for m in (inner, plain))
    after = gk.reorder(before, sort=True)
    assert " ".join(n.name for n in after.nodes[-1].attribute[0].g.node) == order
    assert_runs_the_same(after, want)


def nested(inner):
    """An If whose both branches are a graph, which reads the inputs of the main graph."""
    outer = parse(
        "g (bool cond, float[2] x, float[2] p, float[2] q, float[2] r, float[2] s) => (float[2] out) { out = Neg(x) }"
    )
    node = onnx.helper.make_node("If", ["cond"], ["out"], then_branch=inner.graph, else_branch=inner.graph)
    outer.graph.node[0].CopyFrom(node)
    return outer


@SUITE.case("cleanup.multi_tier cleanup.get_used_node_ids")
def test_a_node_behind_the_last_output_goes_with_it():
    before = sorted_by_hand(parse(TIERS), "n0 n1 n2")
    after = gk.simplify(gk.remove(before, outputs="c"))
    assert (ops(after), names(after.outputs)) == ("Neg Sin", ["a", "b"])
    feeds = feeds_of(before)
    want = run_ort(before, feeds)
    assert_same(run_ort(after, feeds), {"a": want["a"], "b": want["b"]})


@SUITE.case("cleanup.remove_unused_node_outputs")
def test_results_that_nothing_reads_are_left_out():
    before = parse(
        "g (float[1, 1, 4] x) => (float[1, 1, 2] y) { y, i = MaxPool<kernel_shape = [2], strides = [2]>(x) }"
    )
    after = gk.simplify(before)
    assert [*after.nodes[0].output] == ["y"]
    assert_runs_the_same(after, before)


@SUITE.case("cleanup.graph_input_producers")
def test_what_leads_to_a_new_input_goes():
    before = sorted_by_hand(parse(LINEAR), "n0 n1 n2 n3")
    after = gk.extract(before, inputs=["a"], outputs=["y"])
    assert (ops(after), names(after.inputs)) == ("Sin Exp Abs", ["a"])
    feeds = feeds_of(before)
    assert_same(run_ort(after, {"a": -feeds["x"]}), run_ort(before, feeds))


@SUITE.case(
    "cleanup.independent_path_kept cleanup.independent_path_removed",
    differs="simplify keeps every input; remove --input takes one out",
)
def test_a_path_of_its_own_goes_and_its_input_when_it_is_asked_for():
    before = parse("g (float[2] x, float[2] other) => (float[2] y) { y = Neg(x) lost = Exp(other) }")
    after = gk.simplify(before)
    assert (ops(after), names(after.inputs)) == ("Neg", ["x", "other"])
    assert_runs_the_same(after, before)
    without = gk.remove(after, inputs="other")
    assert names(without.inputs) == ["x"]
    feeds = feeds_of(before)
    assert_same(run_ort(without, {"x": feeds["x"]}), run_ort(before, feeds))


@SUITE.case("cleanup.nested_graph cleanup.node_used_only_in_nested_graph equal_nested_unequal")
def test_what_only_a_body_reads_stays():
    text = """g (bool c, float[2] x) => (float[2] y) { h = Exp(x) y = If(c)
    <then_branch = t () => (float[2] r) { k = Neg(h) r = Abs(k) }, else_branch = e () => (float[2] s) { s = Neg(x) }> }"""
    before = parse(text)
    after = gk.simplify(before)
    assert ops(after) == "Exp If"
    assert_runs_the_same(after, before)
    assert gk.diff(before, parse(text))
    assert not gk.diff(before, parse(text.replace("Abs(k)", "Sin(k)")))


@SUITE.case("cleanup.input_is_output")
def test_inputs_that_are_outputs_stay_in_their_order():
    before = parse("g (float[2] a, float[2] b) => (float[2] c, float[2] b, float[2] a) { c = Sub(a, b) }")
    after = gk.simplify(before)
    assert (names(after.inputs), names(after.outputs)) == (["a", "b"], ["c", "b", "a"])
    assert_runs_the_same(after, before)


ONES = "float[1, 3] w = {1, 1, 1}"
X = "g (float[1, 3] x) => "
FOLDED = SUITE.rows([
    Row("fold.basic fold.basic_partitioned fold.recursive", X + f"(float[1, 3] y) <{ONES}> {{ c = Add(w, w) y = Sub(x, c) }}", "Sub", weights=1),
    Row("fold.one_hop", X + f"(float[1, 3] y) <{ONES}> {{ c = Add(w, w) e = Add(c, w) y = Sub(x, e) }}", "Sub", weights=1),
    Row("fold.no_foldable_constants", "g (float[1, 3] x, float[1, 3] z) => (float[1, 3] y) { y = Add(x, z) }", "Add"),
    Row("fold.const_node", "g () => (int64[2] y) { k = Constant<value = int64[2] {1, 2}>() y = Identity(k) }", "", weights=1),
    Row("fold.shape_of_constant_tensor", f"g () => (int64[2] y) <{ONES}> {{ y = Shape(w) }}", "", weights=1),
    Row("fold.shape_of_constant_node", "g () => (int64[2] y) { k = Constant<value = float[1, 3] {1, 1, 1}>() y = Shape(k) }", "", weights=1),
    Row("fold.shape_of_variable_dynamic", "g (float[N, M, 4] x) => (int64[3] y) { y = Shape(x) }", "Shape"),
    Row("fold.shape_of_variable_static", "g (float[1, 3, 4] x) => (int64[3] y) { y = Shape(x) }", "", weights=1),
    Row("fold.shape_of_several", "g (float[1, 3, 4] x, float z) => (int64[3] y, float[1, 3, 4] i, int64[0] w) { y = Shape(x) i = Identity(x) w = Shape(z) }", "Identity", weights=2),
    Row("fold.shape_gather_scalar", "g (float[B, 3, H] x) => (int64 y) <int64 i = {1}> { s = Shape(x) p = Gather(s, i) y = Add(p, p) }", "", weights=1),
    Row("fold.shape_gather_list fold.shape_gather_two fold.shape_gather_three", "g (float[B, 3, H, 224] x) => (int64[2] y) <int64[2] i = {1, 3}> { s = Shape(x) p = Gather(s, i) y = Add(p, p) }", "", weights=1),
    Row("fold.shape_gather_free", "g (float[B, 3, H] x) => (int64[1] y) <int64[1] i = {0}> { s = Shape(x) y = Gather(s, i) }", "Shape Gather"),
    Row("fold.const_input_but_not_foldable", "g (float[1] x, bool c) => (float[1] y) { y = If(c) <then_branch = t () => (float[1] r) { r = Add(x, x) }, else_branch = e () => (float[1] s) { k = Mul(x, x) s = Add(x, k) }> }", "If"),
    Row("fold.no_fold_quantize fold.no_fold_quantize_behind_identity", "g (float[1, 3] x) => (uint8[1, 3] y) <float[1, 3] w = {1, 1, 1}, float q = {1.2}, uint8 z = {0}> { h = Identity(w) k = QuantizeLinear(h, q, z) n = QuantizeLinear(x, q, z) y = Max(k, n) }", "QuantizeLinear QuantizeLinear Max"),
    Row("fold.no_fold_dequantize fold.no_fold_dequantize_behind_identity", "g (float[1, 3] x) => (float[1, 3] y) <int8[1, 3] w = {1, 1, 1}, float q = {1.2}, int8 z = {0}> { h = Identity(w) k = DequantizeLinear(h, q, z) y = Mul(x, k) }", "DequantizeLinear Mul"),
])  # fmt: skip


@pytest.mark.parametrize("row", FOLDED, ids=str)
def test_what_is_the_same_in_every_run_is_computed(row):
    row.check()


@SUITE.case(
    "fold.shape_of_variable_static_no_fold fold.custom_should_exclude_node*4",
    differs="there is no switch that keeps shapes or chosen nodes from being computed; fold_limit=0 computes only what makes the model no larger",
)
def test_folding_is_limited_by_bytes():
    before = parse(
        "g (float[1] x) => (float[4000] y) <float[1] k = {2}, int64[1] n = {4000}> { e = Expand(k, n) y = Add(x, e) }"
    )
    assert ops(gk.simplify(before)) == "Add"
    after = gk.simplify(before, fold_limit=0)
    assert ops(after) == "Expand Add"
    assert_runs_the_same(after, before)


@SUITE.case(
    "fold.size_threshold*12",
    differs="fold_limit is what computed constants may add to the file, not the size of one tensor: two small ones may be computed where one large may not",
)
@pytest.mark.parametrize(("limit", "left"), [(1 << 20, "Add"), (0, "Tile Add"), (16, "Tile Add")])
def test_a_limit_holds_for_every_computed_constant(limit, left):
    before = parse(
        "g (float[64] x) => (float[64] y) <float[2] k = {1, 2}, int64[1] r = {4}, int64[1] q = {8}> { a = Tile(k, r) b = Tile(a, q) y = Add(x, b) }"
    )
    after = gk.simplify(before, fold_limit=limit)
    assert ops(after).endswith(left)
    grown = sum(t.ByteSize() for t in after.proto.graph.initializer) - sum(
        t.ByteSize() for t in before.graph.initializer
    )
    assert grown <= limit + 64
    assert_runs_the_same(after, before)


SLICES = [
    ("B, 3, H", "1 2 0 1", [3]),
    ("B, 3, 5, W", "1 -1 0 1", [3, 5]),
    ("B, 3, 5, 7", "1 2000 0 1", [3, 5, 7]),
    ("B, 3, 5, 7", "-2 4 0 1", [5, 7]),
    ("B, 3, 5, W", "-2 4 0 1", None),
    ("B, 3, 5, 7", "1 4 0 2", [3, 7]),
    ("B, 3, 5, 7", "4 0 0 -1", [7, 5, 3]),
]
SUITE.case(" ".join(f"fold.shape_slice_{i}" for i in range(9)) + " fold.shape_slice_single_input")


@pytest.mark.parametrize(("shape", "bounds", "expected"), SLICES)
def test_a_slice_of_a_shape_is_computed_where_its_sizes_are_known(shape, bounds, expected):
    b, e, a, s = bounds.split()
    before = parse(
        f"g (float[{shape}] x) => (int64[n] y) <int64[1] b = {{{b}}}, int64[1] e = {{{e}}}, int64[1] a = {{{a}}}, int64[1] s = {{{s}}}> {{ h = Shape(x) y = Slice(h, b, e, a, s) }}"
    )
    after = gk.simplify(before)
    assert ops(after) == ("Shape Slice" if expected is None else "")
    if expected is not None:
        assert [*after.array("y")] == expected
    assert_runs_the_same(after, before)


@SUITE.case(
    "fold.with_invalid_nodes fold.with_invalid_nodes_no_recursive",
    differs="what hangs on constants is computed beside an operator that nobody knows; there are no modes of partitioning",
)
def test_an_operator_that_nobody_knows_is_no_obstacle():
    before = parse(
        f"g (float[1, 3] x) => (float[1, 3] y) <{ONES}> {{ c = Add(w, w) e = nobody.Fake(w) f = Add(e, c) y = Add(x, f) }}",
        imports='"nobody" : 1',
    )
    after = gk.simplify(before)
    assert ops(after) == "Fake Add Add"
    assert_same(after.array("c"), np.full((1, 3), 2, np.float32))


@SUITE.case("fold.no_load_constants")
def test_folding_reads_no_weight_that_it_does_not_compute_with(tmp_path):
    w = np.ones((300, 300), np.float32)
    onnx.save(
        parse("g (float[1, 300] x) => (float[1, 300] y) { h = Identity(x) y = MatMul(h, w) }", w=w), tmp_path / "m.onnx"
    )
    loaded = gk.load(tmp_path / "m.onnx")
    after = gk.simplify(loaded)
    assert after.proto.graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL
    assert_runs_the_same(after, onnx.load(tmp_path / "m.onnx"))


STATIC = """g (float[1] x) => (float[1] y) <bool c = {COND}> { y = If(c)
<then_branch = t () => (float[1] r) { k = Add(x, x) r = Relu(k) }, else_branch = e () => (float[1] s) { k = Mul(x, x) s = Add(x, k) }> }"""


@SUITE.case(
    "fold.flatten_static_conditional_1 fold.flatten_static_conditional_2",
    differs="the branch that runs takes the If's place always: there is no flatten_subgraphs=False (2 more cases)",
)
@pytest.mark.parametrize(("cond", "left"), [(1, "Add Relu"), (0, "Mul Add")])
def test_an_if_whose_condition_is_known_becomes_its_branch(cond, left):
    before = parse(STATIC.replace("COND", str(cond)))
    after = gk.simplify(before)
    assert ops(after) == left
    assert_runs_the_same(after, before)


@SUITE.case(
    "fold.with_variable_conditional",
    differs="the nodes of bodies stay, but for those that nothing reads: only a body that takes the place of its If is folded",
)
def test_bodies_keep_their_constants():
    before = parse(
        "g (float[1] x, bool c) => (float[1] y) <float[1] w = {1}> { y = If(c) <then_branch = t () => (float[1] r) { r = Add(w, w) }, else_branch = e () => (float[1] s) { k = Add(w, w) s = Add(x, k) }> }"
    )
    after = gk.simplify(before)
    assert ops(after) == "If"
    assert_runs_the_same(after, before)


@SUITE.case(
    "fold.cast_elision fold.cast_elision_int64 fold.cast_elision_with_constant_node fold.cast_elision_multi_use*8",
    differs="integers that are cast to float, added and cast back are rounded above 2^24, and added as integers they are not: the casts stay",
)
def test_casts_around_arithmetic_stay():
    before = parse("g (int64[1] x) => (int64[1] y) { f = Cast<to = 1>(x) a = Add(f, f) y = Cast<to = 7>(a) }")
    after = gk.simplify(before)
    assert ops(after) == "Cast Add Cast"
    x = {"x": np.int64([(1 << 24) + 1])}
    assert_same(run_ort(after, x), run_ort(before, x))
    assert run_ort(before, x)["y"][0] != 2 * x["x"][0]


TOY = """# The toy plugin.
pattern <x> (i, j) => (d, e) {
  a = Neg(i)
  b = Exp(j)
  c = Gemm<alpha: float = @x>(a, b)
  d = Abs(c)
  e = Sin(c)
}
where x is not None and x < 2
replacement (i, j) => (d, e) { d, e = own.Toy(i, j) }
"""
TOY_BODY = '<domain: "own", opset_import: ["" : 18]> Toy (i, j) => (d, e) { a = Neg(i) b = Exp(j) c = MatMul(a, b) d = Abs(c) e = Sin(c) }'
TOYS = {
    "pattern.base_match": ("float[2, 2] d, float[2, 2] e", "1.0", "", 1),
    "pattern.callback_check_unmatch": ("float[2, 2] d, float[2, 2] e", "3.0", "", 5),
    "pattern.intermediate_output_unmatch pattern.multiple_output_node_unmatch": (
        "float[2, 2] d, float[2, 2] e, float[2, 2] c",
        "1.0",
        "",
        5,
    ),
    "pattern.intermediate_output_to_other_node_unmatch": (
        "float[2, 2] d, float[2, 2] e, float[2, 2] z",
        "1.0",
        "z = Abs(c)",
        6,
    ),
}
SUITE.case(" ".join(TOYS))


@pytest.mark.parametrize("name", TOYS, ids=lambda name: name.split()[0])
def test_a_pattern_with_a_condition_matches_where_nothing_inner_is_needed_elsewhere(name, tmp_path):
    outputs, x, more, count = TOYS[name]
    before = parse(
        f"g (float[2, 2] i) => ({outputs}) {{ a = Neg(i) b = Exp(i) c = Gemm<alpha = {x}>(a, b) d = Abs(c) e = Sin(c) {more} }}"
    )
    rule = tmp_path / "toy.txt"
    rule.write_text(TOY)
    after = gk.rewrite(before, rule)
    assert len(after.nodes) == count
    if count > 1:
        assert_runs_the_same(after, before)
    else:
        defined = gk.define(after, TOY_BODY)
        assert_runs_the_same(defined, before)


@SUITE.case("pattern.constant_initializer_match pattern.constant_node_match pattern.constant_initializer_unmatch")
@pytest.mark.parametrize("held", ["weight", "node", "input"])
def test_a_constant_operand_is_told_from_one_that_is_fed(held, tmp_path):
    rule = tmp_path / "rule.txt"
    rule.write_text(
        "# A constant.\npattern (i, k) => (c) {\n  a = Neg(i)\n  c = Mul(a, k)\n}\nwhere constant(k)\nlet n = ints([1])\nreplacement (i, k) => (c) { m = Neg(k)  c = Mul(i, m) }\n"
    )
    inputs, weights, node = {
        "weight": ("float[2] i", "<float[2] k = {3, 4}>", ""),
        "node": ("float[2] i", "", "k = Constant<value = float[2] {3, 4}>()"),
        "input": ("float[2] i, float[2] k", "", ""),
    }[held]
    before = parse(f"g ({inputs}) => (float[2] c) {weights} {{ {node} a = Neg(i) c = Mul(a, k) }}")
    after = gk.rewrite(before, rule)
    assert ops(gk.simplify(after)) == ("Neg Mul" if held == "input" else "Mul")
    assert_runs_the_same(after, before)


@SUITE.case("pattern.recursive_pattern_building pattern.outbound_node_with_consumer_match")
def test_a_pattern_of_two_equal_halves_is_found(tmp_path):
    rule = tmp_path / "rule.txt"
    rule.write_text(
        "# Two halves.\npattern (i, j) => (c) {\n  a = Neg(i)\n  b = Exp(a)\n  p = Neg(j)\n  q = Exp(p)\n  c = Mul(b, q)\n}\nreplacement (i, j) => (c) { s = Add(i, j)  n = Neg(s)  c = Exp(n) }\n"
    )
    before = parse(
        "g (float[2] x, float[2] z) => (float[2] c) { a = Neg(x) b = Exp(a) p = Neg(z) q = Exp(p) c = Mul(b, q) }"
    )
    after = gk.rewrite(before, rule)
    assert ops(after) == "Add Neg Exp"
    assert_runs_the_same(after, before, rtol=1e-4)

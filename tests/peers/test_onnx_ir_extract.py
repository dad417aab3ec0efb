"""onnx-ir's extractor: a part by its boundary, with what its bodies read, and a refusal where the boundary does not hold."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import assert_same, run_ort
from peers.suites import Suite, feeds_of, names, ops

SUITE = Suite(
    "onnx-ir extractor",
    "onnx/ir-py src/onnx_ir/_convenience/_extractor_test.py",
    outside=[(2, "values of another graph object, and graph views: graphkit knows values by their names in a file")],
)

CHAIN = """g (float[3] input) => (float[3] output) <float[3] c1 = {10, 20, 30}, float[3] c2 = {2, 2, 2}> {
inner = Add(input, c1) output = Mul(inner, c2) }"""
DEFAULT = CHAIN.replace("<float[3] c1", "<float[3] input = {1, 2, 3}, float[3] c1")
DIAMOND = """g (float[3] input) => (float[3] output) <float[3] c1 = {1, 2, 3}, float[3] c2 = {4, 5, 6}> {
[add1] a = Add(input, c1) [add2] b = Add(input, c2) [mul] output = Mul(a, b) }"""
TWO = """g (float[3] input) => (float[3] sum, float[3] product) <float[3] c = {1, 2, 3}> {
sum = Add(input, c) product = Mul(input, c) }"""
SHARED = """g (float[3] input) => (float[6] output) <float[3] c = {1, 2, 3}> {
s = Add(input, c) p = Mul(input, c) output = Concat<axis = 0>(s, p) }"""
PAIR = "g (float[3] i1, float[3] i2) => (float[3] output) { output = Sub(i1, i2) }"
RESHAPE = "g (float[3, 4] input) => (float[12] output) <int64[1] shape = {12}> { output = Reshape(input, shape) }"
OPTIONAL = """g (float[1, 1, 2, 2] input) => (float[1, 1, 4, 4] output) <float[4] scales = {1, 1, 2, 2}> {
output = Resize<mode = "nearest">(input, , scales) }"""
SPLIT = "g (float[10] input) => (float[5] o1, float[5] o2) { o1, o2 = Split<axis = 0, num_outputs = 2>(input) }"
IF = """g (bool c, float[3] x, float[3] y) => (float[3] result) { result = If(c)
<then_branch = t () => (float[3] a) { a = Add(x, y) }, else_branch = e () => (float[3] b) { b = Identity(x) }> }"""
IMPLICIT = """g (bool c) => (float[3] result) <float[3] c1 = {1, 2, 3}, float[3] c2 = {4, 5, 6}> {
[implicit] computed = Add(c1, c2)
[choose] result = If(c) <then_branch = t () => (float[3] a) { a = Identity(computed) },
else_branch = e () => (float[3] b) { b = Constant<value = float[3] {0, 0, 0}>() }> }"""
NESTED = """g (float[3] input, bool outer, bool inner) => (float[3] final) { final = If(outer)
<then_branch = t () => (float[3] r) { r = If(inner) <then_branch = tt () => (float[3] p) { p = Add(input, input) },
else_branch = te () => (float[3] q) { q = Identity(input) }> },
else_branch = e () => (float[3] s) { s = Neg(input) }> }"""
THREE = """g (float[3] i1, float[3] i2, float[3] i3) => (float[3] output) { m1 = Add(i1, i2) m2 = Add(m1, i3) output = Mul(m2, i1) }"""
LONG = """g (float[3] actual) => (float[3] output) <float[3] c1 = {1, 2, 3}, float[3] c2 = {4, 5, 6}> {
m1 = Add(actual, c1) m2 = Mul(m1, c2) output = Sub(m2, c1) }"""

PARTS = [
    ("full_graph mixed_inputs preserves_node_order", CHAIN, "input", "output", "Add Mul", 2),
    ("subgraph string_names", CHAIN, "inner", "output", "Mul", 1),
    ("all_predecessors", DIAMOND, "input", "output", "Add Add Mul", 2),
    ("single_branch", DIAMOND, "input", "a", "Add", 1),
    ("intermediate_to_output", DIAMOND, "a b", "output", "Mul", 0),
    ("multiple_outputs", TWO, "input", "sum product", "Add Mul", 1),
    ("single_node", CHAIN, "input", "inner", "Add", 1),
    ("multiple_inputs", PAIR, "i1 i2", "output", "Sub", 0),
    ("shared_input", SHARED, "input", "output", "Add Mul Concat", 1),
    ("optional_inputs", RESHAPE, "input", "output", "Reshape", 1),
    ("optional_inputs_left_out", OPTIONAL, "input", "output", "Resize", 1),
    ("partial_from_multi_output_node", SPLIT, "input", "o1", "Split", 0),
    ("with_if_node", IF, "c x y", "result", "If", 0),
    ("partial_with_if_node_dependencies", IMPLICIT, "c", "result", "Add If", 2),
    ("nested_subgraphs", NESTED, "input outer inner", "final", "If", 0),
    ("bounded_with_initializer", CHAIN, "input", "inner", "Add", 1),
    ("all_inputs_specified", THREE, "i1 i2 i3", "output", "Add Add Mul", 0),
    ("intermediate_as_input", LONG, "m1", "output", "Mul Sub", 2),
]
for row in PARTS:
    SUITE.case(row[0])


@pytest.mark.parametrize("row", PARTS, ids=lambda row: row[0].split()[0])
def test_a_part_computes_what_the_whole_computes_there(row):
    _, text, inputs, outputs, left, weights = row
    before = parse(text)
    part = gk.extract(before, inputs=inputs.split(), outputs=outputs.split())
    assert ops(part) == left
    assert (names(part.inputs), names(part.outputs)) == (inputs.split(), outputs.split())
    assert len(part.proto.graph.initializer) == weights
    inner = [
        n for n in (*inputs.split(), *outputs.split()) if n not in names([*before.graph.input, *before.graph.output])
    ]
    whole = gk.tap(before, inner) if inner else before
    for seed in range(2):
        feeds = feeds_of(before, seed)
        values = {**feeds, **run_ort(whole, feeds)}
        got = run_ort(part, {name: values[name] for name in inputs.split()})
        assert_same(got, {name: values[name] for name in outputs.split()})


@SUITE.case(
    "full_graph_with_default",
    differs="an input that is named in the cut is the caller's to feed, so its default goes; one that is not named keeps it",
)
def test_an_input_that_the_cut_does_not_name_keeps_its_default():
    before = parse(DEFAULT)
    named = gk.extract(before, inputs=["input"], outputs=["inner"])
    assert names(named.proto.graph.initializer) == ["c1"]
    part = gk.extract(before, outputs=["inner"])
    assert_same(run_ort(part, {}), {"inner": np.float32([11, 22, 33])})
    assert_same(run_ort(part, {"input": np.float32([0, 0, 0])}), {"inner": np.float32([10, 20, 30])})


@SUITE.case("value_not_found output_not_found")
@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_a_name_that_is_not_there_is_refused(where):
    with pytest.raises(gk.NameNotFoundError, match="nonexistent"):
        gk.extract(parse(CHAIN), **{"inputs": ["input"], "outputs": ["output"], where: ["nonexistent"]})


@SUITE.case("from_function", differs="a function is no model: put it in place first (inline), then cut")
def test_a_part_of_a_function_is_cut_out_of_its_calls():
    text = "g (float[3] x) => (float[3] z) { z = own.f(x) }"
    before = parse(
        text,
        imports='"own" : 1',
        functions='<domain: "own", opset_import: ["" : 18]> f (a) => (c) { b = Neg(a) c = Exp(b) }',
    )
    flat = gk.inline(before)
    middle = flat.nodes[0].output[0]
    part = gk.extract(flat, inputs=[middle], outputs=["z"])
    assert ops(part) == "Exp"
    assert_same(run_ort(part, {middle: np.float32([1, 2, 3])}), {"z": np.exp(np.float32([1, 2, 3]))})


@SUITE.case("preserves_metadata")
def test_the_models_own_fields_come_along():
    before = parse(CHAIN)
    before.graph.doc_string = before.doc_string = "what it is"
    before.graph.metadata_props.add(key="k", value="v")
    before.metadata_props.add(key="m", value="w")
    part = gk.extract(before, inputs=["inner"], outputs=["output"]).proto
    assert (part.graph.name, part.graph.doc_string, part.doc_string) == ("g", "what it is", "what it is")
    assert [(p.key, p.value) for p in part.graph.metadata_props] == [("k", "v")]
    assert ("m", "w") in [(p.key, p.value) for p in part.metadata_props]
    assert part.opset_import == before.opset_import
    assert_same(run_ort(part, {"inner": np.float32([1, 2, 3])}), {"output": np.float32([2, 4, 6])})


@SUITE.case("no_nodes")
def test_an_input_that_is_an_output_is_a_part_without_nodes():
    before = onnx.helper.make_model(
        onnx.helper.make_graph([], "g", *[[onnx.helper.make_tensor_value_info("input", 1, [3])]] * 2),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=8,
    )
    part = gk.extract(before, inputs=["input"], outputs=["input"])
    assert (ops(part), names(part.inputs), names(part.outputs)) == ("", ["input"], ["input"])


@SUITE.case("unbounded_subgraph_missing_input unbounded_chain_missing_intermediate unbounded_multiple_missing_inputs")
@pytest.mark.parametrize(
    ("text", "given", "missing"),
    [
        (PAIR, ["i1"], ["i2"]),
        (THREE, ["i1"], ["i2", "i3"]),
        (THREE, [], ["i1", "i2", "i3"]),
        (THREE, ["m1"], ["i1", "i3"]),
    ],
)
def test_inputs_that_are_needed_and_not_named_are_all_named(text, given, missing):
    with pytest.raises(gk.CutError) as refused:
        gk.extract(parse(text), inputs=given, outputs=["output"])
    said = f"{refused.value} {refused.value.hint}"
    assert all(f"'{name}'" in said for name in missing), said


@SUITE.case("bounded_with_unused_input_specified")
def test_an_input_that_nothing_reads_stays_where_it_was_asked_for():
    text = "g (float[3] i1, float[3] i2) => (float[3] output) { output = Neg(i1) }"
    with pytest.warns(gk.GraphkitWarning, match="'i2'"):
        part = gk.extract(parse(text), inputs=["i1", "i2"], outputs=["output"])
    assert names(part.inputs) == ["i1", "i2"]
    x = np.float32([1, 2, 3])
    assert_same(run_ort(part, {"i1": x, "i2": x}), {"output": -x})

"""inline: every call becomes its function's body, the numbers stay, and nothing else changes."""

import time

import numpy as np
import onnx
import pytest
from onnx import helper

import graphkit as gk
from oracle import assert_same, run_ort, run_reference

X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)


def parsed(graph, functions, ir=10, imports='"": 18, "my": 1'):
    return onnx.parser.parse_model(f"<ir_version: {ir}, opset_import: [{imports}]> {graph} {functions}")


def checked(model, feeds=None, **options):
    """The inlined model, after the same numbers came out of both."""
    feeds = {"x": X} if feeds is None else feeds
    before = model.SerializeToString()
    flat = gk.inline(model, **options)
    assert model.SerializeToString() == before
    onnx.checker.check_model(flat.proto, full_check=True)
    assert_same(run_ort(flat, feeds), run_ort(model, feeds))
    return flat.proto


SCALE = '<domain: "my", opset_import: ["": 18]> Scale <factor: float = 2.0> (a) => (b) { f = Constant<value_float: float = @factor>()  b = Mul(a, f) }'


def test_calls_of_calls_have_names_of_their_own():
    model = parsed(
        "g (float[2,3] x) => (float[2,3] y) { b = my.Twice(x)  [second] y = my.Twice(b) }",
        '<domain: "my", opset_import: ["": 18, "my": 1]> Twice (x) => (y) { b = my.Step(x)  y = my.Step(b) }'
        '<domain: "my", opset_import: ["": 18]> Step (x) => (y) { [rise] b = Relu(x)  y = Neg(b) }',
    )
    flat = checked(model)
    assert [node.op_type for node in flat.graph.node] == ["Relu", "Neg"] * 4
    assert not flat.functions
    made = [name for node in flat.graph.node for name in node.output]
    assert len(set(made)) == len(made) == 8
    named = [node.name for node in flat.graph.node if node.name]
    assert len(set(named)) == len(named) == 4


def test_attributes_by_reference_are_the_calls_the_default_or_left_out():
    flat = checked(
        parsed(
            "g (float[2,3] x) => (float[2,3] y) { a = my.Scale(x)  b = my.Scale<factor=3.0>(a)  y = my.Soft(b) }",
            SCALE
            + '<domain: "my", opset_import: ["": 18]> Soft <axis> (a) => (b) { b = Softmax<axis: int = @axis>(a) }',
        )
    )
    assert [a.f for node in flat.graph.node for a in node.attribute] == [2.0, 3.0]
    assert not any(a.ref_attr_name for node in flat.graph.node for a in node.attribute)


def test_attributes_by_reference_through_two_calls_and_in_a_body():
    flat = checked(
        parsed(
            "g (float[2,3] x, bool t) => (float[2,3] y) { y = my.Pass<much=5.0>(x, t) }",
            '<domain: "my", opset_import: ["": 18, "my": 1]> Pass <much> (a, t) => (b) { b = If(t) <'
            "then_branch = th () => (float[2,3] p) { p = my.Scale<factor: float = @much>(a) },"
            "else_branch = el () => (float[2,3] q) { q = Neg(a) }> }" + SCALE,
        ),
        {"x": X, "t": np.array(True)},
    )
    [branch] = [a.g for node in flat.graph.node for a in node.attribute if a.name == "then_branch"]
    assert [node.op_type for node in branch.node] == ["Constant", "Mul"]
    assert branch.node[0].attribute[0].f == 5.0


def test_names_that_bodies_capture_follow_and_shadow_nothing():
    flat = checked(
        parsed(
            "g (float[2,3] x, bool t) => (float[2,3] y) { p = Abs(x)  a = my.Choose(p, t)  y = my.Choose(a, t) }",
            '<domain: "my", opset_import: ["": 18]> Choose (x, t) => (y) { a = Exp(x)  y = If(t) <'
            "then_branch = th () => (float[2,3] p) { q = Add(a, x)  p = Neg(q) },"
            "else_branch = el () => (float[2,3] p) { p = Sub(a, x) }> }",
        ),
        {"x": X, "t": np.array(False)},
    )
    assert [node.op_type for node in flat.graph.node] == ["Abs", "Exp", "If", "Exp", "If"]


def test_calls_in_bodies_of_the_main_graph():
    flat = checked(
        parsed(
            "g (float[2,3] x, bool t) => (float[2,3] y) { y = If(t) <then_branch = th () => (float[2,3] p) "
            "{ f = Abs(x)  p = my.Scale(f) }, else_branch = el () => (float[2,3] q) { q = my.Scale(x) }> }",
            SCALE,
        ),
        {"x": X, "t": np.array(True)},
    )
    assert {node.op_type for a in flat.graph.node[0].attribute for node in a.g.node} == {"Abs", "Constant", "Mul"}


def test_what_a_call_leaves_out_and_what_a_body_hands_through():
    """ONNX Runtime takes no function that hands an input through, so only the result runs."""
    flat = gk.inline(
        parsed(
            "g (float[2,3] x) => (float[2,3] y, float[2,3] z, float[2,3] w) <float low = {-0.5}> { y, z, w = my.Bound(x, low) }",
            '<domain: "my", opset_import: ["": 18]> Bound (a, low, high) => (b, a, b) { b = Clip(a, low, high) }',
        )
    ).proto
    clipped = np.maximum(X, -0.5)
    assert_same(run_ort(flat, {"x": X}), {"y": clipped, "z": X, "w": clipped})
    assert [node.op_type for node in flat.graph.node] == ["Clip", "Identity", "Identity"]


def test_overloads_are_two_functions():
    model = parsed(
        "g (float[2,3] x) => (float[2,3] y) { a = my.F(x)  y = my.F(a) }",
        '<domain: "my", opset_import: ["": 18]> F (a) => (b) { b = Neg(a) }'
        '<domain: "my", opset_import: ["": 18]> F (a) => (b) { b = Exp(a) }',
    )
    model.functions[1].overload = model.graph.node[1].overload = "e"
    flat = gk.inline(model).proto
    assert [node.op_type for node in flat.graph.node] == ["Neg", "Exp"]
    assert_same(run_reference(flat, {"x": X}), {"y": np.exp(-X)})
    one = gk.inline(model, ["my::F:e"]).proto
    assert [node.op_type for node in one.graph.node] == ["F", "Exp"]
    assert [f.overload for f in one.functions] == [""]


def test_only_some_functions_also_in_the_bodies_of_those_that_stay():
    model = parsed(
        "g (float[2,3] x) => (float[2,3] y) { a = my.Keep(x)  y = my.Scale(a) }",
        '<domain: "my", opset_import: ["": 18, "my": 1]> Keep (a) => (b) { f = my.Scale<factor=7.0>(a)  b = Neg(f) }'
        + SCALE,
    )
    flat = checked(model, functions=["Scale"])
    assert [node.op_type for node in flat.graph.node] == ["Keep", "Constant", "Mul"]
    assert [f.name for f in flat.functions] == ["Keep"]
    assert [node.op_type for node in flat.functions[0].node] == ["Constant", "Mul", "Neg"]
    with pytest.raises(gk.NameNotFoundError, match="Scal"):
        gk.inline(model, ["Scal"])


@pytest.mark.parametrize("ir", [8, 10])
def test_types_go_along_and_a_symbol_of_two_calls_is_two(ir):
    model = parsed(
        "g (float[n,3] x) => (float[n,3] y) { a = my.Two(x)  y = my.Two(a) }",
        '<domain: "my", opset_import: ["": 18]> Two (a) => (b) { t = Relu(a)  b = Neg(t) }',
        ir=ir,
    )
    infos = model.functions[0].value_info if ir >= 10 else model.graph.value_info
    infos.append(helper.make_tensor_value_info("t" if ir >= 10 else "my::Two/t", 1, ["m", 3], doc_string="inner"))
    flat = checked(model)
    assert [(i.name, i.type.tensor_type.shape.dim[0].dim_param, i.doc_string) for i in flat.graph.value_info] == [
        ("t", "m", "inner"),
        ("t_1", "m_1", "inner"),
    ]


def test_metadata_and_doc_strings_go_along():
    model = parsed(
        "g (float[2,3] x) => (float[2,3] y) { y = my.F(x) }",
        '<domain: "my", opset_import: ["": 18, "other": 3]> F (a) => (b) { t = Relu(a)  b = Neg(t) }',
    )
    call, inner = model.graph.node[0], model.functions[0].node[0]
    call.doc_string = "the call"
    call.metadata_props.add(key="module", value="head")
    call.metadata_props.add(key="line", value="1")
    inner.metadata_props.add(key="line", value="7")
    inner.doc_string = "the rise"
    model.metadata_props.add(key="author", value="me")
    model.graph.quantization_annotation.add(tensor_name="x")
    flat = checked(model)
    assert [{e.key: e.value for e in node.metadata_props} for node in flat.graph.node] == [
        {"line": "7", "module": "head"},
        {"module": "head", "line": "1"},
    ]
    assert [node.doc_string for node in flat.graph.node] == ["the rise", "the call"]
    assert {o.domain: o.version for o in flat.opset_import} == {"": 18, "my": 1, "other": 3}
    assert (flat.metadata_props[0].value, len(flat.graph.quantization_annotation)) == ("me", 1)


def doubling(count):
    functions = ['<domain: "my", opset_import: ["": 18]> F0 (a) => (b) { b = Neg(a) }'] + [
        f'<domain: "my", opset_import: ["": 18, "my": 1]> F{i} (a) => (b) {{ t = my.F{i - 1}(a)  b = my.F{i - 1}(t) }}'
        for i in range(1, count)
    ]
    return parsed(f"g (float[2,3] x) => (float[2,3] y) {{ y = my.F{count - 1}(x) }}", " ".join(functions))


def test_functions_that_double_are_counted_before_they_are_expanded():
    assert len(checked(doubling(6)).graph.node) == 32
    model = doubling(60)
    before = time.process_time()
    with pytest.raises(gk.EditError, match="more than 1000000000: one call of my::F59"):
        gk.inline(model)
    with pytest.raises(gk.SessionError, match="functions of"):
        gk.session(model)
    assert gk.lint(model) is not None
    assert time.process_time() - before < 20  # of a slow machine; 2 ** 59 calls never end


def test_a_function_that_calls_itself_and_calls_that_do_not_fit_are_refused():
    model = doubling(2)
    model.functions[0].node[0].op_type, model.functions[0].node[0].domain = "F1", "my"
    with pytest.raises(gk.InvalidGraphError, match="may not call themselves"):
        gk.inline(model)
    model = doubling(1)
    model.graph.node[0].input.append("x")
    with pytest.raises(gk.EditError, match="has 2 inputs, and my::F0 has 1"):
        gk.inline(model)


def test_deep_calls_cost_as_much_as_wide_ones():
    deep = [helper.make_function("my", "F0", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], [])] + [
        helper.make_function(
            "my", f"F{i}", ["a"], ["b"], [helper.make_node(f"F{i - 1}", ["a"], ["b"], domain="my")], []
        )
        for i in range(1, 2000)
    ]
    graph = doubling(1).graph
    graph.node[0].op_type = "F1999"
    model = helper.make_model(
        graph, functions=deep, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("my", 1)]
    )
    flat = gk.inline(model)
    assert [node.op_type for node in flat.proto.graph.node] == ["Neg"]
    assert flat.history[-1].notes[0].endswith("and 1988 more")

"""Walking: every graph, node and tensor is met once, names are resolved in their scopes, depth costs no stack."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from graphkit.graph import walk

NESTED = """<ir_version: 10, opset_import: ["": 17, "local": 1]>
main (float[2] x, bool c) => (float[2] y) <float[2] w = {1.0, 2.0}>
{
  a = Neg(x)
  y = If(c) <
    then_branch = outer_then () => (float[2] t) {
      inner = Add(a, w)
      t = If(c) <then_branch = deep_then () => (float[2] d) { d = Mul(inner, x) },
                 else_branch = deep_else () => (float[2] e) { e = Identity(w) }>
    },
    else_branch = outer_else () => (float[2] f) { inner = Abs(a) f = local.fn(inner) }
  >
}
<domain: "local", opset_import: ["": 17, "local": 1]> fn (i) => (o) { o = local.deeper(i) }
<domain: "local", opset_import: ["": 17, "local": 1]> deeper (i) => (o) { o = Exp(i) }
<domain: "local", opset_import: ["": 17]> idle (i) => (o) { o = Log(i) }
"""


@pytest.fixture
def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(NESTED)


def test_graphs_outer_before_inner(model) -> None:
    names = [graph.name for graph in walk.graphs(model.graph)]
    assert names == ["main", "outer_then", "deep_then", "deep_else", "outer_else"]


def test_nodes_of_graph_bodies_and_functions(model) -> None:
    assert sorted(n.op_type for n in walk.nodes(model.graph)) == sorted(
        ["Neg", "If", "Add", "If", "Mul", "Identity", "Abs", "fn"]
    )
    extra = [n.op_type for n in walk.model_nodes(model)][8:]
    assert extra == ["deeper", "Exp", "Log"]


def test_captures_through_all_levels(model) -> None:
    assert set(walk.captures(model.graph.node[1])) == {"a", "w", "c", "x"}
    assert walk.captures(model.graph.node[0]) == ()
    assert set(walk.reads(model.graph.node[1])) == {"c", "a", "w", "x"}
    assert walk.reads(model.graph.node[1])[0] == "c"


def test_free_names_of_a_body_leave_out_what_a_body_around_defines(model) -> None:
    then = next(walk.bodies(model.graph.node[1]))
    assert set(walk.free_names(then)) == {"a", "w", "c", "x"}
    deep = next(walk.bodies(then.node[1]))
    assert set(walk.free_names(deep)) == {"inner", "x"}
    assert walk.free_names(model.graph) == ()


def test_siblings_that_use_one_name_do_not_hide_it_from_each_other() -> None:
    """The left body defines ``v``; the right one reads an outer value of that name."""
    left = helper.make_graph([helper.make_node("Neg", ["x"], ["v"])], "left", [], [_value("v")])
    right = helper.make_graph([helper.make_node("Abs", ["v"], ["r"])], "right", [], [_value("r")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=left, else_branch=right)
    assert set(walk.captures(node)) == {"x", "v"}


def test_a_body_output_that_names_an_outer_value_is_a_capture() -> None:
    body = helper.make_graph([], "body", [], [_value("outer")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    assert walk.captures(node) == ("outer",)


def test_omitted_names_are_none() -> None:
    inner = helper.make_node("Clip", ["x", "", "top"], ["", "out"])
    body = helper.make_graph([inner], "body", [], [_value("out")])
    node = helper.make_node("If", ["c", ""], ["y"], then_branch=body, else_branch=body)
    assert walk.captures(node) == ("x", "top")
    assert walk.reads(node) == ("c", "x", "top")
    assert walk.defined_names(body) == {"out"}


def test_body_inputs_and_initializers_are_the_bodys_own() -> None:
    body = helper.make_graph(
        [helper.make_node("Sum", ["i", "w", "s", "outer"], ["out"])],
        "body",
        [_value("i")],
        [_value("out")],
        [numpy_helper.from_array(np.zeros(2, np.float32), "w")],
        sparse_initializer=[_sparse("s")],
    )
    assert walk.defined_names(body) == {"i", "w", "s", "out"}
    assert walk.free_names(body) == ("outer",)


def test_graphs_in_a_list_attribute_count() -> None:
    """``graphs`` (AttributeProto.GRAPHS) is used by custom operators only."""
    body = helper.make_graph([helper.make_node("Neg", ["x"], ["out"])], "body", [], [_value("out")])
    node = onnx.NodeProto(op_type="Switch", domain="custom", input=["i"], output=["y"])
    node.attribute.add(name="cases", type=onnx.AttributeProto.GRAPHS).graphs.extend([body, body])
    assert walk.captures(node) == ("x",)
    assert len(list(walk.bodies(node))) == 2


def test_gradient_reads_the_value_that_it_differentiates() -> None:
    node = helper.make_node("Gradient", ["a", "b"], ["da"], domain="ai.onnx.preview.training", xs=["a", "b"], y="loss")
    assert walk.reads(node) == ("a", "b", "loss")
    other = helper.make_node("Gradient", ["a"], ["da"], domain="custom", xs=["a"], y="loss")
    assert walk.reads(other) == ("a",)


def test_called_functions_through_bodies_and_functions(model) -> None:
    assert walk.called_functions(model.graph.node, model.functions) == {("local", "fn", ""), ("local", "deeper", "")}
    assert walk.called_functions(model.graph.node[:1], model.functions) == set()


def test_called_functions_tell_overloads_and_spellings_of_the_default_domain_apart() -> None:
    def function(domain: str, name: str, overload: str, body: onnx.NodeProto) -> onnx.FunctionProto:
        made = helper.make_function(domain, name, ["i"], ["o"], [body], [helper.make_opsetid("", 17)])
        made.overload = overload
        return made

    exp = helper.make_node("Exp", ["i"], ["o"])
    functions = [
        function("d", "f", "", exp),
        function("d", "f", "one", exp),
        function("ai.onnx", "Swish2", "", exp),
        function("e", "loop", "", helper.make_node("loop", ["i"], ["o"], domain="e")),
    ]
    call = helper.make_node("f", ["x"], ["y"], domain="d")
    call.overload = "one"
    assert walk.called_functions([call], functions) == {("d", "f", "one")}
    assert walk.called_functions([helper.make_node("Swish2", ["x"], ["y"])], functions) == {("", "Swish2", "")}
    assert walk.called_functions([helper.make_node("loop", ["x"], ["y"], domain="e")], functions) == {("e", "loop", "")}


def test_tensors_everywhere() -> None:
    def tensor(name: str) -> onnx.TensorProto:
        return numpy_helper.from_array(np.zeros(1, np.float32), name)

    body = helper.make_graph([], "body", [], [_value("in_body")], [tensor("in_body")])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    held = onnx.NodeProto(op_type="Holder", domain="custom", output=["h"])
    held.attribute.add(name="t", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor("one"))
    held.attribute.add(name="ts", type=onnx.AttributeProto.TENSORS).tensors.extend([tensor("two"), tensor("three")])
    held.attribute.add(name="s", type=onnx.AttributeProto.SPARSE_TENSOR).sparse_tensor.CopyFrom(_sparse("four"))
    held.attribute.add(name="ss", type=onnx.AttributeProto.SPARSE_TENSORS).sparse_tensors.append(_sparse("five"))
    graph = helper.make_graph([branch, held], "g", [], [], [tensor("main")], sparse_initializer=[_sparse("sparse")])
    function = helper.make_function("d", "f", [], ["o"], [held], [helper.make_opsetid("", 17)])
    function.attribute_proto.add(name="default", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor("default"))
    model = helper.make_model(graph, functions=[function])
    training = model.training_info.add()
    training.initialization.initializer.append(tensor("initial"))
    training.algorithm.initializer.append(tensor("step"))
    names = sorted(t.name for t in walk.tensors(model))
    attribute = ["five", "five_at", "four", "four_at", "one", "three", "two"]
    assert names == sorted(
        ["main", "sparse", "sparse_at", "in_body", "in_body", *attribute, *attribute, "default", "initial", "step"]
    )


def test_a_thousand_levels_of_bodies() -> None:
    """Deeper than Python's stack, and than protobuf serialises; each level reads one outer value and its own."""
    depth = 1000
    model = onnx.ModelProto()
    graph = model.graph
    for level in range(depth):
        graph.node.add(op_type="Neg", input=[f"outer{level}"], output=[f"v{level}"])
        if level:
            graph.node.add(op_type="Neg", input=[f"v{level - 1}"], output=[f"u{level}"])
        node = graph.node.add(op_type="If", input=[f"v{level}"], output=[f"y{level}"])
        graph = node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g
        graph.name = f"body{level}"
    assert len(list(walk.graphs(model.graph))) == depth + 1
    assert set(walk.free_names(model.graph)) == {f"outer{level}" for level in range(depth)}
    assert walk.called_functions(model.graph.node, [onnx.FunctionProto(domain="d", name="f")]) == set()
    assert list(walk.tensors(model)) == []
    assert len(list(walk.model_nodes(model))) == 3 * depth - 1


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2])


def _sparse(name: str) -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.ones(1, np.float32), name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.zeros(1, np.int64), f"{name}_at"), [2])

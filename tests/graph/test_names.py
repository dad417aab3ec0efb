"""Fresh names collide with no value and no node of any scope."""

import onnx

from graphkit.graph.names import Names

TEXT = """<ir_version: 10, opset_import: ["": 17]>
g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}>
{
  [node] y = If(c) <
    then_branch = then_body () => (float[2] t) <float[2] inner = {1, 2}> { t = Add(x, inner) },
    else_branch = else_body () => (float[2] e) { [deep_node] e = Add(ghost, w) }
  >
}"""


def test_every_scope_counts() -> None:
    names = Names(onnx.parser.parse_model(TEXT).graph)
    assert names.values == {"x", "c", "y", "w", "t", "inner", "e", "ghost"}
    assert names.nodes == {"node", "deep_node"}
    assert "inner" in names
    assert "deep_node" in names
    assert "" not in names


def test_a_fresh_name_is_the_wish_where_it_is_free_and_is_taken_then() -> None:
    names = Names(onnx.parser.parse_model(TEXT).graph)
    assert [names.fresh("free"), names.fresh("free"), names.fresh("t"), names.fresh("node")] == [
        "free",
        "free_1",
        "t_1",
        "node_1",
    ]
    assert "free" in names


def test_declared_and_annotated_names_are_taken() -> None:
    graph = onnx.GraphProto()
    graph.value_info.add(name="declared")
    graph.output.add(name="promised")
    assert Names(graph).values == {"declared", "promised"}

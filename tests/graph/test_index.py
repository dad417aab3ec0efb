"""GraphIndex: who makes a value, who reads it, what it is."""

import onnx
import pytest

from graphkit.errors import NameNotFoundError
from graphkit.graph.index import GraphIndex

TEXT = """<ir_version: 10, opset_import: ["": 17]>
g (float[2] x, bool c, float[2] w) => (float[2] y, float[2] left) <float[2] w = {1, 2}, float[2] k = {3, 4}>
{
  left, right = Split(x)
  [branch] y = If(c) <
    then_branch = then_body () => (float[2] t) { t = Add(left, k) },
    else_branch = else_body () => (float[2] e) { e = Add(left, w) }
  >
  [same] a = Clip(right, , k)
  [same] b = Neg(a)
}"""


@pytest.fixture
def index() -> GraphIndex:
    return GraphIndex(onnx.parser.parse_model(TEXT).graph)


def test_producers_and_consumers(index) -> None:
    assert index.producer == {"left": 0, "right": 0, "y": 1, "a": 2, "b": 3}
    assert index.consumers == {"x": [0], "c": [1], "left": [1], "k": [1, 2], "w": [1], "right": [2], "a": [3]}


def test_reads_count_captures_and_leave_out_omitted_inputs(index) -> None:
    assert index.reads(1)[0] == "c"
    assert sorted(index.reads(1)) == ["c", "k", "left", "w"]
    assert index.reads(2) == ["right", "k"]
    assert index.captures(1) is index.captures(1)


def test_what_a_value_is(index) -> None:
    assert [n for n in ("x", "k", "w", "a", "t", "") if index.has(n)] == ["x", "k", "w", "a"]
    assert [n for n in ("x", "k", "w") if index.is_constant(n)] == ["k", "w"]
    assert [n for n in ("x", "k", "w") if index.is_overridable(n)] == ["w"]
    assert list(index.values()) == ["x", "c", "w", "left", "right", "y", "a", "b", "k"]


def test_a_sparse_initializer_is_a_constant() -> None:
    graph = onnx.GraphProto()
    graph.sparse_initializer.add().values.name = "s"
    index = GraphIndex(graph)
    assert index.has("s")
    assert index.is_constant("s")
    assert list(index.values()) == ["s"]


def test_a_name_that_is_there(index) -> None:
    assert index.require("left") == "left"


def test_a_name_that_is_not_there_is_guessed(index) -> None:
    with pytest.raises(NameNotFoundError, match="no value named 'rigth'") as caught:
        index.require("rigth")
    assert caught.value.suggestions == ["right"]


def test_a_name_inside_of_a_body_is_found_there(index) -> None:
    with pytest.raises(NameNotFoundError, match="inside of the body 'then_body'"):
        index.require("t")


def test_a_node_by_name_by_output_and_not_by_a_name_that_two_have(index) -> None:
    assert index.node_named("branch") == 1
    assert index.node_named("right") == 0
    with pytest.raises(NameNotFoundError, match="2 nodes have this name; name one by its output: 'a', 'b'"):
        index.node_named("same")
    assert index.node_named("a") == 2
    with pytest.raises(NameNotFoundError, match="no node named 'branhc'") as caught:
        index.node_named("branhc")
    assert caught.value.suggestions == ["branch"]

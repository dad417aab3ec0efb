"""Sets of nodes: their neighbours, their boundary, what stands between them."""

import onnx
import pytest

from graphkit.edit import node_set
from graphkit.graph.index import GraphIndex


def index_of(body: str, inputs: str = "float[2] x", weights: str = "") -> GraphIndex:
    return GraphIndex(onnx.parser.parse_graph(f"g ({inputs}) => (float[2] y) {weights} {{ {body} }}"))


CHAIN = (
    """k = Constant <value_float = 1.0> () a = Neg(x) b = Add(a, k) c = Neg(b) d = Neg(c) y = Neg(d) z = Add(k, b)"""
)


def test_around_counts_steps_both_ways_and_constants_not() -> None:
    index = index_of(CHAIN)
    assert node_set.around(index, [3], 0) == [3]
    assert node_set.around(index, [3], 1) == [2, 3, 4]
    assert node_set.around(index, [2], 1) == [0, 1, 2, 3, 6]
    assert node_set.around(index, [3], 2) == [0, 1, 2, 3, 4, 5, 6]
    assert node_set.around(index, [1], 1) == [1, 2]
    assert node_set.around(index, [1], 100) == [0, 1, 2, 3, 4, 5, 6]


def test_boundary_of_nodes() -> None:
    index = index_of(CHAIN)
    assert node_set.boundary(index, [2, 3]) == (("a",), ("b", "c"))
    assert node_set.boundary(index, [1]) == (("x",), ("a",))
    assert node_set.boundary(index, range(7)) == (("x",), ("y", "z"))


def test_boundary_with_a_hole_takes_the_value_that_comes_back() -> None:
    assert node_set.boundary(index_of(CHAIN), [2, 4]) == (("a", "c"), ("b", "d"))


def test_boundary_leaves_out_results_that_nobody_reads_beside_one_that_is_read() -> None:
    index = index_of("a, unread = Split(x) y = Neg(a) dead, dead2 = Split(x)")
    assert node_set.boundary(index, [0]) == (("x",), ("a",))
    assert node_set.boundary(index, [2]) == (("x",), ("dead", "dead2"))


def test_boundary_of_constants_alone() -> None:
    index = index_of(CHAIN)
    assert node_set.boundary(index, [0]) == ((), ("k",))
    assert node_set.boundary(index, [0, 1]) == (("x",), ("a",))


def test_a_random_draw_is_a_boundary_and_a_constant_is_none() -> None:
    index = index_of(
        "r = RandomNormal <shape = [2]> () k = Constant <value_float = 1.0> () a = Add(r, k) y = Add(a, r)"
    )
    assert node_set.boundary(index, [2]) == (("r",), ("a",))


def test_what_is_computed_from_weights_alone_comes_along_like_a_weight() -> None:
    """The exporter for TorchScript shares equal weights through Identity nodes that belong to no module."""
    index = index_of(
        "t = Transpose(w) shared = Identity(t) a = MatMul(x, shared) b = MatMul(a, shared) y = Neg(b)",
        weights="<float[2] w = {1, 2}>",
    )
    assert node_set.boundary(index, [2, 3]) == (("x",), ("b",))
    assert node_set.boundary(index, [0, 2]) == (("x",), ("t", "a"))
    assert node_set.boundary(index, [0]) == ((), ("t",))
    assert node_set.around(index, [2], 1) == [1, 2, 3]


def test_what_is_computed_from_a_default_value_comes_along_too() -> None:
    index = index_of("t = Neg(w) y = Mul(x, t)", "float[2] x, float[2] w", weights="<float[2] w = {1, 2}>")
    assert node_set.boundary(index, [1]) == (("x",), ("y",))


@pytest.mark.parametrize(
    ("body", "between"),
    [
        ("a = Neg(x) b = Abs(a) y = Relu(b)", [1]),
        ("a = Neg(x) b = Abs(a) c = Abs(b) y = Relu(c)", [1, 2]),
        ("a = Neg(x) b = Abs(x) y = Add(a, b)", []),  # computes from what comes from outside
        ("a = Neg(x) b = Abs(a) c = Add(b, x) y = Add(a, c)", []),  # so does the next, and the first is for it only
        ("a = Neg(x) y = Abs(a) c = Relu(y)", []),  # a graph output
        ("a = Neg(x) c = Constant <value = float[2] {1, 2}> () y = Add(a, c)", []),  # constants are followed anyway
    ],
)
def test_nodes_between_nodes(body: str, between: list[int]) -> None:
    index = index_of(body)
    ends = [0, len(index.nodes) - 1]
    others = range(1, len(index.nodes) - 1)
    assert node_set.enclosed(index, ends, others) == sorted([*ends, *between])

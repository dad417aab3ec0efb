"""The two walks: what is reached, in which order, where they stop, and that they agree with each other."""

from random import Random

import onnx
from hypothesis import given
from hypothesis import strategies as st

from graphkit.graph.index import GraphIndex
from graphkit.graph.upstream import downstream, upstream


def index_of(body: str, inputs: str = "float[2] x") -> GraphIndex:
    return GraphIndex(onnx.parser.parse_graph(f"g ({inputs}) => (float[2] y) {{ {body} }}"))


DIAMOND = "a = Neg(x) b = Abs(x) c = Add(a, b) y = Mul(c, a)"


def test_upstream_meets_what_is_nearest_first_and_knows_by_whom() -> None:
    found = upstream(index_of(DIAMOND), ["y"])
    assert list(found.nodes) == [3, 2, 0, 1]
    assert list(found.values.items()) == [("y", None), ("c", 3), ("a", 3), ("b", 2), ("x", 0)]
    assert found.early == ()


def test_upstream_stops_at_values_that_are_read_but_not_at_those_it_starts_with() -> None:
    found = upstream(index_of(DIAMOND), ["c"], stop={"c", "a"}.__contains__)
    assert list(found.nodes) == [2, 1]
    assert set(found.values) == {"c", "a", "b", "x"}


def test_upstream_does_not_walk_through_a_node_that_may_not_be_entered() -> None:
    found = upstream(index_of(DIAMOND), ["y"], enter=lambda position: position != 0)
    assert list(found.nodes) == [3, 2, 1]
    assert set(found.values) == {"y", "c", "a", "b", "x"}


def test_upstream_tells_what_is_read_before_it_is_made() -> None:
    assert upstream(index_of("y = Neg(a) a = Abs(x)"), ["y"]).early == ("a",)
    assert upstream(index_of("y = Neg(a) a = Abs(x)"), ["y"], stop={"a"}.__contains__).early == ()
    assert upstream(index_of("a = Neg(y) y = Abs(a)"), ["y"]).early == ("y",)
    assert upstream(index_of("y = Neg(y)"), ["y"]).early == ("y",)


def test_downstream_follows_values_into_bodies_and_leaves_out_what_is_not_entered() -> None:
    index = index_of(
        "a = Neg(x) y = If(c) <then_branch = t () => (float[2] o) { o = Abs(a) },"
        " else_branch = e () => (float[2] p) { p = Abs(x) }>",
        "float[2] x, bool c",
    )
    assert list(downstream(index, ["a"]).values) == ["a", "y"]
    assert list(downstream(index, ["x"], enter={0}.__contains__).values) == ["x", "a"]
    assert list(downstream(index, ["c"]).nodes) == [1]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=10), st.randoms())
def test_a_value_is_upstream_of_another_exactly_if_that_is_downstream_of_it(
    reads: list[tuple[int, int]], r: Random
) -> None:
    names = [f"v{i}" for i in range(len(reads) + 1)]
    nodes = [f"v{i + 1} = Add(v{a % (i + 1)}, v{b % (i + 1)})" for i, (a, b) in enumerate(reads)]
    r.shuffle(nodes)
    index = index_of(" ".join(nodes), "float[2] v0")
    above = {(one, other) for other in names for one in upstream(index, [other]).values}
    below = {(one, other) for one in names for other in downstream(index, [one]).values}
    assert above == below

"""Topological order."""

import onnx
import pytest

import graphkit as gk
from graphkit.graph.order import topological_order


def nodes(text: str) -> list[onnx.NodeProto]:
    return list(onnx.parser.parse_graph(f"g (float[1] x) => (float[1] y) {{ {text} }}").node)


def test_sorted_nodes_stay_as_they_are() -> None:
    assert topological_order(nodes("a = Neg(x) b = Neg(a) c = Neg(x) y = Add(b, c)")) == [0, 1, 2, 3]


# R39
def test_readers_come_behind_what_they_read() -> None:
    assert topological_order(nodes("y = Add(b, c) b = Neg(a) c = Neg(x) a = Neg(x)")) == [2, 3, 1, 0]


def test_what_a_body_reads_from_outside_counts() -> None:
    unsorted = nodes(
        "y = If(x) <then_branch = t () => (float[1] u) { u = Neg(late) }, "
        "else_branch = e () => (float[1] v) { v = Identity(x) }> late = Abs(x)"
    )
    assert topological_order(unsorted) == [1, 0]


def test_a_cycle_is_named_without_the_nodes_behind_it() -> None:
    with pytest.raises(gk.InvalidGraphError) as caught:
        topological_order(nodes("y = Neg(c) a = Add(x, c) b = Abs(a) c = Exp(b)"))
    assert set(caught.value.names) == {"Add of 'a'", "Abs of 'b'", "Exp of 'c'"}
    assert "cycle" in str(caught.value)


def test_no_recursion_on_a_long_chain_given_backwards() -> None:
    chain = [onnx.helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(20_000)]
    assert topological_order(chain[::-1]) == list(range(19_999, -1, -1))

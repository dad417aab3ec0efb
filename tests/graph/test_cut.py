"""Cutting: what a cut needs, where an open one is closed, how few values suffice; held against brute force."""

from collections.abc import Iterator
from itertools import combinations

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphkit.errors import InvalidGraphError
from graphkit.graph import cut
from graphkit.graph.index import GraphIndex


def index_of(body: str, inputs: str = "float[2] x", outputs: str = "float[2] y", weights: str = "") -> GraphIndex:
    return GraphIndex(onnx.parser.parse_graph(f"g ({inputs}) => ({outputs}) {weights} {{ {body} }}"))


DIAMOND = "a = Neg(x) b = Abs(x) c = Add(a, b) y = Mul(c, a)"


def test_trace_stops_at_inputs() -> None:
    region = cut.trace(index_of(DIAMOND), ["y"], {"a", "b"})
    assert region == cut.Region((2, 3), (), (), frozenset({"a", "b"}))


def test_trace_finds_what_is_open_in_the_order_of_the_graph() -> None:
    index = index_of("a = Add(x3, x1) y = Add(a, x2)", "float[2] x1, float[2] x2, float[2] x3, float[2] idle")
    region = cut.trace(index, ["y"], ())
    assert region.open_inputs == ("x1", "x2", "x3")
    assert not region.reached


def test_trace_of_an_output_that_is_an_input_or_a_weight() -> None:
    index = index_of("y = Neg(x)", weights="<float[2] w = {1, 2}>")
    assert cut.trace(index, ["x"], {"x"}) == cut.Region((), (), (), frozenset({"x"}))
    assert cut.trace(index, ["x"], ()).open_inputs == ("x",)
    assert cut.trace(index, ["w"], ()).constants == ("w",)
    assert cut.trace(index, ["w"], {"w"}).constants == ()


def test_a_weight_that_is_an_input_is_no_constant() -> None:
    index = index_of("y = Mul(x, w)", weights="<float[2] w = {1, 2}>")
    assert cut.trace(index, ["y"], {"x", "w"}).constants == ()


def test_trace_follows_captures() -> None:
    index = index_of(
        """a = Neg(x) y = If(c) <then_branch = t () => (float[2] o) { o = Add(a, w) },
        else_branch = e () => (float[2] q) { q = If(c) <then_branch = t2 () => (float[2] z) { z = Identity(deep) },
        else_branch = e2 () => (float[2] z2) { z2 = Identity(x) }> }>""",
        "float[2] x, bool c, float[2] deep",
        weights="<float[2] w = {1, 2}>",
    )
    region = cut.trace(index, ["y"], ())
    assert region.nodes == (0, 1)
    assert region.constants == ("w",)
    assert region.open_inputs == ("x", "c", "deep")


def test_a_name_that_nothing_defines() -> None:
    with pytest.raises(InvalidGraphError, match="reads 'ghost', which nothing"):
        cut.trace(index_of("y = Add(x, ghost)"), ["y"], ())


def test_trace_stops_where_it_is_told() -> None:
    region = cut.trace(index_of(DIAMOND), ["y"], (), stop=lambda name: name == "c")
    assert region.nodes == (0, 3)
    assert region.reached == {"c"}


TUTORIAL = """n22 = Conv(x, w) n23 = Relu(n22) n24 = Conv(n23, w) n25 = Conv(n24, w) n26 = Conv(n24, w) n27 = Conv(n26, w)
n28 = Add(n25, n27) n29 = Conv(n28, w) y = Relu(n29)"""


def test_frontier_names_where_what_is_missing_joins() -> None:
    index = index_of(TUTORIAL, weights="<float[1] w = {1}>")
    assert cut.frontier(index, ["n28"], ["n25"]) == ("n27",)
    assert cut.frontier(index, ["n28", "y"], ["n26"]) == ("n25",)
    assert cut.frontier(index, ["n28"], ["n24"]) == ()


def test_frontier_of_an_output_apart_from_the_inputs_is_its_graph_inputs() -> None:
    index = index_of("a = Neg(x) b = Abs(z) y = Add(a, a)", "float[2] x, float[2] z")
    assert cut.frontier(index, ["y", "b"], ["a"]) == ("z",)


# A random graph for brute force: node k makes value k from values before it; 0 .. inputs-1 are the graph inputs.
Shape = tuple[int, list[list[int]], list[int], list[int]]


@st.composite
def small_graphs(draw: st.DrawFn) -> Shape:
    inputs = draw(st.integers(1, 3))
    count = draw(st.integers(1, 6))
    reads = [draw(st.lists(st.integers(0, inputs + k - 1), min_size=1, max_size=3, unique=True)) for k in range(count)]
    values = st.integers(0, inputs + len(reads) - 1)
    outputs = draw(st.lists(values, min_size=1, max_size=3, unique=True))
    chosen = draw(st.lists(values, max_size=3, unique=True))
    return inputs, reads, outputs, chosen


def built(shape: Shape, order: list[int] | None = None) -> GraphIndex:
    inputs, reads, outputs, _ = shape
    graph = onnx.GraphProto(name="g")
    graph.input.extend(onnx.ValueInfoProto(name=f"v{k}") for k in range(inputs))
    for k in order or range(len(reads)):
        graph.node.add(op_type="Sum", input=[f"v{r}" for r in reads[k]], output=[f"v{inputs + k}"])
    graph.output.extend(onnx.ValueInfoProto(name=f"v{k}") for k in outputs)
    return GraphIndex(graph)


def determines(shape: Shape, given: set[int], wanted: list[int]) -> bool:
    """By running the graph with known and unknown instead of numbers."""
    inputs, reads, _, _ = shape
    known = set(given)
    for k, read in enumerate(reads):
        if all(r in known for r in read):
            known.add(inputs + k)
    return known.issuperset(wanted)


def names(numbers: object) -> list[str]:
    return [f"v{n}" for n in numbers]  # type: ignore[attr-defined]


def numbers(found: object) -> set[int]:
    return {int(name[1:]) for name in found}  # type: ignore[attr-defined]


def upstream(shape: Shape, value: int) -> Iterator[int]:
    yield value
    if value >= shape[0]:
        for read in shape[1][value - shape[0]]:
            yield from upstream(shape, read)


@settings(derandomize=True, max_examples=300)
@given(small_graphs(), st.randoms(use_true_random=False))
def test_narrowest_is_smallest_and_farthest_upstream(shape, random) -> None:
    """Of all sets that determine the outputs (an output is no input of its own, unless it is a graph input) none is
    smaller, and none of that size has a value upstream of one that was found. The order of the nodes does not matter.
    """
    inputs, reads, outputs, _ = shape
    order = list(range(len(reads)))
    random.shuffle(order)
    found = numbers(cut.narrowest(built(shape, order), names(outputs)))
    assert determines(shape, found, outputs)
    candidates = [v for v in range(inputs + len(reads)) if v < inputs or v not in outputs]
    smaller = [c for k in range(len(found)) for c in combinations(candidates, k) if determines(shape, set(c), outputs)]
    assert smaller == []
    above = {u for value in found for u in upstream(shape, value)}
    equal = [set(c) for c in combinations(candidates, len(found)) if determines(shape, set(c), outputs)]
    assert found in equal
    assert [c for c in equal if c != found and c <= above] == []


@settings(derandomize=True, max_examples=300)
@given(small_graphs(), st.randoms(use_true_random=False))
def test_frontier_closes_the_cut_with_nothing_to_spare(shape, random) -> None:
    _, reads, outputs, chosen = shape
    order = list(range(len(reads)))
    random.shuffle(order)
    found = numbers(cut.frontier(built(shape, order), names(outputs), names(chosen)))
    assert determines(shape, {*chosen, *found}, outputs)
    for value in found:
        assert not determines(shape, {*chosen, *found} - {value}, outputs)
    if not determines(shape, set(chosen), outputs):
        assert found
    else:
        assert not found
    left = cut.undetermined(built(shape, order), names(outputs), names(chosen))
    assert list(left) == [f"v{n}" for n in outputs if not determines(shape, set(chosen), [n])]


@settings(derandomize=True, max_examples=200)
@given(small_graphs())
def test_trace_takes_what_is_needed_and_nothing_else(shape) -> None:
    inputs, reads, outputs, chosen = shape
    region = cut.trace(built(shape), names(outputs), names(chosen))
    needed: set[int] = set()
    waiting = list(outputs)
    while waiting:
        value = waiting.pop()
        if value not in needed:
            needed.add(value)
            if value not in chosen and value >= inputs:
                waiting += reads[value - inputs]
    assert set(region.nodes) == {v - inputs for v in needed if v >= inputs and v not in chosen}
    assert numbers(region.reached) == needed & set(chosen)
    assert numbers(region.open_inputs) == {v for v in needed if v < inputs and v not in chosen}


def test_narrowest_of_an_output_that_is_a_graph_input() -> None:
    index = index_of("y = Add(x, z)", "float[2] x, float[2] z")
    assert cut.narrowest(index, ["x"]) == ("x",)
    assert cut.narrowest(index, ["y", "x"]) == ("x", "z")
    assert cut.narrowest(index, ["x", "x"]) == ("x",)


def test_narrowest_of_what_depends_on_no_input() -> None:
    index = index_of("y = Neg(w)", weights="<float[2] w = {1, 2}>")
    assert cut.narrowest(index, ["y"]) == ()
    assert cut.narrowest(index, ["w"]) == ()


def test_one_value_where_everything_passes_through_it() -> None:
    index = index_of("a = Add(x, z) b = Neg(a) c = Abs(a) y = Add(b, c)", "float[2] x, float[2] z")
    assert cut.narrowest(index, ["y"]) == ("a",)

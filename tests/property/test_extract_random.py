"""Random models, cut at random closed boundaries: the part gives the whole's inner values. Seeded, and bounded.

A model is a random graph of float vectors: elementwise nodes, nodes of two results, If and Loop whose bodies read
random outer values at one or two levels, calls of functions, weights that some inputs may override.
"""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from cuts import inner_values
from graphkit.graph import walk
from graphkit.graph.values import has_shape
from oracle import assert_same, run_ort, run_reference

SIZE = 4
UNARY = ["Neg", "Abs", "Tanh", "Identity", "Relu"]
BINARY = ["Add", "Sub", "Max"]
WEIGHTS = ["w0", "w1", "w2"]


@st.composite
def models(draw: st.DrawFn) -> onnx.ModelProto:
    """A valid model of up to twelve nodes, whose last values are its outputs."""
    inputs = [f"x{k}" for k in range(draw(st.integers(1, 3)))]
    known = [*inputs, *WEIGHTS]
    nodes: list[onnx.NodeProto] = []
    made: list[str] = []
    for number in range(draw(st.integers(2, 12))):
        kind = draw(st.sampled_from(["unary", "binary", "binary", "split", "if", "loop", "call"]))
        name = f"v{number}"
        node, results = _node(draw, kind, name, known)
        nodes.append(node)
        made += results
        known += results
    outputs = list(dict.fromkeys([made[-1], *draw(st.lists(st.sampled_from(made), max_size=2))]))
    overridable = draw(st.lists(st.sampled_from(WEIGHTS), max_size=1))
    graph = helper.make_graph(
        nodes,
        "random",
        [*map(_value, [*inputs, *overridable]), helper.make_tensor_value_info("flag", TensorProto.BOOL, [])],
        [_value(name) for name in outputs],
        [
            *(numpy_helper.from_array(np.full(SIZE, 0.5 * k + 0.5, np.float32), w) for k, w in enumerate(WEIGHTS)),
            numpy_helper.from_array(np.array([SIZE // 2, SIZE - SIZE // 2]), "sizes"),
            numpy_helper.from_array(np.array(2), "trips"),
            numpy_helper.from_array(np.array(True), "go"),
        ],
    )
    return helper.make_model(
        graph,
        functions=FUNCTIONS,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
        ir_version=8,
    )


def _node(draw: st.DrawFn, kind: str, name: str, known: list[str]) -> tuple[onnx.NodeProto, list[str]]:
    def one() -> str:
        return draw(st.sampled_from(known))

    if kind == "unary":
        return helper.make_node(draw(st.sampled_from(UNARY)), [one()], [name], name=f"node_{name}"), [name]
    if kind == "binary":
        return helper.make_node(draw(st.sampled_from(BINARY)), [one(), one()], [name], name=f"node_{name}"), [name]
    if kind == "split":
        return helper.make_node("Pair", [one()], [name, f"{name}b"], domain="local", name=f"node_{name}"), [
            name,
            f"{name}b",
        ]
    if kind == "call":
        return helper.make_node("Outer", [one(), one()], [name], domain="local", name=f"node_{name}"), [name]
    if kind == "if":
        bodies = [_branch(draw, f"{name}_{side}", known) for side in ("then", "else")]
        node = helper.make_node(
            "If", ["flag"], [name], then_branch=bodies[0], else_branch=bodies[1], name=f"node_{name}"
        )
        return node, [name]
    body = helper.make_graph(
        [
            helper.make_node("Identity", [f"{name}_go"], [f"{name}_next"]),
            helper.make_node("Add", [f"{name}_carried", one()], [f"{name}_sum"]),
        ],
        f"{name}_body",
        [
            helper.make_tensor_value_info(f"{name}_i", TensorProto.INT64, []),
            helper.make_tensor_value_info(f"{name}_go", TensorProto.BOOL, []),
            _value(f"{name}_carried"),
        ],
        [helper.make_tensor_value_info(f"{name}_next", TensorProto.BOOL, []), _value(f"{name}_sum")],
    )
    return helper.make_node("Loop", ["trips", "go", one()], [name], body=body, name=f"node_{name}"), [name]


def _branch(draw: st.DrawFn, name: str, known: list[str]) -> onnx.GraphProto:
    """A body that reads two outer values, sometimes through a body of its own."""
    first, second = (draw(st.sampled_from(known)) for _ in range(2))
    nodes = [helper.make_node("Add", [first, second], [f"{name}_sum"])]
    if draw(st.booleans()):
        inner = [
            helper.make_graph(
                [helper.make_node("Mul", [f"{name}_sum", draw(st.sampled_from(known))], [f"{name}_{s}"])],
                s,
                [],
                [_value(f"{name}_{s}")],
            )
            for s in ("p", "q")
        ]
        nodes.append(helper.make_node("If", ["flag"], [f"{name}_out"], then_branch=inner[0], else_branch=inner[1]))
    else:
        nodes.append(helper.make_node("Neg", [f"{name}_sum"], [f"{name}_out"]))
    return helper.make_graph(nodes, name, [], [_value(f"{name}_out")])


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIZE])


_OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
FUNCTIONS = [
    helper.make_function("local", "Inner", ["i"], ["o"], [helper.make_node("Tanh", ["i"], ["o"])], _OPSETS),
    helper.make_function(
        "local",
        "Outer",
        ["a", "b"],
        ["o"],
        [helper.make_node("Inner", ["a"], ["t"], domain="local"), helper.make_node("Sub", ["t", "b"], ["o"])],
        _OPSETS,
    ),
    helper.make_function(
        "local",
        "Pair",
        ["i"],
        ["p", "q"],
        [helper.make_node("Neg", ["i"], ["p"]), helper.make_node("Abs", ["i"], ["q"])],
        _OPSETS,
    ),
]


def feeds_of(model: onnx.ModelProto, flag: bool) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    feeds: dict[str, Any] = {
        v.name: rng.standard_normal(SIZE).astype(np.float32)
        for v in model.graph.input
        if v.name not in (*WEIGHTS, "flag")
    }
    return {**feeds, "flag": np.array(flag)}


def assert_part(model: onnx.ModelProto, part: gk.Model, flag: bool) -> None:
    """In the reference evaluator and in ONNX Runtime, and nothing is there that no output needs."""
    proto = part.proto
    if all(has_shape(v.type) for v in (*proto.graph.input, *proto.graph.output)):
        onnx.checker.check_model(proto, full_check=True)  # it wants shapes, and inference finds none behind a Loop
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [v.name for v in proto.graph.input if v.name not in weights]
    values = inner_values(model, feeds_of(model, flag), [*inputs, *(v.name for v in proto.graph.output)])
    fed = {name: values[name] for name in inputs}
    expected = {v.name: values[v.name] for v in proto.graph.output}
    assert_same(run_reference(proto, fed), expected)
    assert_same(run_ort(proto, fed), expected)
    needed = {v.name for v in proto.graph.output}
    for node in reversed(proto.graph.node):
        assert not needed.isdisjoint(node.output)
        needed.update(walk.reads(node))
    assert weights <= needed
    assert {f.name for f in proto.functions} == {
        name for _, name, _ in walk.called_functions(proto.graph.node, proto.functions)
    }


def values_of(model: onnx.ModelProto) -> list[str]:
    return [name for node in model.graph.node for name in node.output]


@settings(derandomize=True, max_examples=150)
@given(models(), st.data())
def test_cuts_closed_by_their_own_suggestion(model, data) -> None:
    """Random inputs and outputs: where the cut is open, the error names what closes it, and nothing more."""
    candidates = [*values_of(model), *(v.name for v in model.graph.input)]
    wanted = data.draw(st.lists(st.sampled_from(values_of(model)), min_size=1, max_size=3, unique=True))
    chosen = data.draw(
        st.lists(st.sampled_from([c for c in candidates if c not in (*wanted, *WEIGHTS)]), max_size=3, unique=True)
    )
    suggested = gk.suggest(model, inputs=chosen, outputs=wanted)
    kept = [name for name in chosen if name in suggested.inputs]
    added = [name for name in suggested.inputs if name not in chosen]
    if added:
        with pytest.raises(gk.CutError) as caught:
            gk.extract(model, inputs=kept, outputs=wanted)
        assert sorted(caught.value.suggestion) == sorted(added)
    part = gk.extract(model, inputs=suggested.inputs, outputs=wanted)
    assert len(part.proto.graph.node) == suggested.nodes
    assert_part(model, part, data.draw(st.booleans()))


@settings(derandomize=True, max_examples=100)
@given(models(), st.data())
def test_the_smallest_cut_for_outputs_runs(model, data) -> None:
    wanted = data.draw(st.lists(st.sampled_from(values_of(model)), min_size=1, max_size=2, unique=True))
    found = gk.suggest(model, outputs=wanted)
    free = gk.extract(model, outputs=wanted)
    weights = {tensor.name for tensor in free.proto.graph.initializer}
    assert len(found.inputs) <= len([v for v in free.proto.graph.input if v.name not in weights])
    assert_part(model, gk.extract(model, inputs=found.inputs, outputs=found.outputs), flag=data.draw(st.booleans()))


@settings(derandomize=True, max_examples=100)
@given(models(), st.data())
def test_nodes_and_those_around_them_run(model, data) -> None:
    nodes = data.draw(
        st.lists(st.sampled_from([n.name for n in model.graph.node]), min_size=1, max_size=2, unique=True)
    )
    hops = data.draw(st.integers(0, 2))
    part = gk.extract(model, nodes=nodes, hops=hops)
    assert set(nodes) <= {n.name for n in part.proto.graph.node}
    assert_part(model, part, flag=data.draw(st.booleans()))


@settings(derandomize=True, max_examples=100)
@given(models(), st.data())
def test_parts_put_after_each_other_are_the_whole(model, data) -> None:
    """Cut in two between any two nodes: the second part, fed with what the first one gives, gives the outputs."""
    place = data.draw(st.integers(1, len(model.graph.node) - 1))
    before = {name for node in model.graph.node[:place] for name in node.output} | {v.name for v in model.graph.input}
    after = [name for node in model.graph.node[place:] for name in walk.reads(node)]
    after += [v.name for v in model.graph.output]
    middle = [name for name in dict.fromkeys(after) if name in before and name not in WEIGHTS]
    assume(middle)
    flag = data.draw(st.booleans())
    feeds = feeds_of(model, flag)
    head = gk.extract(model, outputs=middle)
    between = run_ort(head, {v.name: feeds[v.name] for v in head.proto.graph.input if v.name in feeds})
    outputs = [v.name for v in model.graph.output]
    needed = gk.suggest(model, inputs=middle, outputs=outputs).inputs  # dead nodes' inputs pass the place too
    assert set(needed) <= set(middle)
    tail = gk.extract(model, inputs=needed, outputs=outputs)
    assert_same(run_ort(tail, {name: between[name] for name in needed}), inner_values(model, feeds, outputs))


@settings(derandomize=True, max_examples=100)
@given(models(), st.data())
def test_any_permutation_of_names_computes_the_same(model, data) -> None:
    """Values of the main graph, inputs and weights too, take each other's names; then back again, bit for bit."""
    names = [*values_of(model), *WEIGHTS, *(v.name for v in model.graph.input if v.name not in WEIGHTS)]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=5, unique=True))
    table = dict(zip(chosen, [*chosen[1:], chosen[0]], strict=True))
    flag = data.draw(st.booleans())
    renamed = gk.rename(model, values=table)
    onnx.checker.check_model(renamed.proto, full_check=True)
    feeds = feeds_of(model, flag)
    expected = {table.get(name, name): value for name, value in run_reference(model, feeds).items()}
    assert_same(run_ort(renamed, {table.get(name, name): value for name, value in feeds.items()}), expected)
    back = gk.rename(renamed, values={new: old for old, new in table.items()})
    assert back.proto.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)

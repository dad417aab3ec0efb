"""Functions that double each other are counted, not expanded."""

import itertools
import time

import onnx
import onnx.inliner
import pytest
from onnx import helper

import graphkit as gk
from graphkit.graph.calls import MANY, MOST_CALLS, expanded_nodes, expands_beyond

PATIENCE = 20
"""Seconds of processor time on a slow machine; what is expanded all the same takes longer than anyone waits."""

OPSETS = [helper.make_opsetid("my", 1), helper.make_opsetid("", 18)]


def value(name):
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 2])


def my(op, *names):
    return helper.make_node(op, [names[0]], [names[1]], domain="my")


def doubling(count, *, reverse=False):
    bodies = {"F0": [helper.make_node("Relu", ["a"], ["o"])]}
    bodies |= {f"F{i}": [my(f"F{i - 1}", "a", "t"), my(f"F{i - 1}", "t", "o")] for i in range(1, count)}
    bodies = dict(reversed(bodies.items())) if reverse else bodies
    functions = [helper.make_function("my", name, ["a"], ["o"], nodes, OPSETS) for name, nodes in bodies.items()]
    graph = helper.make_graph([my(f"F{count - 1}", "x", "y")], "g", [value("x")], [value("y")])
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=10, functions=functions)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_count_is_that_of_the_inlined_model(reverse):
    model = doubling(5, reverse=reverse)
    assert expanded_nodes(model) == len(onnx.inliner.inline_local_functions(model).graph.node)


def test_thousands_of_doublings_are_counted_at_once():
    start = time.process_time()
    assert expanded_nodes(doubling(5000)) == MANY
    assert time.process_time() - start < PATIENCE


WORK = {
    "run": lambda proto: gk.run(proto, {"x": "random"}),
    "lint": gk.lint,
    "inspect": lambda proto: gk.inspect(proto, infer=True),
    "dims": lambda proto: gk.dims(proto, {"x:0": "n"}),
    "rename": lambda proto: gk.rename(proto, values={"x": "z"}),
    "extract": lambda proto: gk.extract(proto, outputs=["y"]),
    "bisect": lambda proto: gk.bisect(proto, against=proto),
}


@pytest.mark.parametrize("count", [16, 40])
@pytest.mark.parametrize("work", WORK)
def test_work_on_a_kilobyte_that_doubles_ends_at_once(work, count):
    proto = doubling(count)
    assert proto.ByteSize() < 4000
    start = time.process_time()
    if work in ("run", "bisect"):
        with pytest.raises(gk.SessionError, match="call each other again and again"):
            WORK[work](proto)
    elif work == "dims":
        with pytest.warns(gk.GraphkitWarning, match="cannot be followed past"):
            WORK[work](proto)
    else:
        WORK[work](proto)
    assert time.process_time() - start < PATIENCE


def padded(model, count):
    """Plain nodes beside the calls."""
    names = [f"p{i}" for i in range(count)]
    model.graph.node.extend(helper.make_node("Neg", ["x"], [name]) for name in names)
    return model


@pytest.mark.parametrize("padding", [0, 600, 5000])
def test_plain_nodes_beside_functions_that_double_change_nothing(padding):
    assert not expands_beyond(padded(doubling(12), padding), 1 << 14)
    assert expands_beyond(padded(doubling(16), padding), 1 << 14)
    with pytest.raises(gk.GraphkitError, match="functions of 'g' come to more than"):
        gk.run(padded(doubling(16), padding), {"x": [[1.0, 2.0], [3.0, 4.0]]})


def test_many_layers_that_are_one_function_are_a_model():
    body = [my("Inner", "a", "b"), my("Inner", "b", "o")]
    functions = [
        helper.make_function("my", "Layer", ["a"], ["o"], body, OPSETS),
        helper.make_function("my", "Inner", ["a"], ["o"], [helper.make_node("Relu", ["a"], ["o"])], OPSETS),
    ]
    names = ["x", *(f"h{i}" for i in range(MOST_CALLS))]
    layers = [my("Layer", *pair) for pair in itertools.pairwise(names)]
    graph = helper.make_graph(layers, "g", [value("x")], [value(names[-1])])
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=10, functions=functions)
    assert not expands_beyond(model, 1 << 14)

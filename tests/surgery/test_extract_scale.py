"""The cost of a cut, a suggestion and a renaming grows with the graph and not faster; depth costs no stack.

Counted, not timed: how many calls Python makes. Four times the nodes may take five times the calls.
"""

import cProfile
import pstats
import random
import sys
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import graphkit as gk
from oracle import assert_same, run_ort

SMALL = 1500


def model_of(
    nodes: list[onnx.NodeProto], outputs: list[str], inputs: int = 1, functions: tuple = ()
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(f"x{k}", TensorProto.FLOAT, ["n", 4]) for k in range(inputs)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in outputs],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [4], [1, 2, 3, 4]),
            helper.make_tensor("m", TensorProto.FLOAT, [4, 4], range(16)),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    return helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=8)


def chain(count: int, *, op: str = "Add", second: str = "w") -> onnx.ModelProto:
    nodes = [helper.make_node(op, [f"v{k}" if k else "x0", second], [f"v{k + 1}"], name=f"n{k}") for k in range(count)]
    return model_of(nodes, [f"v{count}"])


def backwards(count: int) -> onnx.ModelProto:
    """The nodes in reverse order, as ONNX Runtime takes them."""
    model = chain(count, op="MatMul", second="m")
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def star(count: int) -> onnx.ModelProto:
    """One value that all nodes read, and one node that reads them all."""
    nodes = [helper.make_node("Neg", ["x0"], ["v1"])]
    nodes += [helper.make_node("Mul", ["v1", "w"], [f"arm{k}"], name=f"n{k}") for k in range(count)]
    nodes += [helper.make_node("Sum", [f"arm{k}" for k in range(count)], [f"v{count // 2}"])]
    return model_of(nodes, [f"v{count // 2}"])


def wide(count: int) -> onnx.ModelProto:
    """As many outputs as nodes."""
    nodes = [helper.make_node("Neg", ["x0"], [f"v{k}"], name=f"n{k}") for k in range(count)]
    return model_of(nodes, [f"v{k}" for k in range(count)])


def ladder(count: int) -> onnx.ModelProto:
    """Two strands that cross at every step: as many paths as 2 to the power of the number of steps."""
    nodes = []
    for k in range(count // 2):
        left, right = (f"v{k}", f"u{k}") if k else ("x0", "x1")
        nodes.append(helper.make_node("Add", [left, right], [f"v{k + 1}"], name=f"n{k}"))
        nodes.append(helper.make_node("Sub", [left, right], [f"u{k + 1}"]))
    return model_of(nodes, [f"v{count // 2}"], inputs=2)


def branches(count: int) -> onnx.ModelProto:
    """A chain of Ifs whose bodies read the value before and a weight."""
    nodes = [helper.make_node("Greater", ["x0", "w"], ["all"]), helper.make_node("ReduceMax", ["x0"], ["flag"])]
    nodes[0] = helper.make_node("Constant", [], ["go"], value=helper.make_tensor("", TensorProto.BOOL, [], [True]))
    nodes[1] = helper.make_node("Neg", ["x0"], ["v0"])
    for k in range(count // 4):
        bodies = [
            helper.make_graph(
                [helper.make_node("Add", [f"v{k}", "w"], [f"{s}{k}"])],
                s,
                [],
                [helper.make_tensor_value_info(f"{s}{k}", 1, ["n", 4])],
            )
            for s in ("then", "else")
        ]
        nodes.append(
            helper.make_node("If", ["go"], [f"v{k + 1}"], then_branch=bodies[0], else_branch=bodies[1], name=f"n{k}")
        )
    return model_of(nodes, [f"v{count // 4}"])


def calls(count: int) -> onnx.ModelProto:
    """A function a node, each calling the one before."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = tuple(
        helper.make_function("local", f"f{k}", ["i"], ["o"], [helper.make_node("Neg", ["i"], ["o"])], opsets)
        for k in range(count // 4)
    )
    nodes = [
        helper.make_node(f"f{k}", [f"v{k}" if k else "x0"], [f"v{k + 1}"], domain="local", name=f"n{k}")
        for k in range(count // 4)
    ]
    return model_of(nodes, [f"v{count // 4}"], functions=functions)


def refused(model: onnx.ModelProto) -> None:
    """A cut that is open, so that what is missing has to be found."""
    with pytest.raises(gk.CutError):
        gk.extract(model, inputs=["v1"], outputs=[v.name for v in model.graph.output])


def last(model: onnx.ModelProto) -> str:
    return str(model.graph.output[-1].name)


WORK: dict[str, tuple[Callable[[int], onnx.ModelProto], Callable[[onnx.ModelProto], object]]] = {
    "all of a chain": (chain, lambda m: gk.extract(m, outputs=[last(m)])),
    "the end of a chain, types inferred": (chain, lambda m: gk.extract(m, inputs=[m.graph.node[-2].output[0]])),
    "by node": (chain, lambda m: gk.extract(m, nodes=["n7"])),
    "around a node": (chain, lambda m: gk.extract(m, nodes=["n7"], hops=SMALL)),
    "suggest for a chain": (chain, gk.suggest),
    "rename one": (chain, lambda m: gk.rename(m, values={"v7": "q"}, nodes={"n7": "q"})),
    "rename all": (chain, lambda m: gk.rename(m, values={n.output[0]: f"q{n.output[0]}" for n in m.graph.node})),
    "nodes backwards": (backwards, lambda m: gk.extract(m, outputs=[last(m)])),
    "suggest backwards": (backwards, lambda m: gk.suggest(m, inputs=["v9"])),
    "a star": (star, lambda m: gk.extract(m, inputs=["v1"])),
    "suggest for a star": (star, gk.suggest),
    "a node of a star": (star, lambda m: gk.extract(m, nodes=["n7"], hops=3)),
    "many outputs": (wide, lambda m: gk.extract(m, outputs=[v.name for v in m.graph.output])),
    "many inputs and outputs": (wide, lambda m: gk.extract(m, inputs=[f"v{k}" for k in range(1, len(m.graph.node))], outputs=[f"v{k}" for k in range(1, len(m.graph.node))])),
    "a ladder": (ladder, lambda m: gk.extract(m, inputs=["v3", "u3"])),
    "suggest for a ladder": (ladder, gk.suggest),
    "an open cut of a ladder": (ladder, refused),
    "an open cut of many outputs": (wide, refused),
    "branches": (branches, lambda m: gk.extract(m, outputs=[last(m)])),
    "rename in branches": (branches, lambda m: gk.rename(m, values={"w": "q"})),
    "functions": (calls, lambda m: gk.extract(m, outputs=[last(m)])),
}  # fmt: skip


@pytest.mark.parametrize("work", WORK)
def test_four_times_the_nodes_take_less_than_five_times_the_calls(work) -> None:
    make, do = WORK[work]
    do(make(100))  # what is imported and cached the first time
    few, many = (_calls(do, make(size)) for size in (SMALL, 4 * SMALL))
    assert many < 5 * few, f"{few} calls, then {many}"


def _calls(do: Callable[[onnx.ModelProto], object], model: onnx.ModelProto) -> int:
    profile = cProfile.Profile()
    profile.runcall(do, model)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def shuffled(count: int) -> tuple[onnx.ModelProto, list[int]]:
    """A chain whose nodes stand in random order, and that order."""
    model = chain(1)
    order = list(range(count))
    random.Random(0).shuffle(order)
    del model.graph.node[:]
    for k in order:
        model.graph.node.add(op_type="Add", input=[f"v{k}" if k else "x0", "w"], output=[f"v{k + 1}"], name=f"n{k}")
    model.graph.output[0].name = f"v{count}"
    return model, order


def test_a_hundred_thousand_nodes_in_random_order() -> None:
    """Deep, and nothing is sorted: Python's own limit would be met at a thousand."""
    model, order = shuffled(100_000)
    assert len(order) > sys.getrecursionlimit()
    part = gk.extract(model, inputs=["v10"], outputs=["v12"])
    assert_same(run_ort(part, {"v10": np.zeros((1, 4), np.float32)}), {"v12": np.array([[2, 4, 6, 8]], np.float32)})
    whole = gk.extract(model, outputs=["v100000"])
    assert [node.name for node in whole.proto.graph.node] == [f"n{k}" for k in sorted(order)]


def test_where_to_cut_twenty_thousand_nodes_in_random_order() -> None:
    model, order = shuffled(20_000)
    found = gk.suggest(model)
    assert (found.inputs, found.nodes) == (("x0",), len(order))
    assert len(gk.extract(model, nodes=["n5000"], hops=3).proto.graph.node) == 7
    with pytest.raises(gk.CutError) as caught:
        gk.extract(model, inputs=["v10"], outputs=["v5", "v12"])
    assert caught.value.suggestion == ("x0",)

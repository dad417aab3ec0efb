"""Surgery on 100,000 nodes: ``python tests/bench/surgery.py [--runs 5] [--peers]``.

Generates a model of 50,000 Adds and 50,000 Relus in a temporary folder. A Cast is put behind each Add by graphkit, by a
plain loop over onnx's protos and, with ``--peers``, by onnx-ir and onnx-graphsurgeon; then graphkit's other edits of
nodes and of the interface. Whole processes in turns; prints medians of seconds and peak memory, and removes everything.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from process import Timed, beside, graphkit, python, run_once
from rich.console import Console
from rich.table import Table

PAIRS = 50_000


def chain(path: Path, *, backwards: bool = False) -> None:
    """x -> (Add, Relu) 50,000 times; with ``backwards`` the file has its nodes in the opposite order."""
    shape = [1, 3, 2, 4]
    graph = onnx.GraphProto(name="chain")
    graph.input.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    graph.output.append(helper.make_tensor_value_info(f"r{PAIRS - 1}", TensorProto.FLOAT, shape))
    graph.initializer.append(numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "w"))
    value = "x"
    for k in range(PAIRS):
        graph.node.add(op_type="Add", input=[value, "w"], output=[f"a{k}"], name=f"Add_{k}")
        graph.node.add(op_type="Relu", input=[f"a{k}"], output=[f"r{k}"], name=f"Relu_{k}")
        value = f"r{k}"
    if backwards:
        graph.node.sort(key=lambda node: (-int(node.name.rpartition("_")[2]), node.op_type == "Add"))
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)


PLAIN = """
import onnx
model = onnx.load("chain.onnx")
nodes, other = [], {}
for node in model.graph.node:
    for place, name in enumerate(node.input):
        if name in other:
            node.input[place] = other[name]
    nodes.append(node)
    if node.op_type == "Add":
        old = node.output[0]
        other[old] = old + "_cast"
        nodes.append(onnx.helper.make_node("Cast", [old], [other[old]], name=node.name + "_cast", to=1))
del model.graph.node[:]
model.graph.node.extend(nodes)
onnx.save(model, "out.onnx")
"""

ONNX_IR = """
import onnx_ir as ir
model = ir.load("chain.onnx")
for node in list(model.graph):
    if node.op_type == "Add":
        value = node.outputs[0]
        uses = list(value.uses())
        cast = ir.node("Cast", [value], {"to": 1}, name=node.name + "_cast")
        for user, place in uses:
            user.replace_input_with(place, cast.outputs[0])
        model.graph.insert_after(node, cast)
ir.save(model, "out.onnx")
"""

GRAPHSURGEON = """
import onnx
import onnx_graphsurgeon as gs
graph = gs.import_onnx(onnx.load("chain.onnx"))
for node in list(graph.nodes):
    if node.op == "Add":
        value = node.outputs[0]
        cast = gs.Variable(value.name + "_cast")
        for user in list(value.outputs):
            user.inputs[user.inputs.index(value)] = cast
        graph.nodes.append(gs.Node("Cast", node.name + "_cast", {"to": 1}, [value], [cast]))
graph.toposort()
onnx.save(gs.export_onnx(graph), "out.onnx")
"""

PEERS = {"onnx-ir: insert": ONNX_IR, "onnx-graphsurgeon: insert": GRAPHSURGEON}

RULES = "silu gelu hard-swish layer-norm rms-norm batchnorm conv-mul matmul-add-to-gemm squeeze-chains".split()

OURS = {
    "insert": ("chain.onnx", "--at", "a*", "--function", "cast:to=float32"),
    "remove": ("chain.onnx", "--node", "Relu_*"),
    "replace": ("chain.onnx", "--node", "Relu_*", "--function", "(a) => (b) { b = Abs(a) }"),
    "set": ("chain.onnx", "--operand", "Add_7:1=2", "--metadata", "key=value"),
    "rename": ("chain.onnx", "--prefix", "net/"),
    "retype": ("chain.onnx", "--io", "x=float16"),
    "layout": ("chain.onnx", "--io", "x=NHWC"),
    "reorder": ("backwards.onnx", "--sort"),
    "rewrite, one rule": (
        *("chain.onnx", "--rule"),
        "pattern (x) => (y) { y = Relu(x) }\nreplacement (x) => (y) { y = Abs(x) }",
    ),
    "rewrite, ten rules": (
        *("chain.onnx", "--rule"),
        "pattern (x, w) => (y) { a = Add(x, w) y = Relu(a) }\nreplacement (x, w) => (y) { a = Sub(x, w) y = Abs(a) }",
        *(word for rule in RULES for word in ("--rule", rule)),
    ),
}
"""Command, and what it does of several things -> its model and options."""


def measured(folder: Path, runs: int, *, peers: bool) -> dict[str, Timed]:
    """Every row of the table; the insertions are made sure to be the same."""
    chain(folder / "chain.onnx")
    chain(folder / "backwards.onnx", backwards=True)
    commands = {"plain loop: insert": python(PLAIN)}
    commands |= {label: python(code) for label, code in PEERS.items()} if peers else {}
    for name, (model, *options) in OURS.items():
        commands[f"graphkit {name}"] = graphkit(name.partition(",")[0], model, "out.onnx", *options, "-q")
    found = beside(commands, folder, runs=runs)
    for label in ("plain loop: insert", "graphkit insert"):
        run_once(commands[label], folder)
        kinds = [node.op_type for node in onnx.load(folder / "out.onnx").graph.node]
        assert kinds == ["Add", "Cast", "Relu"] * PAIRS, label
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", action="store_true")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="graphkit-bench-"))
    try:
        rows = measured(folder, given.runs, peers=given.peers)
    finally:
        shutil.rmtree(folder)
    table = Table("100,000 nodes", "seconds", "MiB", "of the plain loop's time")
    plain = rows["plain loop: insert"].seconds
    for label, timed in rows.items():
        table.add_row(label, f"{timed.seconds:.2f}", f"{timed.mib:.0f}", f"{timed.seconds / plain:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()

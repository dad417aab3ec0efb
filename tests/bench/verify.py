"""Proving beside Polygraphy: ``python tests/bench/verify.py [validate] [bisect] [growth]``.

Generates its models in a temporary folder, runs ``graphkit validate`` and ``graphkit bisect`` beside the installed
Polygraphy as whole processes, prints a table of seconds, peak memory and ratios, and removes everything. A Polygraphy run
takes a minute or two, so it is counted once; graphkit is counted five times. Both give the same answers or it stops.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from process import Timed, beside, graphkit, run_once
from rich.console import Console
from rich.table import Table

HEIGHTS, WIDTHS, SAMPLES = (16, 24, 32, 40), (16, 24, 32, 40, 48), 5
NODES, FAULT, WIDTH, ROWS = 1000, 601, 64, 2


def image_net(path: Path, *, renamed: bool) -> None:
    """A convnet that enlarges pictures twofold, with dynamic height and width."""
    random = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for at, (inner, outer) in enumerate(((3, 16), (16, 16), (16, 12))):
        kernel = random.standard_normal((outer, inner, 3, 3), dtype=np.float32) * np.float32(0.1)
        weights.append(numpy_helper.from_array(kernel, f"w{at}"))
        nodes.append(helper.make_node("Conv", [value, f"w{at}"], [f"c{at}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{at}"], [f"r{at}"]))
        value = f"inner{at}" if renamed else f"r{at}"
        if renamed:
            nodes.append(helper.make_node("Identity", [f"r{at}"], [value]))
    nodes.append(helper.make_node("DepthToSpace", [value], ["y"], blocksize=2))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "net", [info("x", 1, [1, 3, "h", "w"])], [info("y", 1, [1, 3, "h2", "w2"])], weights
    )
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]), path)


def chain(path: Path, count: int, fault: int | None) -> None:
    """A chain of nodes, every fourth a product of 64 x 64; ``fault`` is a Sigmoid in the place of a Tanh."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 8, f"w{k}")
        for k in range(8)
    ]
    nodes = []
    for at in range(count):
        inputs = [f"v{at}"]
        op = ("MatMul", "Tanh", "Add", "Softsign")[at % 4]
        if op == "MatMul":
            inputs.append(f"w{at // 4 % 8}")
        elif op == "Add":
            inputs.append(f"v{max(0, at - 3)}")
        nodes.append(helper.make_node("Sigmoid" if at == fault else op, inputs, [f"v{at + 1}"], name=f"n{at}"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", WIDTH]) for name in ("v0", f"v{count}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)


def shell(script: str) -> list[str]:
    return ["bash", "-ec", script]


def polygraphy() -> str:
    found = shutil.which("polygraphy", path=os.path.dirname(sys.executable)) or shutil.which("polygraphy")
    assert found, "polygraphy is not installed in this environment"
    return shlex.quote(found)


def validation(folder: Path) -> tuple[Timed, Timed]:
    """20 shapes, 5 samples each."""
    image_net(folder / "a.onnx", renamed=False)
    image_net(folder / "b.onnx", renamed=True)
    sizes = [f"--bind=h={','.join(map(str, HEIGHTS))}", f"--bind=w={','.join(map(str, WIDTHS))}"]
    command = graphkit(
        "validate", "b.onnx", "--against", "a.onnx", *sizes, "--samples", str(SAMPLES), "--device", "cpu"
    )
    ours = beside({"graphkit": command}, folder)["graphkit"]
    tool = polygraphy()
    lines = []
    for height in HEIGHTS:
        for width in WIDTHS:
            shape = f"--input-shapes 'x:[1,3,{height},{width}]' --iterations {SAMPLES}"
            lines.append(f"{tool} run a.onnx --onnxrt {shape} --save-outputs o.json --save-inputs i.json")
            lines.append(f"{tool} run b.onnx --onnxrt --load-inputs i.json --load-outputs o.json")
    return ours, Timed(*run_once(shell("\n".join(lines)), folder))


def bisection(folder: Path) -> tuple[Timed, Timed]:
    """One fault in a chain of 1,000 nodes, found by both."""
    chain(folder / "a.onnx", NODES, None)
    chain(folder / "b.onnx", NODES, FAULT)
    ours = beside(
        {"graphkit": shell(_bisect("b.onnx", "--against a.onnx", f"--bind=b={ROWS}", "--json", "> found.json"))}, folder
    )
    found = json.loads((folder / "found.json").read_text())["first"]["node"]
    tool = polygraphy()
    shape = f"--input-shapes 'v0:[{ROWS},{WIDTH}]'"
    check = f"{tool} run polygraphy_debug.onnx --onnxrt --load-inputs all.json --load-outputs o.json"
    script = f"""
{tool} run a.onnx --onnxrt --onnx-outputs mark all {shape} --save-inputs i.json --save-outputs o.json
{tool} data merge i.json o.json -o all.json
{tool} debug reduce b.onnx -o small.onnx --mode bisect {shape.replace("--input", "--model-input")} --check {check}
"""
    theirs = Timed(*run_once(shell(script), folder))
    small = onnx.load(folder / "small.onnx")
    assert found == f"n{FAULT}" == small.graph.node[0].name, (found, [n.name for n in small.graph.node])
    return ours["graphkit"], theirs


def _bisect(*arguments: str) -> str:
    command = shlex.join(graphkit("bisect", "--device", "cpu"))
    return f"{command} {' '.join(arguments)} || test $? -eq 1"


def growth(folder: Path) -> list[tuple[str, Timed]]:
    """Time over the number of nodes, and what a memory limit does to it."""
    rows = []
    for count in (1000, 4000, 16000):
        chain(folder / "a.onnx", count, None)
        chain(folder / "b.onnx", count, count * 6 // 10 // 4 * 4 + 1)
        for options in ((), ("--isolate",), ("--memory", "2MB")):
            command = shell(_bisect("b.onnx", "--against a.onnx", *options, "-q"))
            label = f"{count:,} nodes {' '.join(options)}"
            rows.append((label, beside({label: command}, folder, runs=3)[label]))
    return rows


ROWS_OF_TABLE = {
    "validate": (validation, "validate: 20 shapes, 5 samples each", 0.06),
    "bisect": (bisection, "bisect: 1,000 nodes, one fault", 0.08),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rows named on the command line, or all of them, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = [*ROWS_OF_TABLE, "growth"]
    # Python 3.11 holds an empty list against the choices too.
    parser.add_argument("rows", nargs="*", choices=[*every, []], metavar="ROW", help=f"{', '.join(every)}; default all")
    wanted = parser.parse_args(arguments).rows or every
    console = Console()
    table = Table("work", "graphkit s", "MiB", "polygraphy s", "MiB", "ratio", "goal")
    for name in (name for name in wanted if name in ROWS_OF_TABLE):
        measure, title, goal = ROWS_OF_TABLE[name]
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs = measure(Path(folder))
        ratio = ours.seconds / theirs.seconds
        cells = (f"{ours.seconds:.2f}", f"{ours.mib:.0f}", f"{theirs.seconds:.1f}", f"{theirs.mib:.0f}", f"{ratio:.3f}")
        table.add_row(title, *cells, f"at most {goal}")
    if table.rows:
        console.print(table)
    if "growth" in wanted:
        table = Table("bisect", "seconds", "MiB")
        with tempfile.TemporaryDirectory() as folder:
            for label, timed in growth(Path(folder)):
                table.add_row(label, f"{timed.seconds:.2f}", f"{timed.mib:.0f}")
        console.print(table)


if __name__ == "__main__":
    main()

"""Whole models beside the peers: ``python tests/bench/whole.py [ROW ...] [--runs 5]``.

merge two models of 1.7 GB and split one into four, beside ``cp``; simplify an encoder and a chain of foldable layers, beside
onnxscript, onnxsim, onnxslim and Polygraphy as far as they are installed; inline nested calls, beside onnx.inliner. Models are
made in a temporary folder (up to 12 GB of disk), whole processes run in turns, and everything is removed.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from models import transformer
from onnx import helper, numpy_helper
from process import Timed, beside, graphkit, python, run_once
from rich.console import Console
from rich.table import Table

ONNXSCRIPT = """
import onnx_ir as ir
from onnxscript import optimizer
model = ir.load("m.onnx")
optimizer.optimize(model)
ir.save(model, "out.onnx")
"""
INLINER = """
import onnx, onnx.inliner
onnx.save(onnx.inliner.inline_local_functions(onnx.load("m.onnx")), "out.onnx")
"""


def merge(folder: Path, runs: int) -> dict[str, Timed]:
    """Two models of 1.7 GB joined at one value."""
    for name in ("a", "b"):
        transformer(folder / f"{name}.onnx", 24, 1536, 2736)
    copy = ["sh", "-c", "cp a.onnx out1.onnx; cp b.onnx out.onnx"]
    wire = "a:x24=b:x0"
    ours = graphkit("merge", "out.onnx", "a.onnx", "b.onnx", "--connect", wire, "--replace")
    return beside({"graphkit merge": ours, "cp of both": copy}, folder, runs=runs, after=lambda: _clean(folder, "ab"))


def split(folder: Path, runs: int) -> dict[str, Timed]:
    """A model of 1.7 GB in four stages."""
    transformer(folder / "a.onnx", 24, 1536, 2736)
    commands = {
        "graphkit split": graphkit("split", "a.onnx", "parts", "--stages", "4"),
        "cp": ["cp", "a.onnx", "out.onnx"],
        "cp and sync": ["sh", "-c", "cp a.onnx out.onnx && sync out.onnx"],
    }
    return beside(commands, folder, runs=runs, after=lambda: _clean(folder, "a"))


def fold(folder: Path, runs: int) -> dict[str, Timed]:
    """1,000 layers with 12 MB to fold, 6,000 nodes."""
    rng = np.random.default_rng(0)
    nodes, tensors, value = [], [], "x"
    for i in range(1000):
        tensors.append(numpy_helper.from_array(rng.standard_normal((32, 96), dtype=np.float32), f"w{i}"))
        nodes += [
            helper.make_node("Transpose", [f"w{i}"], [f"t{i}"], perm=[1, 0]),
            helper.make_node("Mul", [f"t{i}", "two"], [f"m{i}"]),
            helper.make_node("Identity", [f"m{i}"], [f"i{i}"]),
            helper.make_node("MatMul", [value, f"i{i}"], [f"y{i}"]),
            helper.make_node("MatMul", [f"y{i}", "back"], [f"z{i}"]),
            helper.make_node("Tanh", [f"z{i}"], [f"r{i}"]),
        ]
        value = f"r{i}"
    tensors.append(numpy_helper.from_array(np.float32(2), "two"))
    tensors.append(numpy_helper.from_array(rng.standard_normal((32, 96), dtype=np.float32), "back"))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", 1, [4, 96])], [info(value, 1, [4, 96])], tensors)
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), folder / "m.onnx")
    return _simplified(folder, runs)


def encoder(folder: Path, runs: int) -> dict[str, Timed]:
    """A static encoder of 12 layers, as torch's torchscript exporter writes it without folding."""
    import torch

    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    module = torch.nn.TransformerEncoder(layer, 12, enable_nested_tensor=False).eval()
    torch.backends.mha.set_fastpath_enabled(False)
    torch.onnx.export(
        module,
        (torch.randn(1, 16, 64),),
        str(folder / "m.onnx"),
        dynamo=False,
        opset_version=17,
        do_constant_folding=False,
    )
    return _simplified(folder, runs)


def _simplified(folder: Path, runs: int) -> dict[str, Timed]:
    commands = {"graphkit simplify": graphkit("simplify", "m.onnx", "out.onnx")}
    if importlib.util.find_spec("onnxscript"):
        commands["onnxscript"] = python(ONNXSCRIPT)
    if importlib.util.find_spec("onnxsim"):
        commands["onnxsim"] = [sys.executable, "-m", "onnxsim", "m.onnx", "out.onnx"]
    if importlib.util.find_spec("onnxslim"):
        commands["onnxslim"] = [sys.executable, "-m", "onnxslim", "m.onnx", "out.onnx"]
    if importlib.util.find_spec("polygraphy"):
        line = "from polygraphy.tools import main; import sys; sys.argv[1:] = {}; main()"
        given = ["surgeon", "sanitize", "m.onnx", "--fold-constants", "-o", "out.onnx"]
        commands["polygraphy"] = python(line.format(given))
    left: dict[str, int] = {}
    for label, command in commands.items():
        run_once(command, folder)
        left[label] = len(onnx.load(folder / "out.onnx", load_external_data=False).graph.node)
    timed = beside(commands, folder, runs=runs)
    return {f"{label}, {left[label]} nodes left": timed[label] for label in commands}


def inline(folder: Path, runs: int) -> dict[str, Timed]:
    """990 calls, nested 99 deep in ten functions each: onnx.inliner goes no deeper than 100."""
    opset = helper.make_opsetid("", 18)
    functions, nodes = [], []
    for chain in range(10):
        for depth in range(99):
            op, domain = ("Neg", "") if depth == 98 else (f"f{chain}_{depth + 1}", "m")
            body = [helper.make_node(op, ["a"], ["h"], domain=domain), helper.make_node("Abs", ["h"], ["b"])]
            imports = [opset, helper.make_opsetid("m", 1)]
            functions.append(helper.make_function("m", f"f{chain}_{depth}", ["a"], ["b"], body, imports))
        nodes.append(helper.make_node(f"f{chain}_0", [f"x{chain}"], [f"x{chain + 1}"], domain="m"))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x0", 1, [2])], [info("x10", 1, [2])])
    imports = [opset, helper.make_opsetid("m", 1)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=imports, functions=functions), folder / "m.onnx")
    commands = {"graphkit inline": graphkit("inline", "m.onnx", "out.onnx"), "onnx.inliner": python(INLINER)}
    return beside(commands, folder, runs=runs)


def _clean(folder: Path, kept: str) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.stem not in kept and path.suffix != ".log":
            path.unlink()


ROWS: dict[str, Callable[[Path, int], dict[str, Timed]]] = {
    "merge": merge,
    "split": split,
    "fold": fold,
    "encoder": encoder,
    "inline": inline,
}


def main() -> None:
    """Print a table of the rows that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all by default")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    table = Table("row", "command", "seconds", "MiB", "of the first")
    for name in given.rows or ROWS:
        folder = Path(tempfile.mkdtemp(prefix="graphkit-bench-"))
        try:
            timed = ROWS[name](folder, given.runs)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        first = next(iter(timed.values())).seconds
        for label, got in timed.items():
            table.add_row(name, label, f"{got.seconds:.2f}", f"{got.mib:.0f}", f"{first / got.seconds:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()

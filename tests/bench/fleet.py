"""Many models: ``python tests/bench/fleet.py [loop] [workers] [--runs N]``.

loop: one ``graphkit apply`` of five steps on 20 small models, beside a shell loop of the same five commands (100 processes).
workers: 40 models that take half a second each with one thread, with one worker and with two.

Generates its models in a temporary folder, runs whole processes in turns, prints medians and ratios with the load of the
machine, and removes everything. For the workers it also prints the CPU time of all processes together: on a machine that is
busy with other sessions, Linux (sched_autogroup_enabled) gives all processes of one session one share, so that two workers
are hardly faster than one whatever they do; the CPU time shows what two workers cost.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from process import Timed, beside, graphkit
from rich.console import Console
from rich.table import Table

PR_SET_CHILD_SUBREAPER = 36
"""Of prctl: what its descendants leave behind becomes this process's child."""

SMALL, LARGE, WIDTH, DEPTH, ROWS = 20, 40, 512, 4, 1024

RECIPE = """
[[step]]
do = "rename"
values = { v0 = "image" }
[[step]]
do = "dims"
values = { "image:0" = 8 }
[[step]]
do = "opset"
to = 19
[[step]]
do = "tap"
names = ["v2"]
[[step]]
do = "set"
metadata = { release = "1" }
"""

COMMANDS = (
    "rename {0} {1} --value v0=image",
    "dims {0} {1} --set image:0=8",
    "opset {0} {1} --to 19",
    "tap {0} {1} --value v2",
    "set {0} {1} --metadata release=1",
)

HEAVY = f"""
[[step]]
do = "rename"
values = {{ v0 = "image" }}
[[step]]
do = "dims"
values = {{ "image:0" = {ROWS} }}
[[step]]
expect = {{ same_as = "original", samples = 3, proved = true }}
"""


def chain(path: Path, *, width: int, depth: int) -> None:
    """A chain of products and Tanh."""
    random = np.random.default_rng(0)
    nodes, weights = [], []
    for at in range(depth):
        weights.append(numpy_helper.from_array(random.standard_normal((width, width), dtype=np.float32) / 32, f"w{at}"))
        nodes.append(helper.make_node("MatMul", [f"v{2 * at}", f"w{at}"], [f"v{2 * at + 1}"], name=f"m{at}"))
        nodes.append(helper.make_node("Tanh", [f"v{2 * at + 1}"], [f"v{2 * at + 2}"], name=f"t{at}"))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]) for name in ("v0", f"v{2 * depth}")]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)


def words(text: str) -> str:
    return shlex.join(graphkit(*text.split()))


def loop(folder: Path) -> str:
    """The five commands for each of the models, as a shell script would have them."""
    (folder / "looped").mkdir()
    lines = []
    for k in range(SMALL):
        at = f"models/m{k}.onnx"
        for step, command in enumerate(COMMANDS):
            out = f"looped/m{k}.{step}.onnx"
            lines.append(words(command.format(at, out)) + " -q")
            at = out
    return "\n".join(lines)


def measure_loop(folder: Path, runs: int) -> dict[str, Timed]:
    (folder / "models").mkdir()
    for k in range(SMALL):
        chain(folder / "models" / f"m{k}.onnx", width=16, depth=4)
    (folder / "recipe.toml").write_text(RECIPE)
    commands = {
        "100 commands": ["bash", "-ec", loop(folder)],
        "one apply": graphkit("apply", "recipe.toml", "models", "--out", "applied"),
    }
    times = beside(commands, folder, runs=runs)
    for k in range(SMALL):
        looped, applied = (onnx.load(folder / p) for p in (f"looped/m{k}.4.onnx", f"applied/m{k}.onnx"))
        assert looped.graph == applied.graph, "both ways make the same model"
    return times


def cpu_seconds(command: list[str], folder: Path) -> float:
    """User and system time of a command and of all processes that it leaves to others to wait for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()  # the server that workers are forked from has been left to this process
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_workers(folder: Path, runs: int) -> dict[str, Timed]:
    (folder / "large").mkdir()
    for k in range(LARGE):
        chain(folder / "large" / f"m{k}.onnx", width=WIDTH, depth=DEPTH)
    (folder / "heavy.toml").write_text(HEAVY)
    apply = ("apply", "heavy.toml", "large", "--dry-run", "-q")
    commands = {f"{n} worker": graphkit(*apply, "--jobs", str(n)) for n in (1, 2)}
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        used = ", ".join(f"{name} {cpu_seconds(command, folder):.1f} s" for name, command in commands.items())
        Console().print(f"CPU time of {LARGE} models: {used}")
    return beside(commands, folder, runs=runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", nargs="*", choices=["loop", "workers", []])
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    table = Table("work", "seconds", "MiB", "ratio")
    for what, measured in (("loop", measure_loop), ("workers", measure_workers)):
        if given.what and what not in given.what:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = measured(Path(folder), given.runs)
        first, second = found.values()
        for name, timed in found.items():
            ratio = f"{first.seconds / second.seconds:.2f} times faster" if timed is second else ""
            table.add_row(name, f"{timed.seconds:.2f}", f"{timed.mib:.0f}", ratio)
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    Console().print(table, f"load of the machine: {load} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Damaged models through every command: each ends in a result or in a GraphkitError, within bounds of time and memory.

As a script: ``python tests/command_mutants.py SEED COUNT`` prints what it found and how many runs ended how.
"""

from __future__ import annotations

import collections
import contextlib
import io
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx

import damage
from graphkit_cli.main import main

SECONDS, MEGABYTES = 5, 500

FINE = {0, 1, 2, 3}
"""Exit codes: done, the answer is no, usage, GraphkitError."""


class TooSlow(BaseException):
    """More CPU time than a command may take."""


class Draw:
    """Names of a damaged model, and values that may go with them."""

    def __init__(self, model: onnx.ModelProto, rng: random.Random, folder: Path) -> None:
        graph = model.graph
        self.rng, self.folder = rng, folder
        self.inputs = [info.name for info in graph.input] or ["x"]
        self.outputs = [info.name for info in graph.output] or ["y"]
        self.values = [*(name for node in graph.node for name in node.output), *self.inputs] or ["v"]
        self.nodes = [node.name or next(iter(node.output), "") for node in graph.node] or ["n"]
        self.weights = [tensor.name for tensor in graph.initializer] or ["w"]
        self.operators = [node.op_type for node in graph.node] or ["Relu"]

    def __getattr__(self, kind: str) -> str:
        """``draw.value``, ``draw.node``, ...: one of them, and now and then a name that is not there."""
        names: list[str] = self.__dict__[f"{kind}s"]
        return self.rng.choice([*names, *names, *names, "nothing"])

    def one(self, *choices: str) -> str:
        """One of these."""
        return self.rng.choice(choices)


def commands(model: str, other: str, out: str, d: Draw) -> dict[str, Callable[[], list[str]]]:
    """Command -> a function that draws its arguments."""
    return {
        "inspect": lambda: [model, *d.rng.sample(["--json", "--modules", "--values"], 1)],
        "diff": lambda: [model, other, *d.rng.choice([[], ["--json"]])],
        "view": lambda: [model, "--html", f"{out}.html"],
        "check": lambda: [model, *d.rng.choice([[], ["--json"]])],
        "lint": lambda: [model, "--target", d.one("tensorrt", "tensorrt:8.5")],
        "history": lambda: [model],
        "prove": lambda: [other, model],
        "run": lambda: [model],
        "bench": lambda: [model, "--runs", "1"],
        "probe": lambda: [model, "--shape", f"{d.input}=2,3,4,4"],
        "validate": lambda: [model, "--against", other],
        "bisect": lambda: [model, "--against", other],
        "extract": lambda: [
            model,
            out,
            *d.rng.choice([["--input", d.value, "--output", d.value], ["--module", d.value]]),
        ],
        "dims": lambda: [
            model,
            out,
            "--set",
            f"{d.input}:{d.one('0', '1', '-1')}={d.one('n', '3')}",
            *d.rng.choice([[], ["--repair-shapes"]]),
        ],
        "freeze": lambda: [model, out, *d.rng.choice([["--defaults"], ["--set", f"{d.input}=1"]])],
        "promote": lambda: [model, out, *d.rng.choice([["--all"], ["--tensor", d.weight]])],
        "resize": lambda: [
            model,
            out,
            "--as",
            d.one("factor", "scales", "sizes"),
            *d.rng.choice([[], ["--repair-shapes"]]),
        ],
        "rename": lambda: [
            model,
            out,
            *d.rng.choice([["--value", f"{d.value}=fresh"], ["--prefix", "p_"], ["--regex", "(.)=n_\\1"]]),
        ],
        "insert": lambda: [model, out, "--at", d.value, "--function", "f (a) => (b) { b = Relu(a) }"],
        "remove": lambda: [
            model,
            out,
            *d.rng.choice([["--node", d.node], ["--output", d.output], ["--input", d.input]]),
        ],
        "replace": lambda: [model, out, "--node", d.node, "--function", "f (a) => (b) { b = Relu(a) }"],
        "rewrite": lambda: [model, out, "--rule", d.one("silu", "gelu", "gemm", "conv", "batchnorm", "squeeze-chains")],
        "retype": lambda: [model, out, "--io", f"{d.input}={d.one('float16', 'uint8', 'int32')}"],
        "layout": lambda: [model, out, "--io", f"{d.input}={d.one('NHWC', 'NCHW')}"],
        "image": lambda: [model, out, "--input", d.input, "--from", "uint8"],
        "reorder": lambda: [model, out, *d.rng.choice([["--sort"], ["--name-all"], ["--input", d.input]])],
        "set": lambda: [
            model,
            out,
            *d.rng.choice(
                [
                    ["--shapes", d.one("infer", "clear")],
                    ["--strip-weights"],
                    ["--fill-weights", "zeros"],
                    ["--metadata", "a=b"],
                    ["--attribute", f"{d.node}:axis=1"],
                    ["--operand", f"{d.node}:0={d.value}"],
                ]
            ),
        ],
        "inline": lambda: [model, out],
        "opset": lambda: [model, out, "--to", d.one("7", "11", "13", "17", "21", "23")],
        "precision": lambda: [
            model,
            out,
            "--to",
            d.one("float16", "bfloat16", "int8", "int8-dynamic", "int8-weights", "int4-weights"),
        ],
        "simplify": lambda: [model, out],
        "deduplicate": lambda: [model, out],
        "copy": lambda: [model, d.one(out, f"{out}.onnxtxt", f"{out}.json")],
        "outline": lambda: [model, out, "--module", d.value],
        "split": lambda: [model, f"{out}.d", *d.rng.choice([["--stages", "2"], ["--at", d.value]])],
        "merge": lambda: [out, model, other, "--prefix", "--replace"],
        "tap": lambda: [model, out, "--value", d.value],
        "define": lambda: [
            model,
            out,
            "--function",
            '<domain: "f", opset_import: ["" : 18]> H (a) => (b) { b = Relu(a) }',
        ],
    }


def one(number: int, subjects: list[bytes], folder: Path) -> tuple[str, int, float, float, str]:
    """(command, exit code or -1, seconds of CPU, megabytes more, what was said) of one run."""
    rng = random.Random(number)
    data = rng.choice(subjects)
    model = damage.damaged(data, rng)
    source, other, out = folder / "m.onnx", folder / "other.onnx", folder / "out.onnx"
    source.write_bytes(model.SerializeToString())
    other.write_bytes(data)
    table = commands(str(source), str(other), str(out), Draw(model, rng, folder))
    name = rng.choice(sorted(table))
    arguments = [name, *table[name]()]
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                code = main(arguments)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
    except TooSlow:
        code = -1
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return name, code, time.process_time() - begin, more, f"{arguments}\n{said.getvalue()[-1500:]}"


def stop(*_: object) -> None:
    """End a command that takes too long."""
    raise TooSlow


def campaign(
    seed: int, count: int, note: Callable[[int], None] = lambda _: None
) -> tuple[collections.Counter[tuple[str, int]], list[str]]:
    """How many runs ended how, and what must not have happened."""
    signal.signal(signal.SIGPROF, stop)
    subjects = damage.subjects()
    ended: collections.Counter[tuple[str, int]] = collections.Counter()
    found = []
    for number in range(seed, seed + count):
        note(number)
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            name, code, seconds, more, said = one(number, subjects, Path(folder))
        ended[name, code] += 1
        if code not in FINE or more > MEGABYTES:
            found.append(f"{number}: {name} ended with {code} after {seconds:.1f} s, {more:.0f} MB more: {said}")
    return ended, found


if __name__ == "__main__":
    ways, faults = campaign(
        int(sys.argv[1]),
        int(sys.argv[2]),
        lambda at: Path(sys.argv[3]).write_text(str(at)) if len(sys.argv) > 3 else None,
    )
    codes = dict(collections.Counter(code for _, code in ways.elements()))
    sys.stdout.write("\n".join([f"{codes} {len({name for name, _ in ways})} commands", *faults, ""]))

"""Commands that write, killed (SIGKILL) while they write: OUT is what it was, or what the command makes, and nothing stays.

    python tests/faults/killed.py [RUNS] [SEED] [FOLDER]

Every run is a fork of this process, with all imports done. Of seven, four die before one of the calls that change files,
drawn from all that the command makes; two are killed from outside as soon as something in the folder changes; one at a
moment in the last 30 % of the time that the command takes. After each, what is at OUT is read by onnx,
graphkit and ONNX Runtime, and the command is run again: the folder must hold what it holds without a kill.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import zipfile
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import graphkit as gk
from graphkit_cli.main import COMMANDS, main

TEMPORARY = re.compile(r"(^|/)\.graphkit-|\.part$")
"""What a killed process leaves, and the next one takes away."""

STEPS = ("open", "write", "copy_file_range", "fchmod", "link", "replace", "rename", "unlink", "mkdir", "rmdir")
"""The calls that change files."""

MODEL = """<ir_version: 10, opset_import: ["": 20, "local": 1]>
g (float[1,3,8,8] image, float[1,3,8,8] other) => (float[1,3,8,8] y, float[200,200] large)
  <float[1,3,1,1] w = {1, 2, 3}, float[1,3,1,1] v = {1, 2, 3}> {
  ["/net/a/Add"] a = Add (image, w)
  ["/net/a/Relu"] b = Relu (a)
  ["/net/b/Twice"] c = local.Twice (b)
  [up] u = Resize <mode = "nearest"> (c, , scales)
  [down] d = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (u)
  [sum] s = Sum (d, other)
  [last] y = Mul (s, v)
  [keep] large = Identity (big)
}
<domain: "local", opset_import: ["": 20]> Twice (p) => (q) { q = Add (p, p) }"""

WRITE = {
    "rename": "rename IN OUT --prefix q/",
    "rename of itself": "rename OUT OUT --prefix z/",
    "extract": "extract IN OUT --output b --output large",
    "resize": "resize IN OUT",
    "promote": "promote IN OUT --tensor w",
    "freeze": "freeze IN OUT --set other=0.5",
    "dims": "dims IN OUT --set image:0=batch --set other:0=batch --repair-shapes",
    "insert": "insert IN OUT --at b --function '(a) => (c) { c = Abs (a) }'",
    "remove": "remove IN OUT --node /net/a/Relu",
    "replace": "replace IN OUT --node /net/a/Relu --function '(a) => (c) { c = Abs (a) }'",
    "rewrite": "rewrite IN OUT --rule RULE",
    "set": "set IN OUT --metadata a=b --tensor w=2",
    "reorder": "reorder IN OUT --input other --input image",
    "deduplicate": "deduplicate IN OUT",
    "retype": "retype IN OUT --io image=float16",
    "layout": "layout IN OUT --io image=NHWC",
    "image": "image IN OUT --input image --from uint8",
    "tap": "tap IN OUT --value b",
    "define": 'define IN OUT --function \'<domain: "local", opset_import: ["": 20]> More (p) => (q) { q = Sum (p, p) }\'',
    "simplify": "simplify IN OUT",
    "inline": "inline IN OUT",
    "outline": "outline IN OUT --module net.a",
    "opset": "opset IN OUT --to 21",
    "precision": "precision IN OUT --to float16",
    "copy": "copy IN OUT",
    "copy to a pair": "copy IN OUT --external w.bin",
    "merge": "merge OUT IN SECOND --connect in:y=second:u --replace",
    "split": "split IN FOLDER/parts --stages 2",
    "apply": "apply RECIPE IN --out OUT",
    "apply to a folder": "apply RECIPE IN SECOND --out FOLDER/many --jobs 2",
    "prove first": "rename IN OUT --prefix q/ --prove",
    "view": "view IN --html FOLDER/page.html",
    "history": "history EDITED --recipe FOLDER/again.toml",
    "run": "run IN --save FOLDER/values.npz",
    "validate": "validate IN --against IN --save FOLDER/values.npz",
}
"""What is tried -> its command line."""


def make(folder: Path) -> None:
    """The files that commands read; the model that lies at OUT beforehand is old.onnx."""
    for name, number in (("in", 2), ("old", 5)):
        model = onnx.parser.parse_model(MODEL)
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
        big = np.full((200, 200), number, np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(big, "big"))
        onnx.save(model, folder / f"{name}.onnx")
    onnx.save(
        onnx.parser.parse_model(
            '<ir_version: 10, opset_import: ["": 20]> h (float[1,3,8,8] u) => (float[1,3,8,8] t) { t = Tanh (u) }'
        ),
        folder / "second.onnx",
    )
    gk.save(gk.rename(folder / "in.onnx", prefix="e/"), folder / "edited.onnx")
    (folder / "recipe.toml").write_text('[[step]]\ndo = "set"\nmetadata = { by = "hand" }\n', encoding="utf-8")


def words(line: str, folder: Path, inputs: Path) -> list[str]:
    import shlex

    names = {
        "IN": inputs / "in.onnx", "SECOND": inputs / "second.onnx", "EDITED": inputs / "edited.onnx",
        "RECIPE": inputs / "recipe.toml", "OUT": folder / "m.onnx", "RULE": "silu",
    }  # fmt: skip
    return [str(names.get(word, word.replace("FOLDER", str(folder)))) for word in shlex.split(line)]


def fork(arguments: list[str], *, die_at: int | None = None, counted: Path | None = None) -> int:
    """A process that runs a command; it kills itself before one of the calls that change files, or counts them."""
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    steps = itertools.count()

    def watched(call):
        def wrapper(*positional, **named):
            if next(steps) == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*positional, **named)

        return wrapper

    real = os._exit
    for name in STEPS:
        setattr(os, name, watched(getattr(os, name)))
    code = 99
    with contextlib.suppress(BaseException):
        code = main(arguments)
    if counted is not None:
        counted.write_text(str(next(steps)), encoding="utf-8")
    real(code)
    raise AssertionError


def ended(child: int) -> int:
    """The exit code of a process; none that it started is there any more."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    until = time.monotonic() + 30
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < until:
            os.killpg(child, 0)
            time.sleep(0.005)
        raise AssertionError("a worker outlives its command")
    return code


def listing(folder: Path) -> dict[str, str]:
    """File below a folder -> what it holds, the same for equal contents."""
    return {
        path.relative_to(folder).as_posix(): content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink()
    }


def content(path: Path) -> str:
    """A digest of a model with its weights, or that a file is whole where a date or a time is in it."""
    if path.suffix == ".onnx":
        model = gk.load(path).materialize()
        for mine, theirs in zip(model.graph.initializer, onnx.load(path).graph.initializer, strict=True):
            assert np.array_equal(onnx.numpy_helper.to_array(mine), onnx.numpy_helper.to_array(theirs)), path
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    if path.suffix == ".html":
        assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), path
        return "a page"
    if path.suffix == ".npz":
        assert zipfile.ZipFile(path).testzip() is None, path
        return "arrays"
    if path.suffix == ".toml":
        tomllib.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".jsonl":
        return "a journal"  # it grows line by line; --resume takes its whole lines
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Case:
    """One command, with what it finds and makes, how many calls it makes and how long it takes."""

    def __init__(self, line: str, inputs: Path, base: Path, before: str) -> None:
        self.line, self.inputs, self.base = line, inputs, base
        self.before = before
        self.old, self.new = {}, {}
        with (
            self.folder() as folder,
            open(os.devnull, "w", encoding="utf-8") as null,
            redirect_stdout(null),
            redirect_stderr(null),
        ):
            if "many" not in line:  # a fork cannot use the processes of a fleet that its parent started
                main(self.words(folder))  # its imports are done then, and the forks need not
        with self.folder() as folder:
            self.old = listing(folder)
            started = time.monotonic()
            code = ended(fork(self.words(folder), counted=base / "count"))
            assert code == 0, f"{line}: exit {code}"
            self.seconds = time.monotonic() - started
            self.calls = int((base / "count").read_text(encoding="utf-8"))
            self.new = listing(folder)

    def words(self, folder):
        return words(self.line, folder, self.inputs)

    @contextlib.contextmanager
    def folder(self):
        """A folder with what lies there before the command; always of one name, which may be in what is written."""
        folder = self.base / "out"
        folder.mkdir()
        if self.before or "OUT OUT" in self.line:
            gk.save(
                gk.load(self.inputs / "old.onnx"),
                folder / "m.onnx",
                external="w.bin" if self.before == "pair" else None,
            )
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def kill(self, rng: random.Random) -> tuple[str, str]:
        """Kill one run; gives how, and what was found at OUT: "old", "new", or "both" where files are of one and the other.

        Raises:
            AssertionError: A file is neither, or stays.
        """
        how = rng.choice(["call", "call", "call", "call", "change", "change", "moment"])
        with self.folder() as folder:
            started = time.monotonic()
            child = fork(self.words(folder), die_at=rng.randrange(self.calls) if how == "call" else None)
            if how == "change":
                state = _names(folder)
                while _names(folder) == state and not _gone(child):
                    pass
                time.sleep(rng.choice([0, 0, rng.random() * 0.003]))
            elif how == "moment":
                time.sleep(max(0.0, started + self.seconds * (0.7 + 0.3 * rng.random()) - time.monotonic()))
            if how != "call":
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            code = ended(child)
            if code not in (0, -signal.SIGKILL):
                raise AssertionError(f"exit {code}")
            found = self.judge(folder)
            again = ended(fork([*self.words(folder), *(["--resume"] if "many" in self.line else [])]))
            assert again == 0, f"the next run ended with {again}"
            if "OUT OUT" not in self.line:
                left = listing(folder)
                extra = set(left) - set(self.new)
                assert not extra, f"{sorted(extra)} stay"
                other = sorted(name for name in self.new if left.get(name) != self.new[name])
                assert not other, f"the next run makes something else of {other}"
            else:
                assert not set(_names(folder)) - {"m.onnx", "w.bin"}
        return how if code else "done", found

    def judge(self, folder: Path) -> str:
        seen = set()
        for name, said in listing(folder).items():
            if TEMPORARY.search(name):
                continue
            if name.endswith((".bin", ".data")):  # the model beside it was read with it
                continue
            kinds = {kind for kind, table in (("old", self.old), ("new", self.new)) if table.get(name) == said}
            assert kinds, f"{name} is neither what it was nor what is made"
            seen |= kinds if len(kinds) == 1 else set()
        for name in self.old:
            if name.endswith(".onnx"):
                assert (folder / name).exists(), f"{name} is gone"
        return "both" if len(seen) == 2 else seen.pop() if seen else "old"


def _gone(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def campaign(runs: int, seed: int, base: Path, only=(), befores=("", "file", "pair")) -> Counter:
    """Kill ``runs`` runs, of all commands in turns; counts of (command, how, found).

    Raises:
        AssertionError: What is at OUT is half of something, or a file stays.
    """
    for module, _ in COMMANDS.values():
        __import__(module)
    inputs = base / "inputs"
    inputs.mkdir()
    make(inputs)
    rng = random.Random(seed)
    cases: dict[tuple[str, str], Case] = {}
    counted: Counter = Counter()
    lines = {name: line for name, line in WRITE.items() if not only or name in only}
    for number in range(runs):
        name = list(lines)[number % len(lines)]
        before = rng.choice(befores)
        case = cases.get((name, before))
        if case is None:
            case = cases[name, before] = Case(lines[name], inputs, base, before)
        try:
            how, found = case.kill(rng)
        except Exception as error:
            error.add_note(f"{lines[name]!r} with {before or 'nothing'} before, run {number} of seed {seed}")
            raise
        counted[name, how, found] += 1
    return counted


def main_(arguments: list[str]) -> None:
    runs, seed = int((arguments or ["1000"])[0]), int((arguments[1:] or ["0"])[0])
    with tempfile.TemporaryDirectory(dir=(arguments[2:] or [None])[0]) as base:
        counted = campaign(runs, seed, Path(base))
    killed = Counter()
    for (_, how, found), count in counted.items():
        killed[how, found] += count
    for name in WRITE:
        rows = {f"{how} {found}": count for (said, how, found), count in sorted(counted.items()) if said == name}
        sys.stdout.write(f"{name:20} {rows}\n")
    dead = sum(count for (how, _), count in killed.items() if how != "done")
    sys.stdout.write(f"{runs} runs, {dead} killed: {dict(killed)}; none half, none left\n")


if __name__ == "__main__":
    main_(sys.argv[1:])

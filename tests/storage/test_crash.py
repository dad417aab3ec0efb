"""Killed, or without room on the disk: the path holds exactly the old model or exactly the new one."""

import errno
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import graphkit as gk
from oracle import assert_same, run_ort
from weight_places import feeds, make_everything, names, node, snapshot, value

SCRIPT = Path(__file__).with_name("kill_save.py")


@pytest.fixture
def tmp_path(quick_path):
    return quick_path


@pytest.fixture
def no_flush(monkeypatch):
    """Flushing takes most of the time of some tests, and changes nothing for a process that was only killed."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def killed_at_steps(model, options, base, out):
    """The folders, one for each step of a save; the last one is of a save that was not killed."""
    out.mkdir()
    subprocess.run([sys.executable, SCRIPT, "steps", model, json.dumps(options), base, out], check=True)
    folders = sorted(out.iterdir())
    assert len(folders) > 15
    return folders


def new_model():
    """The model with everything, with another weight in the main graph, in a body, and in a Constant."""
    model = make_everything()
    for tensor in (
        model.graph.initializer[0],
        model.graph.node[8].attribute[1].g.initializer[0],
        model.graph.node[4].attribute[0].t,
    ):
        tensor.raw_data = (numpy_helper.to_array(tensor) * 3).tobytes()
    return model


def doubled(factor):
    """y = x + a + b, where both weights are full of one number: a mixture of two such models shows."""
    tensors = [numpy_helper.from_array(np.full((512, 512), factor, np.float32), name) for name in "ab"]
    graph = onnx.helper.make_graph(
        [node("Sum", "x a b", "y")], f"times{factor}", [value("x", [512, 512])], [value("y", [512, 512])], tensors
    )
    return onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])


def which(path, answers, inputs):
    """Which of some models lies at a path: as ONNX Runtime, onnx and graphkit read it, who have to agree."""
    seen = [run_ort(path, inputs), run_ort(onnx.load(path), inputs), run_ort(gk.load(path), inputs)]
    for name, answer in answers.items():
        if all(np.array_equal(seen[0][key], answer[key], equal_nan=True) for key in answer):
            for other in seen[1:]:
                assert_same(other, answer, rtol=0, atol=0)
            return name
    raise AssertionError(f"{path} holds neither of {list(answers)}")


CASES = {
    "one file over one file": ({}, {}),
    "a pair over a pair": ({"external": "m.data"}, {"external": "m.data"}),
    "a pair over one file": ({}, {"external": "m.data"}),
    "one file over a pair": ({"external": "m.data"}, {}),
    "a pair over a pair of another name": ({"external": "old.data"}, {"external": "m.data"}),
    "a pair over a pair, in a folder below": ({"external": "sub/m.data"}, {"external": "sub/m.data"}),
    "a pair over a pair, without nameless files": (
        {"external": "m.data"},
        {"external": "m.data", "without": ["nameless files"]},
    ),
}


@pytest.mark.usefixtures("no_flush")
@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_step_of_a_save(tmp_path, case):
    before, options = CASES[case]
    base = tmp_path / "base"
    (base / "sub").mkdir(parents=True)
    gk.save(make_everything(), base / "m.onnx", **before)
    gk.save(new_model(), tmp_path / "new.onnx")
    *killed, whole = killed_at_steps(tmp_path / "new.onnx", options, base, tmp_path / "out")
    answers = {"old": run_ort(make_everything(), feeds()), "new": run_ort(new_model(), feeds())}
    found = [which(folder / "m.onnx", answers, feeds()) for folder in (*killed, whole)]
    assert found == sorted(found, reverse=True), "old until one step, new from then on"
    assert {found[0], found[-1]} == {"old", "new"}
    left = {name for folder in killed for name in names(folder)} - set(names(whole))
    plain = {key: value for key, value in options.items() if key != "without"}
    for folder in killed:
        gk.save(tmp_path / "new.onnx", folder / "m.onnx", **plain)
        assert names(folder) == names(whole), "the next save removes what the killed one left"
    assert any(name.endswith(".tmp") for name in left)
    assert any(name.endswith(".data") for name in left) == (plain != {} and before == plain)
    assert which(killed[-1] / "m.onnx", answers, feeds()) == "new"


@pytest.mark.usefixtures("no_flush")
def test_killed_at_every_step_where_large_old_data_is_linked(tmp_path):
    """ONNX Runtime takes hard links in the main graph; onnx.load does not, for the moment between two steps."""
    base = tmp_path / "base"
    base.mkdir()
    gk.save(doubled(1), base / "m.onnx", external="m.data")
    gk.save(doubled(2), tmp_path / "new.onnx")
    options = {"external": "m.data", "without": ["copying old data"]}
    folders = killed_at_steps(tmp_path / "new.onnx", options, base, tmp_path / "out")
    found, refused = [], 0
    inputs = {"x": np.zeros((512, 512), np.float32)}
    for folder in folders:
        outputs = {
            float(run_ort(reader, inputs)["y"][7, 7]) for reader in (folder / "m.onnx", gk.load(folder / "m.onnx"))
        }
        assert len(outputs) == 1
        found += outputs
        try:
            onnx.load(folder / "m.onnx")
        except onnx.checker.ValidationError:
            refused += 1
    assert found == sorted(found)
    assert set(found) == {2.0, 4.0}
    assert 0 < refused < 4


@pytest.mark.usefixtures("no_flush")
@pytest.mark.parametrize("options", [{}, {"external": "m.data"}], ids=["one file", "a pair"])
def test_killed_at_random_moments_of_many_saves(tmp_path, options):
    rng = random.Random(3)
    for number in (1, 2):
        gk.save(doubled(number), tmp_path / f"{number}.onnx")
    folder = tmp_path / "target"
    folder.mkdir()
    gk.save(doubled(1), folder / "m.onnx", **options)
    inputs = {"x": np.zeros((512, 512), np.float32)}
    answers = {number: run_ort(doubled(number), inputs) for number in (1, 2)}
    command = [
        sys.executable,
        SCRIPT,
        "loop",
        tmp_path / "1.onnx",
        tmp_path / "2.onnx",
        json.dumps(options),
        folder / "m.onnx",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(60):
            process.stdin.write(f"{rng.uniform(0.002, 0.06)}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "dead\n"
            which(folder / "m.onnx", answers, inputs)
        process.stdin.close()
    gk.save(doubled(2), folder / "m.onnx", **options)
    assert names(folder) == (["m.data", "m.onnx"] if options else ["m.onnx"])
    assert which(folder / "m.onnx", answers, inputs) == 2


@pytest.mark.usefixtures("no_flush")
def test_a_link_that_another_model_uses_is_not_removed(tmp_path):
    """After a kill between the steps of a pair, the old model finds its data under a hidden name. Somebody copies that
    ``.onnx`` file; then the next save must not take its data away.
    """
    base = tmp_path / "base"
    base.mkdir()
    gk.save(doubled(1), base / "m.onnx", external="m.data")
    gk.save(doubled(2), tmp_path / "new.onnx")
    folders = killed_at_steps(tmp_path / "new.onnx", {"external": "m.data"}, base, tmp_path / "out")
    bridged = next(folder for folder in folders if b".graphkit-" in (folder / "m.onnx").read_bytes())
    shutil.copyfile(bridged / "m.onnx", bridged / "copy.onnx")
    for _ in range(2):
        gk.save(doubled(2), bridged / "m.onnx", external="m.data")
        assert len(names(bridged)) == 4
    inputs = {"x": np.zeros((512, 512), np.float32)}
    assert run_ort(bridged / "copy.onnx", inputs)["y"][0, 0] == 2
    (bridged / "copy.onnx").unlink()
    gk.save(doubled(2), bridged / "m.onnx", external="m.data")
    assert names(bridged) == ["m.data", "m.onnx"]


def test_a_temporary_file_that_is_being_written_is_not_left_over(tmp_path, monkeypatch):
    """Two processes save to one path where files cannot be nameless: the first to end leaves the other's file alone."""
    real = os.open

    def no_tmpfile(path, flags, *arguments, **options):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, *arguments, **options)

    monkeypatch.setattr(os, "open", no_tmpfile)
    seen = []

    def meanwhile(_done, _total):
        if not seen:
            seen.append(names(tmp_path))
            gk.save(doubled(1), tmp_path / "m.onnx")
            seen.append(names(tmp_path))

    gk.save(doubled(2), tmp_path / "m.onnx", progress=meanwhile)
    assert len(seen[0]) == 1
    assert len(seen[1]) == 2
    assert names(tmp_path) == ["m.onnx"]
    assert onnx.load(tmp_path / "m.onnx").graph.name == "times2"


def test_files_are_on_the_disk_before_their_names_are(tmp_path, monkeypatch):
    """Against a power failure, which no test can bring about: each file is flushed before it is renamed, and the folder
    after that.
    """
    (tmp_path / "sub").mkdir()
    events = []
    fsync, rename = os.fsync, os.replace

    def flush(fd):
        status = os.fstat(fd)
        events.append(("flush", "folder" if stat.S_ISDIR(status.st_mode) else status.st_ino))
        fsync(fd)

    def move(source, target):
        events.append(("rename", os.stat(source).st_ino))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "replace", move)
    gk.save(doubled(1), tmp_path / "m.onnx", external="sub/m.data")
    data, model = ((tmp_path / name).stat().st_ino for name in ("sub/m.data", "m.onnx"))
    assert events[:2] == [("flush", data), ("flush", model)]
    assert events[2:4] == [("rename", data), ("rename", model)]
    assert events[4:] == [("flush", "folder")] * 2


# no room


LIMITED = """
import resource, sys
import graphkit as gk
model = gk.load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
try:
    gk.save(model, sys.argv[2], **eval(sys.argv[4]))
except gk.SaveError as error:
    print(error)
"""


@pytest.mark.parametrize("options", [{}, {"external": "m.data"}], ids=["one file", "a pair"])
@pytest.mark.parametrize("limit", [0, 4096, 1_100_000, 2_000_000])
def test_a_file_size_limit_leaves_what_was_there(tmp_path, options, limit):
    gk.save(doubled(2), tmp_path / "new.onnx")
    folder = tmp_path / "target"
    folder.mkdir()
    gk.save(doubled(1), folder / "m.onnx", **options)
    before = snapshot(folder)
    command = [sys.executable, "-c", LIMITED, tmp_path / "new.onnx", folder / "m.onnx", str(limit), repr(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {folder / 'm.onnx'}: File too large\n"
    assert snapshot(folder) == before


FAILING = ("open", "write", "copy_file_range", "preadv", "fsync", "link", "replace", "fchmod")


@pytest.mark.parametrize("options", [{}, {"external": "m.data"}], ids=["one file", "a pair"])
@pytest.mark.parametrize("call", FAILING)
def test_a_full_disk_at_every_call(tmp_path, monkeypatch, call, options):
    """Every call that can meet a full disk meets it, one after another; the old model is there, and nothing else."""
    gk.save(doubled(1), tmp_path / "m.onnx", **options)
    new = gk.load(write(tmp_path / "elsewhere", doubled(2)))
    inputs = {"x": np.zeros((512, 512), np.float32)}
    answers = {"old": run_ort(doubled(1), inputs), "new": run_ort(doubled(2), inputs)}
    failed, messages = 0, set()
    for position in range(100):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing_at(getattr(os, call), position))
            try:
                gk.save(new, tmp_path / "m.onnx", **options)
                break
            except gk.SaveError as error:
                messages.add(error.message)
                failed += 1
        if which(tmp_path / "m.onnx", answers, inputs) == "old":
            hidden = [name for name in names(tmp_path) if name.startswith(".graphkit-")]
            assert len(hidden) <= 1  # the old data of the old model, where the failure came between the two renames
    assert failed == position
    assert messages <= {f"cannot write {tmp_path / 'm.onnx'}: the disk is full"}
    assert failed or call in ("preadv", "copy_file_range"), "which of the two copies depends on the file system"
    assert names(tmp_path) == sorted([*(["m.data"] if options else []), "elsewhere/m.onnx", "m.onnx"])


def write(folder, proto):
    folder.mkdir()
    (folder / "m.onnx").write_bytes(proto.SerializeToString())
    return folder / "m.onnx"


def failing_at(call, position):
    calls = iter(range(10_000))

    def wrapper(*arguments, **options):
        if next(calls) == position:
            raise OSError(errno.ENOSPC, "No space left on device")
        return call(*arguments, **options)

    return wrapper


def test_a_disk_that_is_really_full(tmp_path):
    """A file system of 3 MiB, where this process may mount one; the old model has 2 MiB of it."""
    script = f"""
mount -t tmpfs -o size=3m none {tmp_path} || exit 77
exec {sys.executable} - <<'END'
import sys
sys.path[:0] = {[str(SCRIPT.parent), str(SCRIPT.parent.parent)]!r}
import os, pathlib, test_crash, graphkit as gk
folder = pathlib.Path({str(tmp_path)!r})
for options in ({{}}, {{"external": "m.data"}}):
    gk.save(test_crash.doubled(1), folder / "m.onnx", **options)
    before = test_crash.snapshot(folder)
    try:
        gk.save(test_crash.doubled(2), folder / "m.onnx", **options)
    except gk.SaveError as error:
        print(error)
    assert test_crash.snapshot(folder) == before
    for name in os.listdir(folder):
        os.unlink(folder / name)
END
"""
    done = subprocess.run(["unshare", "--mount", "bash", "-c", script], capture_output=True, text=True, check=False)
    if done.returncode and ("unshare" in done.stderr or done.returncode == 77):
        pytest.skip("this process may not mount a file system; the other tests of this file inject the error")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"cannot write {tmp_path}/m.onnx: the disk is full\n" * 2

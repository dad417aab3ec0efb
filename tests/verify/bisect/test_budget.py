"""bisect --memory: what a search may hold at once, planned and measured."""

import ctypes
import subprocess
import sys

import numpy as np
import onnx
import pytest

from graphkit.graph.liveness import living
from graphkit.model import Model
from graphkit.reading.sizes import parse_bytes
from graphkit.runtime.session import PieceSession
from graphkit.verify.bisect import budget
from graphkit.verify.bisect.budget import Budget, process_bytes
from graphkit.verify.bisect.onnx_side import OnnxSide
from graphkit.verify.compare.blocks import WORKING_BYTES

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc and glibc")


def test_sizes_of_memory():
    assert [parse_bytes(t) for t in ("500MB", "2GB", "1KiB", 77, "1.5kb", "12")] == [
        500_000_000,
        2_000_000_000,
        1024,
        77,
        1500,
        12,
    ]
    for bad in ("much", "0", "-1", "GB"):
        with pytest.raises(ValueError, match="no size"):
            parse_bytes(bad)


def test_what_lives_while_a_graph_runs():
    """x -> a -> b -> c, and c reads a as well; b is asked for by nobody."""
    steps = [(["a"], ["x"]), (["b", "dead"], ["a"]), (["c"], ["b", "a"])]
    sizes = {"a": 1, "b": 10, "c": 100, "dead": 1000}
    assert living(steps, sizes, {"a", "c"}) == {"a": (1, 0), "b": (11, 10), "dead": (11, 10), "c": (0, 10)}


CHAIN = [*[("Relu", "Sigmoid", "Tanh", "Neg")[i % 4] for i in range(8)]]


def chain(rows, fault=None, count=8, back=3):
    """Values of 4 kB a row; every fourth node adds one from further back."""
    nodes = []
    for at in range(count):
        inputs, op = [f"v{at}"], CHAIN[at % len(CHAIN)]
        if at % 4 == 3:
            inputs, op = [*inputs, f"v{at - back}"], "Add"
        nodes.append(onnx.helper.make_node("Softsign" if at == fault else op, inputs, [f"v{at + 1}"], name=f"n{at}"))
    ends = [onnx.helper.make_tensor_value_info(name, 1, ["b", 1000]) for name in ("v0", f"v{count}")]
    graph = onnx.helper.make_graph(nodes, "chain", ends[:1], ends[1:])
    return onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]), {
        "v0": np.ones((rows, 1000), np.float32)
    }


def sides(rows):
    made = []
    for _ in range(2):
        side = OnnxSide(Model(*chain(rows)[:1]), chain(rows)[1])
        side.expect([f"v{at + 1}" for at in range(8)])
        made.append(side)
    return tuple(made)


@pytest.mark.parametrize("rows", [1, 250])
def test_as_many_values_at_once_as_fit(rows, monkeypatch):
    monkeypatch.setattr(budget, "process_bytes", lambda: 10**12)  # so that the limit is for the values alone
    both = sides(rows)
    places = both[0].places()
    twins = {place.value: place.value for place in places}
    value = 4000 * rows
    working = min(WORKING_BYTES, 32 * value)
    for limit in range(value, 60 * value, value):
        limited = Budget(places, both, twins, limit)
        assert limited.room == limit
        counts = []
        while sum(counts) < len(places):
            counts.append(limited.count(sum(counts), 500, 0))
        oversized = any("more than the memory limit" in note for note in limited.notes)
        assert oversized == (limit < 2 * 3 * value + working)  # two that live on and the one that is made, twice
        if limit >= 2 * 8 * value + working:
            assert counts == [8]
        assert counts == sorted(counts, reverse=True) or max(counts) > 1
    assert Budget(places, both, twins, 60 * value).count(0, 3, 0) == 3
    assert Budget(places, both, twins, 16 * value + working).count(0, 500, 0) == 8
    assert Budget(places, both, twins, 16 * value + working).count(0, 500, value) < 8


def test_a_limit_below_the_process_itself_is_said(monkeypatch):
    monkeypatch.setattr(budget, "process_bytes", lambda: 90_000_000)
    both = sides(1)
    places = both[0].places()
    twins = {place.value: place.value for place in places}
    assert "it holds for the values alone" in Budget(places, both, twins, 50_000_000).notes[0]
    roomy = Budget(places, both, twins, 300_000_000)
    assert roomy.notes == []
    assert 180_000_000 < roomy.room < 210_000_000


@linux
def test_one_value_of_a_run_does_not_keep_the_others():
    model, feeds = chain(2000)
    model.graph.output.extend(onnx.ValueInfoProto(name=f"v{at + 1}") for at in range(7))
    side = OnnxSide(Model(model), feeds)
    names = [f"v{at + 1}" for at in range(8)]
    made = PieceSession(Model(model), "chain", device="cpu").run(side._state, names)
    full = process_bytes()
    one = made["v3"]
    del made
    ctypes.CDLL(None).malloc_trim(0)
    assert full - process_bytes() > 5 * 8_000_000
    assert one.numpy().shape == (2000, 1000)


MEASURED = """
import re
from graphkit_cli.main import main
try:
    main()
except SystemExit as end:
    assert end.code == 1
print("peak", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@linux
@pytest.mark.parametrize("options", [["260MB"], ["300MB", "--isolate"], ["600MB"]])
def test_a_limit_is_kept_by_the_whole_process(tmp_path, options):
    """Values of 16 MB, of which each side holds up to three at any time."""
    for name, fault in (("a", None), ("b", 5)):
        onnx.save(chain(4000, fault, count=24)[0], tmp_path / f"{name}.onnx")
    command = ["bisect", "b.onnx", "--against", "a.onnx", "--device", "cpu", "--bind", "b=4000", "--memory", *options]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "n5" in done.stdout
    assert "memory limit" not in done.stderr
    peak = 1024 * int(done.stdout.split()[-1])
    assert 150_000_000 < peak < parse_bytes(options[0])

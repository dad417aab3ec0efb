"""A real Dask cluster of processes: a scheduler that is missing, workers of another version, a worker that is killed."""

import gc
import json
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

import graphkit as gk
from dask_cluster import Cluster, wait_for
from fleet.works import Crashing

pytest.importorskip("distributed", reason="the fleet extra")

GRAPHKIT = Path(sys.executable).parent / "graphkit"
RELU = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3] x) => (float[N, 3] y) { h = Relu(x)  y = Neg(h) }"""


@pytest.fixture
def cluster(tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def patch(tmp_path):
    path = tmp_path / "patch.toml"
    path.write_text('[[step]]\ndo = "rename"\nvalues = { x = "image" }\n')
    return path


@pytest.mark.parametrize(("address", "why"), [("tcp://127.0.0.1:9", ""), ("nowhere", "port"), ("odd://x:1", "scheme")])
def test_a_scheduler_that_is_not_there_is_said_within_ten_seconds_and_nothing_more(address, why):
    began = time.monotonic()
    with pytest.raises(gk.ClusterError, match="no Dask scheduler answers") as caught:
        list(gk.run_fleet(gk.Checking("check"), [gk.Job("x")], scheduler=address))
    gc.collect()  # a client that never connected would wait here, and say so
    assert time.monotonic() - began < 14  # ten, and what a busy machine adds; without a limit it is 15 to 22
    assert "start one with `dask scheduler`" in caught.value.hint
    assert why in caught.value.message


def test_workers_of_another_version_are_refused_with_both_versions(cluster, patch, tmp_path):
    fake = tmp_path / "fake" / "onnx_graphkit-0.0.9.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: onnx-graphkit\nVersion: 0.0.9\n")
    command = [GRAPHKIT, "apply", patch, "x.onnx", "--out", tmp_path / "o", "--scheduler", cluster.address]
    none = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (none.returncode, "has no workers" in none.stderr) == (3, True), none.stderr
    cluster.worker(PYTHONPATH=str(fake.parent))

    def answered():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done if "has no workers" not in done.stderr else None

    done = wait_for(answered)
    assert done.returncode == 3
    assert f"has graphkit 0.0.9, and this is graphkit {gk.__version__}" in done.stderr


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.matrix)])
def test_a_worker_that_is_killed_loses_no_row_and_doubles_none(cluster, patch, tmp_path, count):
    store = tmp_path / "store"
    (store / "in").mkdir(parents=True)
    for k in range(count):
        onnx.save(onnx.parser.parse_model(RELU), store / "in" / f"m{k:03}.onnx")
    workers = [cluster.worker(), cluster.worker()]
    journal = tmp_path / "rows.jsonl"
    command = [GRAPHKIT, "apply", patch, f"file://{store}/in/", "--out", f"file://{store}/out"]
    command += ["--scheduler", cluster.address, "--journal", journal]
    wait_for(lambda: "Registered to" in "".join(p.read_text() for p in tmp_path.glob("worker*.log")))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        first = [process.stdout.readline() for _ in range(5)]
        assert all(line.startswith("done: ") for line in first), [*first, process.stderr.read()]
        workers[0].kill()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    rows = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(rows) == len({row["model"] for row in rows}) == count
    assert {row["outcome"] for row in rows} == {"done"}
    made = sorted((store / "out").iterdir())
    assert [path.name for path in made] == [f"m{k:03}.onnx" for k in range(count)]
    assert [v.name for v in gk.load(made[-1]).inputs] == ["image"]


def test_a_model_that_ends_every_worker_is_a_row_and_those_that_waited_behind_it_are_done(tmp_path):
    cluster = Cluster(
        tmp_path, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0"
    )  # blamed at the first worker that ends
    for _ in range(2):
        cluster.worker(nanny=True)
    wait_for(lambda: "Registered to" in "".join(p.read_text() for p in tmp_path.glob("worker*.log")))
    jobs = [gk.Job("bad" if k == 3 else f"m{k}") for k in range(12)]
    work = Crashing(str(tmp_path / "log"))
    try:
        rows = {row.model: row for row in gk.run_fleet(work, jobs, scheduler=cluster.address)}
    finally:
        cluster.stop()
    assert len(rows) == 12
    failed = [name for name, row in rows.items() if not row]
    assert failed == ["bad"], rows
    assert (rows["bad"].kind, "KilledWorker" in rows["bad"].message or "workers" in rows["bad"].message) == (
        "Crash",
        True,
    )

"""Many models in an object store: an S3 server on the loopback, with a Dask cluster whose worker is killed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import graphkit as gk
from dask_cluster import Cluster, wait_for
from onnx_text import parse

moto = pytest.importorskip("moto.server", reason="moto, an S3 server for tests, is not installed")
s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")

GRAPHKIT = [sys.executable, "-c", "import sys; from graphkit_cli.main import main; sys.exit(main())"]


@pytest.fixture
def store(monkeypatch):
    """A bucket of a server of this process's own, which other processes find by the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem()
    filesystem.mkdir("bucket")
    yield filesystem
    filesystem.rm("bucket", recursive=True)
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def net(k=0):
    weights = np.random.default_rng(k).random((16, 16))
    return parse("g (float[n,16] x) => (float[n,16] y) { h = MatMul(x, w)  y = Neg(h) }", w=weights)


def test_a_model_is_saved_to_s3_and_no_bucket_is_made_by_the_way(store):
    for external in (None, "m.data"):
        gk.save(net(), "s3://bucket/models/m.onnx", external=external)
        x = np.ones((2, 16), np.float32)
        made = gk.run(gk.load("s3://bucket/models/m.onnx"), {"x": x})["y"]
        np.testing.assert_array_equal(made, gk.run(net(), {"x": x})["y"])
    assert sorted(store.find("bucket")) == ["bucket/models/m.data", "bucket/models/m.onnx"]
    with pytest.raises(gk.SaveError, match="cannot write s3://other"):
        gk.save(net(), "s3://other/m.onnx")
    assert store.ls("") == ["bucket"]


def test_large_objects_that_break_off_are_never_seen(store, monkeypatch):
    big = parse("g (float[2000,2000] x) => (float[2000,2000] y) { y = Add(x, w) }", w=np.zeros((2000, 2000)))
    uploaded = type(store)._call_s3

    async def breaking(self, method, *arguments, **options):
        if method == "upload_part" and options.get("PartNumber") == 2:
            raise ConnectionResetError("the line is dead")
        return await uploaded(self, method, *arguments, **options)

    monkeypatch.setattr(type(store), "_call_s3", breaking)
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda *_, **__: 5 << 20)
    with pytest.raises(gk.SaveError, match="the line is dead"):
        gk.save(big, "s3://bucket/big.onnx")
    store.invalidate_cache()
    assert store.find("bucket") == []
    assert "Uploads" not in store.call_s3("list_multipart_uploads", Bucket="bucket")


@pytest.mark.parametrize("count", [24, pytest.param(200, marks=pytest.mark.matrix)])
def test_two_workers_patch_the_models_of_a_bucket_and_one_is_killed(store, tmp_path, count):
    pytest.importorskip("distributed", reason="the fleet extra")
    for k in range(count):
        store.pipe_file(f"bucket/in/m{k:03}.onnx", net(k).SerializeToString())
    (tmp_path / "patch.toml").write_text('[[step]]\ndo = "rename"\nvalues = { x = "image" }\n')
    cluster = Cluster(tmp_path)
    try:
        workers = [cluster.worker(), cluster.worker()]
        both = lambda: "".join(p.read_text() for p in tmp_path.glob("worker*.log")).count("Registered to") == 2  # noqa: E731
        wait_for(both)
        journal = tmp_path / "rows.jsonl"
        command = [*GRAPHKIT, "apply", tmp_path / "patch.toml", "s3://bucket/in/", "--out", "s3://bucket/out"]
        command += ["--scheduler", cluster.address, "--journal", journal, "--html", tmp_path / "rows.html"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            first = [process.stdout.readline() for _ in range(5)]
            assert all(line.startswith("done: ") for line in first), [*first, process.stderr.read()]
            workers[0].kill()
            _, said = process.communicate(timeout=300)
    finally:
        cluster.stop()
    assert process.returncode == 0, said
    rows = [json.loads(line) for line in Path(journal).read_text().splitlines()]
    assert len(rows) == len({row["model"] for row in rows}) == count
    assert {row["outcome"] for row in rows} == {"done"}
    store.invalidate_cache()
    assert sorted(store.find("bucket/out")) == [f"bucket/out/m{k:03}.onnx" for k in range(count)]
    for k in (0, count - 1):
        made = gk.load(f"s3://bucket/out/m{k:03}.onnx")
        assert [value.name for value in made.inputs] == ["image"]
        np.testing.assert_array_equal(made.array("w"), onnx.numpy_helper.to_array(net(k).graph.initializer[0]))

"""The model with weights everywhere, as files."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest

import graphkit as gk
from graphkit.storage import load
from graphkit.storage.source import LocalFile
from weight_places import make_everything, snapshot

SECONDS = 5
MEMORY = "/dev/shm"  # noqa: S108 (the tests make folders of their own in it)


@pytest.fixture
def quick_path(tmp_path):
    """A folder in memory, where there is room: thousands of small saves are quick there."""
    if not os.path.isdir(MEMORY) or shutil.disk_usage(MEMORY).free < 1 << 28:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def everything():
    return make_everything()


@pytest.fixture
def file(tmp_path, everything):
    """The model with everything, embedded in one file; it is larger than what is parsed whole."""
    path = tmp_path / "m.onnx"
    path.write_bytes(everything.SerializeToString())
    assert path.stat().st_size > load.SMALL_FILE
    return path


@pytest.fixture
def pair(tmp_path, everything):
    """The same with its weights in ``m.data``, as onnx itself saves it."""
    model = onnx.ModelProto()
    model.CopyFrom(everything)
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="m.data", convert_attribute=True)
    return path


@pytest.fixture
def scan_all(monkeypatch):
    """Small files are scanned too, and tensors of 128 bytes or more stay in the file."""
    monkeypatch.setattr(load, "SMALL_FILE", 0)
    monkeypatch.setattr(LocalFile, "threshold", 128)


@pytest.fixture
def refused(tmp_path):
    """Load bytes (or a path) and save: a GraphkitError, within seconds of processor time, with words in it; nothing is
    written. Returns it.
    """

    def check(data, *words, kind=gk.GraphkitError):
        path = tmp_path / "bad.onnx"
        if isinstance(data, bytes):
            path.write_bytes(data)
        else:
            path = data
        before = snapshot(tmp_path)
        start = time.process_time()
        with pytest.raises(kind) as caught:
            gk.save(gk.load(path), tmp_path / "out.onnx", external="out.data")
        assert time.process_time() - start < SECONDS
        assert snapshot(tmp_path) == before
        for word in words:
            assert word in str(caught.value)
        assert len(str(caught.value)) < 1000
        return caught.value

    return check


@pytest.fixture
def measured(tmp_path):
    """Run code in a process of its own, in the test's folder: what it leaves in ``result``, its seconds of processor time
    (without the start of Python) and its peak memory in MiB. A GraphkitError gives its class and text as the result.
    """

    def run(code, *arguments):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                MEASURE.format(code=textwrap.indent(textwrap.dedent(code), "    ")),
                *map(str, arguments),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Measured(**json.loads(done.stdout))

    return run


class Measured(NamedTuple):
    result: object
    seconds: float
    mib: float


MEASURE = """
import json, sys, time
import graphkit as gk
arguments, result = sys.argv[1:], None
start = time.process_time()
try:
{code}
except gk.GraphkitError as error:
    result = [type(error).__name__, str(error)]
seconds = time.process_time() - start
# VmHWM begins anew with the program; ru_maxrss would count what the parent of this process had.
mib = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
json.dump({{"result": result, "seconds": seconds, "mib": mib}}, sys.stdout)
"""

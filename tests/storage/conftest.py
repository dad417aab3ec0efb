"""The model with weights everywhere, as files."""

import os
import shutil
import tempfile
from pathlib import Path

import onnx
import pytest

from graphkit.storage import load
from graphkit.storage.source import LocalFile
from weight_places import make_everything

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

"""graphkit where the calls of Linux are missing. Windows and macOS themselves were not tried."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import graphkit as gk
from graphkit.storage import system
from graphkit.storage.source import LocalFile


def test_everything_works_without_the_calls_that_windows_lacks(tmp_path):
    script = Path(__file__).parent / "other_system.py"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "[]", "nothing hidden is left over"
    assert "this system cannot limit the memory of a process" in done.stderr


@pytest.mark.parametrize(
    "missing", [("pread",), ("preadv",), ("copy_file_range",), ("pread", "preadv", "copy_file_range")]
)
def test_a_call_that_goes_away_later_is_not_missed(tmp_path, monkeypatch, file, missing):
    gk.save(gk.load(file), tmp_path / "with.onnx")
    for name in missing:
        monkeypatch.delattr(os, name)
    gk.save(gk.load(file), tmp_path / "without.onnx")
    assert (tmp_path / "without.onnx").read_bytes() == (tmp_path / "with.onnx").read_bytes()


def test_without_locks_a_temporary_file_is_never_taken_for_left_over(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "fcntl", None)
    left = tmp_path / "left.tmp"
    left.write_bytes(b"of a save that may still be going on")
    system.remove_unlocked(str(left))
    assert left.exists()


def test_reading_at_an_offset_by_seeking_gives_the_same_bytes(tmp_path, monkeypatch):
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 64)
    source = LocalFile(str(path))
    expected = source.read(1000, 3000)
    monkeypatch.delattr(os, "pread")
    monkeypatch.delattr(os, "preadv")
    assert source.read(1000, 3000) == expected
    assert bytes(source.view(1000, 3000)) == expected

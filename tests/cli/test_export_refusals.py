"""export on the command line: what is refused before any work, and user code that leaves Python."""

import sys

import pytest

pytest.importorskip("torch")

SOURCE = """
import argparse
import torch

class Leaves(torch.nn.Module):
    def forward(self, x):
        raise SystemExit(5)

def conv():
    return torch.nn.Conv2d(3, 2, 3), (torch.zeros(1, 3, 8, 8),)

def arguments():
    argparse.ArgumentParser(prog="net").parse_args(["--unknown"])

def leaves():
    return Leaves(), (torch.zeros(2),)

def interrupted():
    raise KeyboardInterrupt
"""


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refused_nets.py").write_text(SOURCE)
    yield
    sys.modules.pop("refused_nets", None)


@pytest.mark.parametrize(
    ("factory", "code", "says"),
    [
        ("arguments", 3, "the factory 'refused_nets:arguments' raised SystemExit: 2, at refused_nets.py:"),
        ("leaves", 3, "SystemExit"),
        ("interrupted", 130, "interrupted"),
    ],
)
def test_a_factory_that_leaves_python_is_told(graphkit, tmp_path, factory, code, says):
    ran = graphkit("export", f"refused_nets:{factory}", "out.onnx", "--exporter", "torchscript")
    assert ran.code == code
    assert says in ran.err
    assert not list(tmp_path.glob("*.onnx"))


@pytest.mark.parametrize("external", ["out.onnx", "./out.onnx", "w/", "", ".", "../w.data", "/w.data"])
@pytest.mark.parametrize("command", [["export", "refused_nets:conv"], ["rename", "in.onnx", "--value", "a=b"]])
def test_a_data_file_that_cannot_be_is_bad_usage(graphkit, tmp_path, command, external):
    ran = graphkit(*command[:2], "out.onnx", *command[2:], "--external", external)
    assert ran.code == 2
    assert "--external names a " in ran.err
    assert not list(tmp_path.glob("*.onnx"))


def test_a_data_file_that_is_not_needed_is_told_and_not_there(graphkit, tmp_path):
    ran = graphkit("export", "refused_nets:conv", "out.onnx", "--exporter", "torchscript", "--external", "w.data")
    assert ran.code == 0
    assert "no tensor has 1 KiB or more: all are in out.onnx, and w.data was not needed" in ran.err
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".py") in (
        ["out.onnx"],
        ["__pycache__", "out.onnx"],
    )

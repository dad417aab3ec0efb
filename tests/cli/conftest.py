"""Running the command line, in this process or as the shell does."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import onnx
import pytest

import graphkit_cli.main
from graphkit_cli.main import COMMANDS, main

SCRIPT = Path(sys.executable).parent / "graphkit"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def graphkit(capsys):
    """Run a command in this process."""

    def run(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def shell(tmp_path):
    """Run the installed console script in an empty folder, as a user does."""

    def run(*arguments, **environment):
        done = subprocess.run(
            [SCRIPT, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def command(monkeypatch):
    """Put a command into the table for one test."""

    def add(command, name="probe"):
        module = ModuleType(f"graphkit_cli.commands.{name}")
        module.command = command
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(graphkit_cli.main.COMMANDS, name, (module.__name__, command.get_short_help_str(1000)))
        return command

    assert COMMANDS is graphkit_cli.main.COMMANDS
    return add


@pytest.fixture
def chain(tmp_path):
    """The path of a small model: x -> Relu hidden -> Add y, with one initializer."""
    path = tmp_path / "chain.onnx"
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        chain (float[N, 3] x) => (float[N, 3] y)
        <float[3] bias = {1.0, 2.0, 3.0}>
        { hidden = Relu(x)  y = Add(hidden, bias) }"""
    )
    onnx.save(model, path)
    return path

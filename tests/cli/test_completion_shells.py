"""Completion, tried in the shells themselves: a command, an option, a file name, and one with a space."""

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

TYPED = {
    "graphkit insp": "graphkit inspect ",
    "graphkit inspect mod": "graphkit inspect model.onnx ",
    "graphkit inspect my": r"graphkit inspect my\ model.onnx ",
    "graphkit guide wro": "graphkit guide wrong-layer ",
    "graphkit extract model.onnx out.onnx --modul": "graphkit extract model.onnx out.onnx --module ",
}
SETUP = {
    "bash": (["bash", "--norc", "-i"], 'eval "$(_GRAPHKIT_COMPLETE=bash_source graphkit)"; echo rea""dy\n'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -Uz compinit; compinit -u; eval "$(_GRAPHKIT_COMPLETE=zsh_source graphkit)"; echo rea""dy\n',
    ),
}
PATIENCE = 60


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").touch()
    (tmp_path / "my model.onnx").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"])
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("shell", SETUP)
def test_tab_completes_and_keeps_file_names(folder, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    import pty

    command, setup = SETUP[shell]
    terminal, inside = pty.openpty()
    with subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True) as process:
        try:
            os.write(terminal, setup.encode())
            until(terminal, "ready")
            for typed, completed in TYPED.items():
                os.write(terminal, typed.encode() + b"\t")
                until(terminal, completed)
                os.write(terminal, b"\x15")  # the line goes
        finally:
            process.kill()
    os.close(terminal)
    os.close(inside)


def until(terminal, text):
    """Read what the shell writes until it has said a text."""
    said, end = "", time.monotonic() + PATIENCE
    while text not in said:
        assert time.monotonic() < end, f"{text!r} was not said: {said!r}"
        if select.select([terminal], [], [], 0.2)[0]:
            said += os.read(terminal, 65536).decode(errors="replace")


def test_fish_completes_and_keeps_file_names(folder):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    asked = "; ".join(f"complete -C '{typed}'" for typed in TYPED)
    script = f"_GRAPHKIT_COMPLETE=fish_source graphkit | source; {asked}"
    done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, check=True)
    found = [line.partition("\t")[0] for line in done.stdout.splitlines()]
    assert found == ["inspect", "model.onnx", "my model.onnx", "wrong-layer", "--module"]
    assert "inspect\tShow what a model holds: interface, operators, weights." in done.stdout.splitlines()

"""README.md is true: its commands and its Python run as they stand there.

A fenced block whose info string ends in ``run`` (``sh run``, ``python run``) is run, in the order of the file, in one
folder that holds ``samples/`` and an environment at ``.venv``. Every other ``sh`` block must be one of the two lines
that set an environment up, which cannot run inside of themselves; the continuous integration runs the second.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SETS_UP = "python3 -m venv .venv && .venv/bin/python -m pip install -q -c constraints.txt -e "


def blocks(root):
    """(info string, text) of every fenced block."""
    text = (root / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```([^\n`]+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def set_up_lines(root):
    return [text.strip() for info, text in blocks(root) if info == "sh"]


def test_the_readme_has_two_lines_that_set_up_and_the_rest_is_run(root):
    lines = set_up_lines(root)
    assert len(lines) == 2
    assert all(line.startswith(SETS_UP) and "\n" not in line for line in lines)
    job, tests = lines
    assert job.endswith(" && .venv/bin/python samples/dynamic_super_resolution.py")
    assert tests.endswith(" && .venv/bin/python -m pytest -n 2 --dist worksteal")
    assert {info for info, _ in blocks(root)} <= {"sh", "sh run", "python run", "text"}


def test_continuous_integration_runs_the_readmes_test_line(root):
    assert set_up_lines(root)[1] in (root / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert os.access(root / ".ci" / "run", os.X_OK)


def test_the_constraints_pin_everything_that_the_lines_install(root):
    from importlib.metadata import distributions

    def normal(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    pinned = {
        normal(line.partition("==")[0]): line.strip().partition("==")[2]
        for line in (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    }
    installed = {normal(d.name): d.version.partition("+")[0] for d in distributions()}
    expected = {name: installed[name] for name in pinned if name in installed}
    assert {name: pinned[name] for name in expected} == expected


def test_the_commands_and_the_python_run_as_they_stand(root, tracked, tmp_path):
    pytest.importorskip("torch", reason="the README's story begins in torch")
    for path in tracked:
        if path.parts[0] == "samples":
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, tmp_path / path)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    runnable = [(info, text) for info, text in blocks(root) if info.endswith(" run")]
    assert runnable, "README.md shows nothing that can be run"
    for info, text in runnable:
        command = ["bash", "-euo", "pipefail", "-c", text] if info == "sh run" else [sys.executable, "-c", text]
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


def test_the_tree_names_every_room_and_no_other(root):
    tree = next(text for _, text in blocks(root) if text.startswith("graphkit/"))
    named = set(re.findall(r"(?<=\s)(\w+)(?=[\s/])", tree.partition("cli/graphkit_cli")[0]))
    rooms = {
        path.name for path in (root / "graphkit").iterdir() if (path / "__init__.py").exists() or path.name == "rules"
    }
    modules = {path.stem for path in (root / "graphkit").glob("*.py")} - {"__init__", "__main__"}
    assert rooms | modules <= named, (rooms | modules) - named
    folders = set(re.findall(r"^  (?:\w+ )*(\w+)/", tree, flags=re.MULTILINE))
    assert folders <= rooms, folders - rooms


def test_the_table_of_commands_is_the_help(root):
    from graphkit_cli.main import COMMANDS, GROUPS

    table = next(text for _, text in blocks(root) if text.startswith("Look\n"))
    for names in GROUPS.values():
        for name in names.split():
            assert f"  {name:<11}  {COMMANDS[name][1]}\n" in table

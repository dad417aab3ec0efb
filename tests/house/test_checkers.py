"""The checkers find nothing: ruff (lint and format), mypy strict, import-linter."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(sys.executable).parent
CHECKS = {
    "ruff check": ["ruff", "check", "--no-cache"],
    "ruff format": ["ruff", "format", "--check", "--no-cache"],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports", "--no-cache"],
}


@pytest.mark.parametrize("check", CHECKS)
def test_checker_finds_nothing(root, check, tmp_path):
    program, *arguments = CHECKS[check]
    if program == "mypy":
        arguments = ["--cache-dir", str(tmp_path)]
    done = subprocess.run([SCRIPTS / program, *arguments], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_ignore_in_the_configuration_has_a_reason(root):
    lines = (root / "pyproject.toml").read_text(encoding="utf-8").split("[tool.ruff.lint]")[1].split("\nignore = [")[1]
    silent = [line for line in lines.split("\n]")[0].splitlines() if line.strip().startswith('"') and "#" not in line]
    assert silent == []


def test_every_ignore_in_the_code_has_a_reason(root, tracked):
    """``noqa`` and ``type: ignore`` name their rule and say why on the same line."""
    silent = []
    for path in tracked:
        if path.suffix == ".py" and path.parts[0] in {"graphkit", "cli"}:
            for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
                for marker in ("# noqa", "# type: ignore"):
                    rest = line.partition(marker)[2]
                    if rest and not any(sign in rest for sign in ("(", "  # ", " - ")):
                        silent.append(f"{path}:{number}")
    assert silent == []


def test_no_file_has_a_name_that_says_nothing(tracked):
    nothing = {"utils", "util", "helpers", "helper", "misc", "common", "base", "manager", "core", "stuff"}
    assert [str(path) for path in tracked if path.stem.strip("_").lower() in nothing] == []


def test_the_layers_hold_no_module_that_is_gone(root):
    """import-linter lets a layer in parentheses be absent: that is for rooms to come, not for rooms that went."""
    import tomllib

    contract = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ][0]
    named = {name.strip(" ()") for layer in contract["layers"] for name in layer.split("|")}
    present = {p.stem for p in (root / "graphkit").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert present - {"__init__"} <= named

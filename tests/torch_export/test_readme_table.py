"""README's table of the tutorials' techniques: complete, and what it points to is there."""

import re
from pathlib import Path

import graphkit as gk
from graphkit_cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HEADING = "## The tutorials' techniques on today's torch"


def rows():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition(HEADING)[2].partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| R")
    ]


def test_every_row_is_there_once_with_a_verdict():
    assert [row[0] for row in rows()] == [f"R{number:02}" for number in range(1, 56)]
    assert {row[2] for row in rows()} == {"works", "differently", "gone", "not tried"}


def test_every_row_points_to_a_sample_or_a_test_or_says_every_sample():
    for row in rows():
        paths = re.findall(r"`((?:samples|tests)/[\w/]+\.py)`", row[3])
        assert paths or "every sample" in row[3], row[0]
        for path in paths:
            assert (ROOT / path).is_file(), f"{row[0]}: {path}"


def test_every_command_and_function_named_is_there():
    for row in rows():
        for command in re.findall(r"`graphkit (\w+)", row[3]):
            assert command in COMMANDS, f"{row[0]}: graphkit {command}"
        for name in re.findall(r"`gk\.(\w+)", row[3]):
            assert hasattr(gk, name), f"{row[0]}: gk.{name}"

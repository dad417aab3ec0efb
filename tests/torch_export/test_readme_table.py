"""The table of samples/README.md: what became of the tutorials' techniques: complete, and each row's sample, command and test are there.

A test that shows a row stands under a comment with the row's number, ``# R27`` or ``# R41, R42``; a row links to a file of
such a test, so that no row loses its test silently.
"""

import ast
import re
from pathlib import Path

import graphkit as gk
from graphkit_cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
HEADING = "## The tutorials' techniques on today's torch"
VERDICTS = {"works", "works differently", "no longer possible"}
UNTRIED = " (untried)"


def rows():
    text = (ROOT / "samples" / "README.md").read_text(encoding="utf-8")
    section = text.partition(HEADING)[2].partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| R")
    ]


def linked(row):
    """The files that a row names, beside the one in its last column."""
    return [*re.findall(r"`(samples/[\w/]+\.py)`", row[3]), *re.findall(r"\]\(\.\./([\w/.]+)\)", row[4])]


def marked(path):
    """The rows that the tests of a file are for: the comment right above a test, or above its decorators."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    found = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            mark = re.fullmatch(r"# (R\d\d(?:, R\d\d)*)", lines[first - 2])
            found |= set(mark[1].split(", ")) if mark else set()
    return found


def test_every_row_is_there_once_with_a_verdict_and_a_reason():
    assert [row[0] for row in rows()] == [f"R{number:02}" for number in range(1, 56)]
    for row in rows():
        assert len(row) == 5, row[0]
        assert row[2].removesuffix(UNTRIED) in VERDICTS, row[0]
        assert len(row[3]) > len("both"), row[0]


def test_every_row_names_a_sample_a_command_or_a_function():
    for row in rows():
        assert re.search(r"`(samples/|graphkit |gk\.)", row[3]), row[0]


def test_every_file_command_and_function_named_is_there():
    for row in rows():
        for path in linked(row):
            assert (ROOT / path).is_file(), f"{row[0]}: {path}"
        for command in re.findall(r"`graphkit (\w+)", row[3]):
            assert command in COMMANDS, f"{row[0]}: graphkit {command}"
        for name in re.findall(r"`gk\.(\w+)", row[3]):
            assert hasattr(gk, name), f"{row[0]}: gk.{name}"


def test_every_option_named_is_one_of_its_command():
    for row in rows():
        for name, options in re.findall(r"`graphkit (\w+)([^`]*)`", row[3]):
            command = __import__(COMMANDS[name][0], fromlist=["command"]).command
            known = {spelling for parameter in command.params for spelling in parameter.opts}
            assert set(re.findall(r"--[\w-]+", options)) <= known, f"{row[0]}: graphkit {name}{options}"


def test_every_row_has_a_test_that_says_it_is_for_it():
    for row in rows():
        tests = [ROOT / path for path in linked(row) if path.startswith("tests/")]
        assert tests, f"{row[0]} links to no test"
        assert any(row[0] in marked(path) for path in tests), f"{row[0]}: no test in {linked(row)} is marked # {row[0]}"


def test_every_sample_named_is_run_by_a_test():
    told = (ROOT / "tests" / "samples" / "test_samples.py").read_text(encoding="utf-8")
    for row in rows():
        for path in linked(row):
            assert path.startswith("tests/") or f'tell("{Path(path).name}"' in told, f"{row[0]}: {path}"


def test_a_row_without_its_test_would_be_seen(tmp_path):
    held = "# R01, R02\n@mark\ndef test_a():\n    pass\n\n\n# R03\n\ndef test_b():\n    pass\n\n\ndef helper():  # R04\n    pass\n"
    (tmp_path / "test_x.py").write_text(held, encoding="utf-8")
    assert marked(tmp_path / "test_x.py") == {"R01", "R02"}

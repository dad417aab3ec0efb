"""Commands say what they do and are the library's functions: same name, same options, same defaults."""

import ast
import importlib
import inspect
import re
import shlex
from pathlib import Path

import click
import pytest

import graphkit as gk
import graphkit_cli.commands
from graphkit_cli.main import COMMANDS, GROUPS, cli
from graphkit_cli.render import Render

SHARED = {
    "prove",
    "model",
    "out",
    "external",
    "weights",
    "dry_run",
    "no_history",
    "as_json",
    "quiet",
    "verbose",
    "no_color",
}
NOT_A_COMMAND = {"suggest": "graphkit extract --suggest", "set_parts": "graphkit set"}
"""Operations in surgery/ that another command offers."""


FUNCTIONS = {"set": "set_parts"}
"""Commands whose function has another name: ``set`` is Python's own."""


def function_of(name):
    return getattr(gk, FUNCTIONS.get(name, name.replace("-", "_")))


def load(name):
    """The module, with its command as the group gives it to the user."""
    module = importlib.import_module(COMMANDS[name][0])
    assert cli.get_command(click.Context(cli), name) is module.command
    return module


def edits():
    """Commands that turn a model into a model."""
    writing = [name for name in COMMANDS if {"model", "out", "dry_run"} <= {p.name for p in load(name).command.params}]
    return [name for name in writing if name != "copy"]  # gk.save(gk.load(path), out): there is no edit


@pytest.mark.parametrize("name", COMMANDS)
def test_the_module_has_the_commands_name(name):
    assert COMMANDS[name][0] == f"graphkit_cli.commands.{name.replace('-', '_')}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_tables_line_is_the_first_line_of_the_help(name):
    assert COMMANDS[name][1] == inspect.cleandoc(load(name).command.help).splitlines()[0]


def test_help_shows_every_command_in_one_group_on_one_line():
    grouped = [name for names in GROUPS.values() for name in names.split()]
    assert len(grouped) == len(set(grouped))
    assert set(COMMANDS) <= set(grouped)
    with click.Context(cli, info_name="graphkit", terminal_width=80, max_content_width=80) as context:
        text = cli.get_help(context)
    assert max(map(len, text.splitlines())) <= 80
    for name, (_, line) in COMMANDS.items():
        assert f"  {name:<11}  {line}" in text.splitlines(), name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_works_and_every_option_has_a_text(name):
    command = load(name).command
    with click.Context(command, info_name=f"graphkit {name}") as context:
        text = command.get_help(context)
    assert text.startswith(f"Usage: graphkit {name}")
    assert "\\b" not in text
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert [o.opts for o in options if not (o.help or "").rstrip().endswith((".", ")", "]"))] == []


def examples(name):
    """The command lines that a command's help shows, each as one."""
    lines = re.sub(r"\\\n\s*", " ", load(name).command.help).splitlines()
    return [line.strip() for line in lines if line.strip().startswith(f"graphkit {name}")]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_two_examples_that_the_command_takes(name):
    shown = examples(name)
    assert len(shown) >= 2
    for line in shown:
        _, *arguments = shlex.split(line.partition(" | ")[0].partition(" > ")[0])
        with cli.make_context("graphkit", arguments, obj=Render()) as context:
            _, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
            command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_shared_options(name):
    assert {"as_json", "quiet", "verbose", "no_color"} <= {p.name for p in load(name).command.params}


def test_every_command_module_is_in_the_table(root):
    modules = {p.stem for p in (root / "cli" / "graphkit_cli" / "commands").glob("*.py")} - {"__init__"}
    assert modules == {name.replace("-", "_") for name in COMMANDS}


def test_every_operation_is_a_function_of_its_files_name_and_a_command(root):
    for path in sorted((root / "graphkit" / "surgery").glob("*.py")):
        if path.stem == "__init__":
            continue
        function = getattr(importlib.import_module(f"graphkit.surgery.{path.stem}"), path.stem, None)
        assert function is not None, f"{path.name} defines no function {path.stem}"
        assert getattr(gk, path.stem, None) is function, f"gk.{path.stem} is not {path.name}'s"
        assert path.stem in COMMANDS or path.stem in NOT_A_COMMAND, f"no command {path.stem}"


@pytest.mark.parametrize("name", edits())
def test_an_edits_options_are_the_functions_keywords(name):
    module = load(name)
    function = function_of(name)
    keywords = dict(list(inspect.signature(function).parameters.items())[1:])
    cli_only, python_only = differences(module)
    options = {p.name: p for p in module.command.params if p.name not in SHARED and p.name not in cli_only}
    assert set(options) == set(keywords) - set(python_only) - SHARED - {"progress"}
    given = module.command.make_context(name, [], resilient_parsing=True).params
    for option, parameter in options.items():
        default = keywords[option].default
        if default is inspect.Parameter.empty:
            assert parameter.required, f"--{option} is required by gk.{name}"
        else:
            assert (given[option] or None) == (default or None), f"default of --{option}"


def differences(module):
    """Options without a keyword and keywords without an option, each with the reason."""
    return getattr(module, "CLI_ONLY", {}), getattr(module, "PYTHON_ONLY", {})


@pytest.mark.parametrize("name", COMMANDS)
def test_a_difference_between_command_and_function_is_real_and_has_a_reason(name):
    module = load(name)
    cli_only, python_only = differences(module)
    if cli_only or python_only:
        keywords = set(inspect.signature(function_of(name)).parameters)
        assert set(cli_only) <= {p.name for p in module.command.params} - keywords
        assert set(python_only) <= keywords - {p.name for p in module.command.params}
        assert all(len(reason) > 10 for reason in (cli_only | python_only).values())


def test_no_command_drops_the_exit_code_of_what_it_saved():
    """``save_edited`` gives 1 where --prove did not succeed and nothing was written."""
    dropped = []
    for path in sorted(Path(graphkit_cli.commands.__path__[0]).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            called = node.value.func if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
            if isinstance(called, ast.Name) and called.id in ("save_edited", "save_merged"):
                dropped.append(f"{path.name}:{node.lineno}")
    assert not dropped

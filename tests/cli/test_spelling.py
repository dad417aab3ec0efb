"""Hints as options: the names that graphkit writes into hints exist as keywords and as options, and are quoted."""

import ast
import importlib
import inspect
import shlex
from pathlib import Path

import pytest

import graphkit as gk
from graphkit.hint import Argument, Blank, Hint, call
from graphkit_cli.main import COMMANDS
from graphkit_cli.spelling import COMMANDS as CALLED
from graphkit_cli.spelling import OFF, argument, command, spelt

ROOT = Path(gk.__file__).parent


def _calls():
    """Every ``Argument(...)``, ``Call(...)``, ``call(...)`` and ``look(...)`` of the library with a literal name."""
    for path in sorted(ROOT.rglob("*.py")):
        if path.name == "hint.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                if node.func.id in ("Argument", "Call", "call", "look", "bare") and isinstance(first, ast.Constant):
                    yield node.func.id, str(first.value), [k.arg for k in node.keywords], f"{path.name}:{node.lineno}"


def _options(name):
    found = importlib.import_module(COMMANDS[name][0]).command
    return {option for parameter in found.params for option in parameter.opts}


EVERY = set().union(*map(_options, COMMANDS)) | {"--no-history"}


@pytest.mark.parametrize(("kind", "name", "keywords", "place"), list(_calls()), ids=str)
def test_what_a_hint_names_exists_for_both_kinds_of_user(kind, name, keywords, place):
    if kind == "Argument":
        assert argument(name, False if name in OFF else "x").split()[0] in EVERY, place
        return
    assert set(keywords) <= inspect.signature(getattr(gk, name)).parameters.keys(), place
    options = _options(CALLED.get(name, name).split()[0])
    for keyword in keywords:
        spelling = argument(keyword, "x", name)
        assert not spelling or spelling.split()[0] in options, place


def test_a_hint_reads_as_a_command_line():
    hint = Hint("allow it: ", Argument("repair_shapes"), ", or ", call("dims", values={"x:0": Blank("NAME")}))
    assert spelt(hint) == "allow it: --repair-shapes, or graphkit dims MODEL OUT --set x:0=NAME"
    assert spelt("plain") == "plain"
    assert argument("map", {"a": "1", "b": "0"}) == "--map a=1 --map b=0"
    assert argument("optimize", False) == "--no-optimize"


@pytest.mark.parametrize("name", ["x$(touch RAN)", "it's; d", "`id`", 'a"b', "a b", "\x1b[2J", "*", "~/x", "a\nb"])
def test_every_name_in_a_hint_is_one_word_for_the_shell(name):
    spelling = command("freeze", (("values", {name: Blank("VALUE")}),), ("model", "MODEL OUT"))
    assert shlex.split(spelling) == ["graphkit", "freeze", "MODEL", "OUT", "--set", f"{name}=VALUE"]

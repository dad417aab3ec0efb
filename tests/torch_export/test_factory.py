"""``package.module:factory``: what a user can get wrong, and what the message says about it."""

from __future__ import annotations

import sys

import pytest

import graphkit as gk

pytest.importorskip("torch")

SOURCE = """
import torch

LINEAR = torch.nn.Linear(3, 2)
SIZES = [1, 2]

def module_only():
    return LINEAR

def with_args():
    return LINEAR, (torch.ones(1, 3),)

def with_one_tensor():
    return LINEAR, torch.ones(1, 3)

def with_kwargs():
    return LINEAR, (), {"input": torch.ones(1, 3)}

def the_class():
    return torch.nn.ReLU

def nothing():
    return None

def bare_arguments():
    return LINEAR, 7

def raises():
    sizes = [3]
    return torch.nn.Linear(3, sizes[1])

def needs_argument(width):
    return torch.nn.Linear(3, width)
"""


@pytest.fixture
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_nets.py").write_text(SOURCE)
    (tmp_path / "broken_nets.py").write_text("import surely_not_there\n")
    (tmp_path / "failing_nets.py").write_text("x = 1\nraise RuntimeError('half done')\n")
    yield tmp_path
    for name in ("my_nets", "failing_nets"):
        sys.modules.pop(name, None)


def test_each_form_of_a_factory_gives_a_subject(nets):
    assert gk.load_factory("my_nets:module_only").args is None
    assert gk.load_factory("my_nets:LINEAR").module.out_features == 2
    assert gk.load_factory("my_nets:with_args").args[0].shape == (1, 3)
    assert gk.load_factory("my_nets:with_one_tensor").args[0].shape == (1, 3)
    subject = gk.load_factory("my_nets:with_kwargs")
    assert subject.args == ()
    assert list(subject.kwargs) == ["input"]


def test_the_import_path_is_as_before(nets):
    before = list(sys.path)
    gk.load_factory("my_nets:with_args")
    assert sys.path == before


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("my_nets", "write package.module:factory"),
        ("my_nets.py:with_args", "write package.module:factory"),
        ("my_nest:with_args", "did you mean 'my_nets'?"),
        ("broken_nets:net", "it needs the module 'surely_not_there'"),
        ("failing_nets:net", "RuntimeError: half done, at failing_nets.py:2"),
        ("my_nets:with_arg", "did you mean 'with_args'"),
        ("my_nets:SIZES", "is a list, no factory"),
        ("my_nets:the_class", "gave the class ReLU"),
        ("my_nets:nothing", "gave None, no torch module"),
        ("my_nets:bare_arguments", "gave arguments of type int; a tuple is needed"),
        ("my_nets:raises", "IndexError: list index out of range, at my_nets.py:30 (in raises)"),
        ("my_nets:needs_argument", "missing 1 required positional argument: 'width'"),
    ],
)
def test_what_is_wrong_is_said(nets, reference, says):
    with pytest.raises(gk.FactoryError) as caught:
        gk.load_factory(reference)
    assert says in str(caught.value)
    assert caught.value.reference == reference

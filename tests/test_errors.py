"""The tree of errors: every one survives a journey to another process, and its hint says the same in two languages."""

import copy
import inspect
import pickle

import pytest

import graphkit as gk
from graphkit import errors
from graphkit.hint import Argument, Blank, Call, Hint, call, joined, look

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.GraphkitError) and kind.__module__ == "graphkit.errors"
]

GIVEN = {
    "kind": "value",
    "name": "x\x1b",
    "known": ["x1", "x2"],
    "package": "numpy",
    "extra": "gpu",
    "purpose": "this",
    "installed": "1",
    "lowest": "2",
    "reference": "a:b",
    "message": "what went wrong",
    "path": "m.onnx",
    "offset": 7,
    "location": "w.bin",
    "missing": ["a"],
    "suggestion": ["b"],
    "names": ["n"],
    "details": "torch's words",
    "reason": "it is torn",
    "faults": ["r.toml:1:1: no step"],
    "step": 3,
    "failed": ["2 nodes, not 1"],
    "address": "tcp://localhost:1",
}
HINT = Hint("feed it: ", Argument("feeds", {"x": Blank("VALUE")}))


def made(kind):
    """An error of this kind with every field given."""
    wanted = inspect.signature(kind).parameters
    given = {name: GIVEN[name] for name in wanted if name in GIVEN}
    return kind(**given, **({"hint": HINT} if "hint" in wanted else {}))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("journey", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])  # noqa: S301
def test_every_error_survives_copies_and_pickles_with_all_its_fields(kind, journey):
    error = made(kind)
    error.add_note("seen on the way")
    again = journey(error)
    assert type(again) is kind
    assert vars(again) == vars(error)
    assert str(again) == str(error)
    assert again.args == error.args
    assert getattr(again.hint, "parts", None) == getattr(error.hint, "parts", None)


def test_a_missing_extra_still_is_an_import_error_with_its_message():
    again = pickle.loads(pickle.dumps(made(errors.MissingExtraError)))  # noqa: S301
    assert again.msg == again.message


def test_the_tree_in_the_docstring_names_every_error():
    assert all(kind.__name__ in errors.__doc__ for kind in KINDS)
    assert len(KINDS) >= 20


def test_a_hint_reads_as_python():
    assert Hint("allow it: ", Argument("repair_shapes")) == "allow it: repair_shapes=True"
    assert str(HINT) == "feed it: feeds={'x': VALUE}"
    assert Hint(call("opset", to=17)) == "graphkit.opset(model, to=17)"
    assert Hint(look("probe")) == "graphkit.probe(model)"
    assert Hint("a ", Hint("b ", Argument("fold"))).parts == ("a ", "b ", Argument("fold"))
    assert joined("; ", ["a", HINT]).parts[-1] == Argument("feeds", {"x": "VALUE"})


def test_a_hint_is_a_text_like_any_other():
    assert isinstance(HINT, str)
    assert gk.to_json({"hint": HINT}, indent=None) == '{"hint": "feed it: feeds={\'x\': VALUE}"}'
    assert isinstance(copy.deepcopy(HINT), Hint)
    assert Hint(Call("validate", (), ("candidate", "CANDIDATE"))) == "graphkit.validate(candidate)"

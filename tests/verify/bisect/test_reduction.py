"""reduce_model: the smallest part on which a user's own check still fails."""

import json
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import pytest

import graphkit as gk
from onnx_text import parse
from oracle import run_ort


def chain(*operators):
    body = "\n".join(f"v{place + 1} = {op}(v{place})" for place, op in enumerate(operators))
    return parse(f"g (float[2] v0) => (float[2] v{len(operators)}) {{ {body} }}")


def lacks(*operators):
    """A check that fails where all of some operators are there."""

    def check(part):
        onnx.checker.check_model(part.proto, full_check=True)
        run_ort(part, {value.name: np.ones(2, np.float32) for value in part.inputs})
        return not {node.op_type for node in part.nodes}.issuperset(operators)

    return check


OPERATORS = ["Neg", "Exp", "Relu", "Sin"] * 10


@pytest.mark.parametrize("places", [[0], [39], [17], [3, 30], [0, 20, 39]])
def test_what_is_left_is_what_it_takes(places):
    kinds = ["Tanh", "Abs", "Sigmoid"][: len(places)]
    operators = list(OPERATORS)
    for place, kind in zip(places, kinds, strict=True):
        operators[place] = kind
    model = chain(*operators)
    found = gk.reduce_model(model, lacks(*kinds))
    assert not found
    assert sorted(found.nodes) == sorted(f"{kind} 'v{place + 1}'" for place, kind in zip(places, kinds, strict=True))
    assert found.inputs == tuple(f"v{place}" for place in places)
    assert found.before == 40
    assert found.runs < 60
    assert [node.op_type for node in found.model.nodes] == kinds


def test_branches_bodies_and_weights_come_along():
    model = parse(
        "g (bool c, float[2] x) => (float[2] y) { a = Exp(x) b = Mul(a, w) d = Neg(x) "
        "z = If(c) <then_branch = t () => (float[2] u) { u = Add(b, d) }, else_branch = e () => (float[2] v) { v = Abs(b) }> y = Sin(z) }",
        w=[1, 2],
    )
    found = gk.reduce_model(model, lambda part: "If" not in [node.op_type for node in part.nodes])
    assert (found.nodes, found.inputs, found.outputs) == (("If 'z'",), ("c", "b", "d"), ("z",))
    found = gk.reduce_model(model, lambda part: not part.proto.graph.initializer)
    assert found.nodes == ("Mul 'b'",)


def test_a_check_that_raises_fails_and_one_that_holds_has_nothing_to_find():
    def check(part):
        if "Sin" in [node.op_type for node in part.nodes]:
            raise RuntimeError("no kernel for Sin")
        return True

    found = gk.reduce_model(chain("Neg", "Sin", "Exp"), check)
    assert (found.nodes, found.said) == (("Sin 'v2'",), "RuntimeError: no kernel for Sin")
    assert gk.reduce_model(chain("Neg"), check)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files lie; empty again when the test is over."""
    kept = tmp_path / "temporary"
    kept.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(kept))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not list(kept.iterdir())


def test_a_command_counts_by_its_exit_code(folder):
    """On Sin it ends with 3, and on Neg alone with 4: that is another failure."""
    command = "sh -c 'grep -q Sin {} && echo there is a Sin && exit 3; grep -q Neg {} && exit 4; exit 0'"
    found = gk.reduce_model(chain("Exp", "Neg", "Sin", "Neg", "Abs"), command)
    assert (found.nodes, found.code, found.said) == (("Sin 'v3'",), 3, "there is a Sin")
    assert gk.text(found).startswith("FAILS: sh -c")
    assert json.loads(gk.to_json(found))["outputs"] == ["v3"]
    paths = gk.save_repro(found, "smallest")
    assert [node.op_type for node in onnx.load(paths[0]).graph.node] == ["Sin"]
    assert subprocess.run([sys.executable, paths[1]], check=False, stdout=subprocess.DEVNULL).returncode == 3


def test_the_file_comes_last_where_the_command_does_not_say_where(folder):
    found = gk.reduce_model(chain("Exp", "Sin"), ["sh", "-c", '! grep -q Sin "$1"', "check"])
    assert found.nodes == ("Sin 'v2'",)


def test_a_command_that_runs_too_long_is_stopped_with_what_it_started(folder):
    began = time.monotonic()
    command = "sh -c 'grep -q Sin {} && { sleep 60 & wait; }; exit 0'"
    found = gk.reduce_model(chain("Exp", "Sin"), command, timeout=0.5)
    assert (found.nodes, found.code) == (("Sin 'v2'",), None)
    assert "runs past the time limit" in gk.text(found)
    assert time.monotonic() - began < 20


def test_what_cannot_be_is_refused(folder):
    with pytest.raises(gk.GraphkitError, match="'nonesuch' cannot be started"):
        gk.reduce_model(chain("Exp"), "nonesuch {}")
    with pytest.raises(ValueError, match="no command"):
        gk.reduce_model(chain("Exp"), "")
    with pytest.raises(ValueError, match="above 0"):
        gk.reduce_model(chain("Exp"), "true", timeout=0)
    with pytest.raises(gk.SaveError, match="does not fail"):
        gk.save_repro(gk.reduce_model(chain("Exp"), "true"), "nothing")

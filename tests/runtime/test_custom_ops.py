"""Libraries of custom operators: whatever runs a model loads them where it is asked to."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

import graphkit as gk
from custom_operator import MODEL, build_library
from graphkit_cli.main import main
from onnx_text import parse
from oracle import assert_same

X = np.array([[1.0, -2.0, 3.0]], np.float32)
Y = {"y": np.array([[-3.0, -2.0, -5.0]], np.float32)}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build_library(tmp_path_factory.mktemp("library"))


@pytest.fixture
def model():
    return parse(MODEL, imports='"shop" : 1')


@pytest.fixture
def other(model):
    """The same, with another offset."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    changed.graph.node[1].attribute[0].f = 3
    return changed


@pytest.fixture
def saved(model, other, tmp_path):
    onnx.save(model, tmp_path / "model.onnx")
    onnx.save(other, tmp_path / "other.onnx")
    return tmp_path


def test_without_its_library_a_custom_operator_is_refused_and_the_hint_names_the_argument(model):
    with pytest.raises(gk.SessionError, match=r"shop:Offset.*\n.*custom_ops=\[LIBRARY\]"):
        gk.run(model, {"x": X})


def test_sessions_and_runs_compute_what_the_library_does(library, model):
    for libraries in (library, str(library), [library, library]):
        assert_same(gk.run(model, {"x": X}, custom_ops=libraries), Y)
    assert_same(gk.session(model, custom_ops=library).run({"x": X}), Y)
    with pytest.warns(gk.GraphkitWarning, match="no type is known for 'b'"):
        inner = gk.run(model, {"x": X}, outputs=["b"], custom_ops=library)
    assert_same(inner, {"b": np.array([[3, 2, 5]], np.float32)})
    with pytest.raises(gk.SessionError, match="shop:Offset"):
        gk.session(model)  # the library is forgotten after each call


def test_check_and_probe_load_the_library(library, model):
    assert not gk.check(model)
    assert gk.check(model, custom_ops=library)
    assert gk.probe(model, [{"x": (5, 3)}], custom_ops=library)[0].outputs == {"y": (5, 3)}


def test_validate_and_bisect_tell_the_right_operator_from_a_wrong_one(library, model, other, tmp_path):
    assert gk.validate(model, against=model, custom_ops=library)
    assert not gk.validate(other, against=model, custom_ops=library)
    assert not gk.bisect(model, against=model, custom_ops=library).diverges
    for isolate in (False, True):
        found = gk.bisect(other, against=model, isolate=isolate, custom_ops=library)
        assert (found.first.value, found.first.introduces) == ("b", True)
    script = gk.save_repro(found, tmp_path / "repro")[-1]
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("max abs error 1.0")


def test_bench_measures_it_and_its_memory_in_another_process(library, model):
    found = gk.bench(model, custom_ops=library, runs=1, profile=True, optimizations=["all"])
    assert {row.operator for row in found.profiles[0].operators} == {"Relu", "Offset", "Neg"}
    assert bool(found.memory) == os.path.exists("/proc/self/status")


def test_an_edit_of_such_a_model_is_proved(library, model):
    edited = gk.rename(model, values={"x": "image"})
    assert gk.prove(edited, model, custom_ops=library)
    assert gk.prove(edited, model).verdict == "unproved"


def test_stages_of_a_split_model_run_with_the_library(library, model, tmp_path):
    gk.split(model, at=["a"]).save(tmp_path / "stages")
    assert_same(gk.run(tmp_path / "stages", {"x": X}, custom_ops=library), Y)


def test_a_library_that_cannot_be_loaded_is_said_with_its_path(model, tmp_path):
    bad = tmp_path / "bad.so"
    with pytest.raises(gk.SessionError, match=r"there is no library of custom operators .*bad\.so"):
        gk.run(model, custom_ops=bad)
    bad.write_text("no library")
    for job in (gk.session, gk.check, lambda m, custom_ops: gk.validate(m, against=m, custom_ops=custom_ops)):
        with pytest.raises(gk.SessionError, match=r"bad\.so cannot be loaded"):
            job(model, custom_ops=bad)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["run", "model.onnx", "--feed", "x=[[1,2,3]]"], 0),
        (["check", "model.onnx"], 0),
        (["validate", "model.onnx", "--against", "model.onnx"], 0),
        (["bisect", "other.onnx", "--against", "model.onnx", "--isolate"], 1),
        (["bench", "model.onnx", "--runs", "1", "--no-memory"], 0),
        (["probe", "model.onnx", "--shape", "x=4,3"], 0),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)
def test_every_command_that_runs_models_takes_the_option(library, saved, monkeypatch, capsys, words, code):
    monkeypatch.chdir(saved)
    assert main([*words, "--custom-ops", str(library)]) == code
    assert main(words) == (1 if words[0] == "check" else 3)
    assert words[0] == "check" or "--custom-ops LIBRARY" in capsys.readouterr().err


def test_many_models_are_checked_with_the_library_by_workers(library, saved, capsys):
    (saved / "models.txt").write_text("model.onnx\nother.onnx\n")
    arguments = ["check", "--list", str(saved / "models.txt"), "--custom-ops", str(library), "--jobs", "2", "--json"]
    assert main(arguments) == 0
    assert [row["answer"] for row in json.loads(capsys.readouterr().out)["outcomes"]] == [True, True]


def test_the_environment_names_libraries_for_whatever_runs_a_model(library, saved, monkeypatch, capsys):
    arguments = ["rename", str(saved / "model.onnx"), str(saved / "out.onnx"), "--value", "x=image", "--prove"]
    assert main(arguments) == 1
    monkeypatch.setenv("GRAPHKIT_CUSTOM_OPS", str(library))
    assert main(arguments) == 0
    assert_same(gk.run(saved / "out.onnx", {"image": X}), Y)

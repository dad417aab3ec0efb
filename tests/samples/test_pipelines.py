"""The pipelines of samples/: each runs as its first lines say, and fails where it should."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest

import forked
import graphkit as gk

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "samples"
PIPELINES = SAMPLES / "pipelines"

NET = """<ir_version: 9, opset_import: ["" : 18]>
net (float[1, 3, 4, 4] x) => (float[1, 2] y) <int64[2] flat = {1, 2}> {
  [conv] c = Conv(x, w)
  [act] r = Relu(c)
  [same] i = Identity(r)
  [pool] p = GlobalAveragePool(i)
  [shape] f = Reshape(p, flat)
  [soft] y = Softmax<axis = 1>(f)
}"""


@pytest.fixture
def net(tmp_path):
    model = onnx.parser.parse_model(NET)
    weights = np.random.default_rng(0).standard_normal((2, 3, 3, 3), dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    path = tmp_path / "net.onnx"
    onnx.save(model, path)
    return path


def run(*command, cwd=None, expected=0):
    path = f"{forked.commands()}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout + done.stderr


X = np.random.default_rng(1).standard_normal((1, 3, 4, 4), dtype=np.float32)


@pytest.mark.parametrize("name", sorted(path.name for path in (SAMPLES / "recipes").glob("*.toml")))
def test_a_recipe_does_what_its_first_line_says(net, name):
    made = gk.Recipe.load(SAMPLES / "recipes" / name).apply(net)
    before = gk.run(net, {"x": X})["y"]
    after = gk.run(made, {made.inputs[0].name: X})
    if name == "nodes.toml":
        np.testing.assert_array_equal(after["y"], np.clip(before, 0.0, 0.9))
    elif name == "precision.toml":
        np.testing.assert_allclose(after["y"], before, atol=2e-3)
        assert made.tensor("w").data_type == onnx.TensorProto.FLOAT16
    else:
        np.testing.assert_array_equal(after["scores" if "scores" in after else "y"], before)


def test_the_recipe_of_a_release_fits_any_batch_and_keeps_the_metadata(net):
    made = gk.Recipe.load(SAMPLES / "recipes" / "release.toml").apply(net)
    assert gk.run(made, {"image": np.concatenate([X, X])})["scores"].shape == (2, 2)
    assert {entry.key: entry.value for entry in made.proto.metadata_props}["release"] == "2.0"


def test_the_ci_job_exports_patches_proves_and_compares_with_the_release(tmp_path):
    pytest.importorskip("torch")
    run("bash", PIPELINES / "ci.sh", tmp_path / "build")
    assert "1 done" in (tmp_path / "build" / "patch.md").read_text()
    released = tmp_path / "released.onnx"
    shutil.copy(tmp_path / "build" / "patched.onnx", released)
    proto = onnx.load(released)
    bias = next(t for t in proto.graph.initializer if t.dims == [4])
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1), bias.name))
    onnx.save(proto, released)
    with pytest.raises(AssertionError, match="MISMATCH"):
        run("bash", PIPELINES / "ci.sh", tmp_path / "build", released)
    assert bias.name in (tmp_path / "build" / "diff.txt").read_text()


def test_the_hook_lets_good_files_through_and_stops_bad_ones(net, tmp_path):
    hook = PIPELINES / "pre_commit.py"
    plain = tmp_path / "other.toml"
    plain.write_text("[tool]\nx = 1\n", encoding="utf-8")
    run("python", hook, net, SAMPLES / "recipes" / "shapes.toml", plain, "README.md")
    broken = onnx.load(net)
    broken.graph.node[1].input[0] = "nobody"
    onnx.save(broken, tmp_path / "broken.onnx")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[step]]\ndo = "renam"\n', encoding="utf-8")
    told = run("python", hook, net, tmp_path / "broken.onnx", wrong, expected=1)
    assert "nobody" in told
    assert "did you mean 'rename'" in told


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_patches_what_is_newer_and_checks_it(net, tmp_path):
    (tmp_path / "exported").mkdir()
    for name in "ab":
        shutil.copy(net, tmp_path / "exported" / f"{name}.onnx")
    make = ("make", "-f", PIPELINES / "Makefile", f"RECIPE={PIPELINES / 'patch.toml'}")
    told = run(*make, "check", cwd=tmp_path)
    assert "2 models: 2 done" in told
    assert [v.name for v in gk.load(tmp_path / "patched" / "b.onnx").inputs] == ["image"]
    os.utime(tmp_path / "exported" / "a.onnx", (4e9, 4e9))
    again = run(*make, cwd=tmp_path)
    assert "a.onnx" in again
    assert "b.onnx" not in again


def test_a_teams_own_suite_runs_with_the_fixtures(tmp_path):
    pytest.importorskip("torch")
    command = ("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tmp_path)
    assert "1 passed" in run(*command, PIPELINES / "suite", cwd=tmp_path)


def test_a_training_script_patches_its_own_export(tmp_path):
    pytest.importorskip("torch")
    told = run("python", PIPELINES / "train.py", tmp_path)
    assert "step 20: loss" in told
    assert [v.name for v in gk.load(tmp_path / "patched.onnx").inputs] == ["image"]

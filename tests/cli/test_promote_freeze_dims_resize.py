"""promote, freeze, dims and resize from the shell: what they write, what they say, what they refuse."""

import json

import numpy as np
import onnx
import pytest

from oracle import assert_same, run_ort


@pytest.fixture
def folder(tmp_path, monkeypatch, chain):
    """The working directory, with the models and arrays that the commands below name."""
    texts = {
        "up": """g (float[1,3,4,4] x) => (float[1,3,8,8] y) <float[4] s = {1,1,2,2}>
            { [up] u = Resize<mode="linear">(x,, s)  y = Relu(u) }""",
        "loud": """g (float[1,3,4,4] x, float[1,3,8,8] skip) => (float[1,3,8,8] y) <float[4] s = {1,1,2,2}>
            { u = Resize<mode="linear">(x,, s)  [join] y = Add(u, skip) }""",
        "flat": "g (float[1,3,4,4] x) => (float[1,48] y) <int64[2] t = {1,48}> { [flatten] y = Reshape(x, t) }",
        "clip": "g (float[3] x) => (float[3] y) { [c] y = LeakyRelu<alpha=0.5>(x) }",
        "batch": "g (float[n] x, int64 batch_factor) => (float[n] y) { f = Cast<to=1>(batch_factor)  y = Mul(x, f) }",
        "shared": "g (float[3] x) => (float[3] y) <float[3] c = {1,2,3}> { [a] h = Add(x, c)  [b] y = Mul(h, c) }",
    }
    for name, text in texts.items():
        onnx.save(
            onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}'), tmp_path / f"{name}.onnx"
        )
    function = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18, "my" : 1]> g (float[1,1,2,2] x) => (float[a,b,c,d] y) { y = my.up(x) }
        <domain: "my", opset_import: ["" : 18]> up (v) => (r) { s = Constant<value_floats=[1.0,1.0,2.0,2.0]>() r = Resize(v,, s) }"""
    )
    onnx.save(function, tmp_path / "function.onnx")
    trained = onnx.load(tmp_path / "shared.onnx")
    trained.training_info.add().update_binding.add(key="c", value="c2")
    onnx.save(trained, tmp_path / "trained.onnx")
    np.save(tmp_path / "five.npy", np.array(5))
    np.save(tmp_path / "three.npy", np.ones(3, np.float32))
    (tmp_path / "text.npy").write_text("no array", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_resize_and_run(graphkit, folder):
    code, out, err = graphkit("resize", "up.onnx", "out.onnx")
    assert (code, out.splitlines()[-1].endswith("x, factor -> y")) == (0, True)
    assert "'factor' sets 'up', which was 2 x 2" in err
    x = np.random.default_rng(0).random((1, 3, 4, 4), dtype=np.float32)
    assert run_ort("out.onnx", {"x": x, "factor": np.array([3, 2], np.float32)})["y"].shape == (1, 3, 12, 8)


def test_what_breaks_is_a_warning_on_stderr_and_the_file_is_written(graphkit, folder):
    code, _, err = graphkit("resize", "loud.onnx", "out.onnx")
    assert code == 0
    assert "warning: Add 'join' joins values whose sizes match now only" in err
    assert (folder / "out.onnx").exists()


def test_promote_under_another_name_for_one_reader(graphkit, folder):
    code, out, err = graphkit("promote", "shared.onnx", "out.onnx", "--tensor", "c=shift", "--only", "a", "--json")
    assert code == 0
    assert json.loads(out)["inputs"] == ["x", "shift"]
    assert "'c' stays a constant for 'b'" in err
    ones = np.ones(3, np.float32)
    assert_same(run_ort("out.onnx", {"x": ones, "shift": ones}), {"y": 2 * np.array([1, 2, 3], np.float32)})


@pytest.mark.parametrize("value", ["5", "@five.npy"])
def test_freeze_and_promote_again(graphkit, folder, value):
    assert graphkit("freeze", "batch.onnx", "frozen.onnx", "--set", f"batch_factor={value}").code == 0
    assert_same(run_ort("frozen.onnx", {"x": np.ones(2, np.float32)}), {"y": np.full(2, 5, np.float32)})
    assert graphkit("promote", "frozen.onnx", "again.onnx", "--tensor", "batch_factor").code == 0
    again, before = onnx.load("again.onnx"), onnx.load("batch.onnx")
    del again.metadata_props[:]  # the history
    assert again == before


def test_freeze_folds(graphkit, folder):
    code, _, err = graphkit("freeze", "batch.onnx", "out.onnx", "--set", "batch_factor=3", "--fold")
    assert (code, "1 node was computed beforehand" in err) == (0, True)
    assert [node.op_type for node in onnx.load("out.onnx").graph.node] == ["Mul"]


def test_dims_frees_a_size_names_the_constant_and_repairs_it(graphkit, folder):
    code, _, err = graphkit("dims", "flat.onnx", "out.onnx", "--set", "x:2=h")
    assert code == 0
    assert "warning: Reshape 'flatten' has the fixed target [1, 48] (constant 't')" in err
    code, _, err = graphkit("dims", "flat.onnx", "out.onnx", "--set", "x:2=h", "--repair-shapes")
    assert (code, "warning" in err) == (0, False)
    assert run_ort("out.onnx", {"x": np.zeros((1, 3, 7, 4), np.float32)})["y"].shape == (1, 84)


REFUSED = {
    "no Resize": ("resize chain.onnx out.onnx", ["no Resize"]),
    "no such node": ("resize up.onnx out.onnx --node upp", ["'upp'", "did you mean 'up'?"]),
    "an input name in use": ("resize up.onnx out.onnx --input-name u", ["'u'", "--input-name"]),
    "a Resize inside of a function": ("resize function.onnx out.onnx", ["function", "inline"]),
    "promote what a node computes": ("promote chain.onnx out.onnx --tensor hidden", ["no constant", "Relu"]),
    "promote what is not there": ("promote chain.onnx out.onnx --tensor bais", ["'bais'", "did you mean 'bias'?"]),
    "promote an input": ("promote chain.onnx out.onnx --tensor x", ["an input of the model already"]),
    "promote under a name in use": ("promote chain.onnx out.onnx --tensor bias=hidden", ["'hidden'"]),
    "promote for a node that does not read it": (
        "promote shared.onnx out.onnx --tensor c --only z",
        ["reader of 'c'", "'z'"],
    ),
    "promote inside of a function": ("promote function.onnx out.onnx --tensor s", ["inside of the function 'up'"]),
    "promote what training updates": ("promote trained.onnx out.onnx --tensor c", ["training"]),
    "promote an attribute that never is an input": (
        "promote clip.onnx out.onnx --tensor c:alpha",
        ["no version of LeakyRelu"],
    ),
    "freeze what is no input": ("freeze batch.onnx out.onnx --set batchfactor=2", ["did you mean 'batch_factor'?"]),
    "freeze to another type": ("freeze batch.onnx out.onnx --set batch_factor=2.5", ["does not fit", "int64"]),
    "freeze to another shape": ("freeze batch.onnx out.onnx --set batch_factor=2,3", ["was given int64[2]"]),
    "freeze to another dtype": ("freeze batch.onnx out.onnx --set batch_factor=@three.npy", ["float32", "astype"]),
    "freeze to a file that is not there": ("freeze batch.onnx out.onnx --set x=@missing.npy", ["missing.npy"]),
    "freeze to a file that is no array": ("freeze batch.onnx out.onnx --set x=@text.npy", ["text.npy"]),
    "dims of what is not there": ("dims chain.onnx out.onnx --set z:0=n", ["'z'"]),
    "dims beyond the rank": ("dims chain.onnx out.onnx --set x:2=n", ["2 axes"]),
    "dims below zero": ("dims chain.onnx out.onnx --set x:0=-1", ["-1"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_3_names_the_cause_and_leaves_no_file(graphkit, folder, case):
    line, said = REFUSED[case]
    before = sorted(folder.iterdir())
    code, out, err = graphkit(*line.split())
    assert (code, out) == (3, ""), err
    assert err.startswith("graphkit: error: ")
    assert [text for text in said if text not in err] == [], err
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    "line",
    [
        "resize up.onnx out.onnx --as sizes --relative",
        "resize up.onnx out.onnx --as sizes --semantics scales",
        "resize up.onnx out.onnx --as height",
        "promote shared.onnx out.onnx",
        "promote shared.onnx out.onnx --tensor c=",
        "freeze batch.onnx out.onnx --set batch_factor",
        "dims chain.onnx out.onnx --set x:0",
    ],
)
def test_a_command_line_that_makes_no_sense_is_2(graphkit, folder, line):
    code, out, _ = graphkit(*line.split())
    assert (code, out) == (2, "")
    assert not (folder / "out.onnx").exists()

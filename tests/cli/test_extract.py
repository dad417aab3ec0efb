"""graphkit extract: exit codes, messages, what is written, and suggestions that can be run as they are printed."""

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import onnx
import pytest

from oracle import assert_same, run_ort

X = np.array([[1, -2, 3]], np.float32)

NET = """<ir_version: 8, opset_import: ["": 17, "custom": 1]>
net (float[N, 3] x, float[N, 3] z) => (float[N, 3] y) <float[3] w = {1, 2, 3}>
{
  [first] a = Mul(x, w)
  [join] b = Add(a, z)
  [left] c = Relu(b)
  [right] d = Neg(b)
  [last] y = Add(c, d)
}"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model, and with one that has a custom operator in it."""
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(NET), tmp_path / "net.onnx")
    onnx.save(onnx.parser.parse_model(NET.replace("Mul(x, w)", "custom.Foo(x, w)")), tmp_path / "custom.onnx")
    module = onnx.parser.parse_model(NET)
    for node, name in zip(
        module.graph.node, ("/Mul", "/block/Add", "/block/act/Relu", "/block/Neg", "/Add"), strict=True
    ):
        node.name = name
    onnx.save(module, tmp_path / "modules.onnx")
    return tmp_path


def names(values):
    return [v.name for v in values]


def test_by_values(graphkit, here) -> None:
    code, out, err = graphkit(
        "extract", "net.onnx", "out.onnx", "--input", "a", "--input", "z", "--output", "c", "--output", "b"
    )
    assert (code, err) == (0, "")
    assert out.startswith("wrote out.onnx: ")
    assert "2 nodes, a, z -> c, b" in out
    assert_same(run_ort(here / "out.onnx", {"a": X, "z": X}), {"c": np.maximum(2 * X, 0), "b": 2 * X})


def test_without_inputs_and_without_outputs(graphkit, here) -> None:
    assert graphkit("extract", "net.onnx", "out.onnx", "--output", "a").code == 0
    assert names(onnx.load("out.onnx").graph.input) == ["x"]
    assert graphkit("extract", "net.onnx", "out.onnx", "--input", "b").code == 0
    assert names(onnx.load("out.onnx").graph.output) == ["y"]


def test_by_module(graphkit, here) -> None:
    assert graphkit("extract", "modules.onnx", "out.onnx", "--module", "block").code == 0
    graph = onnx.load("out.onnx").graph
    assert (names(graph.input), names(graph.output)) == (["a", "z"], ["c", "d"])


def test_by_node_and_around_it(graphkit, here) -> None:
    assert graphkit("extract", "net.onnx", "out.onnx", "--node", "left").code == 0
    assert names(onnx.load("out.onnx").graph.node) == ["left"]
    assert graphkit("extract", "net.onnx", "out.onnx", "--node", "left", "--hops", "1").code == 0
    assert names(onnx.load("out.onnx").graph.node) == ["join", "left", "last"]
    assert graphkit("extract", "net.onnx", "out.onnx", "--node", "left", "--node", "first").code == 0
    assert names(onnx.load("out.onnx").graph.node) == ["first", "left"]


def test_dry_run_writes_nothing(graphkit, here) -> None:
    before = sorted(here.iterdir())
    code, out, _ = graphkit("extract", "net.onnx", "out.onnx", "--input", "b", "--dry-run")
    assert (code, out) == (0, "would write out.onnx: 3 nodes, b -> y\n")
    assert sorted(here.iterdir()) == before


def test_json(graphkit, here) -> None:
    code, out, err = graphkit("extract", "net.onnx", "out.onnx", "--input", "b", "--output", "y", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["path"] == "out.onnx"
    assert report["size"] == (here / "out.onnx").stat().st_size
    assert (report["operation"], report["inputs"], report["outputs"], report["nodes"]) == ("extract", ["b"], ["y"], 3)


def test_an_idle_input_is_a_warning_on_stderr(graphkit, here) -> None:
    code, out, err = graphkit("extract", "net.onnx", "out.onnx", "--input", "b", "--input", "x", "--output", "c")
    assert code == 0
    assert "no output needs the input 'x'" in err
    assert "warning" in err
    assert "no output needs" not in out
    assert names(onnx.load("out.onnx").graph.input) == ["b", "x"]


def test_what_was_left_out_is_said(graphkit, here) -> None:
    model = onnx.load("net.onnx")
    training = model.training_info.add()
    training.algorithm.name = "step"
    training.update_binding.add(key="w", value="w")
    onnx.save(model, "net.onnx")
    code, _, err = graphkit("extract", "net.onnx", "out.onnx", "--input", "b")
    assert code == 0
    assert "training_info was left out: it needs 'w'" in err


def test_external_data_and_overlays(graphkit, here) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N, 256] x) => (float[N, 256] y) { a = MatMul(x, w) y = Neg(a) }'
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.eye(256, dtype=np.float32), "w"))
    onnx.save(model, "big.onnx")
    for options in (["--external", "w.data"], ["--weights", "keep"]):
        assert graphkit("extract", "big.onnx", "out.onnx", "--output", "a", *options).code == 0
        assert (here / "out.onnx").stat().st_size < 1000
        x = np.ones((1, 256), np.float32)
        assert_same(run_ort(here / "out.onnx", {"x": x}), {"a": x})
    assert graphkit("extract", "big.onnx", "o.onnx", "--output", "a", "--external", "w", "--weights", "keep").code == 2


# --- types that nobody knows


def test_a_type_is_asked_for_and_taken_for_inputs_and_outputs(graphkit, here) -> None:
    code, out, err = graphkit(
        "extract", "custom.onnx", "out.onnx", "--input", "a", "--input", "z", "--output", "a", "--output", "c"
    )
    assert (code, out) == (3, "")
    assert "the type of 'a', 'c' is neither in the file nor can it be inferred" in err
    assert "--input-type 'a=float32[1,3,n]'" in err
    assert not (here / "out.onnx").exists()
    line = [
        "extract",
        "custom.onnx",
        "out.onnx",
        "--input",
        "a",
        "--input",
        "z",
        "--output",
        "c",
        "--input-type",
        "a=float32[N,3]",
    ]
    assert graphkit(*line).code == 0
    assert_same(run_ort(here / "out.onnx", {"a": X, "z": X}), {"c": np.maximum(2 * X, 0)})
    line = ["extract", "custom.onnx", "out.onnx", "--input", "x", "--output", "a", "--input-type", "a=seq(float32[?])"]
    assert graphkit(*line).code == 0
    assert onnx.load("out.onnx").graph.output[0].type.WhichOneof("value") == "sequence_type"


def test_the_help_says_that_outputs_have_types_too(graphkit) -> None:
    code, out, _ = graphkit("extract", "--help")
    assert code == 0
    assert "Type of an input, an output or a value between" in " ".join(out.split())


# --- suggestions


SUGGESTIONS = [
    ("net.onnx", ["--output", "y"], (["b"], ["y"])),
    ("net.onnx", [], (["b"], ["y"])),
    ("net.onnx", ["--output", "a", "--output", "y"], (["x", "z"], ["a", "y"])),
    ("net.onnx", ["--input", "c"], (["c", "d"], ["y"])),
    ("net.onnx", ["--input", "x", "--input", "b", "--output", "c"], (["b"], ["c"])),
    ("net.onnx", ["--node", "left"], (["b"], ["c"])),
    ("net.onnx", ["--node", "left", "--hops", "1"], (["a", "z", "d"], ["b", "y"])),
    ("modules.onnx", ["--module", "block.act"], (["b"], ["c"])),
    ("modules.onnx", ["--module", ""], (["x", "z"], ["y"])),
    ("custom.onnx", ["--output", "c", "--input-type", "b=float32[N,3]"], (["b"], ["c"])),
    ("custom.onnx", ["--node", "join", "--input-type", "a=float32[N,3]"], (["a", "z"], ["b"])),
]


@pytest.mark.parametrize(("model", "options", "expected"), SUGGESTIONS)
def test_the_suggestion_is_a_command_that_runs(graphkit, here, model, options, expected) -> None:
    code, out, err = graphkit("extract", model, "--suggest", *options)
    assert (code, err) == (0, "")
    assert not (here / "OUT.onnx").exists()
    lines = out.splitlines()
    words = shlex.split(lines[-1])
    assert words[:4] == ["graphkit", "extract", model, "OUT.onnx"]
    if model == "custom.onnx":
        assert graphkit(*words[1:]).code == (0 if "b=float32[N,3]" in words or "a=float32[N,3]" in words else 3)
    else:
        ran = graphkit(*words[1:])
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith("wrote OUT.onnx")
    graph = onnx.load("OUT.onnx").graph
    assert (names(graph.input), names(graph.output)) == expected
    assert f"{len(graph.node)} of 5 nodes" in lines[0]
    assert [line.split()[1].rstrip(":") for line in lines if line.startswith("input ")] == expected[0]
    if model == "net.onnx":
        feeds = dict.fromkeys(expected[0], X)
        assert list(run_ort(here / "OUT.onnx", feeds)) == expected[1]


def test_the_suggestion_runs_as_a_shell_takes_it(graphkit, here) -> None:
    line = graphkit("extract", "net.onnx", "--suggest", "--node", "left").out.splitlines()[-1]
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    ran = subprocess.run(
        ["sh", "-c", line], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("wrote OUT.onnx: ")
    assert names(onnx.load("OUT.onnx").graph.node) == ["left"]


def test_the_suggestion_says_which_types_are_still_to_be_given(graphkit, here) -> None:
    code, out, _ = graphkit("extract", "custom.onnx", "--suggest", "--output", "c")
    assert code == 0
    assert "input  b: unknown" in out
    assert "the type of b is not known: add --input-type b=TYPE" in out
    assert "the type of c is not known" in out


def test_the_suggestion_as_json(graphkit, here) -> None:
    code, out, _ = graphkit("extract", "net.onnx", "--suggest", "--output", "y", "--json")
    assert code == 0
    assert json.loads(out) == {
        "inputs": ["b"],
        "outputs": ["y"],
        "input_types": ["float32[N,3]"],
        "nodes": 3,
        "weight_bytes": 0,
        "of_nodes": 5,
        "untyped": [],
    }


def test_names_that_the_shell_would_take_apart(graphkit, here) -> None:
    model = onnx.load("net.onnx")
    for node in model.graph.node:
        for places in (node.input, node.output):
            places[:] = ["it's $b; c" if name == "d" else name for name in places]
    onnx.save(model, "it's.onnx")
    out = graphkit("extract", "it's.onnx", "--suggest", "--input", "c").out
    assert graphkit(*shlex.split(out.splitlines()[-1])[1:]).code == 0
    assert names(onnx.load("OUT.onnx").graph.input) == ["c", "it's $b; c"]
    err = graphkit("extract", "it's.onnx", "out.onnx", "--input", "c").err
    assert shlex.split(err.partition("close the cut with ")[2]) == ["--input", "it's $b; c"]


# --- refusals


REFUSED = {
    "an open cut": (
        ["--input", "c", "--output", "y"],
        ["the inputs 'c' do not determine 'y'", "missing is 'd'", "'x', 'z'", "--input d"],
    ),
    "no such value": (["--output", "yy"], ["no value named 'yy'"]),
    "no such node": (["--node", "lefft"], ["no node named 'lefft'", "did you mean 'left'?"]),
    "no such module": (["--module", "block"], ["no module named 'block'", "does not say which torch module"]),
    "twice the same input": (["--input", "a", "--input", "a"], ["the input 'a' is given 2 times"]),
    "twice the same output": (["--output", "y", "--output", "y"], ["the output 'y' is given 2 times"]),
    "a type for no value": (["--output", "y", "--input-type", "q=float32"], ["no value named 'q'"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_3_and_leaves_no_file(graphkit, here, case) -> None:
    options, said = REFUSED[case]
    before = sorted(here.iterdir())
    code, out, err = graphkit("extract", "net.onnx", "out.onnx", *options)
    assert (code, out) == (3, ""), err
    assert err.startswith("graphkit: error: ")
    for words in said:
        assert words in err
    assert sorted(here.iterdir()) == before


USAGE = {
    "nothing to cut": ["net.onnx", "out.onnx"],
    "two ways": ["net.onnx", "out.onnx", "--output", "y", "--node", "left"],
    "hops without a node": ["net.onnx", "out.onnx", "--output", "y", "--hops", "1"],
    "hops below 0": ["net.onnx", "out.onnx", "--node", "left", "--hops", "-1"],
    "no target": ["net.onnx", "--output", "y"],
    "a target for a suggestion": ["net.onnx", "out.onnx", "--suggest"],
    "a type without a name": ["net.onnx", "out.onnx", "--output", "y", "--input-type", "float32[1]"],
    "a type that is none": ["net.onnx", "out.onnx", "--output", "y", "--input-type", "x=floaty[1]"],
    "a type that is none, for a suggestion": ["net.onnx", "--suggest", "--input-type", "x=float32["],
    "two types for one value": [
        "net.onnx",
        "out.onnx",
        "--output",
        "y",
        "--input-type",
        "x=float32",
        "--input-type",
        "x=int64",
    ],
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_usage_is_2(graphkit, here, case) -> None:
    before = sorted(here.iterdir())
    code, out, err = graphkit("extract", *USAGE[case])
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    assert sorted(here.iterdir()) == before


def test_a_file_that_was_there_survives_a_refusal(graphkit, here) -> None:
    (here / "out.onnx").write_bytes(b"precious")
    assert graphkit("extract", "net.onnx", "out.onnx", "--input", "c").code == 3
    assert (here / "out.onnx").read_bytes() == b"precious"


def test_over_the_model_itself(graphkit, here) -> None:
    assert graphkit("extract", "net.onnx", "net.onnx", "--input", "b").code == 0
    assert names(onnx.load("net.onnx").graph.input) == ["b"]


def test_an_overlay_says_which_file_must_stay_as_it_is(graphkit, here) -> None:
    weight = np.arange(60000, dtype=np.float32).reshape(20000, 3)
    model = onnx.parser.parse_model(NET)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, here / "large.onnx")
    code, out, err = graphkit("extract", "large.onnx", "over.onnx", "--output", "a", "--weights", "keep")
    assert (code, err) == (0, "")
    assert f"refers to the weights in {here / 'large.onnx'}, which must stay as it is" in out
    assert (here / "over.onnx").stat().st_size < 2000

"""graphkit run and graphkit validate: exit codes, what is printed, what is written."""

import json
import re

import numpy as np
import onnx
import pytest

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = {
        "scaled": "g (float[n,3] x, float[1] factor) => (float[n,3] y) { y = Mul(x, factor) }",
        "baked": "g (float[n,3] x) => (float[n,3] y) <float[1] k = {2.0}> { y = Mul(x, k) }",
        "wrong": "g (float[n,3] x) => (float[n,3] y) <float[1] k = {2.1}> { y = Mul(x, k) }",
        "swapped": "g (float[n,3] x) => (float[n,3] z, float[n,3] y) <float[1] k = {2.0}> { y = Mul(x, k)\n z = Neg(x) }",
    }
    for name, text in texts.items():
        onnx.save(onnx.parser.parse_model(f"{HEAD} {text}"), f"{name}.onnx")
    (tmp_path / "modules.py").write_text(
        "import torch\n"
        "class M(torch.nn.Module):\n"
        "    factor = 2.0\n"
        "    def forward(self, x):\n"
        "        return x * self.factor\n"
        "class R(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        raise RuntimeError('not today')\n"
    )
    return tmp_path


def test_run_shows_and_saves(graphkit, models):
    np.savez("x.npz", x=np.ones((2, 3), np.float32), other=np.zeros((1, 3), np.float32))
    ran = graphkit("run", "scaled.onnx", "--feed", "x=@x.npz", "--feed", "factor=2.5", "--save", "o.npz")
    assert ran.code == 0
    assert re.search(r"^y +float32\[2,3\] +2\.5 +2\.5 +2\.5", ran.out, re.MULTILINE)
    assert np.load("o.npz")["y"].tolist() == [[2.5] * 3] * 2
    ran = graphkit("run", "scaled.onnx", "--feed", "x=@x.npz:other", "--feed", "factor=2.5", "--json")
    answer = json.loads(ran.out)
    assert answer["providers"] == ["CPUExecutionProvider"]
    assert answer["outputs"]["y"]["values"] == [[0.0] * 3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--feed", "x=random"], "no feed for 'factor'"),
        (["--feed", "x=random", "--feed", "facto=1"], "did you mean 'factor'"),
        (["--feed", "x=random", "--feed", "factor=1,2"], "axis 0 is 2 and must be 1"),
        (["--feed", "x=@no.npy", "--feed", "factor=1"], "does not exist"),
        (["--feed", "x=random", "--feed", "factor=1", "--output", "z"], "no value named 'z'"),
        (["--feed", "x=random", "--feed", "factor=1", "--save", "o.tar"], ".tar"),
    ],
)
def test_run_says_what_is_wrong_and_writes_nothing(graphkit, models, arguments, words):
    ran = graphkit("run", "scaled.onnx", *arguments)
    assert ran.code == 3
    assert words in ran.err
    assert not list(models.glob("o.*"))


def test_run_wants_name_and_value(graphkit, models):
    assert graphkit("run", "scaled.onnx", "--feed", "x").code == 2
    assert graphkit("run", "scaled.onnx", "--feed", "x=1", "--feed", "x=2").code == 2


TRT = ["--provider", "tensorrt", "--trt-fp16", "--trt-profile"]


# R53
@pytest.mark.parametrize("name", ["run", "validate"])
@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--trt-fp16"], 2, "--trt-... options go with --provider tensorrt"),
        ([*TRT, "x=2x3"], 2, "a profile is MIN:OPT:MAX"),
        ([*TRT, "x=4x3:2x3:1x3"], 2, "must have one rank and grow"),
        ([*TRT, "y=1x3:2x3:8x3"], 3, "'y'"),
        ([*TRT, "x=1x4:2x4:8x4"], 3, "does not fit the input 'x'"),
        ([*TRT, "x=1x3:2x3:8x3"], 3, "device 'tensorrt' was asked for and cannot be used"),
    ],
)
def test_what_tensorrt_is_told(graphkit, models, monkeypatch, name, options, code, words):
    monkeypatch.setattr("graphkit.runtime.providers.tensorrt_problem", lambda: "libnvinfer.so.10 is not here")
    more = ["--feed", "x=random"] if name == "run" else ["--against", "baked.onnx"]
    ran = graphkit(name, "baked.onnx", *more, *options)
    assert (ran.code, ran.out) == (code, "")
    assert words in ran.err
    if "cannot be used" in words:
        assert "libnvinfer.so.10 is not here" in ran.err
        assert "hint: pip install tensorrt==10.*" in ran.err


def test_validate_answers_with_its_exit_code(graphkit, models):
    ran = graphkit("validate", "baked.onnx", "--against", "baked.onnx")
    assert ran.code == 0
    assert ran.out.startswith("MATCH")
    ran = graphkit("validate", "wrong.onnx", "--against", "baked.onnx", "--bind", "n=1,4", "--html", "r.html")
    assert ran.code == 1
    assert ran.out.startswith("MISMATCH")
    page = (models / "r.html").read_text()
    assert "mismatch" in page
    assert not re.search(r"(src|href)\s*=|@import|url\(|<script", page)
    ran = graphkit("validate", "wrong.onnx", "--against", "baked.onnx", "--json")
    answer = json.loads(ran.out)
    assert ran.code == 1
    assert answer["match"] is False
    assert answer["providers"] == ["CPUExecutionProvider"]
    assert answer["outputs"]["y"]["max_abs"] > 0.01
    assert 0.04 < answer["outputs"]["y"]["max_rel"] < 0.06
    assert graphkit("validate", "wrong.onnx", "--against", "baked.onnx", "--atol", "1").code == 0


def test_validate_against_a_factory(graphkit, models):
    pytest.importorskip("torch")
    map_it = ["--map", "factor=self.factor"]
    ran = graphkit(
        "validate", "scaled.onnx", "--torch", "modules:M", *map_it, "--feed", "factor=2", "--feed", "factor=2.5"
    )
    assert ran.code == 0, ran.err
    assert "2.5" in ran.out
    assert graphkit("validate", "wrong.onnx", "--torch", "modules:M").code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scaled.onnx", "--against", "baked.onnx"], "'factor'"),
        (["scaled.onnx", "--torch", "modules:M"], "--map factor="),
        (["baked.onnx", "--against", "scaled.onnx"], "needs inputs that the candidate"),
        (["baked.onnx", "--torch", "modules:R"], "not today"),
        (["baked.onnx", "--torch", "modules:Q"], "'Q'"),
        (["baked.onnx", "--torch", "nowhere:Q"], "nowhere"),
        (["swapped.onnx", "--against", "baked.onnx"], "'z'"),
        (["baked.onnx", "--against", "swapped.onnx"], "is missing"),
        (["baked.onnx", "--against", "baked.onnx", "--feed", "x=1,2"], "rank"),
        (["baked.onnx", "--against", "baked.onnx", "--bind", "m=1"], "'m'"),
        (["baked.onnx", "--against", "nowhere.onnx"], "nowhere.onnx"),
        (["nowhere.onnx", "--against", "baked.onnx"], "nowhere.onnx"),
    ],
)
def test_what_cannot_be_compared_is_exit_3_and_not_1(graphkit, models, arguments, words):
    if "--torch" in arguments:
        pytest.importorskip("torch")
    ran = graphkit("validate", *arguments, "--html", "r.html")
    assert (ran.code, words in ran.err) == (3, True), ran.err
    assert not (models / "r.html").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--against", "baked.onnx", "--torch", "modules:M"],
        ["--against", "baked.onnx", "--bind", "n=x"],
        ["--against", "baked.onnx", "--samples", "0"],
    ],
)
def test_a_wrong_command_line_is_exit_2(graphkit, models, arguments):
    assert graphkit("validate", "baked.onnx", *arguments).code == 2


def test_a_factor_is_mapped_to_the_scales_it_took_the_place_of(graphkit, models):
    text = """g (float[1,2,4,h] x) => (float[a,b,c,d] y) <float[4] scales = {1, 1, 2, 3}> { y = Resize<mode="linear">(x, , scales) }"""
    onnx.save(onnx.parser.parse_model(f"{HEAD} {text}"), "original.onnx")
    options = ("--against", "original.onnx", "--device", "cpu", "--map", "factor=scales")
    for form in ("factor", "scales", "sizes"):
        assert graphkit("resize", "original.onnx", f"{form}.onnx", "--as", form).code == 0
        ran = graphkit("validate", f"{form}.onnx", *options, "--json")
        assert (ran.code, json.loads(ran.out)["match"]) == (0, True), ran.err
    one = """g (float[1,2,4,h] x, float[1] factor) => (float[a,b,c,d] y) <float[3] one = {1, 1, 2}> {
        s = Concat<axis=0>(one, factor)
        y = Resize<mode="linear">(x, , s) }"""
    onnx.save(onnx.parser.parse_model(f"{HEAD} {one}"), "one.onnx")
    ran = graphkit("validate", "one.onnx", *options)
    assert ran.code == 3
    assert "cannot stand for 'scales'" in ran.err
    assert "--feed factor=" in ran.err

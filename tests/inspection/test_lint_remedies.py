"""Every command that lint prints is run, as printed, and its finding is gone."""

from __future__ import annotations

import importlib.resources
import json
import re
import shlex

import onnx
import pytest

import graphkit as gk
from graphkit_cli.main import main
from graphkit_cli.spelling import spelt

SCALES = "scales = Concat<axis = 0>(ones, factor, factor)"
VALUES = {"factor": "2", "axis": "1", "axes": "1", "k": "2", "depth": "4", "step": "2", "lead": "1"}


def net(body, inputs="float[1, 3, 8, 8] x", outputs="y", constants="float[2] ones = {1, 1}", opset=17):
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}, "mine": 1]> net ({inputs}) => ({outputs}) <{constants}> {{ {body} }}'
    )


CASES = {
    "computed-scales": (
        "resize-scales-constant",
        "8.6",
        net(
            f'{SCALES} y = Resize<mode = "linear">(x, , scales)',
            "float[1, 3, 8, 8] x, float[1] factor",
        ),
    ),
    "scales-of-sizes": (
        "resize-scales-constant",
        "8.6",
        net(
            "s = Shape(x) hw = Slice(s, two, four) h = Cast<to = 1>(hw) k = Div(target, h) scales = Concat<axis = 0>(ones, k) "
            'y = Resize<mode = "linear">(x, , scales)',
            "float[1, 3, h, w] x",
            constants="float[2] ones = {1, 1}, float[2] target = {16, 16}, int64[1] two = {2}, int64[1] four = {4}",
        ),
    ),
    "scales-of-both": (
        "resize-scales-constant",
        "8.6",
        net(
            "s = Shape(x) hw = Slice(s, two, four) h = Cast<to = 1>(hw) t = Mul(h, factor) k = Div(t, h) "
            'scales = Concat<axis = 0>(ones, k) y = Resize<mode = "linear">(x, , scales)',
            "float[1, 3, h, w] x, float[1] factor",
            constants="float[2] ones = {1, 1}, int64[1] two = {2}, int64[1] four = {4}",
        ),
    ),
    "axes-left-out": (
        "resize-scales-all-axes",
        None,
        net('y = Resize<mode = "linear", axes = [2, 3]>(x, , s)', "float[1, 3, 8, 8] x, float[2] s", opset=18),
    ),
    "empty-scales": (
        "resize-empty-scales",
        None,
        net(
            'y = Resize<mode = "linear">(x, none, none, sizes)',
            constants="float[0] none = {}, int64[4] sizes = {1, 3, 16, 16}",
            opset=11,
        ),
    ),
    "axes": ("constant-axes", None, net("y = ReduceSum(x, axes)", "float[1, 3, 8, 8] x, int64[1] axes")),
    "computed-axes": (
        "constant-axes",
        None,
        net("a = Add(axes, axes) y = ReduceSum(x, a)", "float[1, 3, 8, 8] x, int64[1] axes"),
    ),
    "slice": (
        "slice-constant-axes",
        "10.1",
        net(
            "y = Slice(x, one, two, axes)",
            "float[1, 3, 8, 8] x, int64[1] axes",
            constants="int64[1] one = {1}, int64[1] two = {2}",
        ),
    ),
    "cumsum": ("cumsum-constant-axis", None, net("y = CumSum(x, axis)", "float[1, 3, 8, 8] x, int64 axis")),
    "onehot": (
        "onehot-constant-depth",
        None,
        net("y = OneHot(i, depth, v)", "int64[3] i, int64 depth", constants="float[2] v = {0, 1}"),
    ),
    "topk": ("topk-constant-k", "8.5", net("y, i = TopK(x, k)", "float[1, 3, 8, 8] x, int64[1] k")),
    "stft": (
        "stft-constant",
        None,
        net(
            "y = STFT(x, step, , n)",
            "float[1, 16, 1] x, int64 step",
            constants="int64 n = {4}",
            outputs="float[a,b,c,d] y",
        ),
    ),
    "opset": ("opset", None, net("y = Relu(x)", opset=26)),
    "old-opset": ("opset", None, net("y = Relu(x)", opset=8)),
    "custom": ("custom-operator", None, net("y = mine.Twice(x)")),
}


def commands(remedy):
    """The alternatives of a remedy, each a list of commands."""
    parts = re.split(r", or [^:]*: ", remedy)
    return [[re.match(r"graphkit [^;]*?(?= writes |$)", one)[0] for one in part.split(", then ")] for part in parts]


@pytest.mark.parametrize("case", CASES)
def test_the_command_mends(case, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "FILE").write_text('<domain: "mine", opset_import: ["" : 17]> Twice (a) => (b) { b = Add(a, a) }')
    rule, version, model = CASES[case]
    (violation,) = [v for v in gk.lint(model, version=version).violations if v.rule == rule]
    for number, steps in enumerate(commands(spelt(violation.remedy))):
        onnx.save(model, "MODEL")
        for step in steps:
            text = re.sub(r"--set (\w+)=VALUE", lambda found: f"--set {found[1]}={VALUES[found[1]]}", step)
            words = shlex.split(text.replace("=SIZE", "=8"))
            assert main(words[1:]) == 0, (text, capsys.readouterr().err)
            (tmp_path / "OUT").rename(tmp_path / "MODEL")
        assert rule not in [v.rule for v in gk.lint("MODEL", version=version).violations], (number, steps)


def test_every_rule_with_a_command_has_a_case():
    book = json.loads((importlib.resources.files("graphkit.inspection") / "tensorrt.json").read_text(encoding="utf-8"))
    printing = {r["id"] for r in book["rules"] if re.search(r"'do'|\{constant\}", str(r.get("remedy", "")))}
    assert printing | {"opset", "custom-operator"} == {rule for rule, _, _ in CASES.values()}


@pytest.mark.parametrize(
    ("body", "rule", "says"),
    [
        ('y = Resize<mode = "cubic">(x, , s)', "resize-mode", "no command mends it: use mode 'bilinear'"),
        (
            "b = Cast<to = 9>(x) n = NonZero(b) y = Identity(n)",
            "operator-type",
            "no command mends it: cast to float32 before",
        ),
        ("y = Det(x)", "operator", "no command mends it: write it with other operators"),
        (
            "m = ReduceMax<keepdims = 0>(x) a = Cast<to = 7>(m) y = CumSum(x, a)",
            "cumsum-constant-axis",
            "no command mends it",
        ),
    ],
)
def test_where_no_command_mends_it_is_said(body, rule, says):
    model = net(body, constants="float[4] s = {1, 1, 2, 2}")
    assert {v.rule: v.remedy for v in gk.lint(model).violations}[rule].startswith(says)

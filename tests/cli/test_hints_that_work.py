"""What a refusal advises is done, by the words that it printed, and then the command goes through."""

import re
import shlex

import numpy as np
import onnx
import pytest

from onnx_text import parse

CONV = "g (float[1,3,8,8] x) => (float[1,4,8,8] y) { c = Conv<pads=[1,1,1,1]>(x, w) y = Relu(c) }"
WEIGHTS = {
    "conv": {"w": np.full((4, 3, 3, 3), 0.1, np.float32)},
    "unknown": {"w": np.full((4, 3, 3, 3), 0.1, np.float32)},
    "two": {"a": [1, 1, 2, 2], "b": [1, 1, 1.5, 1.5]},
}
NETS = {
    "conv": (CONV, {}),
    "sum": ("g (float[n,4] x, float[n,4] z) => (float[n,4] y) { s = Add(x, z) y = Relu(s) }", {}),
    "two": (
        (
            "g (float[1,2,4,4] x) => (float[1,2,8,8] y, float[1,2,6,6] v) "
            '{ y = Resize<mode="nearest">(x, , a) v = Resize<mode="linear">(x, , b) }'
        ),
        {},
    ),
    "late": ("g (float[1,3] x) => (float[1,3] y) { y = Gelu(x) }", {}),
    "early": ("g (float[1,3] x) => (float[1,3] y) { y = Softmax<axis=1>(x) }", {"opset": 9}),
    "unknown": (CONV.replace("Conv", "Conn"), {}),
    "half": ("g (float16[1,5] x) => (float16[1,5] y) { y = Softmax(x) }", {}),
    "twice": (
        "g (float[2] x) => (float[2] y) { t = loc.f(x) y = loc.f(t) }",
        {
            "imports": '"loc": 1',
            "functions": '<domain: "loc", opset_import: ["": 18]> f (a) => (b) { k = Constant<value = float {2.0}>() b = Mul(a, k) }',
        },
    ),
}


@pytest.fixture
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, (text, options) in NETS.items():
        model = parse(text, **options, **WEIGHTS.get(name, {}))
        for number, node in enumerate(model.graph.node):
            node.name = f"{node.op_type}_{number}"
        onnx.save(model, f"{name}.onnx")
    (tmp_path / "body.txt").write_text("(x, w) => (c) { c = Conv<pads=[1,1,1,1]>(x, w) }")
    return tmp_path


def hint_of(ran):
    found = re.search(r"hint: (.*)", ran.err)
    assert found, ran.err
    return found[1]


OPTIONS = [
    "extract sum.onnx out.onnx --input x --output y",
    "resize two.onnx out.onnx --keep-default",
]


@pytest.mark.parametrize("line", OPTIONS)
def test_an_option_that_a_hint_prints_is_what_was_missing(nets, graphkit, line):
    refused = graphkit(*shlex.split(line))
    assert refused.code == 3
    option = re.search(r"(--[a-z].*?)( or |$)", hint_of(refused))[1]
    assert graphkit(*shlex.split(f"{line} {option}")).code == 0


NAMES = [
    ("extract conv.onnx out.onnx --input {} --output y", "xx"),
    ("promote conv.onnx out.onnx --tensor {}", "ww"),
    ("promote twice.onnx out.onnx --tensor {}", "loc::f/k"),
    ("tap conv.onnx out.onnx --value {}", "cc"),
    ("remove late.onnx out.onnx --node {}", "Gel"),
    ("inline twice.onnx out.onnx --function {}", "loc.f"),
    ("rewrite conv.onnx out.onnx --rule {}", "silo"),
    ("precision conv.onnx out.onnx --to float16 --keep-op {}", "Con"),
    ("run conv.onnx --feed {}=random", "xx"),
]


@pytest.mark.parametrize(("line", "wrong"), NAMES)
def test_a_name_that_a_hint_asks_for_is_one(nets, graphkit, line, wrong):
    refused = graphkit(*shlex.split(line.format(wrong)))
    assert refused.code == 3
    name = re.match(r"did you mean '(.*?)'", hint_of(refused))[1]
    ran = graphkit(*shlex.split(line.format(name)))
    assert ran.code == 0 or (wrong == "loc::f/k" and "called 2 times" in ran.err)


COMMANDS = [
    ("promote twice.onnx out.onnx --tensor function:loc::f/k", "promote {} out.onnx --tensor k"),
    ("image early.onnx out.onnx --input x --from uint8", None),
    ("precision early.onnx out.onnx --to int8", "precision {} out.onnx --to int8"),
    ("run late.onnx", "run {}"),
    ("check late.onnx", "check {}"),
    ("remove sum.onnx out.onnx --input z", "run {}"),
    ("run unknown.onnx", "run {}"),
    ("check unknown.onnx", "check {}"),
    ("lint unknown.onnx", "check {}"),
]


@pytest.mark.parametrize(("line", "then"), COMMANDS)
def test_a_command_that_a_hint_prints_does_what_was_missing(nets, graphkit, line, then):
    pytest.importorskip("onnxruntime")
    refused = graphkit(*shlex.split(line))
    assert refused.code in (1, 3)
    said = " ".join((refused.err + refused.out).split())
    command = re.search(r"graphkit (\w+ MODEL OUT(?: --?[\w-]+ [\w=.]+)*)", said)[1]
    model = line.split()[1]
    command = command.replace("MODEL", model).replace("OUT", "mended.onnx").replace("FILE", "body.txt")
    assert graphkit(*shlex.split(command)).code == 0
    if then:
        assert graphkit(*shlex.split(then.format("mended.onnx"))).code == 0


NO_WAY = [
    "precision half.onnx out.onnx --to int8-weights",
    "precision half.onnx out.onnx --to int8-dynamic",
    "layout conv.onnx out.onnx --io x=-1",
]


@pytest.mark.parametrize("line", NO_WAY)
def test_where_nothing_helps_no_hint_is_printed(nets, graphkit, line):
    pytest.importorskip("onnxruntime")
    refused = graphkit(*shlex.split(line))
    assert refused.code == 3
    assert "hint" not in refused.err


def test_a_region_between_values_that_do_not_depend_on_each_other_is_refused_as_such(nets, graphkit):
    ran = graphkit("replace", "conv.onnx", "out.onnx", "--input", "y", "--output", "c", "--function", "relu")
    assert ran.code == 3
    assert "'c' does not depend on 'y'" in ran.err


def test_a_second_model_of_one_name_is_copied_under_another(nets, graphkit):
    refused = graphkit("merge", "out.onnx", "half.onnx", "half.onnx", "--connect", "half:y=half:x")
    assert refused.code == 3
    copied = shlex.split(re.search(r"cp \S+ \S+", hint_of(refused))[0])
    (nets / copied[2]).write_bytes((nets / copied[1]).read_bytes())
    assert graphkit("merge", "out.onnx", copied[1], copied[2], "--connect", "half:y=second:x").code == 0


def test_a_filter_without_a_resize_is_bad_usage(nets, graphkit):
    ran = graphkit("image", "conv.onnx", "out.onnx", "--input", "x", "--filter", "bicubic")
    assert ran.code == 2
    assert "--resize" in ran.err


def test_the_parser_of_onnx_is_quoted_as_text(nets, graphkit):
    ran = graphkit("insert", "conv.onnx", "out.onnx", "--at", "c", "--function", "(a) => (b) { b = Relu(a)")
    assert ran.code == 3
    assert "b'" not in ran.err
    assert "ParseError at position" in ran.err


def test_no_tolerance_is_called_needless_where_shapes_differ(nets, graphkit):
    pytest.importorskip("onnxruntime")
    onnx.save(
        parse("g (float[1,3] x) => (float[3] y) { a = Constant<value_ints=[3]>() y = Reshape(x, a) }"), "flat.onnx"
    )
    onnx.save(parse("g (float[1,3] x) => (float[1,3] y) { y = Identity(x) }"), "whole.onnx")
    ran = graphkit("validate", "flat.onnx", "--against", "whole.onnx")
    assert ran.code == 1
    assert "identical" not in ran.out

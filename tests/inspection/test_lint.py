"""TensorRT's documented limits, rule by rule; nothing here was tried on TensorRT itself."""

from __future__ import annotations

import importlib.resources
import json

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit_cli.spelling import spelt
from oracle import run_ort

RESIZE = """
<ir_version: 8, opset_import: ["": {opset}]>
net (float[1, 3, 8, 8] x {inputs}) => (float[n, c, h, w] y)
<{constants}>
{{ y = Resize<mode = "{mode}" {attributes}>(x, , scales {more}) }}
"""
FIXED = "float[4] scales = {1, 1, 2, 2}"


def resize(mode="linear", *, opset=17, fixed=True, attributes="", constants=None, more=""):
    text = RESIZE.format(
        mode=mode,
        opset=opset,
        inputs="" if fixed else ", float[4] scales",
        constants=constants or (FIXED if fixed else "float[1] unused = {0}"),
        attributes=attributes,
        more=more,
    )
    return onnx.parser.parse_model(text)


def rules(model, version=None):
    return {v.rule: v for v in gk.lint(model, version=version).violations}


def test_a_plain_model_is_within_the_limits():
    result = gk.lint(resize())
    assert (result.ok, result.violations, result.version) == (True, (), "10.15")


# R54
@pytest.mark.parametrize(
    ("model", "rule"),
    [
        (resize("cubic"), "resize-mode"),
        (resize(attributes=', coordinate_transformation_mode = "tf_crop_and_resize"'), "resize-coordinates"),
        (resize(opset=18, attributes=", antialias = 1"), "resize-antialias"),
        (resize(opset=18, attributes=', keep_aspect_ratio_policy = "not_larger"'), "resize-aspect-ratio"),
        (resize(opset=26), "opset"),
    ],
)
def test_each_limit_of_resize_is_named_with_its_source(model, rule):
    found = rules(model)
    assert list(found) == [rule]
    assert found[rule].severity == "error"
    assert "operators.md for TensorRT 10.15" in found[rule].source
    assert not gk.lint(model).ok


# R54
def test_computed_scales_are_a_limit_of_old_versions_and_freeze_mends_it():
    model = resize(fixed=False)
    assert rules(model) == {}
    violation = rules(model, "8.6")["resize-scales-constant"]
    assert "graphkit freeze MODEL OUT --set scales=VALUE" in spelt(violation.remedy)
    assert "2803" in violation.source
    frozen = gk.freeze(model, {"scales": [1.0, 1.0, 2.0, 2.0]})
    assert "resize-scales-constant" not in rules(frozen, "8.6")


def test_computed_scales_with_axes_have_to_name_all_axes():
    assert "resize-scales-all-axes" in rules(resize(opset=18, fixed=False, attributes=", axes = [2, 3]"))
    assert rules(resize(opset=18, fixed=False, attributes=", axes = [0, 1, 2, 3]")) == {}


def test_the_empty_scales_of_opset_11():
    text = """
    <ir_version: 8, opset_import: ["": 11]>
    net (float[1, 3, 8, 8] x) => (float[1, 3, 16, 16] y)
    <float[0] none = {}, int64[4] sizes = {1, 3, 16, 16}>
    { y = Resize<mode = "linear">(x, none, none, sizes) }
    """
    violation = rules(onnx.parser.parse_model(text))["resize-empty-scales"]
    assert spelt(violation.remedy) == "graphkit opset MODEL OUT --to 13"


OTHERS = """
<ir_version: 8, opset_import: ["": 17, "mine": 1]>
net (float[2, 3, 8] x, int64[1] k, int64 axis, double[2] d, bool c) => (y, s, i, u, z, q, o)
{
    y, i = MaxPool<kernel_shape = [2], dilations = [2]>(x)
    s = CumSum(x, axis)
    vals, idx = TopK<sorted = 0>(x, k)
    u = BitShift<direction = "LEFT">(k, k)
    z = mine.Special(x)
    b = Cast<to = 9>(x)
    q = Relu(b)
    o = If(c) <then_branch = t () => (m) { m = Det(x) }, else_branch = e () => (n) { n = Neg(axis) }>
}
"""


def test_other_rules_in_bodies_too():
    found = rules(onnx.parser.parse_model(OTHERS))
    assert set(found) == {
        "double-cast",
        "maxpool-indices",
        "pool-dilations",
        "pool-rank",
        "cumsum-constant-axis",
        "topk-sorted",
        "operator",
        "custom-operator",
        "operator-type",
    }
    assert found["operator"].message.endswith(("BitShift", "Det"))
    assert spelt(found["cumsum-constant-axis"].remedy) == "graphkit freeze MODEL OUT --set axis=VALUE"
    assert found["operator-type"].message == "Relu works on float32, float16, bfloat16, int32, int64, not on bool"
    assert found["double-cast"].severity == "note"
    old = rules(onnx.parser.parse_model(OTHERS), "8.5")
    assert {"int64-cast", "topk-constant-k"} <= set(old)


def test_operators_in_functions_and_their_bodies_have_to_exist():
    text = """
    <ir_version: 9, opset_import: ["": 18, "m": 1]>
    net (float[2] x) => (float[2] y) { y = m.f(x) }
    <domain: "m", opset_import: ["": 18]> f (a) => (c) { b = Nug(a) c = m.g(b) }
    <domain: "m", opset_import: ["": 18]> g (a) => (c) {
      t = Constant<value_int = 1>() k = Cast<to = 9>(t)
      c = If(k) <then_branch = p () => (o) { o = Gelu(a) }, else_branch = q () => (n) { n = Neg(a) }>
    }"""
    found = gk.lint(onnx.parser.parse_model(text))
    assert not found
    assert [(v.rule, v.node) for v in found.violations] == [("unknown-operator", "b"), ("unknown-operator", "o")]
    assert "did you mean Neg?" in found.violations[0].message
    assert "Gelu since version 20" in found.violations[1].message


def test_every_rule_has_a_source_and_a_known_check():
    from graphkit.inspection.lint import _CHECKS

    book = json.loads((importlib.resources.files("graphkit.inspection") / "tensorrt.json").read_text(encoding="utf-8"))
    names = [rule["id"] for rule in book["rules"]]
    assert len(names) == len(set(names))
    for rule in book["rules"]:
        assert rule["source"]
        assert rule["check"] in {*_CHECKS, "input-type"}
    known = set(gk.operators())
    for table in book["tables"]:
        listed = {*table["unsupported"], *(op for entry in table["types"] for op in entry["operators"])}
        assert listed <= known, listed - known


def test_an_unknown_target_or_version_is_the_callers_bug():
    with pytest.raises(ValueError, match="target is one of tensorrt"):
        gk.lint(resize(), "tensorflow")
    with pytest.raises(ValueError, match="is no version"):
        gk.lint(resize(), version="new")


DYNAMIC = """
<ir_version: 8, opset_import: ["": 17]>
net (float[n, 3, h, w] x, float[n, 2] y, float[4] z) => (float[n, 3, h, w] out)
{ out = Relu(x) }
"""


# R53
def test_the_trtexec_line_has_a_profile_for_what_varies():
    model = onnx.parser.parse_model(DYNAMIC)
    assert gk.lint(model).dynamic == {"x": "nx3xhxw", "y": "nx2"}
    ranges = {"h": (32, 64, 128), "w": (32, 64, 128)}
    with pytest.warns(gk.GraphkitWarning, match=r"no range is given for n: the line has 1:4:16"):
        line = gk.trtexec(model, "net.onnx", ranges=ranges, fp16=True)
    assert gk.trtexec(model, "net.onnx", ranges=ranges | {"n": (1, 4, 16)}, fp16=True) == line
    assert line == (
        "trtexec --onnx=net.onnx --saveEngine=net.engine --minShapes=x:1x3x32x32,y:1x2 "
        "--optShapes=x:4x3x64x64,y:4x2 --maxShapes=x:16x3x128x128,y:16x2 --fp16"
    )
    assert gk.trtexec(resize(), "a b.onnx") == "trtexec '--onnx=a b.onnx' '--saveEngine=a b.engine'"
    with pytest.raises(gk.FeedError, match="not in order"):
        gk.trtexec(model, ranges={"h": (3, 2, 1)})
    with pytest.raises(gk.FeedError, match="no input has a dim 'k'"):
        gk.trtexec(model, ranges={"k": (1, 2, 3)})


def test_a_factor_has_one_size_or_one_for_each_axis():
    model = gk.resize(resize())
    line = gk.trtexec(model, "net.onnx")
    assert line.endswith(" --minShapes=factor:1 --optShapes=factor:1 --maxShapes=factor:2")
    shape = (1, 3, 8, 8)
    for size in (1, 2):
        feeds = {"x": np.ones(shape, np.float32), "factor": np.full(size, 2, np.float32)}
        assert run_ort(model, feeds)["y"].shape == (1, 3, 16, 16)


def test_an_input_whose_values_decide_shapes_is_named():
    sizes = gk.resize(resize(), form="sizes")
    with pytest.warns(gk.GraphkitWarning, match="the values of input 'factor' decide shapes: add its smallest"):
        assert gk.trtexec(sizes, "net.onnx") == "trtexec --onnx=net.onnx --saveEngine=net.engine"


def test_the_text_names_rule_remedy_and_source():
    text = " ".join(gk.text(gk.lint(resize("cubic"))).split())
    assert "error: resize-mode at y: TensorRT resizes with nearest and linear only, not cubic" in text
    assert "source: onnx/onnx-tensorrt" in text
    assert "None was tried" in text

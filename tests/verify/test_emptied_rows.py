"""Masks that leave nothing of a row: random ones sometimes do, and what both sides make of such rows counts."""

import numpy as np
import onnx
import pytest

import graphkit as gk

NOTHING_LEFT = "mask 'm' leaves nothing of a row"


def model(nodes, kind="bool"):
    text = f"""<ir_version: 8, opset_import: ["": 18]> g ({kind}[b,s] m, float[b,s] x) => (float[b,s] y)
      <float zero = {{0.0}}, float one = {{1.0}}, float inf = {{1.0}}, float big = {{-1e9}}, float small = {{-1e4}}> {{ {nodes} }}"""
    made = onnx.parser.parse_model(text)
    made.graph.initializer[2].CopyFrom(onnx.numpy_helper.from_array(np.float32(-np.inf), "inf"))
    return made


def test_nan_on_both_sides_where_nothing_of_a_row_is_left_agrees_and_is_told(tmp_path):
    subject = model("s = Where(m, x, inf) y = Softmax(s)")
    report = gk.validate(subject, against=subject, save=tmp_path / "results.npz")
    assert report.match
    assert [sample.emptied for sample in report.samples] == [(), ("m",), ()]
    assert any(NOTHING_LEFT in note and "both sides give NaN" in note for note in report.notes)
    assert gk.validate_saved(tmp_path / "results.npz").match


@pytest.mark.parametrize("seed", range(3))
def test_an_attention_that_differs_on_such_rows_alone_is_found_and_the_rows_are_named(seed):
    safe = model("s = Where(m, x, inf) p = Softmax(s) n = IsNaN(p) y = Where(n, zero, p)")
    report = gk.validate(model("s = Where(m, x, inf) y = Softmax(s)"), against=safe, seed=seed)
    assert [sample.match for sample in report.samples] == [True, False, True]
    assert "NaN in other places" in report.outputs["y"].problem
    assert any(NOTHING_LEFT in doubt for doubt in report.doubts)


def test_nan_elsewhere_still_fails():
    text = "s = Where(m, x, inf) p = Softmax(s) q = Sub(inf, inf) y = Add(p, q)"
    report = gk.validate(model(text), against=model(text))
    assert [sample.match for sample in report.samples] == [False, True, False]


def test_where_rounding_of_masked_scores_decides_no_row_is_emptied():
    subject = model("a = Where(m, zero, small) s = Add(x, a) y = Softmax(s)")
    assert not any(sample.emptied for sample in gk.validate(subject, against=subject).samples)


def test_what_is_given_is_not_emptied():
    subject = model("s = Where(m, x, inf) y = Softmax(s)")
    mask = np.array([[True, False], [True, True]])
    assert not any(sample.emptied for sample in gk.validate(subject, against=subject, feeds={"m": mask}).samples)

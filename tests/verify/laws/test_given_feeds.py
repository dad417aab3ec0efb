"""prove with feeds that are given, with batches that no output names, and where onnx.reference is at its end."""

import numpy as np
import onnx
import pytest

import graphkit as gk

PRODUCT = """<ir_version: 8, opset_import: ["": 18]> g (float[2,2] x) => (float[2,2] y) <float[2,2] w = {1, 2, 3, 4}> {
  y = MatMul(x, w) }"""


def test_a_feed_for_an_input_that_stands_for_a_weight_is_that_weight_or_refused():
    model = onnx.parser.parse_model(PRODUCT)
    edited = gk.promote(model, {"w": "promoted"})
    x, weight = np.ones((2, 2), np.float32), np.array([[1, 2], [3, 4]], np.float32)
    assert gk.prove(edited, model, feeds={"x": x, "promoted": weight}).verdict == "proved"
    with pytest.raises(gk.FeedError, match="fed what it stands for"):
        gk.prove(edited, model, feeds={"x": x, "promoted": weight + 1})


TAKEN = """<ir_version: 8, opset_import: ["": 18]> g (float[1,4] x) => (float[1,4] y) <int64[1] at = {0}> {
  first = Gather <axis = 0> (x, at) y = Add(x, first) }"""


def test_samples_of_a_batch_that_is_called_one_are_stacked_whatever_the_output_says():
    model = onnx.parser.parse_model(TAKEN)
    with pytest.warns(gk.GraphkitWarning):
        edited = gk.dims(model, {"x:0": "batch"}, repair_shapes=True)
    for value in edited.proto.graph.output:
        value.type.tensor_type.shape.dim[0].Clear()
    proof = gk.prove(edited, model, replay=False)
    assert proof.verdict == "broken", gk.text(proof)
    assert "samples in one batch" in proof.laws[0].why


GATHERED = """<ir_version: 10, opset_import: ["": 20]> g (float[1,12] x, int64[1,12] at) => (float[1,12] y) {
  a = GatherElements <axis = 1> (x, at) y = Add(a, x) }"""


def test_what_onnx_reference_cannot_run_either_is_unproved_and_not_broken():
    model = onnx.parser.parse_model(GATHERED.replace("12", "70"))
    proof = gk.prove(gk.precision(model, to="bfloat16"), model)
    assert proof.verdict == "unproved", gk.text(proof)
    assert "no kernel" in proof.laws[0].why

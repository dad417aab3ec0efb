"""Indices of equal numbers: validate says that they are why the outputs differ, and only where they are."""

import numpy as np
import onnx
import pytest

import graphkit as gk

HEAD = '<ir_version: 8, opset_import: ["": 17]>'
FIRST = HEAD + " g (float[2,5] x) => (int64[2] i) { r = Relu(x) i = ArgMax<axis = 1, keepdims = 0>(r) }"
LAST = (
    HEAD
    + " g (float[2,5] x) => (int64[2] i) { r = Relu(x) i = ArgMax<axis = 1, keepdims = 0, select_last_index = 1>(r) }"
)
LEAST = HEAD + " g (float[2,5] x) => (int64[2] i) { r = Relu(x) i = ArgMin<axis = 1, keepdims = 0>(r) }"
X = np.array([[1, 3, 0, 3, 3], [2, 2, 2, 1, 0]], np.float32)


@pytest.mark.parametrize(("other", "tied"), [(LAST, True), (LEAST, False)])
def test_ties_are_told_from_a_fault(other, tied):
    first, second = (onnx.parser.parse_model(text) for text in (FIRST, other))
    report = gk.validate(first, against=second, feeds={"x": X}, samples=1)
    assert not report
    assert ("lead to equal numbers" in " ".join(report.doubts)) is tied

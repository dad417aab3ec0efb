"""A comparison that compared nothing says so."""

import onnx
import pytest

import graphkit as gk


def net(text):
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')


NEG = net("g (float[b,4] x) => (float[b,4] y, float[2] z) <float[2] c = {1.0, 2.0}> { y = Neg(x) z = Identity(c) }")


@pytest.mark.parametrize(("sizes", "runs"), [([0], "3 of 3"), ([0, 2], "3 of 6")])
def test_an_output_without_elements_is_named_in_a_note(sizes, runs):
    report = gk.validate(NEG, against=NEG, bind={"b": sizes}, device="cpu")
    said = [note for note in report.notes if "no elements" in note]
    assert said == [f"output 'y' has no elements in {runs} runs: nothing was compared there"]


def test_outputs_with_elements_need_no_note():
    report = gk.validate(NEG, against=NEG, device="cpu")
    assert not [note for note in report.notes if "no elements" in note]

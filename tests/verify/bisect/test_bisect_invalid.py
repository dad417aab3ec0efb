"""Models that contradict themselves: bisect refuses them before pieces of them end the process."""

import onnx
import pytest

import graphkit as gk

GOOD = """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Relu(x) }"""
CASES = {
    "a value made twice": (
        """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { y = Relu(x) y = Neg(x) }""",
        "'y' has two definitions",
    ),
    "an output that nothing makes": (
        """<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (float[2] y) { z = Relu(x) }""",
        "'y', which nothing",
    ),
    "scales for three of four axes": (
        """<ir_version: 3, opset_import: ["" : 7]> g (float[1,2,4,4] x) => (float[1,2,8,8] y) {
            y = Upsample <scales: floats = [1, 2, 2]>(x) }""",
        "3 scales or sizes for 4 axes",
    ),
    "a function that calls itself": (
        """<ir_version: 8, opset_import: ["" : 17, "f" : 1]> g (float[2] x) => (float[2] y) { y = f.F(x) }
        <domain: "f", opset_import: ["" : 17, "f" : 1]> F (a) => (b) { b = f.F(a) }""",
        "f::F calls f::F",
    ),
}


@pytest.mark.parametrize("swapped", [False, True], ids=["candidate", "reference"])
@pytest.mark.parametrize("case", CASES)
def test_a_model_that_contradicts_itself_is_refused(case, swapped):
    text, message = CASES[case]
    pair = [onnx.parser.parse_model(text), onnx.parser.parse_model(GOOD)]
    with pytest.raises(gk.InvalidGraphError, match=message):
        gk.bisect(pair[swapped], against=pair[not swapped], device="cpu")

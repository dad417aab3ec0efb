"""What users' suites import: each assertion passes where it should and fails where it should."""

import onnx
import pytest

import graphkit as gk

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 3] x) => (float[N, 3] y) { h = Relu(x)  y = Neg(h) }"""


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(onnx.parser.parse_model(TEXT), path)
    return path


def test_the_same_passes_and_another_fails_with_what_differs(model):
    gk.testing.assert_same(model, model)
    gk.testing.assert_same(gk.rename(model, values={"h": "hidden"}), str(model), samples=1)
    other = onnx.parser.parse_model(TEXT.replace("Relu", "Abs"))
    with pytest.raises(AssertionError, match="y"):
        gk.testing.assert_same(other, model)


def test_a_torch_module_is_a_reference_too(model):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.ReLU())
    with pytest.raises(AssertionError):
        gk.testing.assert_same(model, (net, (torch.ones(2, 3),)))


def test_what_is_valid_passes_and_what_is_not_fails_with_the_fault(model):
    gk.testing.assert_valid(model)
    broken = onnx.load(model)
    broken.graph.node[1].input[0] = "nobody"
    with pytest.raises(AssertionError, match="nobody"):
        gk.testing.assert_valid(broken)


def test_an_edit_is_proved_and_one_that_lies_is_not(model):
    edited = gk.rename(model, values={"x": "image"})
    gk.testing.assert_proved(edited, model)
    lying = gk.Model(
        onnx.parser.parse_model(
            TEXT.replace("Relu", "Abs").replace("float[N, 3] x", "float[N, 3] image").replace("(x)", "(image)")
        ),
        original=edited.original,
        steps=edited.history,
    )
    with pytest.raises(gk.MismatchError):
        gk.testing.assert_proved(lying, model)

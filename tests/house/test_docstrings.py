"""The docstring of each operation says its law and has an example, which is run on a small model."""

import ast
import doctest

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.operation import operation_of, operations

MODEL = """<ir_version: 10, opset_import: ["" : 20]>
g (float[1, 3, 8, 8] image, float[1, 3, 8, 8] x, bool mask, int64[2] ids, float[3] "input.1")
  => (float[1, 3, 8, 8] logits, float[1, 3, 16, 16] large, int64[2] kept, float[3] moved)
<float[3, 1, 1] bias = {0.5, -1.0, 2.0}, float[4] scales = {1, 1, 2, 2}> {
  [Add_0] a = Add(image, bias) [Add_1] b = Add(a, x) [relu_3] relu_3 = Relu(b) [Gelu_3] c = Gelu(relu_3)
  [If_0] d = If(mask) <then_branch = then () => (float[1, 3, 8, 8] t) { y = Neg(c) t = Abs(y) },
                       else_branch = other () => (float[1, 3, 8, 8] e) { e = Identity(c) }>
  [Dropout_7] f = Dropout(d) [Softmax_7] logits = Softmax <axis = -1> (f)
  [Resize_5] large = Resize <mode = "nearest"> (f, , scales)
  [Abs_8] kept = Abs(ids) [Neg_9] moved = Neg("input.1")
}"""

CUSTOM = """<ir_version: 10, opset_import: ["" : 20, "mine" : 1]>
g (float[2] x) => (float[2] y) { y = mine.Twice(x) }"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with model.onnx, which has all the names that the examples use, and custom.onnx."""
    model = onnx.parser.parse_model(MODEL.replace('"input.1"', "input_1"))
    for node in model.graph.node:
        node.input[:] = ["input.1" if name == "input_1" else name for name in node.input]
        if node.name in ("relu_3", "Gelu_3"):
            node.metadata_props.add(
                key="pkg.torch.onnx.name_scopes", value=str(["", "layers.0", f"layers.0.{node.name}", "x"])
            )
    model.graph.input[-1].name = "input.1"
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "model.onnx")
    onnx.save(onnx.parser.parse_model(CUSTOM), tmp_path / "custom.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def described(name):
    return operation_of(name).function.__doc__ or ""


@pytest.mark.parametrize("name", operations())
def test_the_docstring_of_an_operation_says_its_law_and_has_an_example(name):
    text = described(name)
    missing = [line for line in ("Changes:", "Scope:", "Cost:", "Law:", "Example:") if f"\n    {line}" not in text]
    assert not missing, name


class AnyRepr(doctest.OutputChecker):
    """What an example shows is held to its docstring; what it does not show may be anything."""

    def check_output(self, want, got, optionflags):
        return want == "" or super().check_output(want, got, optionflags)


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("name", operations())
def test_the_example_of_an_operation_runs(folder, name):
    globs = {"gk": gk, "np": np, "model": gk.load(folder / "model.onnx")}
    test = doctest.DocTestParser().get_doctest(described(name), globs, name, None, 0)
    for example in test.examples:
        ast.parse(example.source)
        example.options.pop(doctest.SKIP, None)  # help() shows them as examples for a model of one's own
    failures = []
    ran = doctest.DocTestRunner(checker=AnyRepr(), verbose=False).run(test, out=failures.append)
    assert ran.attempted, name
    assert not ran.failed, "".join(failures)

"""Each public function has an example, which is run on a small model; operations also say their law."""

import ast
import doctest
import inspect
import subprocess
import sys

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


FORMER = ("lint_text", "operators_text", "probe_text", "report_text", "summary_text")
"""Functions that warn and call another one."""

FUNCTIONS = [name for name in gk.__all__ if inspect.isfunction(getattr(gk, name)) and name not in FORMER]


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
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_function_runs(folder, name):
    globs = {"gk": gk, "np": np, "model": gk.load(folder / "model.onnx")}
    text = described(name) if name in operations() else inspect.getdoc(getattr(gk, name))
    assert "\nExample:" in text or "\n    Example:" in text, name
    test = doctest.DocTestParser().get_doctest(text, globs, name, None, 0)
    for example in test.examples:
        ast.parse(example.source)
        if name in operations():  # help() shows them as examples for a model of one's own
            example.options.pop(doctest.SKIP, None)
    failures = []
    ran = doctest.DocTestRunner(checker=AnyRepr(), verbose=False).run(test, out=failures.append)
    assert test.examples, name
    assert not ran.failed, "".join(failures)


def test_one_command_builds_the_reference_without_a_warning(tmp_path):
    pytest.importorskip("pdoc", reason="pdoc is not installed: pip install 'onnx-graphkit[docs]'")
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "pdoc",
        "-d",
        "google",
        "--no-show-source",
        "-o",
        tmp_path,
        "graphkit",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    page = (tmp_path / "graphkit.html").read_text()
    assert [name for name in gk.__all__ if f'id="{name}"' not in page] == []

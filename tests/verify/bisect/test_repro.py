"""The script of a reproduction: it runs on every type, and what a file says stays text in it."""

import ast
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk

NAMES = [
    'a"""; import os; os.system("touch RAN"); """',
    "a'''; import os; os.system('touch RAN'); '''",
    'a\\"""\nimport os\nos.system("touch RAN")\n"""',
    "{what} {0} {{}}",
    "\x1b]0;title\x07\u202eabc",
    "line\u2028import os",
]


def model(factor, name="mul", kind=TensorProto.FLOAT):
    k = onnx.helper.make_tensor("k", kind, [], [factor])
    node = helper.make_node("Mul", ["x", "k"], ["y"], name=name)
    value = [helper.make_tensor_value_info(n, kind, [4]) for n in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:], [k])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])


def run(folder):
    done = subprocess.run([sys.executable, "repro.py"], cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_code_stays_text(tmp_path, name):
    result = gk.bisect(model(3, name), against=model(2), feeds={"x": np.float32([1, 2, 3, 4])})
    gk.save_repro(result, tmp_path)
    text = (tmp_path / "repro.py").read_text()
    assert text.isascii()
    what = next(s.value for s in ast.parse(text).body if isinstance(s, ast.Assign) and s.targets[0].id == "WHAT")
    assert repr(name) in ast.literal_eval(what)
    assert run(tmp_path) == 4
    assert not (tmp_path / "RAN").exists()


def test_inputs_of_any_name_are_fed(tmp_path):
    def renamed(factor):
        proto = model(factor)
        proto.graph.input[0].name = proto.graph.node[0].input[0] = "allow_pickle"
        return proto

    gk.save_repro(gk.bisect(renamed(3), against=renamed(2), feeds={"allow_pickle": np.float32([1, 2, 3, 4])}), tmp_path)
    assert run(tmp_path) == 4


@pytest.mark.parametrize("kind", [TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN])
@pytest.mark.parametrize("way", ["in", "out"])
def test_types_that_numpy_lacks_are_fed_and_read(tmp_path, kind, way):
    """The node that is wrong is a Cast, from the type or to it; the reference negates beside it."""
    before, after = (kind, TensorProto.FLOAT) if way == "in" else (TensorProto.FLOAT, kind)

    def cast(*nodes):
        x = helper.make_tensor_value_info("x", before, [4])
        y = helper.make_tensor_value_info("y", after, [4])
        graph = helper.make_graph([helper.make_node(op, [i], [o], **kw) for op, i, o, kw in nodes], "g", [x], [y])
        return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 19)])

    if way == "in":
        reference = cast(("Cast", "x", "t", {"to": after}), ("Neg", "t", "y", {}))
    else:
        reference = cast(("Neg", "x", "t", {}), ("Cast", "t", "y", {"to": after}))
    feeds = {"x": numpy_helper.to_array(helper.make_tensor("x", before, [4], [1, 2, 3, 4]))}
    result = gk.bisect(cast(("Cast", "x", "y", {"to": after})), against=reference, feeds=feeds)
    gk.save_repro(result, tmp_path)
    assert run(tmp_path) == 8

"""Whoever writes over a file that is not the model is told so."""

import json

import onnx
import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = '<ir_version: 8, opset_import: ["": 18]> g (float[2] x) => (float[2] y) {{ y = {}(x) }}'
    for name, op in (("a", "Relu"), ("b", "Neg")):
        onnx.save(onnx.parser.parse_model(text.format(op)), f"{name}.onnx")
    return tmp_path


def test_a_second_model_that_a_pattern_named_is_said_to_be_replaced(graphkit, folder):
    """``graphkit dims *.onnx --set ...`` in a folder of two."""
    ran = graphkit("dims", "a.onnx", "b.onnx", "--set", "x:0=n", "--dry-run")
    assert "would replace b.onnx" in ran.out
    assert onnx.load("b.onnx").graph.node[0].op_type == "Neg"
    ran = graphkit("dims", "a.onnx", "b.onnx", "--set", "x:0=n")
    assert (ran.code, "replaced b.onnx, which was another file" in ran.out) == (0, True)
    assert json.loads(graphkit("dims", "a.onnx", "b.onnx", "--set", "x:0=n", "--json").out)["replaced"] is True


@pytest.mark.parametrize("out", ["a.onnx", "./a.onnx", "new.onnx", "link.onnx"])
def test_the_model_itself_and_a_new_file_are_no_other_file(graphkit, folder, out):
    (folder / "link.onnx").symlink_to("a.onnx")
    ran = graphkit("rename", "a.onnx", out, "--value", "x=z")
    assert (ran.code, "replace" in ran.out) == (0, False)

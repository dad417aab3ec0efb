"""The guides are true: what they say to run is run as it stands there."""

import os
import re
import subprocess

import numpy as np
import onnx
import pytest

import forked
import graphkit as gk
from graphkit_cli.commands.guide import topics

NET = """<ir_version: 8, opset_import: ["" : 18]>
g (float[1, 3, 8, 8] image) => (float[1, 4] scores)
<float[1] scale = {0.5}, int64[2] flat = {1, 8}, int64[2] axes = {2, 3}> {
  [scaled] x = Mul(image, scale)
  [conv] c = Conv<pads = [1, 1, 1, 1]>(x, w, b)
  [act] r = Relu(c)
  [pool] p = ReduceMean<keepdims = 0>(r, axes)
  [flatten] features = Reshape(p, flat)
  [head] scores = Gemm(features, v, z)
}"""

TWICE = '<domain: "mine", opset_import: ["" : 18]>\nTwice (a) => (b) { b = Add(a, a) }\n'

CUSTOM = """<ir_version: 8, opset_import: ["" : 18, "mine" : 1]>
g (float[2] x) => (float[2] y) { [double] y = mine.Twice(x) }"""

FACTORY = """import torch

def make():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
    return net.eval(), (torch.randn(1, 3, 32, 32),)
"""


def net():
    model = onnx.parser.parse_model(NET)
    rng = np.random.default_rng(0)
    for name, shape in {"w": (8, 3, 3, 3), "b": (8,), "v": (8, 4), "z": (4,)}.items():
        values = rng.standard_normal(shape, dtype=np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for node in model.graph.node:
        path = "head" if node.name == "head" else "backbone"
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', '{path}', '{node.name}']")
    return model


def blocks(text):
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("topic", topics())
def test_a_guide_does_what_it_says(tmp_path, topic):
    if topic == "from-torch":
        pytest.importorskip("torch", reason="the guide exports a torch module")
    gk.save(net(), tmp_path / "model.onnx")
    gk.save(onnx.parser.parse_model(CUSTOM), tmp_path / "custom.onnx")
    (tmp_path / "twice.txt").write_text(TWICE)
    (tmp_path / "net.py").write_text(FACTORY)
    text = topics()[topic].read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert max(map(len, text.splitlines())) <= 130
    assert blocks(text), "a guide shows something"
    path = f"{forked.commands()}{os.pathsep}{os.environ['PATH']}"
    for kind, block in blocks(text):
        assert kind in ("sh", "python", "text", "toml", "yaml", "make")
        if kind not in ("sh", "python"):
            continue
        command = (
            ["bash", "-euo", "pipefail", "-c", block] if kind == "sh" else [forked.commands() / "python", "-c", block]
        )
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_the_commands_of_the_comparison_exist():
    from graphkit_cli.main import COMMANDS

    text = dict(blocks(topics()["coming-from"].read_text(encoding="utf-8")))["text"]
    assert set(re.findall(r"graphkit (\w+)", text)) <= set(COMMANDS)

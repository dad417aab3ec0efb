"""The examples that each command's help shows are run, as they stand, in a folder that has what they name."""

import contextlib
import importlib
import io
import os
import re
import shlex
import shutil
import sys

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit_cli.main import COMMANDS, main
from onnx_text import parse

MAIN = """g (float[1,3,64,64] image, float[1,3,64,64] "x", float[1,3,64,64] "input.1", int64[1,4] ids, int64[1,4] mask, float[1] factor)
  => (float[1,8,64,64] logits, float[1,8,64,64] aux_logits, float[1,3,128,128] larger, int64[1,4] kept, float[1,8,4] scores)
<float[8,3,3,3] "conv1.weight", float[8] "conv1.bias" = {1,2,3,4,5,6,7,8}, float[4] scales = {1,1,2,2},
 float[1,8,4] q_weight, float[8,4] k_weight> {
  [add_in] both = Add(image, "x") [add_1] all = Add(both, "input.1") [scale_1] scaled = Mul(all, factor)
  [Conv_12] features = Conv <pads = [1,1,1,1]> (scaled, "conv1.weight", "conv1.bias")
  [relu_3] relu_3 = Relu(features) [Gelu_3] g3 = Gelu(relu_3) [add_7] add_7 = Add(g3, relu_3)
  [Dropout_7] dropped = Dropout(add_7) [Softmax_7] logits = Softmax <axis = 1> (dropped)
  ["240"] "240" = Neg(add_7) [aux] aux_logits = Abs("240")
  [Resize_5] larger = Resize <mode = "nearest"> (image, , scales)
  [kept_1] twice = Add(ids, mask) [kept_2] kept = Abs(twice)
  [query] q = Relu(q_weight) [key] k = Relu(k_weight) [scores_1] kt = Transpose <perm = [1,0]> (k)
  [scores_2] product = MatMul(q, kt) [scores_3] scores = MatMul(product, k) }"""

ATTENTION = """g (float[1,8,4] q, float[8,4] k) => (float[1,8,4] scores) { kt = Transpose <perm = [1,0]> (k)
  p = MatMul(q, kt) s = Softmax(p) scores = MatMul(s, k) }"""

PLAIN = """g (float[batch,3,64,64] image, float[1] factor) => (float[batch,3,64,64] y) <float[3,3,3,3] w> {
  a = Mul(image, factor) [conv] y = Conv <pads = [1,1,1,1]> (a, w) }"""

LARGER = """g (float[1,3,h,w] image, float[1] factor) => (float[1,3,h2,w2] larger) {
  one = Constant <value = float[2] {1, 1}> () two = Concat <axis = 0> (factor, factor)
  scales = Concat <axis = 0> (one, two) larger = Resize <mode = "nearest"> (image, , scales) }"""

LUMA = """g (float[1,1,h,w] luma) => (float[1,1,h2,w2] larger) <float[4] scales = {1,1,2,2}> {
  larger = Resize <mode = "nearest"> (luma, , scales) }"""

SMALL = """g (float[batch,3,h,w] image) => (float[batch,4,h,w] y) <float[4,3,1,1] w> { [conv] f = Conv(image, w) [relu] y = Relu(f) }"""

FUNCTION = """<ir_version: 10, opset_import: ["": 18, "my": 1]> g (float[2] x) => (float[2] y) { y = my.Attention(x) }
<domain: "my", opset_import: ["": 18]> Attention (a) => (b) { t = Neg(a) b = Abs(t) }"""

CUSTOM = """<ir_version: 10, opset_import: ["": 18, "custom": 1]> g (float[2] x, float[2] z) => (float[2] y) { y = custom.my_add(x, z) }"""

MY_ADD = '<domain: "custom", opset_import: ["" : 18]> my_add (a, b) => (c) { d = Add(a, a) c = Add(d, b) }'

LOOP = """g (float[2] x) => (float[2] y) { trip = Constant <value = int64 {3}> () cond = Constant <value = bool {1}> ()
  [Loop_3] y = Loop(trip, cond, x) <body = body (int64 i, bool c, float[2] s) => (bool co, float[2] so) {
    co = Identity(c) hidden = Neg(s) so = Abs(hidden) }> }"""

STEP = """g (float[2] x) => (float[2] z) { trip = Constant <value = int64 {3}> () cond = Constant <value = bool {1}> ()
  [Loop_3] z = Loop(trip, cond, x) <body = body (int64 i, bool c, float[2] h) => (bool co, float[2] y) {
    co = Identity(c) n = Neg(h) y = Abs(n) }> }"""

DECODER = """g (float[1,s,2] x, float[1,p,2] past) => (float[1,q,2] present, float[1,s,2] y) {
  present = Concat <axis = 1> (past, x) y = Neg(x) }"""

NAMED = """g (float[2] "input.1") => (float[2] "240") { ["/model/neg"] "/model/a" = Neg("input.1")
  ["/model/abs"] "240" = Abs("/model/a") }"""

LAST = """g (float[1,8,8,3] image) => (float[1,8,8,3] y) { y = Neg(image) }"""

TOKENS = """g (int64[12] tokens) => (int64[12] y) { y = Neg(tokens) }"""

MODULES = ("encoder.layers.5", "encoder.layers.6", "layers.0.attn", "layers.0.mlp", "layers.1.attn", "head")
"""The torch modules of a chain of nodes, two for each."""

RULE = """
pattern (x) => (y) { a = Abs(x) y = Abs(a) }
replacement (x) => (y) { y = Abs(x) }
"""

NET = '''import torch


class Net(torch.nn.Module):
    """Two layers."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)
        self.relu = torch.nn.ReLU()

    def forward(self, image):
        return self.relu(self.conv(image))


def make():
    torch.manual_seed(0)
    return Net().eval(), (torch.rand(1, 3, 8, 8),)
'''

RECIPE = '[vars]\nsize = "1"\n[[step]]\ndo = "set"\ndoc = "${size}"\n'

MODELS = {
    "graphkit validate model.onnx --torch net:make": "torch",
    "graphkit layers": "torch",
    "graphkit bisect model.onnx --torch": "torch",
    "graphkit run model.onnx --feed": LARGER,
    "graphkit run model.onnx --bind": SMALL,
    "graphkit resize": LUMA.replace("h,w", "8,8").replace("h2,w2", "16,16"),
    "graphkit extract model.onnx attn": "modules",
    "graphkit extract model.onnx step.onnx": STEP,
    "graphkit outline": "modules",
    "graphkit outline model.onnx readable.onnx --input": MAIN,
    "graphkit split model.onnx parts --module": "modules",
    "graphkit rename": NAMED,
    "graphkit layout model.onnx out.onnx --io '*": LAST,
    "graphkit layout model.onnx out.onnx --io tokens": TOKENS,
    "graphkit inspect model.onnx --bind": SMALL,
    "graphkit apply": SMALL,
    "graphkit prove": SMALL,
    "graphkit inline": FUNCTION,
    "graphkit define": CUSTOM,
    "graphkit tap model.onnx turns": LOOP,
    "graphkit freeze model.onnx fixed.onnx --set": PLAIN,
    "graphkit validate half": SMALL,
    "graphkit precision": SMALL.replace("batch,3,h,w", "1,3,8,8").replace("batch,4,h,w", "1,4,8,8"),
    "graphkit calibrate": SMALL,
    "graphkit bench": SMALL,
    "graphkit bisect": SMALL,
    "graphkit probe": SMALL,
    "graphkit lint model.onnx --target-version": SMALL,
}
"""Beginning of an example -> the model that it needs; the longest that fits counts; else MAIN."""

NO = {
    "graphkit diff old.onnx new.onnx": "the two differ",
    "graphkit lint": "TensorRT does not document what is in the model",
    "graphkit bisect": "the two differ",
    "graphkit validate half.onnx": "float16 differs by more than float32 allows",
    "graphkit export net:make model.onnx --exporter torchscript": "nothing is baked in: no",
    "graphkit probe": "some shapes are refused",
    "graphkit doctor --explain": "the text is not one of a model here",
}
"""Examples that may end with 1, and why."""


def examples(name):
    lines = re.sub(r"\\\n\s*", " ", importlib.import_module(COMMANDS[name][0]).command.help).splitlines()
    return [line.strip() for line in lines if line.strip().startswith(f"graphkit {name}")]


ALL = [line for name in COMMANDS for line in examples(name)]


def filled(text):
    """A model; weights that the text declares without numbers get random ones."""
    if text == "modules":
        return chain()
    random = np.random.default_rng(0)
    model = parse(text, opset=20, ir=10)
    made = {name for node in model.graph.node for name in node.output}
    for value in [v for v in model.graph.value_info if v.name not in made]:
        shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
        array = random.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, value.name))
        model.graph.value_info.remove(value)
    return model


def chain():
    nodes = [f"[n{k}] v{k + 1} = {op}(v{k})" for k, op in enumerate(("Neg", "Abs") * len(MODULES))]
    model = parse(f"g (float[2] v0) => (float[2] v{len(nodes)}) {{ {' '.join(nodes)} }}", opset=20, ir=10)
    for k, node in enumerate(model.graph.node):
        parts = MODULES[k // 2].split(".")
        scopes = ["", *(".".join(parts[: n + 1]) for n in range(len(parts))), node.name]
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(scopes))
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder, with one copy of everything that does not depend on the example."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("examples")
    with contextlib.chdir(folder):
        (folder / "net.py").write_text(NET)
        (folder / "my_add.txt").write_text(MY_ADD)
        (folder / "patch.toml").write_text(RECIPE)
        (folder / "check.py").write_text("import sys\n")
        os.mkdir("my_rules")
        (folder / "my_rules" / "abs.txt").write_text(RULE)
        Image.fromarray(np.zeros((64, 64, 3), np.uint8) + 99).save("photo.png")
        for name in "ab":
            np.save(f"{name}.npy", np.random.default_rng(ord(name)).random((1, 3, 8, 8), np.float32))
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of it, where an example writes what it likes."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"])
    return tmp_path / "here"


def model_of(line):
    fitting = [start for start in MODELS if line.startswith(start)]
    return MODELS[max(fitting, key=len)] if fitting else MAIN


@pytest.fixture(scope="module")
def of_torch(made):
    """net.py's module, exported once."""
    with contextlib.chdir(made):
        subject = gk.load_factory("net:make")
    return gk.export(subject.module, subject.args, exporter="torchscript")


def prepare(line, request):
    """Write the files that an example names."""
    text = model_of(line)
    if text == "torch":
        gk.save(request.getfixturevalue("of_torch"), "model.onnx")
        return
    model = filled(text)
    onnx.save(model, "model.onnx")
    for name in ("old.onnx", "espcn.onnx", "half.onnx", "int8.onnx", "original.onnx"):
        if name in line:
            onnx.save(filled(LUMA) if name == "espcn.onnx" else model, name)
    for start, write in BESIDE.items():
        if start in line:
            write(model)


def changed(model):
    edited = gk.rename("model.onnx", nodes={model.graph.node[0].name: "renamed"})
    gk.save(edited, "edited.onnx")
    gk.save(gk.set_parts(edited, metadata={"changed": "yes"}), "new.onnx")


def decoder(_):
    onnx.save(filled(DECODER), "plain.onnx")
    gk.save(gk.set_parts("plain.onnx", metadata={"changed": "yes"}), "decoder.onnx")


def to_probe(_):
    for name in ("a.onnx", "b.onnx"):
        onnx.save(filled(SMALL.replace("h,w", "224,224")), name)


def to_merge(_):
    onnx.save(parse("g (float[2] image) => (float[2] features) { features = Neg(image) }"), "backbone.onnx")
    onnx.save(parse("g (float[2] x) => (float[2] y) { y = Abs(x) }"), "head.onnx")
    for name in ("left", "right"):
        onnx.save(parse(f"g (float[2] image) => (float[2] {name}_y) {{ {name}_y = Neg(image) }}"), f"{name}.onnx")


def merged(_):
    to_merge(_)
    gk.save(gk.merge(["backbone.onnx", "head.onnx"], connect={"backbone:features": "head:x"}), "whole.onnx")


def many(_):
    os.mkdir("exported")
    onnx.save(filled(SMALL), "exported/one.onnx")


BESIDE = {
    "decoder.onnx": decoder,
    "prove whole.onnx": merged,
    "edited.onnx": changed,
    "new.onnx": changed,
    "probe a.onnx": to_probe,
    "merge": to_merge,
    "attention.onnx": lambda _: onnx.save(filled(ATTENTION), "attention.onnx"),
    "@w.npy": lambda _: np.save("w.npy", np.zeros((8, 3, 3, 3), np.float32)),
    "exported/": many,
    "one/model.onnx": lambda _: os.mkdir("one"),
}
"""What an example names beside its model -> what writes it."""


@pytest.mark.filterwarnings("ignore::graphkit.GraphkitWarning")
@pytest.mark.parametrize("line", ALL)
def test_an_example_of_the_help_does_what_it_says(folder, request, capfd, line):
    if "net:" in line:
        pytest.importorskip("torch")
    prepare(line, request)
    *pipes, last = line.split(" | ")
    for part in pipes:  # a pipe between two commands, through a file
        code, out = run(part, capture=True)
        assert code == 0, part
        sys.stdin = io.TextIOWrapper(io.BytesIO(out))
    try:
        code, _ = run(last)
    finally:
        sys.stdin = sys.__stdin__
    said = capfd.readouterr()
    allowed = (0, 1) if any(line.startswith(start) for start in NO) else (0,)
    assert code in allowed, f"{line}\n{said.out[-2000:]}{said.err[-2000:]}"
    assert said.out or said.err


def run(line, *, capture=False):
    arguments = shlex.split(line)[1:]
    if not capture:
        return main(arguments), b""
    kept, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO())
    try:
        return main(arguments), sys.stdout.buffer.getvalue()
    finally:
        sys.stdout = kept

"""Three models and three inputs: the tutorial's matrix, the axis to blame, and the command that mends it."""

from __future__ import annotations

import functools
import re
import shlex
import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit_cli.main import main
from graphkit_cli.spelling import spelt, told
from oracle import assert_same

SHAPES = [{"in": (1, 3, 10, 10)}, {"in": (2, 3, 10, 10)}, {"in": (1, 3, 20, 20)}]

FIXED = """
<ir_version: 8, opset_import: ["": 17]>
net (float[n, 3, h, w] x, float[n] weight) => (float[n, k, l] y)
<int64[3] target = {1, 3, 64}>
{
    flat = Reshape(x, target)
    axes = Constant<value_ints = [1, 2]>()
    wide = Unsqueeze(weight, axes)
    y = Mul(flat, wide)
}
"""


# R21
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_the_tutorials_matrix(exporter):
    torch = pytest.importorskip("torch")
    conv = torch.nn.Conv2d(3, 3, 3)
    verdicts = []
    for dynamic in ((), ("in:0=batch",), ("in:2=height", "in:3=width")):
        x = torch.rand(1, 3, 10, 10)
        model = gk.export(conv, x, exporter=exporter, input_names=["in"], output_names=["out"], dynamic=dynamic)
        attempts = gk.probe(model, SHAPES)
        verdicts.append([attempt.accepted for attempt in attempts])
        for attempt in attempts:
            if attempt.accepted:
                n, _, h, w = attempt.shapes["in"]
                assert attempt.outputs == {"out": (n, 3, h - 2, w - 2)}
    assert verdicts == [[True, False, False], [True, True, False], [True, False, True]]


# R22
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_the_axis_that_is_to_blame_is_freed_by_the_command_that_is_named(exporter):
    torch = pytest.importorskip("torch")
    conv, x = torch.nn.Conv2d(3, 3, 3).eval(), torch.rand(2, 3, 10, 10)
    model = gk.export(conv, x[:1], exporter=exporter, input_names=["in"], output_names=["out"])
    (refused,) = gk.probe(model, [{"in": (2, 3, 10, 10)}])
    assert [(b.input, b.axis, b.got, b.expected) for b in refused.blame] == [("in", 0, 2, 1)]
    assert spelt(refused.remedy) == "graphkit dims MODEL OUT --set in:0=in_0"
    freed = gk.dims(model, {"in:0": "batch"})
    assert gk.probe(freed, [{"in": (2, 3, 10, 10)}])[0].accepted
    with torch.no_grad():
        assert_same(gk.run(freed, {"in": x.numpy()}, device="cpu")["out"], conv(x).numpy(), atol=1e-5)


# R22
def test_a_refused_input_names_each_axis_and_the_command():
    proto = onnx.parser.parse_model(FIXED.replace("n, 3, h, w", "1, 3, 8, 8"))
    (attempt,) = gk.probe(proto, [{"x": (2, 3, 8, 9), "weight": (2,)}])
    assert [(b.input, b.axis, b.got, b.expected) for b in attempt.blame] == [("x", 0, 2, 1), ("x", 3, 9, 8)]
    assert spelt(attempt.remedy) == "graphkit dims MODEL OUT --set x:0=x_0 --set x:3=x_3 --repair-shapes"
    (attempt,) = gk.probe(proto, [{"x": (3, 8, 8)}])
    assert str(attempt.blame[0]) == "input 'x' has 4 axes, not 3"


def test_a_node_that_fails_is_named_with_the_axis_that_makes_it_fail():
    proto = onnx.parser.parse_model(FIXED)
    for number, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{number}"
    accepted, refused = gk.probe(proto, [{"x": (1, 3, 8, 8), "weight": (1,)}, {"x": (1, 3, 10, 8), "weight": (2,)}])
    assert accepted.outputs == {"y": (1, 3, 64)}
    assert refused.node == "Reshape_0"
    assert [(b.input, b.axis) for b in refused.blame] == [("x", 2)]
    assert spelt(refused.remedy) == (
        "graphkit dims MODEL MIDDLE --set x:0=1 --set x:2=8 --set x:3=8 --set weight:0=1, "
        "then graphkit dims MIDDLE OUT --set x:0=n --set x:2=h --set x:3=w --set weight:0=n --repair-shapes"
    )


def test_an_unknown_input_is_refused():
    with pytest.raises(gk.NameNotFoundError, match="did you mean 'weight'"):
        gk.probe(onnx.parser.parse_model(FIXED), [{"weigth": (1,)}])


COUNTED = """<ir_version: 8, opset_import: ["": 18]> net (float[n, 8] x, int64[1] end) => (float[n, k] y) <
  int64[1] start = {0}, int64[1] axis = {1}, int64[2] target = {-1, 4}> {
  s = Slice(x, start, end, axis) y = Reshape(s, target) }"""


@pytest.mark.parametrize(("end", "accepted"), [(4, True), (8, True), (3, False), (np.array([2]), True)])
def test_an_input_whose_number_matters_is_fed(end, accepted):
    (attempt,) = gk.probe(onnx.parser.parse_model(COUNTED), [{"x": (2, 8)}], feeds={"end": end})
    assert attempt.accepted is accepted


def test_feeds_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(COUNTED), "m.onnx")
    assert main(["probe", "m.onnx", "--shape", "x=2,8", "--feed", "end=4"]) == 0
    assert main(["probe", "m.onnx", "--shape", "x=2,8", "--feed", "end=3"]) == 1
    assert main(["probe", "m.onnx", "--shape", "x=2,8", "--feed", "x=1"]) == 2
    assert main(["probe", "m.onnx", "--shape", "x=2,8", "--feed", "z=1"]) == 3
    assert main(["probe", "m.onnx", "--shape", "x=2,8", "--feed", "end=1.5"]) == 3
    assert "no input named 'z'" in capsys.readouterr().err


def test_a_feed_and_a_shape_of_one_input_are_refused():
    with pytest.raises(ValueError, match="'x' is given a shape to be tried and a feed"):
        gk.probe(onnx.parser.parse_model(COUNTED), [{"x": (2, 8)}], feeds={"x": 1, "end": 4})


def test_the_text_names_the_model_in_the_command():
    proto = onnx.parser.parse_model(FIXED.replace("n, 3, h, w", "1, 3, 8, 8"))
    probed = {"net.onnx": gk.probe(proto, [{"x": (1, 3, 8, 8), "weight": (1,)}, {"x": (2, 3, 8, 8), "weight": (2,)}])}
    assert "to mend it: graphkit.dims(model, values={'x:0': 'x_0'}, repair_shapes=True)" in gk.text(probed)
    text = gk.text(told(probed))
    assert "x[1,3,8,8], weight[1]  succeeds  y[1,3,64]" in text
    assert "to mend it: graphkit dims net.onnx OUT --set x:0=x_0" in text


SOURCE = """
import torch
from torch import nn

class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 8 * 8, 5)
    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).view(x.size(0), -1))

class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.into = nn.Linear(16, 48)
    def forward(self, x):
        n, length, width = x.shape
        q, k, v = self.into(x).reshape(n, length, 3, 4, 4).permute(2, 0, 3, 1, 4)
        return (torch.softmax(q @ k.transpose(-1, -2) / 2, -1) @ v).transpose(1, 2).reshape(n, length, width)

class Skip(nn.Module):
    def forward(self, x):
        down = nn.functional.max_pool2d(nn.functional.max_pool2d(x, 2), 2)
        return torch.cat([x, nn.functional.interpolate(down, scale_factor=4)], 1)
"""


class Nets:
    """Modules, made from ``SOURCE`` by name."""

    def __getattr__(self, name):
        torch = pytest.importorskip("torch")
        torch.manual_seed(2)
        known = {}
        exec(SOURCE, known)  # noqa: S102 (a text of this file, so that torch is imported where it is needed only)
        return known[name]().eval()


NETS = Nets()


@functools.cache
def exported(net, exporter, dynamic, accepted):
    """A net of ``NETS`` and its export."""
    torch = pytest.importorskip("torch")
    module = getattr(NETS, net)
    model = gk.export(module, torch.rand(accepted), exporter=exporter, input_names=["x"], dynamic=dynamic)
    return module, model


def commands(remedy):
    """What a remedy says to run; [] where it says that no command mends it."""
    return remedy.split(", then ") if remedy.startswith("graphkit ") else []


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize(
    ("net", "dynamic", "accepted", "refused"),
    [
        ("Classifier", (), (1, 3, 8, 8), (4, 3, 8, 8)),
        ("Attention", (), (1, 6, 16), (1, 7, 16)),
        ("Attention", (), (1, 6, 16), (3, 7, 16)),
    ],
)
def test_the_command_mends_and_gives_what_torch_gives(net, dynamic, accepted, refused, exporter, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (module, model), x = exported(net, exporter, dynamic, accepted), torch.rand(refused)
    with warnings.catch_warnings():  # dims says that the target stays as it is
        warnings.simplefilter("ignore")
        half_mended = gk.dims(
            model, {f"x:{axis}": f"n{axis}" for axis in range(len(refused)) if refused[axis] != accepted[axis]}
        )
    for given in (model, half_mended):
        attempts = gk.probe(given, [{"x": accepted}, {"x": refused}])
        assert [attempt.accepted for attempt in attempts] == [True, False]
        gk.save(given, "MODEL")
        steps = commands(spelt(attempts[1].remedy))
        assert len(steps) == (1 if given is model else 2)
        for step in steps:
            assert main(shlex.split(step)[1:]) == 0
        with torch.no_grad():
            assert_same(
                next(iter(gk.run("OUT", {"x": x.numpy()}, device="cpu").values())), module(x).numpy(), atol=1e-5
            )


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize(
    ("net", "dynamic", "accepted", "refused", "says"),
    [
        (
            "Classifier",
            (),
            (1, 3, 8, 8),
            (1, 4, 8, 8),
            "no command mends it: the weight 'conv.weight' of Conv .* is float32",
        ),
        (
            "Classifier",
            (),
            (1, 3, 8, 8),
            (1, 3, 9, 8),
            "no command mends it: the weight 'fc.weight' of Gemm .* is float32",
        ),
        ("Attention", (), (1, 6, 16), (6, 16), "no command mends it: the model is made for this number of axes"),
        (
            "Skip",
            ("x:2=h", "x:3=w"),
            (1, 3, 8, 8),
            (1, 3, 9, 8),
            r"no command mends it: the model takes multiples of 4 \(12 and 16 for axis 2 of 'x' run\); pad",
        ),
        ("Skip", ("x:2=h", "x:3=w"), (1, 3, 8, 8), (1, 3, 10, 11), "multiples of 4 .*12 and 16 for axis 3 of 'x'"),
    ],
)
def test_where_no_command_mends_it_is_said_why(net, dynamic, accepted, refused, says, exporter):
    _, model = exported(net, exporter, dynamic, accepted)
    attempts = gk.probe(model, [{"x": accepted}, {"x": refused}])
    assert re.match(says, spelt(attempts[1].remedy)) or re.search(says, spelt(attempts[1].remedy))
    assert not commands(spelt(attempts[1].remedy))


def test_export_again_is_named_where_that_mends_it():
    torch = pytest.importorskip("torch")

    class Most(torch.nn.Module):
        """A file says 12 where the module says three quarters of the height: dims cannot know that."""

        def forward(self, x):
            return x[:, :, : x.shape[2] * 3 // 4] + 1

    x = torch.rand(1, 3, 20, 16)
    model = gk.export(Most(), torch.rand(1, 3, 16, 16), input_names=["x"], dynamic={"x": {3: "w"}})
    (refused,) = gk.probe(model, [{"x": tuple(x.shape)}])
    asked = re.findall(r"--dynamic (\S+)", spelt(refused.remedy))
    assert asked == ["x:2=x_2"], spelt(refused.remedy)
    again = gk.export(Most(), torch.rand(1, 3, 16, 16), input_names=["x"], dynamic=asked)
    assert_same(next(iter(gk.run(again, {"x": x.numpy()}, device="cpu").values())), Most()(x).numpy())


def test_a_resize_of_one_size_above_the_node_that_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    net (float[1, 1, h, w] x) => (float[1, 1, i, j] y) <int64[4] sizes = {1, 1, 8, 8}>
    { [up] z = Resize<mode = "linear">(x, , , sizes) [join] y = Add(x, z) }
    """
    onnx.save(onnx.parser.parse_model(text), tmp_path / "MODEL")
    _, refused = gk.probe(tmp_path / "MODEL", [{"x": (1, 1, 8, 8)}, {"x": (1, 1, 12, 8)}])
    assert refused.node == "join"
    assert commands(spelt(refused.remedy)) == [
        "graphkit dims MODEL FIXED --set x:2=8 --set x:3=8",
        "graphkit resize FIXED RESIZED --node up --keep-default",
        "graphkit dims RESIZED OUT --set x:2=h --set x:3=w",
    ]
    for step in commands(spelt(refused.remedy)):
        assert main(shlex.split(step)[1:]) == 0
    x = np.arange(96, dtype=np.float32).reshape(1, 1, 12, 8)
    assert_same(gk.run("OUT", {"x": x}, device="cpu"), {"y": 2 * x})


def test_an_input_that_is_too_small_is_told_from_one_that_does_not_divide():
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    net (float[1, 1, h, w] x) => (float[1, 1, i, j] y) <float[1, 1, 5, 5] k = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}>
    { [conv] y = Conv(x, k) }
    """
    _, refused = gk.probe(onnx.parser.parse_model(text), [{"x": (1, 1, 8, 8)}, {"x": (1, 1, 3, 8)}])
    assert spelt(refused.remedy) == "no command mends it: the model takes larger sizes (8 and 16 for axis 2 of 'x' run)"

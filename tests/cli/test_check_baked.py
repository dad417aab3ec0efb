"""export --check-baked: every remedy that it prints is run, and the mended model compared with the module."""

import json
import re
import shlex
import sys

import numpy as np
import pytest

from oracle import run_ort

torch = pytest.importorskip("torch")

SOURCE = """
import torch
import torch.nn.functional as F

X = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))

class Item(torch.nn.Module):
    def forward(self, x, factor):
        return F.interpolate(x, scale_factor=factor.item(), mode="bilinear")

class Gains(torch.nn.Module):
    def forward(self, x, gains):
        for gain in gains:
            x = x * float(gain)
        return x

class Gain(torch.nn.Module):
    def forward(self, x, gain):
        return x * gain.item() + 1

class Padded(torch.nn.Module):
    def forward(self, x, k: int):
        return F.pad(x, (0, k)) * k

class Flat(torch.nn.Module):
    def forward(self, x):
        n, c, h, w = map(int, x.shape)
        return x.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(n, -1, c * 16)

class Mean(torch.nn.Module):
    def forward(self, x):
        return x / x.mean().item()

class Rows(torch.nn.Module):
    def forward(self, x):
        return torch.stack([row * float(i + 1) for i, row in enumerate(x)]).sum(0)

class Threshold(torch.nn.Module):
    def forward(self, x):
        return x * 2 if x.shape[0] > 2 else x * 3

class Where(torch.nn.Module):
    def forward(self, x):
        many = torch.ones_like(x).sum(0)[0, 0, 0] > 2 if x.dim() > 3 else torch.ones_like(x).sum(0) > 2
        return torch.where(many, x * 2, x * 3)

class Low(torch.nn.Module):
    def forward(self, x):
        return x * 2

item = lambda: (Item(), (X, torch.tensor(2.0)))
gains = lambda: (Gains(), (X, torch.tensor([2.0, 3.0])))
gain = lambda: (Gain(), (X, torch.tensor(2.5)))
padded = lambda: (Padded(), (X, 3))
flat = lambda: (Flat(), (X,))
mean = lambda: (Mean(), (X,))
rows = lambda: (Rows(), (X[0, :, :, 0],))
threshold = lambda: (Threshold(), (X[0, :2],))
where = lambda: (Where(), (X[0, :2],))
low = lambda: (Low(), (X.bfloat16(),))
"""


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "baked_nets.py").write_text(SOURCE)
    sys.path.insert(0, str(tmp_path))
    import baked_nets

    yield baked_nets
    sys.path.remove(str(tmp_path))
    sys.modules.pop("baked_nets", None)


OF_THE_EXPORT = ("input-vanished", "traced-constant", "number-baked", "size-baked")
"""Findings that the export has without --check-baked."""


def checked(graphkit, name, *options, exporter="torchscript"):
    ran = graphkit(
        "export", f"baked_nets:{name}", "o.onnx", "--exporter", exporter, "--check-baked", "--json", *options
    )
    told = json.loads(ran.out)
    assert "MODEL OUT" not in ran.out
    return ran.code, [f for f in told["findings"] if f["kind"] not in OF_THE_EXPORT]


@pytest.mark.parametrize(
    ("name", "exporter", "second", "feeds"),
    [
        ("item", "torchscript", (torch.tensor(3.0),), {"scale": [3, 3]}),
        ("gain", "torchscript", (torch.tensor(7.0),), {"gain": 7}),
        ("gains", "torchscript", (torch.tensor([5.0, 0.5]),), {"/Constant_output_0": 5, "/Constant_1_output_0": 0.5}),
        ("padded", "torchscript", (5,), {"/Constant_1_output_0": [0, 5], "k": 5}),
        ("padded", "dynamo", (5,), {"val_0": [0, 0, 0, 0, 0, 0, 0, 5], "k": 5}),
    ],
)
def test_the_command_that_is_printed_mends_it(graphkit, nets, name, exporter, second, feeds):
    code, findings = checked(graphkit, name, exporter=exporter)
    (remedy,) = {f["remedy"] for f in findings}
    command = shlex.split(re.sub(", or .*", "", remedy))
    assert (code, command[0], command[2:4]) == (1, "graphkit", ["o.onnx", "o_mended.onnx"])
    assert graphkit(*command[1:]).code == 0
    module, (x, *_) = getattr(nets, name)()
    session = _inputs("o_mended.onnx")
    named = {(next(iter(set(session) - {"x"})) if key == "scale" else key): value for key, value in feeds.items()}
    arrays = {key: np.array(value, session[key]) for key, value in named.items()}
    got = next(iter(run_ort("o_mended.onnx", {"x": x.numpy(), **arrays}).values()))
    np.testing.assert_allclose(got, module(x, *second).numpy(), rtol=1e-4, atol=1e-5)


def _inputs(path):
    import onnxruntime

    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(double)": np.float64}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return {value.name: kinds[value.type] for value in session.get_inputs()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("flat", ("--dynamic", "x:2=h", "--dynamic", "x:3=w")),
        ("flat", ("--check-input", "x=1,3,16,24")),
        ("mean", ()),
    ],
)
def test_the_export_that_is_named_gives_the_modules_numbers(graphkit, name, options):
    code, findings = checked(graphkit, name, *options)
    (remedy,) = {f["remedy"] for f in findings}
    assert (code, remedy.startswith("export with ")) == (1, True)
    again = shlex.split(remedy.removeprefix("export with "))
    ran = graphkit("export", f"baked_nets:{name}", "o.onnx", *options, "--check-baked", *again)
    assert (ran.code, "nothing is baked in" in ran.err) == (0, True)


@pytest.mark.parametrize("name", ["rows", "threshold"])
def test_where_no_command_mends_it_that_is_said(graphkit, name):
    code, findings = checked(graphkit, name, "--dynamic", "x:0=n")
    assert code == 1
    assert all(f["remedy"].startswith("no command mends it: in the module") for f in findings)
    assert "baked_nets.py:" in findings[0]["message"]
    assert checked(graphkit, "where", "--dynamic", "x:0=n") == (0, [])


def test_what_is_not_compared_is_said_and_is_no_yes(graphkit):
    ran = graphkit(
        "export", "baked_nets:flat", "o.onnx", "--dynamic", "x:1=c", "--check-baked", "--exporter", "torchscript"
    )
    assert (ran.code, "nothing is baked" in ran.err) == (1, False)


def test_arguments_of_ones_own(graphkit):
    ran = graphkit("export", "baked_nets:low", "o.onnx", "--dynamic", "x:0=n", "--check-input", "x=5,3,8,8")
    assert (ran.code, "nothing is baked in" in ran.err) == (0, True)
    ran = graphkit("export", "baked_nets:low", "o.onnx", "--check-input", "y=5,3,8,8")
    assert (ran.code, "there is no argument 'y'\n  hint: did you mean x?" in ran.err) == (3, True)

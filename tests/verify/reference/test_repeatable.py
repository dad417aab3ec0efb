"""Modules that give something else at the second call, and factories that give another module: said, not blamed."""

import itertools
import random
import re
import sys

import numpy as np
import onnx
import pytest

import graphkit as gk

torch = pytest.importorskip("torch")
nn, functional = torch.nn, torch.nn.functional
X = torch.linspace(-1, 1, 8).reshape(2, 4)


class Adds(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


class Drops(nn.Module):
    def forward(self, x):
        return functional.dropout(x, 0.5, training=True)


class Uniform(nn.Module):
    def forward(self, x):
        return x * torch.rand(2, 4)


class Buffer(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x * self.calls


class Replaced(nn.Module):
    """Puts a new tensor in the buffer's place."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.ones(2, 4))

    def forward(self, x):
        self.total = self.total + x
        return self.total


class Counted(nn.Module):
    """Counts its calls in Python, and keeps what it saw."""

    def __init__(self):
        super().__init__()
        self.calls, self.seen = 0, []

    def forward(self, x):
        self.calls += 1
        self.seen.append(x)
        return x * len(self.seen)


NOISY, KEEPING = (Adds, Drops, Uniform), (Buffer, Replaced, Counted)


def node(operator):
    return gk.build([onnx.helper.make_node(operator, ["x"], ["y"])], {"x": "float32[2,4]"}, {"y": "float32[2,4]"})


def traced(net):
    return gk.export(net, (X,), exporter="torchscript")


@pytest.mark.parametrize("kind", NOISY)
def test_noise_is_named_and_no_node_is_blamed(kind):
    net = kind().eval()
    model = traced(net)
    report = gk.validate(model, torch=(net, (X,)))
    assert not report
    assert any("draws random numbers (aten." in doubt for doubt in report.doubts)
    found = gk.bisect(model, torch=(net, (X,)))
    assert not found
    assert "draws random numbers" in " ".join(found.notes)
    assert "wrong by itself" not in gk.text(found)
    assert found.introduced_by == ()
    assert "test_repeatable.py" in " ".join(found.notes)  # the line of the user's source


@pytest.mark.parametrize("kind", KEEPING)
@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_state_is_what_it_was_after_export_and_validate(kind, exporter):
    net = kind().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    model = None
    try:
        model = gk.export(net, (X,), exporter=exporter)
    except gk.ExportError:
        assert exporter == "dynamo"  # which may refuse state
    if model is not None:
        gk.validate(model, torch=(net, (X,)))
        gk.bisect(model, torch=(net, (X,)))
    assert net.training
    assert getattr(net, "calls", 0) == 0
    assert getattr(net, "seen", []) == []
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_each_run_of_validate_starts_from_the_state_that_the_module_has():
    net = Buffer().eval()
    assert gk.validate(node("Identity"), torch=(net, (X,)), samples=3)  # x * 1 each time


def test_state_that_makes_the_second_call_differ_is_named():
    net = Buffer().eval()
    report = gk.validate(node("Neg"), torch=(net, (X,)))
    assert any("keeps state: a call changes 'calls'" in doubt for doubt in report.doubts)


def test_a_module_that_raises_is_as_it_was():
    class Raises(Buffer):
        def forward(self, x):
            self.calls += 1
            raise ValueError("no")

    net = Raises().train()
    with pytest.raises(gk.ExportError):
        gk.export(net, (X,), exporter="torchscript")
    with pytest.raises(gk.ComparisonError, match="ValueError: no"):
        gk.validate(node("Identity"), torch=(net, (X,)))
    assert net.calls.item() == 0
    assert net.training


def test_gradients_are_what_they_were():
    net = nn.Linear(4, 4)
    net(X).sum().backward()
    gradient = net.weight.grad
    kept = gradient.clone()
    gk.validate(gk.export(net, (X,), exporter="torchscript"), torch=(net, (X,)))
    assert net.weight.grad is gradient
    assert torch.equal(gradient, kept)
    assert net.weight.requires_grad


def test_a_factory_that_draws_its_weights_is_named(tmp_path, monkeypatch):
    text = (
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Linear(4, 4)).eval(), (torch.ones(1, 4),)\n"
    )
    (tmp_path / "unseeded_net.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    subject = gk.load_factory("unseeded_net:make")
    model = gk.export(subject.module, subject.args, exporter="torchscript")
    found = gk.bisect(model, torch="unseeded_net:make")
    assert "unseeded_net:make gives other weights each time it is called ('0.weight', '0.bias' differ)" in " ".join(
        found.notes
    )
    assert "wrong by itself" not in gk.text(found)
    assert "checkpoint" in " ".join(gk.validate(model, torch="unseeded_net:make").doubts)
    sys.modules.pop("unseeded_net", None)


def test_another_module_of_the_same_class_is_told_by_its_weights_and_one_changed_weight_is_not():
    one, other = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).eval(), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model = traced(one)
    found = gk.bisect(model, torch=(other, (X,)))
    assert "4 of 4 weights that both have by the same names differ" in " ".join(found.notes)
    other.load_state_dict(one.state_dict())
    with torch.no_grad():
        other[1].weight[0, 0] += 1
    found = gk.bisect(model, torch=(other, (X,)))
    assert found.first.introduces
    assert not [note for note in found.notes if "weights" in note]


def test_a_model_that_draws_random_numbers_is_named():
    sides = []
    for seed in (1.0, 2.0):
        noise = onnx.helper.make_node("RandomNormalLike", ["x"], ["n"], name="noise", seed=seed)
        nodes = [noise, onnx.helper.make_node("Add", ["x", "n"], ["y"])]
        sides.append(gk.build(nodes, {"x": "float32[2,4]"}, {"y": "float32[2,4]"}))
    report = gk.validate(sides[0], against=sides[1])
    assert "RandomNormalLike 'noise'" in " ".join(report.doubts)
    assert "wrong by itself" not in gk.text(gk.bisect(sides[0], against=sides[1]))


class Elsewhere(nn.Module):
    """Takes a number that torch knows nothing of, behind a layer that is right."""

    def __init__(self, source):
        super().__init__()
        self.source = source

    def forward(self, x):
        return torch.relu(x) * self.source()


def counting():
    counts = itertools.count(1)
    return lambda: float(next(counts))


@pytest.mark.parametrize("source", [np.random.default_rng(0).random, random.random, counting()])
def test_a_number_from_elsewhere_is_named_by_the_operator_that_takes_it(source):
    net = Elsewhere(source).eval()
    doubts = gk.validate(node("Relu"), torch=(net, (X,))).doubts
    assert len(doubts) == 1
    assert re.search(r"first at aten\.mul\.Tensor at \S*test_repeatable\.py:\d+", doubts[0])
    assert "draws random numbers (" not in doubts[0]
    found = gk.bisect(node("Relu"), torch=(net, (X,)))
    assert "first at aten.mul.Tensor" in " ".join(found.notes)


@pytest.mark.parametrize(
    ("kind", "why"), [(Adds, "draws random numbers (aten."), (Buffer, "keeps state: a call changes 'two.calls'")]
)
def test_the_table_of_layers_says_why_a_module_cannot_agree(kind, why):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), kind()

        def forward(self, x):
            return self.two(self.one(x))

    net = Net().eval()
    model = traced(net)
    if kind is Buffer:
        net.two.calls += 3
    table = gk.layers(model, torch=(net, (X,)))
    assert not table
    assert why in " ".join(table.notes)

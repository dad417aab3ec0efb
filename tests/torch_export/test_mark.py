"""Marks: one name for a value under both exporters, and no trace of them in the model."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort

torch = pytest.importorskip("torch")

BOTH = pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])


class Net(torch.nn.Module):
    """A mark on an input, behind a fold of Conv + BatchNorm, twice in a module called twice, and on an output."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4))
        self.block = Block()
        self.head = torch.nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = gk.mark(x, "start")
        y = gk.mark(self.stem(x), "features")
        y = self.block(self.block(y))
        return gk.mark(self.head(y), "end"), y.mean()


class Block(torch.nn.Module):
    def forward(self, x):
        return gk.mark(torch.relu(x) - 0.25, "step")


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(3)
    return Net().eval()


def marks(model):
    return json.loads({e.key: e.value for e in model.proto.metadata_props}["graphkit.marks"])


# R45
@BOTH
def test_a_mark_is_a_name_and_nothing_else(net, exporter):
    x = torch.rand(1, 3, 8, 8)
    report = gk.export_report(net, x, exporter=exporter)
    proto = report.model.materialize()
    onnx.checker.check_model(proto, full_check=True)
    assert {e.domain for e in proto.opset_import} == {""}
    assert {n.op_type for n in proto.graph.node} <= {"Conv", "Relu", "Sub", "Constant", "ReduceMean", "Squeeze"}
    placed = marks(report.model)
    assert placed == {"start": "x", "features": "features", "step": "step", "step_1": "step_1", "end": "end"}
    said = [(f.kind, f.value) for f in report.findings]
    assert said == [("folded", None), ("mark-renamed", "x"), ("mark-repeated", "step_1")]
    with torch.no_grad():
        expected = [t.numpy() for t in net(x)]
    assert_same(list(run_ort(proto, {"x": x.numpy()}).values()), expected, atol=1e-5)


# R45
@BOTH
def test_the_cut_between_two_marks_is_the_same_computation(net, exporter):
    model = gk.export(net, torch.rand(1, 3, 8, 8), exporter=exporter, output_names=["answer", "mean"])
    part = gk.extract(model, inputs=["features"], outputs=["step_1"])
    assert {n.op_type for n in part.proto.graph.node} <= {"Relu", "Sub", "Constant"}
    y = np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32)
    expected = np.maximum(np.maximum(y, 0) - np.float32(0.25), 0) - np.float32(0.25)
    assert_same(run_ort(part, {"features": y}), {"step_1": expected})
    assert marks(model)["end"] == "answer"


@BOTH
def test_a_mark_that_is_called_otherwise_is_told(exporter):
    class Clash(torch.nn.Module):
        def forward(self, x):
            return gk.mark(gk.mark(x, "start") * 2, "x") + 1, gk.mark(x - 1, "end")

    report = gk.export_report(Clash(), torch.ones(3), exporter=exporter, output_names=["a", "b"])
    assert marks(report.model) == {"start": "x", "x": "x_1", "end": "b"}
    assert [str(f) for f in report.findings] == [
        "mark 'start' is on the input 'x', which keeps this name",
        "mark 'x': something else has this name already; the marked value is 'x_1'",
        "mark 'end' is on the output 'b', which keeps this name",
    ]


def test_a_mark_in_a_branch_of_cond():
    class Branches(torch.nn.Module):
        def forward(self, x):
            return torch.cond(x.sum() > 0, lambda a: gk.mark(a + 1, "up") * 2, lambda a: a * 2, (x,))

    model = gk.export(Branches(), torch.ones(3))
    branches = [a.g for n in model.proto.graph.node for a in n.attribute if a.HasField("g")]
    assert "up" in [name for g in branches for n in g.node for name in n.output]
    for sign in (1, -1):
        x = sign * np.ones(3, np.float32)
        expected = (x + 1) * 2 if sign > 0 else x * 2
        assert_same(next(iter(run_ort(model, {"x": x}).values())), expected)


def test_outside_of_an_export_a_mark_is_the_value_itself():
    x = torch.ones(2)
    assert gk.mark(x, "anything") is x
    program = torch.export.export(Block(), (x,))
    assert not any("mark" in str(n.target) for n in program.graph.nodes)
    with pytest.raises(TypeError, match="a tensor and a name"):
        gk.mark(x, "")
    with pytest.raises(TypeError, match="a tensor and a name"):
        gk.mark(3.0, "x")

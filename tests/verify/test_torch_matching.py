"""Which value of an export is which value of the module: operators with several results, under both exporters."""

import functools
import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.verify.bisect import bisect

torch = pytest.importorskip("torch")
nn = torch.nn


def exported(module, args, exporter="dynamo", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gk.export(module.eval(), args, exporter=exporter, **options)


class Least(nn.Module):
    def forward(self, x):
        least = torch.min(x, 1)
        return least.values * 2, least.indices


class Unbound(nn.Module):
    def forward(self, x):
        a, _, c = x.unbind(1)
        return a * 2 - c


class Pooled(nn.Module):
    def forward(self, x):
        values, places = nn.functional.max_pool1d(x, 2, return_indices=True)
        return values * 2, places


class Best(nn.Module):
    def forward(self, x):
        values, places = torch.topk(x, 2)
        return values * 2, places


class Parts(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, -1)
        return torch.relu(b) - a


class Recurrent(nn.Module):
    def __init__(self, kind, *, layers=1, both=False):
        super().__init__()
        torch.manual_seed(0)
        self.cells = kind(4, 5, layers, batch_first=True, bidirectional=both)

    def forward(self, x):
        y, state = self.cells(x)
        return (y * 2, *state) if isinstance(state, tuple) else (y * 2, state)


MODULES = {
    "min": Least,
    "unbind": Unbound,
    "max_pool": Pooled,
    "topk": Best,
    "chunk": Parts,
    "lstm": lambda: Recurrent(nn.LSTM),
    "lstm of two layers": lambda: Recurrent(nn.LSTM, layers=2),
    "lstm both ways": lambda: Recurrent(nn.LSTM, both=True),
    "gru": lambda: Recurrent(nn.GRU),
    "gru of two layers both ways": lambda: Recurrent(nn.GRU, layers=2, both=True),
    "rnn": lambda: Recurrent(nn.RNN),
}


def arguments():
    return (torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)),)


@functools.cache
def sample(name, exporter="dynamo"):
    module, args = MODULES[name](), arguments()
    return module, args, exported(module, args, exporter)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("name", MODULES)
def test_operators_with_several_results_agree(name, exporter):
    module, args, made = sample(name, exporter)
    result = bisect(made, torch=(module, args), isolate=True)
    assert not result.diverges
    assert {output.name for output in made.proto.graph.output} <= {row.value for row in result.rows}
    assert len({row.twin for row in result.rows}) == len(result.rows)
    if exporter == "dynamo" and name in ("min", "unbind", "max_pool", "topk", "chunk"):
        assert sum(row.twin.startswith("getitem") for row in result.rows) == 2


def test_results_are_told_apart_where_outputs_have_names_of_their_own():
    for name in ("min", "topk"):
        module, args = MODULES[name](), arguments()
        made = exported(module, args, output_names=["twice", "where"])
        rows = {row.value: row.twin for row in bisect(made, torch=(module, args)).rows}
        assert rows["where"] == "getitem_1"


def test_results_are_told_apart_where_the_export_counts_otherwise():
    class Two(nn.Module):
        def forward(self, x):
            n = x.shape[0] + 1
            first, second = torch.min(x, 1), torch.max(x * n, 1)
            return first.values + second.values, second.indices

    args = arguments()
    made = exported(Two(), args, dynamic=["x:0=n"])
    result = bisect(made, torch=(Two(), args))
    assert not result.diverges
    assert {"ReduceMin", "ReduceMax", "ArgMax"} <= {row.op_type for row in result.rows}


def changed(made, op_type, at, change):
    proto = made.materialize()
    node = [n for n in proto.graph.node if n.op_type == op_type][at]
    change(proto, node)
    return proto, node.name or node.output[0]


def scaled(input_at):
    def change(proto, node):
        tensor = next(t for t in proto.graph.initializer if t.name == node.input[input_at])
        tensor.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.05), tensor.name)
        )

    return change


def swapped(op_type):
    def change(_, node):
        node.op_type = op_type

    return change


@pytest.mark.parametrize(
    ("name", "op_type", "at", "change"),
    [
        ("min", "ArgMin", 0, swapped("ArgMax")),
        ("min", "ReduceMin", 0, swapped("ReduceMax")),
        ("max_pool", "Sub", 0, swapped("Add")),
        ("chunk", "Relu", 0, swapped("Abs")),
        ("lstm", "LSTM", 0, scaled(1)),
        ("lstm of two layers", "LSTM", 0, scaled(2)),
        ("lstm of two layers", "LSTM", 1, scaled(1)),
        ("gru of two layers both ways", "GRU", 1, scaled(3)),
    ],
)
def test_a_fault_in_an_operator_with_several_results_is_located(name, op_type, at, change):
    module, args, made = sample(name)
    wrong, node = changed(made, op_type, at, change)
    result = bisect(wrong, torch=(module, args), isolate=True)
    assert result.first.introduces is True
    assert node in (result.first.between or (result.first.node,))
    assert all(node in (row.between or (row.node,)) for row in result.introduced_by)

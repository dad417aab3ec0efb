"""Which value of an export is which value of the module: operators with several results, under both exporters."""

import functools
import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.verify.bisect.bisect import bisect

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


class Turned(nn.Module):
    """The Transpose behind the GRU is merged with another one: what the GRU makes is none of its results."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cells = nn.GRU(4, 5, batch_first=True)

    def forward(self, x):
        y, h = self.cells(x)
        return y.transpose(0, 1) * 2, h


MODULES = {
    "min": Least,
    "unbind": Unbound,
    "max_pool": Pooled,
    "topk": Best,
    "chunk": Parts,
    "lstm": lambda: Recurrent(nn.LSTM),
    "lstm of two layers": lambda: Recurrent(nn.LSTM, layers=2),
    "gru of two layers both ways": lambda: Recurrent(nn.GRU, layers=2, both=True),
    "rnn": lambda: Recurrent(nn.RNN),
    "gru and a transpose": Turned,
}


def arguments():
    return (torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)),)


@functools.cache
def sample(name, exporter):
    module, args = MODULES[name](), arguments()
    return module, args, exported(module, args, exporter)


@pytest.mark.parametrize(
    ("name", "exporter"),
    [*((name, "dynamo") for name in MODULES), ("lstm of two layers", "torchscript"), ("max_pool", "torchscript")],
)
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
        ("lstm of two layers", "LSTM", 0, scaled(2)),
        ("lstm of two layers", "LSTM", 1, scaled(1)),
        ("gru of two layers both ways", "GRU", 1, scaled(3)),
    ],
)
def test_a_fault_in_an_operator_with_several_results_is_located(name, op_type, at, change):
    module, args, made = sample(name, "dynamo")
    wrong, node = changed(made, op_type, at, change)
    result = bisect(wrong, torch=(module, args), isolate=True)
    assert result.first.introduces is True
    assert node in (result.first.between or (result.first.node,))
    assert all(node in (row.between or (row.node,)) for row in result.introduced_by)


class Constants(nn.Module):
    """Outputs that are an input, a weight, nothing, or the same value twice."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x):
        y = x * 2
        return y, x, self.weight, y, None


def with_outputs(made, order):
    proto = made.materialize()
    kept = [onnx.ValueInfoProto.FromString(proto.graph.output[at].SerializeToString()) for at in order]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)
    return proto


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_outputs_in_another_number_are_bad_input(exporter):
    module, args, made = sample("lstm", exporter)
    for order, says in (((0, 1), "gives 3 outputs and the candidate 2"),):
        with pytest.raises(gk.ComparisonError, match=says):
            bisect(with_outputs(made, order), torch=(module, args))


def test_outputs_in_another_order_are_bad_input():
    module, args, made = sample("lstm", "dynamo")
    wrong = with_outputs(made, (0, 2, 1))
    with pytest.raises(gk.ComparisonError, match="another order") as caught:
        bisect(wrong, torch=(module, args))
    mapping = caught.value.hint.parts[-1].value
    assert not bisect(wrong, torch=(module, args), map=mapping).diverges


def test_outputs_in_another_order_without_fx_nodes_are_told_by_their_shapes():
    module, args, made = sample("lstm of two layers", "torchscript")
    wrong = with_outputs(made, (1, 0, 2))
    with pytest.raises(gk.ComparisonError, match="another order: shapes"):
        bisect(wrong, torch=(module, args))
    y, h = (made.proto.graph.output[at].name for at in (0, 1))
    assert not bisect(wrong, torch=(module, args), map={y: "0", h: "1"}).diverges


def test_outputs_that_no_node_makes_are_counted():
    module, args = Constants(), (torch.rand(3),)
    assert not bisect(exported(module, args), torch=(module, args)).diverges


class Choice(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x):
        x = torch.tanh(self.a(x))
        y, z = torch.cond(
            x.sum() > 0,
            lambda t: (torch.relu(self.b(t)) + 1.0, t * 2),
            lambda t: (torch.sigmoid(self.b(t)) * 2.0, torch.exp(t)),
            (x,),
        )
        return self.c(y) + self.a(z)


@functools.cache
def choice():
    module, args = Choice().eval(), (torch.randn(3, 6, generator=torch.Generator().manual_seed(1)),)
    return module, exported(module, args), [args, (-args[0],)]


@pytest.mark.parametrize(("branch", "op_type", "other"), [(0, "Relu", "Elu"), (0, "Add", "Sub"), (1, "Exp", "Abs")])
def test_a_fault_in_a_branch_of_cond_is_located_in_the_branch(branch, op_type, other):
    module, made, arguments = choice()
    taken = [bool(torch.tanh(module.a(args[0])).sum() > 0) for args in arguments]
    assert sorted(taken) == [False, True]
    args = arguments[taken.index(branch == 0)]
    proto = made.materialize()
    outer = next(node for node in proto.graph.node if node.op_type == "If")
    name = ("then_branch", "else_branch")[branch]
    inner = next(n for n in next(a.g for a in outer.attribute if a.name == name).node if n.op_type == op_type)
    inner.op_type = other
    result = bisect(proto, torch=(module, args), isolate=True)
    assert result.first.node == inner.name
    assert result.first.inside == (f"{outer.name}, {name}",)
    assert result.first.introduces is True
    assert [row.node for row in result.introduced_by] == [outer.name]


def test_cond_agrees_and_may_be_the_candidate():
    module, made, (args, _) = choice()
    assert not bisect((module, args), against=made).diverges


def test_a_node_with_several_wrong_outputs_introduces_once():
    module, args, made = sample("lstm", "dynamo")
    wrong, node = changed(made, "LSTM", 0, scaled(1))
    result = bisect(wrong, torch=(module, args), isolate=True)
    assert sum(row.node == node and row.introduces is True for row in result.rows) == 2
    assert [row.node for row in result.introduced_by].count(node) == 1

"""layers: modules that return several tensors, values that are laid out otherwise, modules that take no hooks."""

import functools
import warnings
from collections import OrderedDict

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.verify.bisect.bisect import bisect
from graphkit.verify.bisect.match_outputs import _paired

torch = pytest.importorskip("torch")
nn = torch.nn


class Halves(nn.Module):
    """Two tensors of one shape, in another order than they are made."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 8)

    def forward(self, x):
        a, b = self.inner(x).chunk(2, -1)
        return b, a


class Net(nn.Module):
    """Square sizes, so that what is transposed has the shape of what is not."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.halves, self.first = Halves(), nn.RNN(4, 4, batch_first=True)
        self.second = nn.GRU(4, 4, 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        a, b = self.halves(x)
        y, h = self.first(a * torch.sigmoid(b))
        z, k = self.second(y)
        return z + 1, h, k


@functools.cache
def sample(exporter):
    module, args = Net().eval(), (torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(1)),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module, args, gk.export(module, args, exporter=exporter)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_outputs_of_one_size_are_told_apart_and_what_is_transposed_is_none(exporter):
    """Both exporters merge the Transpose behind the RNN with the one before the GRU: its first output is nowhere."""
    module, args, made = sample(exporter)
    table = gk.layers(made, torch=(module, args))
    rows = {row.output: row for row in table.rows}
    assert table.match
    assert {name for name, row in rows.items() if row.match is None} == {"first [0]"}
    assert rows["first [0]"].remark == "no value of the model is known to be this one"
    assert rows["halves [0]"].value != rows["halves [1]"].value
    assert all(row.match for name, row in rows.items() if name != "first [0]")


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_fault_does_not_part_the_outputs_from_their_values(exporter):
    module, args, made = sample(exporter)
    before = {row.output: row.value for row in gk.layers(made, torch=(module, args)).rows}
    wrong = made.materialize()
    bias = next(t for t in wrong.graph.initializer if t.name == "halves.inner.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.05), bias.name))
    table = gk.layers(wrong, torch=(module, args))
    assert not table.match
    after = {row.output: row.value for row in table.rows if row.value is not None}
    assert {"halves.inner", "halves [0]", "halves [1]"} <= after.keys()
    assert after.items() <= before.items()


def named(text, *names):
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> g {text}')
    for node, name in zip(proto.graph.node, names, strict=True):
        node.name = name
    return proto


class Turned(nn.Module):
    def forward(self, x):
        return torch.relu(x).permute(1, 0, 2)


def test_a_single_output_that_was_merged_with_the_next_transpose_is_none():
    """What leaves the first module transposed enters the second transposed: together that is nothing, or one Transpose."""
    module, args = nn.Sequential(Turned(), nn.Sequential(Turned(), nn.ReLU())).eval(), (torch.randn(2, 3, 4),)
    gone = named(
        "(float[2,3,4] x) => (float[2,3,4] y) { a = Relu(x)\n b = Relu(a)\n y = Relu(b) }",
        "/0/Relu",
        "/1/1.0/Relu",
        "/1/1.1/Relu",
    )
    kept = named(
        "(float[2,3,4] x) => (float[2,3,4] y) { t = Transpose<perm = [1,0,2]>(x)\n a = Relu(t)\n"
        " b = Transpose<perm = [1,0,2]>(a)\n c = Relu(b)\n y = Relu(c) }",
        "/0/Transpose",
        "/0/Relu",
        "/1/1.0/Transpose",
        "/1/1.0/Relu",
        "/1/1.1/Relu",
    )
    for proto in (gone, kept):
        table = gk.layers(proto, torch=(module, args))
        assert not bisect(proto, torch=(module, args)).diverges
        assert table.match
        assert [(row.output, row.value) for row in table.rows if row.output in ("0", "1")][-1] == ("1", "y")


def test_pairs_of_outputs_and_values():
    random = np.random.default_rng(0)
    a, b, c = (random.normal(size=(4, 4)) for _ in range(3))
    assert _paired({"p": a, "q": b}, {"x": b, "y": a}, all_there=True) == {"p": "y", "q": "x"}
    assert _paired({"p": a, "q": b}, {"x": b * 1.1, "y": a * 1.1}, all_there=True) == {"p": "y", "q": "x"}
    assert _paired({"p": a, "q": b}, {"x": b * 1.1, "y": a * 1.1}, all_there=False) == {}
    assert _paired({"p": a, "q": b}, {"x": c, "y": a + b}, all_there=True) == {}
    assert _paired({"p": a, "q": b}, {"x": b, "y": a.T}, all_there=True) == {"q": "x"}
    assert _paired({"p": a}, {"x": a.reshape(2, 8)}, all_there=True) == {}
    smooth = np.add.outer(np.arange(8.0), 1.2 * np.arange(8.0)) + 9
    assert _paired({"p": smooth}, {"x": smooth.T * 1.001}, all_there=True) == {}
    assert _paired({"p": smooth}, {"x": smooth * 1.02}, all_there=True) == {"p": "x"}


def test_a_compiled_module_is_compared_by_its_outputs():
    halves, args = Halves().eval(), (torch.randn(2, 4),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(halves, args)
        made = gk.export(halves, args, exporter="torchscript")
        mixed = nn.Sequential(OrderedDict(act=torch.jit.script(nn.Tanh()), last=nn.ReLU())).eval()
    whole = named("(float[2,4] x) => (float[2,4] y) { a = Tanh(x)\n y = Relu(a) }", "/act/Tanh", "/last/Relu")
    for ask in (bisect, gk.layers):
        found = ask(made, torch=(traced, args))
        assert {row.value for row in found.rows} == {output.name for output in made.proto.graph.output}
        assert any("the module is a ScriptModule" in note for note in found.notes)
    assert not bisect(made, torch=(traced, args)).diverges
    table = gk.layers(whole, torch=(mixed, args))
    assert table.match
    assert "act" not in {row.output for row in table.rows}
    assert any("act is a ScriptModule" in note for note in table.notes)
    with pytest.raises(gk.ComparisonError, match="ScriptModule"):
        gk.validate(whole, torch=(mixed, args), map={"y": "act"})

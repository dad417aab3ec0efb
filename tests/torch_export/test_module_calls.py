"""Modules that are called more than once, or under several names: the same word for each call under both exporters."""

import functools
import io

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.graph.module_paths import module_call
from oracle import assert_same, run_ort

torch = pytest.importorskip("torch")

EXPORTERS = ("dynamo", "torchscript")
BOTH = pytest.mark.parametrize("exporter", EXPORTERS)


class Block(torch.nn.Module):
    """Calls one Linear twice, and a third time under another name, inside of a Sequential."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(8, 8)
        self.drop = torch.nn.Dropout()
        self.seq = torch.nn.Sequential(self.fc, torch.nn.ReLU())

    def forward(self, x):
        return self.seq(self.drop(self.fc(self.fc(x)))) + 0.5


class Net(torch.nn.Module):
    """A block called three times, the second time under another name; a module named as torch would number a call."""

    def __init__(self):
        super().__init__()
        self.block = Block()
        self.block_1 = torch.nn.LayerNorm(8)
        self.list = torch.nn.ModuleList([self.block, torch.nn.Linear(8, 8)])

    def forward(self, x):
        return self.list[1](self.block_1(self.block(self.list[0](self.block(x)))))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(5)
    return Net().eval()


X = torch.rand(2, 8)


@pytest.fixture(scope="module")
def exported(net):
    """Exporter -> model, each exported once."""
    return functools.cache(lambda exporter: gk.export(net, X, exporter=exporter))


@BOTH
@pytest.mark.parametrize("opset", [None, 17])
def test_each_call_has_the_same_name_under_both_exporters(net, exported, exporter, opset):
    model = gk.export(net, X, exporter=exporter, opset=opset) if opset else exported(exporter)
    told = [(n.op_type, module_call(n)) for n in model.proto.graph.node if n.op_type in ("Gemm", "Relu")]
    block = [
        [("Gemm", f"block.fc#{3 * b + k}") for k in (1, 2, 3)] + [("Relu", f"block.seq.1#{b + 1}")] for b in range(3)
    ]
    assert told == [*block[0], *block[1], *block[2], ("Gemm", "list.1")]


@BOTH
@pytest.mark.filterwarnings("ignore")
def test_the_model_is_otherwise_what_torch_makes(net, exporter):
    ours = gk.export(net, X, exporter=exporter, output_names=["y"]).materialize()
    held = io.BytesIO()
    if exporter == "dynamo":
        theirs = torch.onnx.export(
            net, (X,), dynamo=True, verbose=False, input_names=["x"], output_names=["y"]
        ).model_proto
    else:
        torch.onnx.export(net, (X,), held, dynamo=False, input_names=["x"], output_names=["y"])
        theirs = onnx.load_from_string(held.getvalue())
    for node in (*ours.graph.node, *theirs.graph.node):
        del node.metadata_props[:]
        node.doc_string = ""
    assert list(ours.graph.node) == list(theirs.graph.node)
    assert [t.name for t in ours.graph.initializer] == [t.name for t in theirs.graph.initializer]


@BOTH
def test_a_call_is_cut_out_and_computes_what_it_did(net, exporter, exported):
    calls = []
    handles = [
        one.register_forward_hook(lambda _, given, got, path=path: calls.append((path, given[0].numpy(), got.numpy())))
        for path, one in net.named_modules()
        if path in ("block", "block.fc", "block.seq")
    ]
    with torch.no_grad():
        net(X)
    for handle in handles:
        handle.remove()
    model = exported(exporter)
    numbers = dict.fromkeys(("block", "block.fc", "block.seq"), 0)
    for path, given, got in calls:
        numbers[path] += 1
        part = gk.extract(model, module=f"{path}#{numbers[path]}")
        (name,) = [value.name for value in part.proto.graph.input]
        assert_same(next(iter(run_ort(part, {name: given}).values())), got, atol=1e-5)
    assert numbers == {"block": 3, "block.fc": 9, "block.seq": 3}


@BOTH
def test_a_module_of_many_calls_asks_for_one(exporter, exported):
    model = exported(exporter)
    with pytest.raises(gk.CutError, match="'block' is called 3 times: 'block#1', 'block#2', 'block#3'") as caught:
        gk.extract(model, module="block")
    assert caught.value.hint == "name one call: module='block#1'"
    with pytest.raises(gk.NameNotFoundError, match=r"no module named 'block#4'\n.*'block#3'"):
        gk.extract(model, module="block#4")
    assert len(gk.extract(model, module="block_1#1").proto.graph.node) == len(
        gk.extract(model, module="block_1").proto.graph.node
    )


@BOTH
def test_inspect_joins_the_calls_and_counts_shared_weights_once(net, exporter, exported):
    told = {m.path: m for m in gk.inspect(exported(exporter)).modules}
    assert set(told) == {"", "block", "block.fc", "block.seq", "block.seq.1", "block_1", "list", "list.1"}
    assert [told[p].calls for p in ("", "block", "block.fc", "block.seq", "list.1")] == [1, 3, 9, 3, 1]
    for path, one in told.items():
        module = net.get_submodule(path)
        wanted = net.list[1] if path == "list" else module  # list.0 is the block, and counts there
        assert one.parameters == sum(p.numel() for p in wanted.parameters()), path
        assert one.bytes >= 4 * one.parameters
    text = gk.text(gk.inspect(exported(exporter)))
    assert "(called 9 times)" in text


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(40, 16)
        self.attention = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = torch.nn.LayerNorm(16)
        self.lstm = torch.nn.LSTM(16, 12, 2, batch_first=True)
        self.conv = torch.nn.Sequential(torch.nn.Conv1d(12, 6, 3), torch.nn.PReLU())
        self.short = torch.nn.Linear(6, 5, dtype=torch.float16)

    def forward(self, ids):
        x = self.embedding(ids)
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        x = self.conv(self.lstm(x)[0].transpose(1, 2)).transpose(1, 2)
        return self.short(x.reshape(x.shape[0], -1, 6).half())


@BOTH
def test_parameters_are_as_many_as_torch_counts(exporter):
    torch.manual_seed(7)
    net = Encoder().eval()
    with torch.no_grad():  # the exporters store equal weights once, and zeros are equal
        for one in net.parameters():
            one.copy_(torch.randn(one.shape))
    told = {m.path: m for m in gk.inspect(gk.export(net, torch.randint(0, 40, (2, 9)), exporter=exporter)).modules}
    paths = ("embedding", "attention", "norm", "lstm", "conv", "conv.0", "conv.1", "short", "")
    counted = {path: sum(p.numel() for p in net.get_submodule(path).parameters()) for path in paths}
    if exporter == "dynamo":  # its constants: the states that the LSTM begins with, and one number of the attention's
        counted.update({"lstm": counted["lstm"] + 2 * 12, "attention": counted["attention"] + 1, "": counted[""] + 25})
    assert {path: told[path].parameters for path in paths} == counted
    assert told["short"].bytes == 2 * 35
    assert told["embedding"].bytes == 4 * 40 * 16


@BOTH
def test_a_folded_normalisation_has_one_weight_and_one_bias(exporter):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, bias=False), torch.nn.BatchNorm2d(4)).eval()
    net[1].running_var.uniform_(1, 2)
    net[1].running_mean.uniform_(1, 2)
    told = {m.path: m.parameters for m in gk.inspect(gk.export(net, torch.rand(1, 3, 8, 8), exporter=exporter)).modules}
    named, folded = {"dynamo": ("1", "0"), "torchscript": ("0", "1")}[exporter]
    assert told == {"": 3 * 4 * 9 + 4, named: 3 * 4 * 9 + 4, folded: 0}
    plain = {
        m.path: m.parameters
        for m in gk.inspect(gk.export(net, torch.rand(1, 3, 8, 8), exporter=exporter, optimize=False)).modules
    }
    assert plain == {"": 108 + 16, "0": 108, "1": 16} if exporter == "dynamo" else plain[""] >= 112


def test_weights_are_not_read(tmp_path):
    gk.export(torch.nn.Linear(64, 64), torch.rand(1, 64), tmp_path / "a.onnx", external="a.data")
    with open(tmp_path / "a.data", "r+b") as file:
        file.write(b"\xff" * 64 * 64 * 4)
    (root,) = [m for m in gk.inspect(tmp_path / "a.onnx").modules if not m.path]
    assert (root.parameters, root.bytes) == (64 * 65, 4 * 64 * 65)
    assert np.isnan(gk.load(tmp_path / "a.onnx").array("weight")).all()

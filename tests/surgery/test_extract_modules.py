"""extract by torch module, on what both of torch's exporters really write."""

import warnings

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.graph.module_paths import modules
from oracle import assert_same, run_ort

torch = pytest.importorskip("torch")

BOTH = pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])


class Block(torch.nn.Module):
    """A residual block: its input goes around its inner modules."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.ReLU())

    def forward(self, x):
        return x + self.inner(x)


class Net(torch.nn.Module):
    """Sequential, ModuleList, a module called twice, a transformer layer with multi-head attention."""

    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
        self.blocks = torch.nn.ModuleList(Block() for _ in range(2))
        self.shared = torch.nn.Linear(8, 8)
        self.encoder = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        tokens = x.flatten(2).transpose(1, 2)
        return self.encoder(self.shared(torch.tanh(self.shared(tokens))))


class Exported:
    """A net, its model, and what each call of each module was given and gave."""

    def __init__(self, path, exporter):
        torch.manual_seed(0)
        self.net = Net().eval()
        self.net.stem[1].running_mean.uniform_(-1, 1)
        self.x = torch.randn(2, 3, 4, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own: the exporter's deprecation, and what tracing says
            torch.onnx.export(
                self.net, (self.x,), path, dynamo=exporter == "dynamo", verbose=False, external_data=False
            )
            self.calls = {}
            for name, module in self.net.named_modules():
                module.register_forward_hook(
                    lambda m, given, got, name=name: self.calls.setdefault(name, []).append((given, got))
                )
            self.net(self.x)
        self.path = path
        self.model = onnx.load(path)

    def values(self, names):
        """Values of the whole model, in ONNX Runtime."""
        whole = onnx.shape_inference.infer_shapes(self.model)
        kept = [value for value in whole.graph.output if value.name in names]
        kept += [value for value in whole.graph.value_info if value.name in names]
        del whole.graph.output[:]
        whole.graph.output.extend(kept)
        feeds = {whole.graph.input[0].name: self.x.detach().numpy()}
        return {**feeds, **run_ort(whole, feeds)}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("modules")
    made = {}

    def get(exporter):
        if exporter not in made:
            made[exporter] = Exported(folder / f"{exporter}.onnx", exporter)
        return made[exporter]

    return get


@BOTH
def test_every_module_of_the_file_can_be_cut_out_and_gives_the_values_of_the_whole(exporter, exported) -> None:
    subject = exported(exporter)
    paths = list(modules(subject.model.graph))
    assert {
        "",
        "stem",
        "blocks",
        "blocks.0",
        "blocks.0.inner",
        "blocks.1.inner.0",
        "shared",
        "encoder.self_attn",
    } <= set(paths)
    for path in paths:
        part = gk.extract(subject.path, module=path)
        names = [v.name for v in (*part.proto.graph.input, *part.proto.graph.output)]
        values = subject.values(names)
        inputs = {v.name: values[v.name] for v in part.proto.graph.input}
        expected = {v.name: values[v.name] for v in part.proto.graph.output}
        assert_same(run_ort(part, inputs), expected, rtol=1e-4, atol=1e-5, where=f"{path!r}: ")
        onnx.checker.check_model(part.materialize(), full_check=True)


@BOTH
@pytest.mark.parametrize(
    "path", ["stem", "blocks", "blocks.0", "blocks.1.inner", "encoder", "encoder.self_attn", "encoder.linear1"]
)
def test_a_module_gives_what_torch_gives(path, exporter, exported) -> None:
    subject = exported(exporter)
    calls = subject.calls
    if path == "blocks":  # a ModuleList is never called: from the first block's input to the last one's output
        given, got = calls["blocks.0"][0][0], calls["blocks.1"][0][1]
    else:
        given, got = calls[path][0]
    if path == "encoder.self_attn":
        given, got = given[:1], got[0]
    part = gk.extract(subject.path, module=path)
    assert len(part.proto.graph.input) == len(part.proto.graph.output) == 1
    fed = (
        given[0]
        .detach()
        .numpy()
        .reshape([d.dim_value for d in part.proto.graph.input[0].type.tensor_type.shape.dim] or -1)
    )
    if fed.shape != given[0].shape:
        pytest.fail(f"the input of {path!r} is {fed.shape}, torch's is {tuple(given[0].shape)}")
    answer = next(iter(run_ort(part, {part.proto.graph.input[0].name: fed}).values()))
    assert_same(answer, got.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_module_called_twice_is_two_paths_in_one_exporters_file_and_two_results_in_the_others(exported) -> None:
    traced = exported("torchscript")
    for path, call in (("shared", 0), ("shared_1", 1)):
        part = gk.extract(traced.path, module=path)
        given, got = traced.calls["shared"][call]
        answer = run_ort(part, {part.proto.graph.input[0].name: given[0].detach().numpy()})
        assert_same(next(iter(answer.values())), got.detach().numpy(), rtol=1e-4, atol=1e-5)
    dynamo = exported("dynamo")
    part = gk.extract(dynamo.path, module="shared")
    assert len(part.proto.graph.input) == len(part.proto.graph.output) == 2
    feeds = {
        v.name: given[0].detach().numpy()
        for v, (given, _) in zip(part.proto.graph.input, dynamo.calls["shared"], strict=True)
    }
    answers = list(run_ort(part, feeds).values())
    for answer, (_, got) in zip(answers, dynamo.calls["shared"], strict=True):
        assert_same(answer, got.detach().numpy(), rtol=1e-4, atol=1e-5)


@BOTH
def test_weights_of_other_modules_stay_behind(exporter, exported) -> None:
    part = gk.extract(exported(exporter).path, module="blocks.0.inner.0")
    sizes = sorted(np.prod(t.dims) for t in part.proto.graph.initializer)
    assert sizes == [8, 8 * 8 * 9]


@BOTH
def test_a_path_that_is_no_module_is_guessed(exporter, exported) -> None:
    with pytest.raises(gk.NameNotFoundError, match="no module named 'self_attn'") as caught:
        gk.extract(exported(exporter).path, module="self_attn")
    assert "encoder.self_attn" in caught.value.suggestions


def test_a_file_without_modules_says_so(exported) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(exported("dynamo").model)
    for node in model.graph.node:
        del node.metadata_props[:]
    with pytest.raises(gk.NameNotFoundError, match="does not say which torch module its nodes come from"):
        gk.extract(model, module="encoder")


@BOTH
def test_the_suggestion_for_a_module_is_its_boundary(exporter, exported) -> None:
    subject = exported(exporter)
    found = gk.suggest(subject.path, module="blocks")
    part = gk.extract(subject.path, module="blocks")
    assert found.inputs == tuple(v.name for v in part.proto.graph.input)
    assert found.outputs == tuple(v.name for v in part.proto.graph.output)
    assert found.nodes == len(part.proto.graph.node)
    assert found.input_types == ("float32[2,8,4,4]",)
    again = gk.extract(subject.path, inputs=found.inputs, outputs=found.outputs)
    assert again.proto == part.proto


class Recurrent(torch.nn.Module):
    """An LSTM between two layers."""

    def __init__(self):
        super().__init__()
        self.before = torch.nn.Linear(4, 4)
        self.recurrent = torch.nn.LSTM(4, 8, batch_first=True)
        self.after = torch.nn.Linear(8, 2)

    def forward(self, x):
        return self.after(self.recurrent(self.before(x))[0])


@BOTH
@pytest.mark.parametrize("path", ["recurrent", ""])
def test_nodes_without_a_path_amid_a_module_come_along(path, exporter) -> None:
    # torchscript computes the shape of the first state with nodes that have no scope in their names
    torch.manual_seed(0)
    net, x = Recurrent().eval(), torch.randn(2, 3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: LSTM with a batch size of more than 1
        whole = gk.export(net, (x,), exporter=exporter)
    part = gk.extract(whole, module=path)
    (given,), (answered,) = part.proto.graph.input, part.proto.graph.output
    with torch.no_grad():
        fed, wanted = (net.before(x), net.recurrent(net.before(x))[0]) if path else (x, net(x))
    answer = run_ort(part, {given.name: fed.numpy()})[answered.name]
    assert_same(answer, wanted.numpy(), rtol=1e-4, atol=1e-5)

"""A portable recipe that was made on one exporter's file fits the other exporter's file of the same net."""

import numpy as np
import pytest

import graphkit as gk

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4), torch.nn.ReLU())
        self.head = torch.nn.Conv2d(4, 2, 1)

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.nn.functional.interpolate(x, scale_factor=2.0, mode="nearest"))


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Exporter -> file."""
    torch.manual_seed(0)
    net, folder = Net().eval(), tmp_path_factory.mktemp("exports")
    paths = {name: folder / f"{name}.onnx" for name in ("dynamo", "torchscript")}
    for name, path in paths.items():
        gk.export(net, (torch.ones(1, 3, 8, 8),), path, exporter=name)
    return paths


def edited(path):
    """Names by the exporter's own: the stem's convolution, the input, the output, the weights of the head."""
    model = gk.load(path)
    convolutions = [node for node in model.nodes if node.op_type == "Conv"]
    (resize,) = [node for node in model.nodes if node.op_type == "Resize"]
    model = gk.rename(model, values={model.inputs[0].name: "image", model.outputs[0].name: "logits"})
    model = gk.tap(model, convolutions[0].output[0])
    model = gk.rename(model, values={convolutions[0].output[0]: "features"})
    model = gk.resize(model, nodes=[resize.name], input_name="factor")
    return gk.set_parts(model, tensors={convolutions[1].input[1]: np.full((2, 4, 1, 1), 0.5, np.float32)})


@pytest.mark.parametrize(("one", "other"), [("dynamo", "torchscript"), ("torchscript", "dynamo")])
def test_a_recipe_of_one_exporters_file_does_the_same_to_the_others(exports, tmp_path, one, other):
    mine = edited(exports[one])
    mine.save(tmp_path / "mine.onnx")
    gk.save_recipe(tmp_path / "mine.onnx", tmp_path / "r.toml", portable=True, original=exports[one])
    names = {name for node in gk.load(exports[one]).nodes for name in (node.name, *node.output) if name}
    text = (tmp_path / "r.toml").read_text()
    assert [name for name in names if f'"{name}"' in text] == []  # nothing of this export is written into it
    theirs = gk.Recipe.load(tmp_path / "r.toml").apply(exports[other])
    assert [v.name for v in theirs.inputs] == ["image", "factor"]
    assert [v.name for v in theirs.outputs] == ["logits", "features"]
    feeds = {"image": np.random.default_rng(0).standard_normal((1, 3, 8, 8), dtype=np.float32), "factor": 3.0}
    expected, found = gk.run(mine, feeds), gk.run(theirs, feeds)
    assert expected["logits"].shape == (1, 2, 24, 24)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_a_plain_recipe_gives_the_same_bytes_on_the_original(exports, tmp_path, exporter):
    edited(exports[exporter]).save(tmp_path / "mine.onnx")
    gk.save_recipe(tmp_path / "mine.onnx", tmp_path / "r.toml")
    gk.Recipe.load(tmp_path / "r.toml").apply(exports[exporter]).save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "mine.onnx").read_bytes()

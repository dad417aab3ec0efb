"""Training mode, a forgotten eval(), what went into what, domains of one's own, open files: what export is told and says."""

import io
import json

import numpy as np
import onnx
import onnxruntime
import pytest

import graphkit as gk
from graphkit.graph.module_paths import folded_modules
from graphkit_cli.main import main

torch = pytest.importorskip("torch")

BOTH = pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])


class Net(torch.nn.Module):
    def __init__(self, drop=0.5):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)
        self.drop, self.bn2 = torch.nn.Dropout(drop), torch.nn.BatchNorm2d(4)
        self.bn1.running_mean.uniform_(-1, 1)

    def forward(self, x):
        return self.bn2(self.drop(torch.relu(self.bn1(self.conv1(x)))))


X = torch.rand(2, 3, 6, 6)


def kinds(report, kind):
    return [finding.message for finding in report.findings if finding.kind == kind]


@pytest.fixture(scope="module")
def exports():
    """exporter -> the export of a net in training mode, made once."""
    made = {}

    def of(exporter):
        if exporter not in made:
            made[exporter] = gk.export_report(Net(), X, exporter=exporter)
        return made[exporter]

    return of


# R32
@BOTH
def test_a_batchnorm_that_went_into_a_convolution_is_said_and_both_are_in_the_table(exports, exporter):
    report = exports(exporter)
    (said,) = kinds(report, "folded")
    assert said.startswith("your BatchNorm2d 'bn1' went into Conv 'conv1' (node ")
    rows = {row.path: row for row in gk.inspect(report.model).modules}
    conv, norm = rows["conv1"], rows["bn1"]
    assert {conv.nodes, norm.nodes} == {0, 1}
    assert {conv.folded_into is None, norm.folded_into is None} == {True, False}
    assert conv.class_name.endswith("Conv2d")
    assert norm.class_name.endswith("BatchNorm2d")
    text = gk.text(gk.inspect(report.model))
    assert " conv1 " in text
    assert " bn1 " in text
    assert rows["bn2"].nodes == 1
    assert rows["bn2"].folded_into is None


def test_who_asks_for_a_folded_module_is_told_where_it_is(exports):
    model = exports("dynamo").model
    for ask in (
        lambda: gk.extract(model, module="conv1"),
        lambda: gk.split(model, modules=["conv1"]),
        lambda: gk.outline(model, "conv1"),
        lambda: gk.view(model, highlight="module:conv1"),
    ):
        with pytest.raises(gk.NameNotFoundError) as caught:
            ask()
        assert "folded 'conv1' into Conv" in caught.value.hint
        assert "'bn1'" in caught.value.hint


@BOTH
def test_kept_apart_nothing_is_said_to_be_folded(exporter):
    report = gk.export_report(Net().eval(), X, exporter=exporter, optimize=False)
    assert not kinds(report, "folded")
    assert not any(folded_modules(node) for node in report.model.proto.graph.node)
    assert {"conv1", "bn1"} <= {row.path for row in gk.inspect(report.model).modules if row.nodes}


def test_what_was_folded_outlives_edits_and_files(exports, tmp_path):
    gk.rename(exports("dynamo").model, values={"x": "image"}).save(tmp_path / "m.onnx")
    rows = {row.path: row for row in gk.inspect(tmp_path / "m.onnx").modules}
    assert rows["conv1"].folded_into
    assert rows["bn1"].nodes == 1


# R08
@BOTH
def test_a_forgotten_eval_is_said_with_the_modules_that_it_matters_for(exports, exporter):
    (said,) = kinds(exports(exporter), "training-mode")
    assert "BatchNorm2d 'bn1', Dropout 'drop', BatchNorm2d 'bn2'" in said


@pytest.mark.parametrize(
    "module",
    [
        Net().eval(),
        torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.ReLU(), torch.nn.Dropout(0.0)),
    ],
)
def test_where_eval_changes_nothing_nothing_is_said(module):
    assert not kinds(gk.export_report(module, X, exporter="torchscript"), "training-mode")


def test_training_mode_is_exported_by_torchscript():
    module = Net(drop=0.0)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for mode in ("train", torch.onnx.TrainingMode.TRAINING):
        model = gk.export(module, X, exporter="torchscript", training=mode)
        norms = [node for node in model.proto.graph.node if node.op_type == "BatchNormalization"]
        assert [onnx.helper.get_node_attr_value(node, "training_mode") for node in norms] == [1, 1]
        assert "Dropout" in [node.op_type for node in model.proto.graph.node]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    assert model.history[-1].arguments["training"] == "train"
    session = onnxruntime.InferenceSession(model.materialize().SerializeToString())
    (got, *_) = session.run(None, {"x": X.numpy()})
    np.testing.assert_allclose(got, module.train()(X).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_preserve_takes_each_submodule_in_the_mode_that_it_has():
    module = Net().eval()
    module.bn2.train()
    model = gk.export(module, X, exporter="torchscript", training="preserve")
    norms = [node for node in model.proto.graph.node if node.op_type == "BatchNormalization"]
    modes = [{a.name: a.i for a in node.attribute}.get("training_mode", 0) for node in norms]
    assert modes == [0, 1]
    assert "Dropout" not in [node.op_type for node in model.proto.graph.node]


def test_dynamo_refuses_training_mode_and_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"dynamo exporter has no training mode .*torchscript"):
        gk.export(Net(), X, training="train")
    with pytest.raises(ValueError, match="training is one of"):
        gk.export(Net(), X, training="traning", exporter="torchscript")


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def symbolic(g, x):
        return g.op("my::Twice", x)


class Twice(torch.nn.Module):
    def forward(self, x):
        return Own.apply(x)


class Symbolic(torch.nn.Module):
    def forward(self, x):
        return torch.onnx.ops.symbolic("my::Twice", (x,), dtype=x.dtype, shape=x.shape, version=1)


# R49
@pytest.mark.parametrize(("module", "exporter"), [(Twice(), "torchscript"), (Symbolic(), "dynamo")])
def test_a_domain_of_ones_own_gets_the_version_that_is_given(module, exporter):
    report = gk.export_report(module, X, exporter=exporter, custom_opsets={"my": 3, "mine": 2})
    assert {entry.domain: entry.version for entry in report.model.proto.opset_import}["my"] == 3
    assert kinds(report, "opset") == ["no node of the model is of domain 'mine', given version 2; it uses 'my'"]


@pytest.mark.parametrize(
    ("versions", "kind", "words"),
    [({"": 17}, ValueError, "opset="), ({"my": 0}, ValueError, "1 or more"), ({"my": "1"}, TypeError, "is a number")],
)
def test_versions_that_are_none_are_refused(versions, kind, words):
    with pytest.raises(kind, match=words):
        gk.export(Twice(), X, exporter="torchscript", custom_opsets=versions)


# R48
def test_torchs_name_for_translations_is_taken():
    from onnxscript import opset18 as op

    def cosh(x):
        return op.Mul(op.Cosh(x), op.Constant(value_float=1.0))

    class Cosh(torch.nn.Module):
        def forward(self, x):
            return torch.cosh(x)

    model = gk.export(Cosh(), X, custom_translation_table={torch.ops.aten.cosh.default: cosh}, optimize=False)
    assert "Mul" in [node.op_type for node in model.proto.graph.node]
    with pytest.raises(ValueError, match="one thing"):
        gk.export(Cosh(), X, custom_translation_table={1: cosh}, translations={1: cosh})
    with pytest.raises(ValueError, match="register_custom_op_symbolic"):
        gk.export(Cosh(), X, custom_translation_table={1: cosh}, exporter="torchscript")


OWN = """
import torch
from onnxscript import opset18 as op


@torch.library.custom_op("tut_own::twice", mutates_args=())
def twice(x: torch.Tensor) -> torch.Tensor:
    return x * 2


twice.register_fake(torch.empty_like)


class Net(torch.nn.Module):
    def forward(self, x):
        return twice(x) + 1


def make():
    return Net(), (torch.ones(2, 3),)


def nodes(x):
    return op.Add(x, x)


TABLE = {torch.ops.tut_own.twice.default: nodes}
WIDE = {**TABLE, torch.ops.aten.sinh.default: nodes, "tut_own::twice": nodes}


def table():
    return TABLE


def broken():
    raise ValueError("no table today")


NUMBER = 3
NO_FUNCTIONS = {torch.ops.tut_own.twice.default: "Add"}
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tut_own_net.py").write_text(OWN)


# R48
def test_the_command_takes_translations_of_operators_of_ones_own(own, capsys):
    assert main(["export", "tut_own_net:make", "m.onnx"]) == 3
    said = capsys.readouterr().err
    assert "tut_own::twice has no translation" in said
    assert "--translations" in said
    words = ["--translations", "tut_own_net:table", "--dynamic", "x:0=n", "--check-baked"]
    assert main(["export", "tut_own_net:make", "m.onnx", *words]) == 0
    assert "nothing is baked in" in capsys.readouterr().err
    feed = np.arange(8, dtype=np.float32).reshape(2, 4)[:, :3]
    (made,) = gk.run("m.onnx", {"x": feed}).values()
    np.testing.assert_array_equal(made, feed * 2 + 1)
    assert main(["export", "tut_own_net:make", "m.onnx", "--translations", "tut_own_net:WIDE"]) == 0
    said = capsys.readouterr().err
    assert "the translation of aten.sinh.default was not used: the module does not call it" in said
    assert (
        "the translation of 'tut_own::twice' was not used: the module does not call it; it calls tut_own.twice" in said
    )


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("tut_own_net", 3, "names nothing in a module"),
        ("tut_own_net:TABEL", 3, "did you mean 'TABLE'"),
        ("tut_own_net:NUMBER", 3, "is a int, no mapping"),
        ("tut_own_net:NO_FUNCTIONS", 3, "has 'Add' for tut_own.twice.default, no function"),
        ("tut_own_net:broken", 3, "raised ValueError: no table today, at "),
        ("tut_nowhere:TABLE", 3, "there is no Python module 'tut_nowhere'"),
    ],
)
def test_translations_that_are_none_are_refused(own, capsys, name, code, words):
    assert main(["export", "tut_own_net:make", "m.onnx", "--translations", name]) == code
    assert words in capsys.readouterr().err


def test_translations_for_torchscript_are_refused(own, capsys):
    words = ["--translations", "tut_own_net:TABLE", "--exporter", "torchscript"]
    assert main(["export", "tut_own_net:make", "m.onnx", *words]) == 2
    assert "register_custom_op_symbolic" in capsys.readouterr().err


def test_a_model_is_exported_into_an_open_file():
    file = io.BytesIO()
    model = gk.export(Net().eval(), X, file, exporter="torchscript")
    assert onnx.load_from_string(file.getvalue()).graph == model.proto.graph


# R20
def test_the_command_takes_mode_versions_and_names_of_output_axes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "tut_net.py").write_text(
        "import torch\n"
        "def make():\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)), torch.rand(1, 3, 8, 8)\n"
    )
    command = ["export", "tut_net:make", "m.onnx", "--exporter", "torchscript", "--output", "y"]
    assert main([*command, "--dynamic", "input:2=h", "--dynamic", "y:2=H", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {"folded", "training-mode"} <= {finding["kind"] for finding in told["findings"]}
    assert next(f for f in told["findings"] if f["kind"] == "folded")["remedy"].endswith("--no-optimize")
    (output,) = gk.inspect("m.onnx").outputs
    assert output.type.startswith("float32[1,4,H,")
    assert main([*command, "--training", "train"]) == 0
    assert "BatchNormalization" in gk.inspect("m.onnx").operators
    assert main(["export", "tut_net:make", "n.onnx", "--training", "train"]) == 2
    assert "no training mode" in capsys.readouterr().err
    assert main([*command, "--custom-opset", "my"]) == 2

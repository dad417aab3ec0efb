"""export, ops, probe, lint and define on the command line: exit codes, streams, and no file left behind."""

import json
import sys

import onnx
import pytest

pytest.importorskip("torch")

SOURCE = """
import torch

class Factor(torch.nn.Module):
    def forward(self, x, factor):
        return torch.nn.functional.interpolate(x, scale_factor=factor.item())

class Unknown(torch.nn.Module):
    def forward(self, x):
        return torch.special.i0(x)

def conv():
    return torch.nn.Conv2d(3, 2, 3), (torch.zeros(1, 3, 8, 8),)

def bare():
    return torch.nn.Conv2d(3, 2, 3)

def factor():
    return Factor(), (torch.zeros(1, 3, 8, 8), torch.tensor(2.0))

def unknown():
    return Unknown(), (torch.zeros(2),)

def raises():
    raise RuntimeError("no weights here")

def nothing():
    return None

def wide():
    return torch.nn.Linear(512, 512), (torch.zeros(1, 512),)
"""


@pytest.fixture(autouse=True)
def nets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cli_nets.py").write_text(SOURCE)
    yield
    sys.modules.pop("cli_nets", None)


def test_export_writes_a_model_and_says_what_it_holds(graphkit, tmp_path):
    ran = graphkit(
        "export", "cli_nets:conv", "conv.onnx", "--exporter", "torchscript", "--opset", 17, "--output", "y",
        "--dynamic", "input:2=h", "--dynamic", "input:-1=w",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "")
    assert "wrote conv.onnx" in ran.out
    model = onnx.load(tmp_path / "conv.onnx")
    assert [e.version for e in model.opset_import] == [17]
    assert [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim][2:] == ["h", "w"]
    assert model.graph.output[0].name == "y"


def test_export_makes_the_inputs_it_is_told(graphkit, tmp_path):
    options = ("--exporter", "torchscript", "--json", "--input", "picture=1,512", "--external", "wide.data")
    ran = graphkit("export", "cli_nets:wide", "wide.onnx", *options)
    assert ran.code == 0
    assert json.loads(ran.out)["inputs"] == ["picture"]
    assert (tmp_path / "wide.data").stat().st_size >= 512 * 512 * 4


def test_a_script_gets_the_findings_as_data(graphkit):
    ran = graphkit("export", "cli_nets:factor", "f.onnx", "--exporter", "torchscript", "--check-baked", "--json")
    told = json.loads(ran.out)
    assert (ran.code, told["exporter"], told["opset_asked"], told["opset"]) == (1, "torchscript", None, 20)
    assert [f["kind"] for f in told["findings"]] == ["input-vanished", "traced-constant", "constant"]
    assert told["findings"][0]["value"] == "factor"
    assert told["findings"][2]["source"] == "cli_nets.py:6 (in forward)"
    assert told["findings"][2]["remedy"] == "graphkit resize f.onnx f_mended.onnx --node /Resize"
    assert len(told["notes"]) == len(told["findings"])


def test_export_with_a_dry_run_writes_nothing(graphkit, tmp_path):
    ran = graphkit("export", "cli_nets:conv", "conv.onnx", "--exporter", "torchscript", "--dry-run")
    assert (ran.code, ran.out.startswith("would write conv.onnx")) == (0, True)
    assert not (tmp_path / "conv.onnx").exists()


def test_check_baked_names_the_constant_and_answers_no(graphkit, tmp_path):
    ran = graphkit("export", "cli_nets:factor", "f.onnx", "--exporter", "torchscript", "--check-baked")
    assert ran.code == 1
    assert "it is argument 'factor' [cli_nets.py:6 (in forward)] -> graphkit resize f.onnx f_mended.onnx" in ran.err
    assert (tmp_path / "f.onnx").exists()
    ran = graphkit("export", "cli_nets:conv", "c.onnx", "--exporter", "torchscript", "--check-baked")
    assert ran.code == 0
    assert ran.err.startswith("note: nothing is baked in: ")


def test_check_baked_keeps_weights_that_the_exporter_left_in_a_file(graphkit, tmp_path, monkeypatch):
    monkeypatch.setattr("graphkit.torch_export.job.LARGE", 0)
    ran = graphkit("export", "cli_nets:wide", "wide.onnx", "--exporter", "torchscript", "--check-baked")
    assert (ran.code, ran.err.startswith("note: nothing is baked in: ")) == (0, True)
    (weight, _) = onnx.load(tmp_path / "wide.onnx").graph.initializer
    assert len(onnx.numpy_helper.to_array(weight)) == 512


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("cli_nets:conf", "out.onnx"), "did you mean 'conv'?"),
        (("cli_nest:conv", "out.onnx"), "did you mean 'cli_nets'?"),
        (("cli_nets:raises", "out.onnx"), "RuntimeError: no weights here, at cli_nets.py:25 (in raises)"),
        (("cli_nets:nothing", "out.onnx"), "gave None, no torch module"),
        (("cli_nets:bare", "out.onnx"), "gives no example arguments"),
        (("cli_nets:bare", "out.onnx", "--input", "input=1,5,8,8"), "Conv2d does not run on these arguments"),
        (
            ("cli_nets:conv", "out.onnx", "--dynamic", "inputs:2=h"),
            "'inputs', which is no input\n  hint: did you mean input?",
        ),
        (("cli_nets:conv", "out.onnx", "--output", "a", "--output", "a"), "the output name 'a' is given twice"),
        (("cli_nets:factor", "out.onnx", "--input", "x=1,3,8,8", "--input", "facter="), "did you mean factor?"),
        (("cli_nets:unknown", "out.onnx"), "aten::i0 has no translation to opset 20, at cli_nets.py:10"),
        (("cli_nets:conv", "none/out.onnx"), "the folder 'none' does not exist"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(graphkit, tmp_path, arguments, says):
    ran = graphkit("export", *arguments, "--exporter", "torchscript")
    assert (ran.code, ran.out) == (3, "")
    assert says in ran.err
    assert len(ran.err.splitlines()) <= 3
    assert not list(tmp_path.glob("*.onnx"))


def test_torchs_page_is_shown_with_verbose_only(graphkit):
    arguments = ("export", "cli_nets:unknown", "out.onnx", "--exporter", "torchscript")
    assert "Torch IR graph at exception" not in graphkit(*arguments).err
    assert "Torch IR graph at exception" in graphkit(*arguments, "-v").err


def test_ops_in_its_three_forms(graphkit):
    assert "Resize: changed at opset 10, 11, 13, 18, 19" in graphkit("ops", "resize", "--opset", 11).out
    assert json.loads(graphkit("ops", "Resize", "--opset", 12, "--json").out)["rule"]["since"] == 11
    assert graphkit("ops").out.startswith("operator")
    found = graphkit("ops", "--torch", "upsample_bicubic2d")
    assert (found.code, "symbolic_helper.py:" in found.out) == (0, True)
    checked = graphkit("ops", "--check", "cli_nets:conv")
    assert (checked.code, "one-to-one" in checked.out) == (0, True)
    unknown = graphkit("ops", "--check", "cli_nets:unknown")
    assert (unknown.code, "no translation for aten::i0" in unknown.out) == (1, True)


def test_ops_check_at_an_opset_and_as_data(graphkit):
    ran = graphkit("ops", "--check", "cli_nets:conv", "--opset", 11, "--json")
    told = json.loads(ran.out)
    assert (ran.code, ran.err, told["opset"]) == (0, "", {"dynamo": 18, "torchscript": 11})
    assert [(u["exporter"], u["kind"], u["becomes"], u["since"]) for u in told["uses"]] == [
        ("dynamo", "one-to-one", ["Conv"], 18),
        ("torchscript", "one-to-one", ["Conv"], 9),
    ]


def test_ops_says_what_is_wrong(graphkit):
    assert "did you mean Resize or" in graphkit("ops", "Resise").err
    assert "no operator 'aten::upsampel'" in graphkit("ops", "--torch", "upsampel").err
    assert graphkit("ops", "Resize", "--torch", "x").code == 2
    assert graphkit("ops", "--torch", "relu", "--opset", 3).code == 2
    assert "gives no example arguments" in graphkit("ops", "--check", "cli_nets:bare").err


def test_probe_tells_the_axis_and_answers_no(graphkit):
    graphkit("export", "cli_nets:conv", "conv.onnx", "--exporter", "torchscript")
    ran = graphkit("probe", "conv.onnx", "--shape", "input=1,3,8,8", "--shape", "input=2,3,8,8")
    assert ran.code == 1
    assert "axis 0 of input 'input' is 2 and is fixed to 1" in ran.out
    assert "graphkit dims conv.onnx OUT --set input:0=input_0" in ran.out
    mended = graphkit("dims", "conv.onnx", "batch.onnx", "--set", "input:0=batch")
    assert mended.code == 0
    assert graphkit("probe", "batch.onnx", "--shape", "input=2,3,8,8").code == 0
    assert graphkit("probe", "conv.onnx", "--shape", "input").code == 2
    assert graphkit("probe", "conv.onnx", "--shape", "x=1").code == 3


def test_lint_and_define(graphkit, tmp_path):
    text = '<ir_version: 8, opset_import: ["": 17, "mine": 1]> g (float[n] x) => (float[n] y) { y = mine.Twice(x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "mine.onnx")
    refused = graphkit("lint", "mine.onnx", "--target", "tensorrt", "--trtexec", "--dim", "n=1:2:8")
    assert refused.code == 1
    assert "mine::Twice needs a plugin" in refused.out
    assert "--maxShapes=x:8" in refused.out
    body = '<domain: "mine", opset_import: ["": 17]> Twice (a) => (b) { b = Add(a, a) }'
    assert graphkit("define", "mine.onnx", "runs.onnx", "--function", body).code == 0
    assert graphkit("lint", "runs.onnx").code == 0
    assert json.loads(graphkit("lint", "runs.onnx", "--json").out)["dynamic"] == {"x": "n"}
    assert graphkit("lint", "runs.onnx", "--dim", "n=1").code == 2
    assert graphkit("lint", "runs.onnx", "--target-version", "new").code == 2
    assert graphkit("run", "runs.onnx", "--feed", "x=2,3").code == 0

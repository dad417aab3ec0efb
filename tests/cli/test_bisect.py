"""graphkit bisect, layers and doctor: exit codes, what is printed, what is written."""

import json

import numpy as np
import onnx
import pytest

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
NET = "g (float[n,3] x) => (float[n,3] y) {{ [one] a = Relu(x)\n [two] b = {}(a)\n [three] c = Exp(b)\n [four] y = Neg(c) }}"


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(f"{HEAD} {NET.format('Tanh')}"), "right.onnx")
    onnx.save(onnx.parser.parse_model(f"{HEAD} {NET.format('Sigmoid')}"), "wrong.onnx")
    onnx.save(onnx.parser.parse_model(f"{HEAD} g (float[n,3] z) => (float[n,3] y) {{ y = Neg(z) }}"), "other.onnx")
    return tmp_path


def test_the_exit_code_says_whether_it_diverges(graphkit, models):
    ran = graphkit("bisect", "right.onnx", "--against", "right.onnx", "--json")
    answer = json.loads(ran.out)
    assert (ran.code, answer["diverges"], answer["first"], answer["introduced_by"]) == (0, False, None, [])
    ran = graphkit("bisect", "wrong.onnx", "--against", "right.onnx", "--isolate", "--json")
    answer = json.loads(ran.out)
    assert (ran.code, answer["diverges"]) == (1, True)
    assert (answer["first"]["value"], answer["first"]["node"]) == ("b", "two")
    assert [found["node"] for found in answer["introduced_by"]] == ["two"]
    ran = graphkit("bisect", "wrong.onnx", "--against", "right.onnx")
    assert "first difference: value 'b', made by Sigmoid 'two'" in ran.out


def test_feeds_out_of_an_archive_and_bound_dims(graphkit, models):
    np.savez("f.npz", x=np.ones((4, 3), np.float32), more=np.zeros(1))
    ran = graphkit("bisect", "wrong.onnx", "--against", "right.onnx", "--feed", "x=@f.npz", "--json")
    assert json.loads(ran.out)["feeds"] == {"x": "float32[4,3]"}
    ran = graphkit("bisect", "wrong.onnx", "--against", "right.onnx", "--bind", "n=7", "--json")
    assert json.loads(ran.out)["feeds"] == {"x": "float32[7,3]"}


def test_a_reproduction_and_a_page_are_written(graphkit, models):
    ran = graphkit(
        "bisect", "wrong.onnx", "--against", "right.onnx", "--isolate", "--save-repro", "repro", "--html", "b.html"
    )
    assert ran.code == 1
    assert {p.name for p in (models / "repro").iterdir()} == {"model.onnx", "feeds.npz", "expected.npz", "repro.py"}
    page = (models / "b.html").read_text()
    assert "diverges" in page
    assert "<svg" in page
    assert "http" not in page
    ran = graphkit("bisect", "right.onnx", "--against", "right.onnx", "--save-repro", "none")
    assert ran.code == 0
    assert "nothing diverges: there is nothing to write to none" in ran.err
    assert not (models / "none").exists()


def test_what_was_applied_and_run_is_printed(graphkit, models):
    ran = graphkit("bisect", "wrong.onnx", "--against", "right.onnx", "--html", "b.html")
    for text in (ran.out, (models / "b.html").read_text()):
        assert "1 piece of the candidate, 1 piece of the reference, 1 with nodes alone" in text
        assert "rtol 1.3e-06, atol" in text
    ran = graphkit("bisect", "wrong.onnx", "--against", "right.onnx", "--rtol", "9", "--atol", "9")
    assert "tolerance: rtol and atol given (rtol 9, atol 9)" in ran.out
    ran = graphkit("bisect", "right.onnx", "--against", "right.onnx")
    assert "tolerance: none was needed, the values are identical" in ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["other.onnx", "--against", "right.onnx"], "'z'"),
        (["nowhere.onnx", "--against", "right.onnx"], "nowhere.onnx"),
        (["right.onnx", "--against", "right.onnx", "--feed", "x=1,2"], "rank"),
        (["right.onnx", "--against", "right.onnx", "--feed", "y=1"], "'y'"),
        (["right.onnx", "--torch", "nowhere:M"], "nowhere"),
    ],
)
def test_what_cannot_be_searched_is_exit_3(graphkit, models, arguments, words):
    ran = graphkit("bisect", *arguments, "--html", "b.html")
    assert (ran.code, words in ran.err) == (3, True), ran.err
    assert not (models / "b.html").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["--against", "right.onnx", "--bind", "n=1,2"], ["--against", "right.onnx", "--memory", "much"]]
)
def test_a_wrong_command_line_is_exit_2(graphkit, models, arguments):
    assert graphkit("bisect", "right.onnx", *arguments).code == 2


def test_layers_and_torch(graphkit, models):
    torch = pytest.importorskip("torch")
    del torch
    (models / "layered.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (torch.ones(2, 3),)\n"
    )
    assert graphkit("export", "layered:net", "net.onnx", "--exporter", "torchscript").code == 0
    ran = graphkit("layers", "net.onnx", "--torch", "layered:net", "--json")
    rows = json.loads(ran.out)["rows"]
    assert (ran.code, [row["output"] for row in rows]) == (0, ["0", "1", "2", "(whole)"])
    assert all(row["match"] for row in rows)
    proto = onnx.load("net.onnx")
    next(n for n in proto.graph.node if n.op_type == "Relu").op_type = "Tanh"
    onnx.save(proto, "bad.onnx")
    ran = graphkit("layers", "bad.onnx", "--torch", "layered:net")
    assert ran.code == 1
    assert ran.out.startswith("MISMATCH")
    ran = graphkit("bisect", "bad.onnx", "--torch", "layered:net", "--json")
    assert (ran.code, json.loads(ran.out)["first"]["module"]) == (1, "1")
    ran = graphkit("bisect", "layered:net", "--against", "bad.onnx", "--json")
    assert (ran.code, json.loads(ran.out)["candidate"]) == (1, "layered:net")


def test_doctor_says_what_loads(graphkit):
    ran = graphkit("doctor", "--json")
    answer = json.loads(ran.out)
    checks = {check["what"]: check for check in answer["checks"]}
    assert ran.code == (0 if answer["ok"] else 1)
    assert "CPUExecutionProvider" in answer["providers"]
    assert checks["CPUExecutionProvider"]["detail"] == "ran a model"
    if checks["CUDAExecutionProvider"]["state"] != "ok":
        assert "CUDAExecutionProvider" not in answer["providers"]
        cuda = checks["CUDAExecutionProvider"]
        assert ("pip install" in cuda["remedy"]) == ("driver" not in cuda["detail"])
    assert "opsets up to" in graphkit("doctor").out


def test_the_smallest_part_on_which_a_command_fails(graphkit, models):
    ran = graphkit("bisect", "wrong.onnx", "--check", "sh -c '! grep -q Sigmoid {}'", "--save-repro", "small")
    assert ran.code == 1
    assert "smallest part that fails so: 1 of 4 nodes" in ran.out
    assert [node.name for node in onnx.load("small/model.onnx").graph.node] == ["two"]
    ran = graphkit("bisect", "right.onnx", "--check", "sh -c '! grep -q Sigmoid {}'", "--json")
    assert (ran.code, json.loads(ran.out)["fails"]) == (0, False)
    assert graphkit("bisect", "right.onnx", "--check", "nonesuch").code == 3
    for more in (["--against", "right.onnx"], ["--torch", "net:make"]):
        assert graphkit("bisect", "right.onnx", "--check", "true", *more).code == 2
    assert graphkit("bisect", "right.onnx", "--check", "").code == 2
    assert graphkit("bisect", "right.onnx", "--against", "right.onnx", "--check-timeout", "3").code == 2

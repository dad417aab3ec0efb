"""``graphkit bench``."""

import json

import onnx
import pytest

TEXT = """<ir_version: 10, opset_import: ["" : 18]> g (float[batch, 3] x) => (float[batch, 3] y) { y = Relu(x) }"""
QUICK = ("--runs", "5", "--no-memory", "--device", "cpu")


@pytest.fixture
def path(tmp_path):
    onnx.save(onnx.parser.parse_model(TEXT), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_sizes_optimised_and_not(graphkit, path):
    ran = graphkit("bench", path, "--bind", "batch=1,2", *QUICK)
    assert ran.code == 0
    assert "batch=2  none" in ran.out
    assert ran.out.count("batch=") == 4


def test_two_models_and_json(graphkit, path):
    read = json.loads(graphkit("bench", path, path, "--optimization", "basic", "--profile", *QUICK, "--json").out)
    assert [row["optimization"] for row in read["timings"]] == ["basic", "basic"]
    assert len(read["profiles"]) == 2
    assert read["profiles"][0]["operators"][0]["operator"] == "Relu"


@pytest.mark.parametrize(("options", "code"), [(("--runs", "0"), 2), (("--bind", "k=1"), 3), (("--feed", "z=1"), 3), (("--optimization", "most"), 2)])  # fmt: skip
def test_wrong_options(graphkit, path, options, code):
    assert graphkit("bench", path, "--no-memory", "--device", "cpu", *options).code == code


def test_the_page_has_the_times_of_both_models_and_where_they_go(graphkit, path):
    other = path.parent / "other <b>.onnx"
    onnx.save(onnx.parser.parse_model(TEXT.replace("Relu", "Neg")), other)
    page = path.parent / "bench.html"
    ran = graphkit("bench", path, other, "--bind", "batch=1", "--profile", *QUICK, "--html", page)
    assert ran.code == 0, ran.err
    text = page.read_text(encoding="utf-8")
    assert text.count('<td class="">batch=1</td>') == 4
    assert text.count("Slowest nodes of") == 2
    assert '<td class="">Neg</td>' in text
    assert "other &lt;b&gt;.onnx" in text
    assert "other <b>.onnx" not in text
    assert graphkit("bench", path, *QUICK, "--html", path).code == 2
    assert graphkit("bench", path, *QUICK, "--html", path.parent / "no" / "b.html").code == 3

"""graphkit check: exit codes and JSON."""

import json
from pathlib import Path

import onnx
import pytest

HEAD = '<ir_version: 8, opset_import: ["": 18]> '


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, op in (("good", "Relu"), ("bad", "Relux")):
        onnx.save(
            onnx.parser.parse_model(f"{HEAD} g (float[2] x) => (float[2] y) {{ [act] y = {op}(x) }}"), f"{name}.onnx"
        )
    (tmp_path / "damaged.onnx").write_bytes((tmp_path / "good.onnx").read_bytes()[:-9])
    return tmp_path


def test_valid_is_0_not_valid_is_1_with_the_node_and_not_readable_is_3(graphkit, folder):
    ran = graphkit("check", "good.onnx")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("valid; onnxruntime")
    ran = graphkit("check", "bad.onnx")
    assert ran.code == 1
    assert "operator at act: Relux 'act': ai.onnx has no operator Relux" in ran.out
    for name in ("damaged.onnx", "none.onnx"):
        assert graphkit("check", name).code == 3


def test_json(graphkit, folder):
    ran = graphkit("check", "bad.onnx", "--json", "--no-runtime")
    said = json.loads(ran.out)
    assert (ran.code, said["valid"], [f["node"] for f in said["findings"]]) == (1, False, ["act"])
    assert json.loads(graphkit("check", "good.onnx", "--json").out)["findings"] == []


def test_lint_names_an_operator_that_does_not_exist(graphkit, folder):
    ran = graphkit("lint", "bad.onnx")
    assert ran.code == 1
    assert "error: unknown-operator at act" in ran.out


def test_the_text_fits_80_columns_and_long_names_are_cut(graphkit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a path is shown whole, however long it is
    name = "n" * 10_000
    node = onnx.helper.make_node("Nowhere", ["missing" + name], ["y"], name=name)
    value = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["d" * 10_000])
    path = Path("long.onnx")
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph([node], name, [], [value])).SerializeToString())
    ran = graphkit("check", path)
    assert ran.code == 1
    assert max(map(len, ran.out.splitlines())) <= 80
    assert max(map(len, graphkit("inspect", path).out.splitlines())) <= 80
    refused = graphkit("run", path)
    assert refused.code == 3
    assert max(map(len, refused.err.split())) <= 240
    told = graphkit("check", path, "--json").out
    assert name in told, "JSON has names whole"

"""Models as text and through pipes: the same model, or a refusal."""

import subprocess
import sys

import numpy as np
import onnx
import pytest

import graphkit as gk
from rich_model import rich_model

NET = """<ir_version: 10, opset_import: ["" : 18, "f" : 1], doc_string: "a doc">
g (float[n, 2] x) => (float[n, 2] y) <float[2] k = {1, 2}, int64[1] i = {3}> {
  [first] h = Add(x, k) y = f.twice(h) } <domain: "f", opset_import: ["" : 18]> twice (a) => (b) { b = Add(a, a) }"""


def net():
    model = onnx.parser.parse_model(NET)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(5000, dtype=np.float32), "unused"))
    return model


@pytest.mark.parametrize("name", ["m.onnxtxt", "m.json", "m.textproto"])
def test_text_and_back_is_the_same_model(tmp_path, name):
    gk.save(net(), tmp_path / "m.onnx")
    gk.save(tmp_path / "m.onnx", tmp_path / name)
    again = gk.load(tmp_path / name)
    x = np.float32([[1, 2]])
    np.testing.assert_array_equal(gk.run(again, {"x": x})["y"], gk.run(net(), {"x": x})["y"])
    gk.save(again, tmp_path / "again.onnx")
    got, want = onnx.load(tmp_path / "again.onnx"), net()
    assert [n.op_type for n in got.graph.node] == [n.op_type for n in want.graph.node]
    assert got.functions == want.functions
    for mine, theirs in zip(got.graph.initializer, want.graph.initializer, strict=True):
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(mine), onnx.numpy_helper.to_array(theirs))


@pytest.mark.parametrize("name", ["m.json", "m.textproto"])
def test_a_model_with_everything_survives(tmp_path, name):
    model = rich_model()
    place = next(i for i, t in enumerate(model.graph.initializer) if t.name == "outside")
    del model.graph.initializer[place]  # its bytes are nowhere
    gk.save(model, tmp_path / name)
    assert onnx.load(tmp_path / name).SerializeToString(deterministic=True) == gk.load(
        tmp_path / name
    ).materialize().SerializeToString(deterministic=True)
    assert gk.load(tmp_path / name).materialize() == model


def test_a_form_that_cannot_say_everything_is_refused_and_nothing_is_written(tmp_path):
    model = net()
    model.graph.quantization_annotation.add(tensor_name="h")
    with pytest.raises(gk.SaveError, match=r"onnxtxt does not say everything .*quantization_annotation") as error:
        gk.save(model, tmp_path / "m.onnxtxt")
    assert "json" in str(error.value.hint)
    assert list(tmp_path.iterdir()) == []
    gk.save(model, tmp_path / "m.json")  # what the hint says


def test_text_has_no_weights_beside_it(tmp_path):
    with pytest.raises(gk.SaveError, match="holds its weights itself"):
        gk.save(net(), tmp_path / "m.json", external="w.bin")


@pytest.mark.parametrize(("name", "text"), [("m.onnxtxt", "<ir_version"), ("m.json", "{"), ("m.json", "[]"), ("m.json", "{}"),
                                            ("m.textproto", "ir_version: x"), ("m.json", '{"graph": 3}'), ("m.onnxtxt", "\udcff")])  # fmt: skip
def test_text_that_is_no_model_is_a_format_error(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(gk.FormatError, match="is no model as"):
        gk.load(tmp_path / name)


def graphkit(*arguments, data=b""):
    command = [
        sys.executable,
        "-c",
        "import sys; from graphkit_cli.main import main; sys.exit(main())",
        *map(str, arguments),
    ]
    return subprocess.run(command, input=data, capture_output=True, check=False)


def test_a_pipe_through_two_commands(tmp_path):
    gk.save(net(), tmp_path / "m.onnx")
    first = graphkit("rename", tmp_path / "m.onnx", "-", "--value", "x=image")
    assert first.returncode == 0
    assert b"wrote -" in first.stderr
    second = graphkit("copy", "-", tmp_path / "out.onnx", data=first.stdout)
    assert second.returncode == 0, second.stderr
    assert [v.name for v in gk.load(tmp_path / "out.onnx").inputs] == ["image"]
    assert [s.operation for s in gk.load(tmp_path / "out.onnx").history] == ["rename"]


def test_the_report_goes_to_stderr_where_stdout_has_the_model(tmp_path):
    gk.save(net(), tmp_path / "m.onnx")
    done = graphkit("copy", tmp_path / "m.onnx", "-", "--json")
    onnx.load_model_from_string(done.stdout)
    assert b'"path": "-"' in done.stderr


def test_nothing_on_standard_input_is_a_format_error():
    done = graphkit("inspect", "-")
    assert done.returncode == 3
    assert b"standard input" in done.stderr

"""Models whose weights were taken out are opened, looked at and edited; who wants a value is told that there is none."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import graphkit as gk
import onnx_text
from graphkit.storage import load
from hand_made import holding, tensor
from oracle import run_ort

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
STRIPPED = {
    "no field of values": TensorProto(name="w", data_type=1, dims=[40, 40], doc_string="TRT_WEIGHTLESS/"),
    "empty raw_data": TensorProto(name="w", data_type=1, dims=[40, 40], raw_data=b""),
    "float16": TensorProto(name="w", data_type=10, dims=[40, 40]),
    "texts": TensorProto(name="w", data_type=8, dims=[40, 40]),
}


def model(weight):
    proto = onnx.parser.parse_model(
        f"{HEAD} g (float[1, 40] x) => (float[1, 40] y) {{ a = Relu(x)  y = MatMul(a, w) }}"
    )
    proto.graph.initializer.append(weight)
    return proto


@pytest.mark.parametrize("how", STRIPPED)
def test_a_stripped_weight_survives_edits_as_it_is(tmp_path, how):
    onnx.save(model(STRIPPED[how]), tmp_path / "m.onnx")
    edited = gk.rename(gk.load(tmp_path / "m.onnx"), values={"x": "image"})
    gk.save(edited, tmp_path / "out.onnx")
    assert onnx.load(tmp_path / "out.onnx").graph.initializer[0] == STRIPPED[how]
    part = gk.extract(tmp_path / "m.onnx", inputs=["a"], outputs=["y"])
    assert part.proto.graph.initializer[0] == STRIPPED[how]


@pytest.mark.parametrize("scanned", [False, True], ids=["parsed", "scanned"])
@pytest.mark.parametrize("where", ["initializer", "constant", "body", "function", "sparse"])
def test_a_stripped_tensor_is_one_wherever_it_stands(tmp_path, monkeypatch, where, scanned):
    if scanned:
        monkeypatch.setattr(load, "SMALL_FILE", 0)
    (tmp_path / "m.onnx").write_bytes(holding(tensor(), where=where))
    gk.save(gk.load(tmp_path / "m.onnx"), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def test_its_values_are_asked_for_and_it_says_that_there_are_none(tmp_path):
    onnx.save(model(STRIPPED["no field of values"]), tmp_path / "m.onnx")
    loaded = gk.load(tmp_path / "m.onnx")
    with pytest.raises(gk.WeightsError, match=r"'w' \(float32\[40, 40\]\) has no values"):
        loaded.array("w")


@pytest.mark.parametrize("given", ["path", "model"])
def test_it_is_not_run_and_the_message_names_the_weight(tmp_path, given):
    onnx.save(model(STRIPPED["no field of values"]), tmp_path / "m.onnx")
    source = tmp_path / "m.onnx" if given == "path" else gk.load(tmp_path / "m.onnx")
    with pytest.raises(gk.WeightsError, match=r"'w'.*were stripped"):
        gk.run(source, {"x": np.ones((1, 40), np.float32)})


def apart():
    """Two weights of one shape that are not the same, taken out."""
    rng = np.random.default_rng(0)
    model = onnx_text.parse(
        "g (float[2,64] x) => (float[2,64] y) { t = Transpose(w) h = MatMul(x, t) k = MatMul(h, v) y = MatMul(k, u) }",
        17,
        **{name: rng.standard_normal((64, 64)) for name in "wvu"},
    )
    return model, gk.set_parts(model, strip_weights=True)


@pytest.mark.parametrize("edit", [gk.simplify, gk.deduplicate, lambda m: gk.dims(m, {"x:0": "N"})])
def test_weights_that_were_taken_out_are_not_taken_for_each_other(edit):
    model, stripped = apart()
    edited = edit(stripped)
    assert {tensor.name for tensor in edited.proto.graph.initializer} == {"w", "v", "u"}
    x = np.random.default_rng(1).standard_normal((2, 64)).astype(np.float32)
    back = gk.set_parts(edited, restore_weights=model)
    assert np.allclose(run_ort(back, {"x": x})["y"], run_ort(model, {"x": x})["y"], rtol=1e-3, atol=1e-3)

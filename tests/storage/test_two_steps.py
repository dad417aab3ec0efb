"""onnx's own way to external data marks tensors EXTERNAL while they still hold their bytes: those bytes count."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.external_data_helper import convert_model_to_external_data

import graphkit as gk
from graphkit.storage import load

HEAD = '<ir_version: 8, opset_import: ["" : 18]>'
X = np.ones((1, 4), np.float32)


def marked():
    proto = onnx.parser.parse_model(f"{HEAD} g (float[1, 4] x) => (float[1, 4] y) {{ y = MatMul(x, w) }}")
    proto.graph.initializer.append(numpy_helper.from_array(np.full((4, 4), 2, np.float32), "w"))
    convert_model_to_external_data(proto, location="w.data", size_threshold=0)
    return proto


@pytest.mark.parametrize("size", ["small", "large"])
def test_the_bytes_that_it_holds_are_taken_and_it_stays_as_it_was(tmp_path, monkeypatch, size):
    if size == "large":
        monkeypatch.setattr(load, "LARGE_PROTO", 0)
    proto = marked()
    before = proto.SerializeToString()
    assert gk.run(proto, {"x": X})["y"].tolist() == [[8] * 4]
    gk.save(gk.rename(proto, values={"y": "z"}), tmp_path / "o.onnx")
    written = onnx.load(tmp_path / "o.onnx", load_external_data=False)
    assert not written.graph.initializer[0].external_data
    assert numpy_helper.to_array(written.graph.initializer[0]).tolist() == [[2] * 4] * 4
    assert proto.SerializeToString() == before


def test_a_model_too_large_for_protobuf_is_taken_so_too(monkeypatch):
    taken = load._from_huge_proto(marked())
    assert taken.array("w").tolist() == [[2] * 4] * 4


def test_a_reference_without_bytes_stays_one():
    proto = marked()
    proto.graph.initializer[0].ClearField("raw_data")
    with pytest.raises(gk.WeightsError, match=r"w\.data"):
        gk.run(proto, {"x": X})

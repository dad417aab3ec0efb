"""A bare skeleton that is written with onnx.save: whoever opens the file is told that its weights are missing."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

import graphkit as gk


def long_model():
    """Weights that begin early in the file, and a skeleton that is longer than where they begin and end."""
    weight = numpy_helper.from_array(np.ones((40, 40), np.float32), "w")
    pad = numpy_helper.from_array(np.ones((40, 600), np.float32), "pad")  # a file of this size is not parsed whole
    nodes = [helper.make_node("MatMul", ["v0", "w"], ["v1"])]
    nodes += [helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(1, 800)]
    graph = helper.make_graph(nodes, "g", [value("v0")], [value("v800")], [weight, pad])
    graph.value_info.extend(value(f"v{i}") for i in range(1, 800))
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])


def value(name):
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 40])


@pytest.mark.parametrize("place", ["m.onnx", "beside.onnx", "sub/other.onnx"])
def test_it_is_a_missing_file_of_a_telling_name_for_every_reader(tmp_path, place):
    (tmp_path / "sub").mkdir()
    onnx.save(long_model(), tmp_path / "m.onnx")
    model = gk.load(tmp_path / "m.onnx")
    offset = int({e.key: e.value for e in model.tensor("w").external_data}["offset"])
    assert offset + 6400 < model.proto.ByteSize()  # the range would lie inside of the skeleton's own file
    onnx.save(model.proto, tmp_path / place)
    for read in (onnx.load, onnx.checker.check_model, ort.InferenceSession):
        with pytest.raises(Exception, match=r"write the model with graphkit\.save"):
            read(str(tmp_path / place))
    assert not gk.check(tmp_path / place)
    with pytest.raises(gk.GraphkitError, match=r"write the model with graphkit\.save"):
        gk.run(tmp_path / place, {"v0": np.ones((1, 40), np.float32)})


def test_external_weights_keep_their_file_and_a_skeleton_beside_it_is_whole(tmp_path):
    onnx.save(long_model(), tmp_path / "m.onnx", save_as_external_data=True, location="w.data")
    onnx.save(gk.load(tmp_path / "m.onnx").proto, tmp_path / "m.onnx")
    assert gk.check(tmp_path / "m.onnx")
    assert numpy_helper.to_array(onnx.load(tmp_path / "m.onnx").graph.initializer[0]).sum() == 1600


def test_the_model_itself_is_saved_whole(tmp_path):
    onnx.save(long_model(), tmp_path / "m.onnx")
    gk.save(gk.load(tmp_path / "m.onnx"), tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx") == long_model()

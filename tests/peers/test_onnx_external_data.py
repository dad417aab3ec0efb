"""onnx's external data: weights in files of their own, loaded, moved, taken back, and never from outside of the model's folder."""

import numpy as np
import onnx
import pytest
from onnx.external_data_helper import set_external_data

import graphkit as gk
from oracle import assert_same, run_ort
from peers.suites import Suite, ops

SUITE = Suite(
    "onnx external data",
    "onnx/onnx onnx/test/test_external_data.py",
    outside=[
        (
            4,
            "load_external_data_for_model, for_tensor and to_array(base_dir): loading in two steps is onnx's own; Model.array reads by name",
        ),
        (1, "strict inference fails on external shapes: graphkit reads the few bytes of a shape"),
        (3, "paths of Windows"),
    ],
)

WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2) + 512
VALUE = np.arange(6, dtype=np.float32).reshape(2, 3) + 256
ANSWER = {"y": VALUE @ WEIGHT}


def model(folder, *, one_file=False, location="weight.bin"):
    """A model in ``folder``, the weight and the Constant node's value external; in one file at offset 0 and 4096."""
    constant = onnx.numpy_helper.from_array(VALUE, "attribute_value")
    weight = onnx.numpy_helper.from_array(WEIGHT, "input_value")
    data = b""
    for tensor, name in ((constant, "value.bin"), (weight, location)):
        raw = tensor.raw_data
        if one_file:
            data += b"\0" * (-len(data) % 4096)
            set_external_data(tensor, location="tensors.bin", offset=len(data), length=len(raw))
            data += raw
            (folder / "tensors.bin").write_bytes(data)
        else:
            set_external_data(tensor, location=name)
            if ".." not in name and not name.startswith("/"):
                (folder / name).write_bytes(raw)
        tensor.ClearField("raw_data")
    nodes = [
        onnx.helper.make_node("Constant", [], ["values"], value=constant),
        onnx.helper.make_node("MatMul", ["values", "input_value"], ["y"]),
    ]
    graph = onnx.helper.make_graph(nodes, "g", [], [onnx.helper.make_tensor_value_info("y", 1, [2, 2])], [weight])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@SUITE.case("load_external_data load_external_single_file_data to_array_with_external_data")
@pytest.mark.parametrize("one_file", [False, True])
def test_weights_and_constants_are_read_from_their_files(tmp_path, one_file):
    loaded = gk.load(model(tmp_path, one_file=one_file))
    np.testing.assert_array_equal(loaded.array("input_value"), WEIGHT)
    assert_same(run_ort(loaded, {}), ANSWER)


@SUITE.case("save_external_data save_external_single_file_data")
@pytest.mark.parametrize("one_file", [False, True])
@pytest.mark.parametrize("out", ["model.onnx", "model.textproto", "model.json"])
def test_a_copy_elsewhere_holds_them(tmp_path, one_file, out):
    (tmp_path / "copy").mkdir()
    gk.load(model(tmp_path, one_file=one_file)).save(tmp_path / "copy" / out)
    (tmp_path / "model.onnx").unlink()
    assert_same(run_ort(gk.load(tmp_path / "copy" / out), {}), ANSWER)


@SUITE.case(
    "to_external_from_one_file_with_location from_one_file_without_location save_model_does_convert_and_saves_the_model without_size_threshold"
    " converts_attribute_values",
    differs="weights of Constant nodes go into the file as well, always",
)
def test_weights_go_out_into_one_file_and_come_back(tmp_path):
    big = inner(np.arange(6000, dtype=np.float32).reshape(60, 100))
    gk.save(big, tmp_path / "out.onnx", external="weights.bin")
    assert (tmp_path / "weights.bin").stat().st_size >= 24000
    assert (tmp_path / "out.onnx").stat().st_size < 3000
    assert_same(run_ort(tmp_path / "out.onnx", {}), run_ort(big, {}))
    (tmp_path / "back").mkdir()
    gk.load(tmp_path / "out.onnx").save(tmp_path / "back" / "one.onnx")
    back = onnx.load(tmp_path / "back" / "one.onnx", load_external_data=False)
    assert {t.data_location for t in back.graph.initializer} == {onnx.TensorProto.DEFAULT}
    assert_same(run_ort(back, {}), run_ort(big, {}))


def inner(weight):
    """A model that holds its weights; the shape of its Reshape is a small one."""
    text = "g () => (float[n] y) <int64[1] shape = {-1}> { y = Reshape(w, shape) }"
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 18]> {text}')
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return proto


@SUITE.case(
    "with_size_threshold save_model_with_external_data_multiple_times",
    differs="the threshold is graphkit's own: small tensors, shapes among them, stay in the model",
)
def test_small_tensors_stay_in_the_model_and_a_second_save_changes_nothing(tmp_path):
    big = inner(np.random.default_rng(0).random((10, 60, 100), np.float32))
    for _ in range(2):
        gk.save(
            big if not (tmp_path / "m.onnx").exists() else gk.load(tmp_path / "m.onnx"),
            tmp_path / "m.onnx",
            external="m.data",
        )
        skeleton = onnx.load(tmp_path / "m.onnx", load_external_data=False)
        assert {t.name: t.data_location for t in skeleton.graph.initializer} == {"shape": 0, "w": 1}
        assert_same(run_ort(tmp_path / "m.onnx", {}), run_ort(big, {}))


@SUITE.case("save_model_does_not_convert_to_external_data_and_saves_the_model")
def test_a_plain_save_keeps_weights_in_the_model(tmp_path):
    big = inner(np.arange(6000, dtype=np.float32))
    gk.save(big, tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert_same(run_ort(tmp_path / "m.onnx", {}), run_ort(big, {}))


@SUITE.case(
    "one_file_per_tensor_without_attribute one_file_per_tensor_with_attribute does_not_convert_attribute_values",
    differs="one file for all weights, not one a tensor; a model that has several keeps them with --weights keep or link",
)
def test_several_files_stay_several_where_they_are_kept(tmp_path):
    path = model(tmp_path)
    gk.save(gk.load(path), tmp_path / "kept.onnx", weights="keep")
    kept = onnx.load(tmp_path / "kept.onnx", load_external_data=False)
    files = {
        e.value
        for t in [*kept.graph.initializer, kept.graph.node[0].attribute[0].t]
        for e in t.external_data
        if e.key == "location"
    }
    assert files == {"value.bin", "weight.bin"}
    assert_same(run_ort(tmp_path / "kept.onnx", {}), ANSWER)


@SUITE.case("save_model_without_loading_external_data")
def test_saving_over_the_model_itself_keeps_its_weights(tmp_path):
    path = model(tmp_path, one_file=True)
    gk.rename(gk.load(path), nodes={"y": "matmul"}).save(path, weights="keep")
    assert_same(run_ort(path, {}), ANSWER)
    assert ops(gk.load(path)) == "Constant MatMul"


@SUITE.case(
    "save_model_with_existing_raw_data_should_override",
    differs="a tensor that says EXTERNAL and holds bytes is taken with the bytes it holds, because onnx writes such models half way",
)
def test_bytes_that_a_tensor_holds_count(tmp_path):
    path = model(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].raw_data = (WEIGHT * 2).tobytes()
    proto.graph.node[0].attribute[0].t.CopyFrom(onnx.numpy_helper.from_array(VALUE))
    assert_same(run_ort(gk.set_parts(proto, doc="touched"), {}), {"y": VALUE @ (WEIGHT * 2)})


@SUITE.case(
    "save_external_invalid_single_file_data_and_check outside.check_model outside.check_model_relative outside.check_model_absolute check_model"
)
@pytest.mark.parametrize(
    "location", ["../../file.bin", "../test/../file.bin", "/file.bin", "//file.bin", "../other/tensors.bin"]
)
def test_a_file_outside_of_the_models_folder_is_refused(tmp_path, location):
    (tmp_path / "models").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "tensors.bin").write_bytes(WEIGHT.tobytes())
    path = model(tmp_path / "models", location=location)
    with pytest.raises(gk.WeightsError):
        gk.load(path)

"""Model: reading weights from where they are, and edits that share them."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from graphkit.graph import walk
from graphkit.storage import load
from graphkit.storage.source import LocalFile

TYPES = [name for name in TensorProto.DataType.keys() if name not in ("UNDEFINED", "STRING")]  # noqa: SIM118 (no dict)


def array_of(name, count=1024):
    dtype = helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(name))
    return (np.arange(count) % 2).reshape(2, -1).astype(dtype)


@pytest.fixture
def typed(tmp_path, monkeypatch):
    """A file with a tensor of every data type, each left in the file."""
    monkeypatch.setattr(load, "SMALL_FILE", 0)
    monkeypatch.setattr(LocalFile, "threshold", 128)
    tensors = [numpy_helper.from_array(array_of(name), name) for name in TYPES]
    strings = helper.make_tensor("STRING", TensorProto.STRING, [2], ["é", "b" * 50])
    y = helper.make_tensor_value_info("FLOAT", TensorProto.FLOAT, [2, 512])
    graph = helper.make_graph([], "g", [], [y], [*tensors, strings])
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())
    return path


@pytest.mark.parametrize("external", [False, True], ids=["embedded", "external"])
def test_arrays_of_every_data_type(typed, external, monkeypatch):
    if external:
        monkeypatch.setattr("graphkit.storage.save.INLINE_FROM", 128)
        gk.save(typed, typed, external="w.data")
    model = gk.load(typed)
    references = sum(t.data_location == TensorProto.EXTERNAL for t in walk.tensors(model.proto))
    assert references == len(TYPES)
    for tensor in onnx.load(typed).graph.initializer:
        expected = numpy_helper.to_array(tensor)
        array = model.array(tensor.name)
        assert array.dtype == expected.dtype
        assert array.shape == expected.shape
        assert array.tolist() == expected.tolist() if tensor.name == "STRING" else array.tobytes() == expected.tobytes()
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = array


def test_materialize_is_the_model_with_every_byte_in_it(typed):
    model = gk.load(typed)
    before = model.proto.SerializeToString()
    assert model.materialize() == onnx.load(typed)
    assert model.proto.SerializeToString() == before


def test_an_array_is_a_view_of_the_file(typed):
    model = gk.load(typed)
    array = model.array("FLOAT")
    with typed.open("r+b") as file:
        place = model.locate(model.tensor("FLOAT"))
        file.seek(place[1])
        file.write(np.float32(7.5).tobytes())
    assert array[0, 0] == np.float32(7.5)


def test_an_array_outlives_its_model_and_its_file(typed):
    array = gk.load(typed).array("DOUBLE")
    os.unlink(typed)
    assert array.sum() == 512


def test_a_model_still_reads_the_file_it_was_loaded_from_when_another_takes_its_place(typed):
    model = gk.load(typed)
    other = typed.with_name("other.onnx")
    other.write_bytes(b"something else")
    os.replace(other, typed)
    assert np.array_equal(model.array("FLOAT"), array_of("FLOAT"))


def test_a_file_that_became_shorter_does_not_kill_the_process(typed):
    """A mapped page behind the end of its file is a SIGBUS."""
    model = gk.load(typed)
    os.truncate(typed, 10)
    with pytest.raises(gk.WeightsError, match="became shorter after it was loaded"):
        model.array("FLOAT")
    with pytest.raises(gk.WeightsError, match="became shorter while it was read"):
        model.locate(model.tensor("FLOAT"))[0].read(0, 100)


def test_unknown_names(typed):
    with pytest.raises(gk.NameNotFoundError, match="no constant named 'FLOAT1'") as caught:
        gk.load(typed).array("FLOAT1")
    assert "FLOAT" in caught.value.suggestions


def test_an_edit_makes_a_new_model_over_the_same_bytes(typed):
    model = gk.load(typed)
    proto = model.copy_proto()
    proto.graph.name = "edited"
    edited = model.after(gk.Step("step", {"a": 1}, ("note",)), proto)
    again = edited.after(gk.Step("next", {}), edited.copy_proto())
    assert (model.proto.graph.name, edited.proto.graph.name) == ("g", "edited")
    assert edited.sources is model.sources
    assert edited.path == model.path == str(typed)
    assert model.history == ()
    assert [(s.operation, s.arguments, s.notes) for s in again.history] == [
        ("step", {"a": 1}, ("note",)),
        ("next", {}, ()),
    ]


def test_repr_says_what_it_is(typed):
    assert repr(gk.load(typed)) == f"<Model {str(typed)!r}: 0 nodes, {len(TYPES) + 1} initializers>"
    assert repr(gk.Model(onnx.ModelProto(graph=onnx.GraphProto(name="g")))) == "<Model 'g': 0 nodes, 0 initializers>"


def test_files_are_closed_when_the_last_model_is_gone(typed):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        model = gk.load(typed)
        model.array("FLOAT")
    del model
    assert len(os.listdir("/proc/self/fd")) == before

"""Files that are open: load, save and export take what has read or write, such as io.BytesIO, as torch and onnx do."""

import io

import numpy as np
import onnx
import pytest

import graphkit as gk

TEXT = '<ir_version: 8, opset_import: ["" : 17]> g (float[n,3] x) => (float[n,3] y) <float[3] k = {1, 2, 3}> { y = Mul(x, k) }'


@pytest.fixture(scope="module")
def content():
    return onnx.parser.parse_model(TEXT).SerializeToString()


def large():
    """A model that is split from its weights: above 64 KiB."""
    proto = onnx.parser.parse_model(TEXT.replace("<float[3] k = {1, 2, 3}>", "").replace("(x, k)", "(x, x)"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(40_000, dtype=np.float32), "w"))
    return proto


def test_a_model_goes_through_bytes_in_memory(content):
    model = gk.load(io.BytesIO(content))
    file = io.BytesIO()
    saved = gk.save(model, file, history=False)
    assert file.getvalue() == content
    assert saved.size == len(content)
    assert model.path is None
    assert gk.run(model, {"x": [[1, 1, 1]]})["y"].tolist() == [[1, 2, 3]]


def test_reading_and_writing_begin_where_the_file_stands(content):
    file = io.BytesIO(b"head" + content)
    file.seek(4)
    out = io.BytesIO(b"....")
    out.seek(0, io.SEEK_END)
    gk.load(file).save(out, history=False)
    assert out.getvalue() == b"...." + content


def test_weights_come_along_and_outlive_the_file():
    with io.BytesIO(large().SerializeToString()) as file:
        model = gk.load(file)
    assert model.array("w")[-1] == 39_999
    file = io.BytesIO()
    gk.rename(model, values={"y": "z"}).save(file)
    back = onnx.load_from_string(file.getvalue())
    assert onnx.numpy_helper.to_array(back.graph.initializer[0]).tolist() == list(range(40_000))


def test_an_open_file_of_the_disk_is_read_and_written(content, tmp_path):
    with open(tmp_path / "m.onnx", "wb") as file:
        gk.save(onnx.load_from_string(content), file, history=False)
    assert (tmp_path / "m.onnx").read_bytes() == content
    with open(tmp_path / "m.onnx", "rb") as file:
        assert [v.name for v in gk.load(file).proto.graph.output] == ["y"]


def test_external_data_lies_beside_an_open_file(tmp_path):
    gk.save(large(), tmp_path / "m.onnx", external="m.data")
    with open(tmp_path / "m.onnx", "rb") as file:
        model = gk.load(file)
    assert model.array("w")[7] == 7


def test_files_for_text_and_closed_files_are_refused(content, tmp_path):
    with pytest.raises(TypeError, match="'wb'"):
        gk.save(onnx.load_from_string(content), io.StringIO())
    with pytest.raises(TypeError, match="'rb'"):
        gk.load(io.StringIO("x"))
    closed = io.BytesIO()
    closed.close()
    with pytest.raises(gk.SaveError, match="closed"):
        gk.save(onnx.load_from_string(content), closed)
    with pytest.raises(gk.ModelFileError, match="closed"):
        gk.load(closed)
    with open(tmp_path / "read", "wb+") as made:
        made.write(b"x")
    with open(tmp_path / "read", "rb") as only, pytest.raises(gk.SaveError, match="cannot be written"):
        gk.save(onnx.load_from_string(content), only)
    with pytest.raises(ValueError, match="one file"):
        gk.save(onnx.load_from_string(content), io.BytesIO(), external="w")
    with pytest.raises(TypeError, match="not to int"):
        gk.save(onnx.load_from_string(content), 3)


@pytest.mark.parametrize("end", [0, 1, 50])
def test_bytes_that_are_no_model_are_refused(content, end):
    with pytest.raises(gk.FormatError):
        gk.load(io.BytesIO(content[:end]))


def test_other_functions_say_to_load_it_first(content):
    with pytest.raises(TypeError, match=r"graphkit\.load\(file\)"):
        gk.inspect(io.BytesIO(content))

"""Arrays of every type, under every name, to a file and back."""

import zipfile

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from graphkit.tensor import numpy_type, restored

TYPES = {n.lower(): t for n, t in TensorProto.DataType.items() if n not in ("UNDEFINED", "STRING")}
PLAIN = [name for name, t in TYPES.items() if numpy_type(t).isbuiltin == 1]


def every_value(data_type):
    """All values of types of up to 16 bits (NaN left out: it equals nothing), some of larger ones."""
    dtype = numpy_type(data_type)
    if dtype.isbuiltin == 1:
        return np.array([0, 1, 3, 7, 1]).astype(dtype)
    if dtype.itemsize == 1 and dtype.name.startswith(("int", "uint")):
        return np.arange(ml_dtypes.iinfo(dtype).min, ml_dtypes.iinfo(dtype).max + 1).astype(dtype)
    bits = np.arange(2 ** ml_dtypes.finfo(dtype).bits, dtype=np.uint32).astype(f"u{dtype.itemsize}").view(dtype)
    return bits[~np.isnan(bits.astype(np.float32))]


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.parametrize("name", TYPES)
def test_every_value_of_every_type_comes_back(tmp_path, name, suffix):
    array = every_value(TYPES[name])
    gk.save_arrays({"y": array}, tmp_path / f"a.{suffix}")
    held = np.load(tmp_path / f"a.{suffix}", allow_pickle=False)
    held = held["y"] if suffix == "npz" else held
    assert held.dtype.isbuiltin == 1
    back = restored(held, TYPES[name])
    assert back.dtype == array.dtype
    assert back.tobytes() == array.tobytes()


@pytest.mark.parametrize("name", PLAIN)
def test_a_weight_that_lies_in_its_file_has_numpys_own_dtype(tmp_path, name):
    weight = np.arange(8192).astype(numpy_type(TYPES[name]))
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph), tmp_path / "m.onnx")
    array = gk.load(tmp_path / "m.onnx").array("w")
    assert array.dtype == weight.dtype
    assert array.dtype.isbuiltin == 1
    gk.save_arrays({"w": array}, tmp_path / "w.npy")
    assert np.load(tmp_path / "w.npy").tobytes() == weight.tobytes()


def test_other_numbers_are_no_such_type():
    assert restored(np.float32([1.001]), TensorProto.BFLOAT16).dtype == np.float32
    assert restored(np.int8([9]), TensorProto.INT4).dtype == np.int8
    assert restored(np.array(["a"]), TensorProto.BFLOAT16).dtype.kind == "U"


NAMES = [
    "file",
    "allow_pickle",
    "arr_0",
    "kwds",
    "a/b.c",
    "/abs",
    "../up",
    "a=b:c",
    "x.npy",
    "with space",
    "Ünïcode",
    "\\",
]


def test_any_name_is_a_name_in_an_archive(tmp_path):
    arrays = {name: np.array([i]) for i, name in enumerate(NAMES)}
    gk.save_arrays(arrays, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as held:
        assert {name: held[name].tolist() for name in held.files} == {name: [i] for i, name in enumerate(NAMES)}


@pytest.mark.parametrize("names", [["a\0b"], ["x", "x.npy"]])
def test_a_name_that_an_archive_would_lose_is_refused(tmp_path, names):
    with pytest.raises(gk.SaveError, match="in an archive"):
        gk.save_arrays({name: np.zeros(1) for name in names}, tmp_path / "a.npz")
    assert not (tmp_path / "a.npz").exists()


def test_the_same_arrays_make_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        gk.save_arrays({"y": np.arange(3)}, tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None


def test_texts_are_kept_or_refused(tmp_path):
    texts = np.array([["a", "é"], ["", "long text"]], dtype=object)
    gk.save_arrays({"t": texts}, tmp_path / "t.npz")
    assert np.load(tmp_path / "t.npz")["t"].tolist() == texts.tolist()
    with pytest.raises(gk.SaveError, match="ends in NUL"):
        gk.save_arrays({"t": np.array(["a\0"], dtype=object)}, tmp_path / "u.npz")


@pytest.mark.parametrize("name", ["bfloat16", "float8e4m3fn", "float8e5m2", "float16", "double", "int64", "bool"])
def test_what_a_run_saved_is_fed_again(tmp_path, name):
    """y = Identity(x): the second run is fed from the file that the first one wrote."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["x_again"])],
        "g",
        [helper.make_tensor_value_info("x", TYPES[name], [None])],
        [helper.make_tensor_value_info("x_again", TYPES[name], [None])],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 19)])
    made = gk.run(model, {"x": every_value(TYPES[name])})["x_again"]
    gk.save_arrays({"x": made}, tmp_path / "x.npz")
    again = gk.run(model, {"x": f"@{tmp_path / 'x.npz'}"})["x_again"]
    assert again.dtype == made.dtype
    assert again.tobytes() == made.tobytes()

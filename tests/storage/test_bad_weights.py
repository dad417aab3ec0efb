"""Tensors that contradict themselves, and external data that lead elsewhere: a GraphkitError that says so."""

import os
import socket

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

import graphkit as gk
from graphkit.storage import load
from hand_made import holding, referring, tensor
from weight_places import BYTES, weight

# tensors that contradict themselves


WRONG = {
    "raw_data, one byte short": tensor(raw_data=bytes(BYTES - 1)),
    "raw_data, one byte long": tensor(raw_data=bytes(BYTES + 1)),
    "raw_data, small and short": tensor([3], raw_data=bytes(8)),
    "float_data, short": tensor(float_data=[0.0] * 1599),
    "float_data, long": tensor(float_data=[0.0] * 1601),
    "float_data, small and short": tensor([3], float_data=[0.0, 1.0]),
    "double_data, long": tensor(data_type=TensorProto.DOUBLE, double_data=[0.0] * 1601),
    "int64_data, short": tensor([3], TensorProto.INT64, int64_data=[1, 2]),
    "int32_data, long": tensor([3], TensorProto.INT8, int32_data=[1, 2, 3, 4]),
    "int32_data, packed, short": tensor([5], TensorProto.INT4, int32_data=[1, 2]),
    "uint64_data, short": tensor([3], TensorProto.UINT32, uint64_data=[1]),
    "string_data, short": tensor([3], TensorProto.STRING, string_data=[b"a"]),
    "complex, half": tensor([3], TensorProto.COMPLEX64, float_data=[0.0] * 3),
    "the field of another type": tensor([3], TensorProto.FLOAT, double_data=[1.0, 2.0, 3.0]),
    "a negative dim": tensor([-1, 3], raw_data=bytes(12)),
    "a negative dim, large": tensor([-1, 1600], raw_data=bytes(BYTES)),
    "two negative dims": tensor([-40, -40], raw_data=bytes(BYTES)),
    "dims that overflow 64 bits": tensor([1 << 32, 1 << 32], raw_data=bytes(0)),
    "dims that overflow to the right number": tensor([1 << 32, 1 << 32, 40, 40], raw_data=bytes(BYTES)),
    "the largest dim": tensor([(1 << 63) - 1], raw_data=bytes(4)),
    "ten thousand large dims": tensor([1 << 62] * 10_000, raw_data=bytes(4)),
    "bytes of its own and external data": tensor(
        raw_data=bytes(BYTES),
        data_location=TensorProto.EXTERNAL,
        external_data=[{"key": "location", "value": "m.data"}],
    ),
    "few bytes of its own and external data": tensor(
        raw_data=bytes(8), data_location=TensorProto.EXTERNAL, external_data=[{"key": "location", "value": "m.data"}]
    ),
}


@pytest.mark.parametrize("scanned", [False, True], ids=["parsed", "scanned"])
@pytest.mark.parametrize("where", ["initializer", "constant", "body", "function", "sparse"])
@pytest.mark.parametrize("wrong", WRONG)
def test_data_that_contradicts_its_dims(refused, tmp_path, monkeypatch, wrong, where, scanned):
    if scanned:
        monkeypatch.setattr(load, "SMALL_FILE", 0)
    (tmp_path / "m.data").write_bytes(bytes(BYTES))
    error = refused(holding(WRONG[wrong], where=where), "'w'")
    assert isinstance(error, gk.TensorError | gk.FormatError)


def test_where_the_bytes_are_that_stand_beside_external_data(refused, monkeypatch):
    """In a large file the payload is met before it would be read."""
    monkeypatch.setattr(load, "SMALL_FILE", 0)
    error = refused(holding(WRONG["bytes of its own and external data"]), f"and {BYTES} bytes of its own", "at byte")
    assert isinstance(error, gk.FormatError)


def test_dims_with_a_zero_hold_nothing_however_large_the_others(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(holding(tensor([1 << 62, 1 << 62, 0], raw_data=b"")))
    gk.save(gk.load(path), tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()


# external data


@pytest.fixture
def outside(tmp_path, tmp_path_factory):
    """Traps in the model's folder, and a secret outside of it."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "secret.data").write_bytes(weight(1).tobytes())
    (tmp_path.parent / "secret.data").write_bytes(weight(1).tobytes())
    (tmp_path / "m.data").write_bytes(weight(2).tobytes())
    (tmp_path / "link").symlink_to(elsewhere / "secret.data")
    (tmp_path / "inner").symlink_to("m.data")
    (tmp_path / "folderlink").symlink_to(elsewhere)
    (tmp_path / "hop").symlink_to("folderlink/secret.data")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    yield elsewhere
    (tmp_path.parent / "secret.data").unlink()


LOCATIONS = {
    "../secret.data": "leads out of the model's folder",
    "folder/../../secret.data": "leads out of the model's folder",
    "folder/../m.data": "may not be absolute or contain '..'",
    "..": "leads out",
    "/etc/passwd": "leads out",
    "//etc/passwd": "leads out",
    "\\\\server\\share": "leads out",
    "C:\\secret.data": "leads out",
    "c:secret.data": "leads out",
    "..\\secret.data": "leads out",
    "m.data\0.png": "leads out",
    "link": "symbolic link to",
    "inner": "symbolic link to",
    "hop": "symbolic link to",
    "folderlink/secret.data": "symbolic link to",
    "folder": "it is a folder",
    ".": "it is a folder",
    "./": "it is a folder",
    "pipe": "it is a FIFO",
    "socket": "cannot read",
    "": "names no location",
}


@pytest.mark.parametrize("location", LOCATIONS)
def test_locations_that_lead_elsewhere(refused, outside, location):
    error = refused(referring(location=location, length=BYTES), LOCATIONS[location], kind=gk.WeightsError)
    assert error.location == (location or None)
    if "symbolic" in LOCATIONS[location]:
        assert "put the file itself there" in error.hint


def test_no_location(refused):
    refused(referring(offset=0), "tensor 'w' is external but names no location", kind=gk.WeightsError)
    refused(referring(), "tensor 'w' is external but names no location", kind=gk.WeightsError)


NUMBERS = ["-1", "1e3", "0x10", " 5", "5 ", "abc", "1.0", "٣", "²", "+5", "1_000", "\0", "9" * 20, "9" * 5000]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda text: repr(text[:22]))
@pytest.mark.parametrize("key", ["offset", "length"])
def test_offsets_and_lengths_that_are_no_numbers(refused, outside, key, number):
    data = referring(location="m.data", **{key: number})
    refused(data, f"tensor 'w': external data {key}", "is no number of bytes", kind=gk.WeightsError)


@pytest.mark.parametrize(
    ("entries", "kind", "said"),
    [
        ({"offset": 1}, gk.TensorError, "6399 bytes of external data, but a float32[40, 40] takes 6400"),
        ({"offset": 1, "length": BYTES}, gk.WeightsError, "wants bytes 1 to 6401 of"),
        ({"offset": BYTES + 1}, gk.WeightsError, f"which has {BYTES}"),
        ({"offset": 9_999_999_999_999_999_999}, gk.WeightsError, "wants bytes 9999999999999999999"),
        ({"length": BYTES + 4}, gk.WeightsError, "wants bytes 0 to 6404"),
        ({"length": BYTES - 4}, gk.TensorError, "6396 bytes of external data, but a float32[40, 40] takes 6400"),
        ({"offset": 4, "length": BYTES - 4}, gk.TensorError, "6396 bytes of external data"),
        ({"length": 0}, gk.TensorError, "0 bytes of external data"),
    ],
)  # fmt: skip
def test_ranges_beyond_the_data_file(refused, outside, entries, kind, said):
    refused(referring(location="m.data", **entries), "'w'", said, kind=kind)


def test_a_location_as_long_as_no_file_name_can_be(refused):
    error = refused(referring(location="d/" * 5000 + "w"), "which is not there", kind=gk.WeightsError)
    assert len(str(error)) < 500


def test_our_own_keys_in_a_file_mean_nothing(tmp_path, outside):
    """They stand in skeletons; a file that has them may not make graphkit write bytes into fields they are not for."""
    for number in ("4", "10", "9", "x", "-1", "1" * 50):
        path = tmp_path / "keys.onnx"
        entries = {"location": "m.data", "graphkit.field": number, "graphkit.default": "1"}
        path.write_bytes(referring(**entries).replace(b"\x10\x01", b"\x10\x01", 1))
        model = gk.load(path)
        gk.save(model, tmp_path / "out.onnx")
        written = next(
            t for t in onnx.load(tmp_path / "out.onnx").graph.initializer if t.name == "w" and len(t.dims) == 2
        )
        assert np.array_equal(numpy_helper.to_array(written), weight(2))
    integers = tensor(data_type=TensorProto.INT32, data_location=TensorProto.EXTERNAL)
    integers.external_data.add(key="location", value="m.data")
    integers.external_data.add(key="graphkit.field", value="4")
    path.write_bytes(holding(integers))
    gk.save(path, tmp_path / "out.onnx")
    written = onnx.load(tmp_path / "out.onnx").graph.initializer[-1]
    assert np.array_equal(numpy_helper.to_array(written), weight(2).view(np.int32))

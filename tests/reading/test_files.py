"""Files that feed an input, by friend and foe: what is read is right, and what is not read costs nothing."""

import contextlib
import io
import os
import struct
import threading
import tracemalloc
import zipfile
import zlib

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto
from PIL import Image

import graphkit as gk
from graphkit.graph.ports import Port
from graphkit.reading.values import value_for

FLOATS = Port("x", TensorProto.FLOAT, ("n",), "float32[n]")
THREE = Port("x", TensorProto.FLOAT, (3,), "float32[3]")
PICTURE = Port("x", TensorProto.FLOAT, (1, 3, "h", "w"), "float32[1,3,h,w]")
X = np.array([1, 2, 3], np.float32)


def refused(port, path):
    """What is said; within 64 MB of Python's memory."""
    tracemalloc.start()
    try:
        with pytest.raises(gk.FeedError) as caught:
            value_for(port, f"@{path}")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert os.path.basename(str(path).partition(".npz:")[0]) in str(caught.value)
    return caught.value.message


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_arrays_of_every_layout(tmp_path, order, dtype):
    array = np.asarray(np.arange(6).reshape(2, 3), dtype=dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", other=X, x=array)
    port = Port("x", TensorProto.FLOAT, (2, "n"), "float32[2,n]")
    for text in ("a.npy", "a.npz", "a.npz:x"):
        read = value_for(port, f"@{tmp_path}/{text}")
        assert (read.tolist(), read.dtype, read.flags.writeable) == (array.tolist(), np.float32, True)
    assert value_for(FLOATS, f"@{tmp_path}/a.npz:other").tolist() == X.tolist()


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format(tmp_path, version):
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array(file, X, version=version)
    assert value_for(THREE, f"@{tmp_path}/a.npy").tolist() == X.tolist()


def test_types_that_numpy_writes_without_a_name(tmp_path):
    np.save(tmp_path / "a.npy", X.astype(ml_dtypes.bfloat16))
    port = Port("x", TensorProto.BFLOAT16, (3,), "bfloat16[3]")
    assert value_for(port, f"@{tmp_path}/a.npy").astype(np.float32).tolist() == X.tolist()
    with pytest.raises(gk.FeedError, match=r"wants float32\[3\]"):
        value_for(THREE, f"@{tmp_path}/a.npy")


def test_empty_and_scalar_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0,), np.float32))
    np.save(tmp_path / "b.npy", np.float32(2))
    assert value_for(FLOATS, f"@{tmp_path}/a.npy").shape == (0,)
    assert value_for(Port("x", TensorProto.FLOAT, (), "float32[]"), f"@{tmp_path}/b.npy").shape == ()


def test_the_home_folder_and_a_name_with_a_colon(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "a.npz:b.npy", X)
    assert value_for(THREE, "@~/a.npz:b.npy").tolist() == X.tolist()


def _npy(header):
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _saved(array, **more):
    buffer = io.BytesIO()
    np.save(buffer, array, **more)
    return buffer.getvalue()


WHOLE = _saved(np.arange(1000, dtype=np.float32))
BAD_NPY = {
    "empty": b"",
    "no header": b"\x93NUMPY\x01\x00",
    "cut": WHOLE[:-7],
    "text": b"1,2,3",
    "an archive": b"PK\x03\x04" + bytes(40),
    "objects": _saved(np.array([{}], object), allow_pickle=True),
    "a promise": _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }"),
    "negative": _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }"),
    "deep": _npy("(" * 100),
    "minus": _npy("-" * 110),
    "version": b"\x93NUMPY\x09\x00" + bytes(40),
}


@pytest.mark.parametrize("kind", BAD_NPY)
def test_a_damaged_npy_is_refused(tmp_path, kind):
    (tmp_path / "bad.npy").write_bytes(BAD_NPY[kind])
    refused(FLOATS, tmp_path / "bad.npy")


def _archive(tmp_path, data=None, name="x.npy", method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr(name, _saved(X) if data is None else data)
    return tmp_path / "a.npz"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_with_any_byte_changed_is_refused_or_right(tmp_path, method):
    path = _archive(tmp_path, _saved(np.arange(64, dtype=np.float32)), method=method)
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        with contextlib.suppress(gk.FeedError):
            assert value_for(FLOATS, f"@{path}").tolist() == list(range(64)), at


@pytest.mark.parametrize("cut", [0, 1, 30, 100, -1])
def test_an_archive_that_is_cut_is_refused(tmp_path, cut):
    path = _archive(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    refused(FLOATS, path)


def test_an_encrypted_archive_is_refused(tmp_path):
    path = _archive(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(whole)
    assert "encrypted" in refused(FLOATS, path)


def test_misnamed_and_empty_archives_are_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(WHOLE)
    refused(FLOATS, tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w"):
        pass
    refused(FLOATS, tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("x.npy", b"no array")
    refused(FLOATS, tmp_path / "c.npz")


def test_a_large_array_in_a_small_archive_is_measured_by_its_header(tmp_path, monkeypatch):
    """80 MB of zeros in 80 kB: neither the wrong shape nor the right one is unpacked."""
    zeros = _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (20000000,), }") + bytes(80_000_000)
    path = _archive(tmp_path, zeros)
    del zeros
    with pytest.raises(gk.FeedError, match="axis 0 is 20000000 and must be 3"):
        value_for(THREE, f"@{path}")
    monkeypatch.setattr("graphkit.reading.files.PLENTY", 1 << 20)
    assert "unpack" in refused(FLOATS, path)


@pytest.mark.parametrize("suffix", ["npy", "npz", "png"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "nothing", "loop"])
def test_what_is_no_regular_file_is_not_opened(tmp_path, suffix, kind):
    path = tmp_path / f"a.{suffix}"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    done = threading.Thread(target=refused, args=(PICTURE, path), daemon=True)
    done.start()
    done.join(10)
    assert not done.is_alive()
    refused(PICTURE, path)


@pytest.mark.parametrize("path", ["", "\0", "a" * 5000, "x\0.npy"])
def test_paths_that_are_none(path):
    with pytest.raises(gk.FeedError):
        value_for(FLOATS, f"@{path}")


def _png(width, height):
    """A picture of one colour that is never whole in memory."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pump, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    data = b"".join([*(pump.compress(row) for _ in range(height)), pump.flush()])
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [13_000, 20_000])
def test_a_small_picture_of_many_pixels_is_measured_by_its_header(tmp_path, side):
    (tmp_path / "a.png").write_bytes(_png(side, side))
    assert (tmp_path / "a.png").stat().st_size < 100_000
    refused(PICTURE, tmp_path / "a.png")


def test_a_picture_of_another_size_is_refused_before_it_is_unpacked(tmp_path):
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    port = Port("x", TensorProto.UINT8, ("n", 6, 7, 3), "uint8[n,6,7,3]")
    with pytest.raises(gk.FeedError, match="axis 2 is 8 and must be 7"):
        value_for(port, f"@{tmp_path}/a.png")
    assert value_for(PICTURE, f"@{tmp_path}/a.png").shape == (1, 3, 6, 8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tiff", "webp", "ppm"])
def test_a_damaged_picture_is_refused_or_read(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3)).save(path)
    whole = path.read_bytes()
    for at in range(0, min(len(whole), 400), 5):
        for data in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            path.write_bytes(data)
            with contextlib.suppress(gk.FeedError):
                assert value_for(PICTURE, f"@{path}").dtype == np.float32

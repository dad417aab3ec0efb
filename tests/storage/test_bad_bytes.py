"""Files that are no model, or a damaged one: a GraphkitError that says what and where, at once."""

import os
import random
import socket

import onnx
import pytest
from onnx import helper

import graphkit as gk
from graphkit.storage import load
from graphkit.storage.load import as_model
from graphkit.storage.wire import MAX_NAME, tag, varint
from hand_made import field, model_bytes, model_head, referring, small, tensor
from weight_places import BYTES, raw

SECONDS = 5
MIB = 200


# cut short


def test_truncated_at_every_byte(refused):
    data = small().SerializeToString()
    for end in range(len(data)):
        refused(data[:end], "bad.onnx", kind=gk.FormatError)


def test_truncated_behind_the_last_field_that_a_model_must_have(tmp_path, refused):
    """What follows opset_import may be absent, so that a cut between those fields cannot be seen."""
    model = small()
    model.metadata_props.add(key="k", value="v")
    data, shorter = model.SerializeToString(), small().SerializeToString()
    for end in range(len(shorter) + 1, len(data)):
        refused(data[:end], "bad.onnx")
    (tmp_path / "cut.onnx").write_bytes(data[: len(shorter)])
    assert gk.load(tmp_path / "cut.onnx").proto == small()


def test_a_large_file_truncated_at_many_bytes(tmp_path, file, refused):
    data = file.read_bytes()
    rng = random.Random(1)
    for end in [
        *range(len(data) - 40, len(data)),
        *range(load.SMALL_FILE, load.SMALL_FILE + 20),
        *rng.sample(range(len(data)), 200),
    ]:
        error = refused(data[:end], "bad.onnx")
        assert isinstance(error, gk.FormatError)
        assert error.path == str(tmp_path / "bad.onnx")


def test_a_data_file_truncated_at_many_bytes(pair, tmp_path):
    data = pair.with_name("m.data")
    for end in random.Random(2).sample(range(data.stat().st_size), 50):
        os.truncate(data, end)
        with pytest.raises(gk.WeightsError, match=rf"wants bytes \d+ to \d+ of .*m\.data, which has {end}\b") as caught:
            gk.load(pair)
        assert caught.value.location == "m.data"


# not a model


@pytest.mark.parametrize("size", [1, 2, 10, 100, 1000, 100_000, 5_000_000])
def test_random_bytes(refused, size):
    for seed in range(20 if size < 10_000 else 2):
        refused(random.Random(seed).randbytes(size), "bad.onnx", kind=gk.FormatError)


@pytest.mark.parametrize("padding", [0, 100_000])
@pytest.mark.parametrize(
    ("head", "hint"),
    [
        (b"PK\x03\x04rest", "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "HTML page"),
        (b"<html><body>404</body></html>", "HTML page"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"\x1c\x00\x00\x00ORTM", "ORT-format"),
        (b'<ir_version: 10, opset_import: ["" : 20]>', "ONNX text"),
        (b"", "empty"),
        (b"plain text", "another format, damaged, or was cut short"),
    ],
)
def test_other_formats_have_their_hint(refused, head, hint, padding):
    data = head + head[-1:] * padding
    error = refused(data, "bad.onnx", kind=gk.FormatError)
    assert hint in error.hint


def test_what_is_not_a_file(tmp_path, refused):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "nowhere").symlink_to("missing")
    (tmp_path / "circle").symlink_to("circle")
    server = socket.socket(socket.AF_UNIX)
    with server:
        server.bind(str(tmp_path / "socket"))
        for name, said in {
            "pipe": "it is a FIFO",
            "folder": "it is a folder",
            "nowhere": "there is no such file",
            "missing": "there is no such file",
            "circle": "Too many levels of symbolic links",
            "socket": "",
            "missing/m.onnx": "there is no such file",
        }.items():
            refused(tmp_path / name, f"cannot read {tmp_path / name}", said, kind=gk.ModelFileError)
    with pytest.raises(gk.ModelFileError, match="it is a device or a socket"):
        gk.load("/dev/null")


def test_a_message_that_is_another_one_of_onnx(refused):
    refused(raw(1, "w").SerializeToString())
    refused(small().graph.SerializeToString())
    refused(onnx.ModelProto(ir_version=10).SerializeToString(), "it has no graph")


# wrong wire types and lengths


@pytest.mark.parametrize("padding", [0, 20], ids=["parsed", "scanned"])
@pytest.mark.parametrize("wire", [3, 4, 6, 7])
@pytest.mark.parametrize("kind", ["model", "graph", "node", "tensor"])
def test_wire_types_that_are_none_of_protobufs(refused, kind, wire, padding):
    stray = tag(3, wire) + b"\x00" * 8
    stray += (
        small().graph.initializer[0].SerializeToString() * 800 * bool(padding)
    )  # above the threshold, to be looked into
    inner = {"node": field(1, stray), "tensor": field(5, stray), "graph": stray, "model": b""}[kind]
    data = model_bytes(inner, padding=padding) + (stray if kind == "model" else b"")
    error = refused(data, "bad.onnx", kind=gk.FormatError)
    assert error.offset is not None or wire == 3
    if error.offset is not None:
        assert f"at byte {error.offset}" in str(error)


def test_known_fields_with_another_wire_type_are_unknown_fields(tmp_path, refused):
    """Protobuf's rule: they are carried along and say nothing. A graph in a varint leaves a model without a graph."""
    for graph in (tag(7, 0) + b"\x05", tag(7, 1) + bytes(8), tag(7, 5) + bytes(4)):
        head = onnx.ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 20)]).SerializeToString()
        refused(head + graph, "it has no graph", kind=gk.FormatError)
        path = tmp_path / "odd.onnx"
        path.write_bytes(small().SerializeToString() + graph)
        gk.save(path, tmp_path / "again.onnx")
        assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
        path.unlink()
        (tmp_path / "again.onnx").unlink()


LENGTHS = {
    "one too many": varint(101),
    "4 GiB": varint(1 << 32),
    "2**63": varint(1 << 63),
    "2**64 - 1": varint((1 << 64) - 1),
    "a varint of 11 bytes": b"\xff" * 10 + b"\x01",
    "a varint without end": b"\xff" * 100,
}


@pytest.mark.parametrize("padding", [0, 20], ids=["parsed", "scanned"])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("place", ["model", "graph", "node", "tensor", "name"])
def test_lengths_beyond_the_file(refused, place, length, padding):
    broken = LENGTHS[length] + bytes(100 if length == "one too many" else 0)
    graph, behind = b"", b""
    if place == "model":
        behind = tag(7, 2) + broken
    elif place == "graph":
        graph = tag(5, 2) + broken
    elif place == "node":
        graph = field(1, tag(5, 2) + broken)
    elif place == "tensor":
        graph = field(5, tag(9, 2) + broken)
    else:
        graph = field(5, tag(8, 2) + broken)
    data = model_bytes(b"", padding=padding) + behind
    if graph:
        padded = field(5, raw(1, "padding").SerializeToString()) * padding
        data = model_bytes(padded + graph)
        if length == "one too many":
            data = data[:-1] if place in ("graph", "node", "tensor", "name") else data
    error = refused(data, "bad.onnx", kind=gk.FormatError)
    assert error.offset is not None


@pytest.mark.parametrize("padding", [0, 20], ids=["parsed", "scanned"])
@pytest.mark.parametrize("depth", [34, 1000, 20_000])
def test_bodies_nested_too_deep(refused, depth, padding):
    """A thousand bodies deep; protobuf's limit of 100 messages is 33 bodies. A large file has a large tensor innermost."""
    graph = field(5, raw(1, "w").SerializeToString()) if padding else b""
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(1, b"g") + tag(20, 0) + b"\x05" + field(6, graph)))
    error = refused(model_bytes(graph, padding=padding), "nested deeper than 100", "bad.onnx", kind=gk.FormatError)
    assert error.offset > 0


def test_bodies_nested_as_deep_as_protobuf_goes(tmp_path):
    graph = field(5, raw(1, "w").SerializeToString())
    for _ in range(32):
        graph = field(1, field(4, b"If") + field(5, field(1, b"g") + tag(20, 0) + b"\x05" + field(6, graph)))
    (tmp_path / "m.onnx").write_bytes(model_bytes(graph, padding=20))
    model = gk.load(tmp_path / "m.onnx")
    assert len(model.proto.SerializeToString()) < 10_000
    gk.save(model, tmp_path / "again.onnx")
    assert onnx.load(tmp_path / "again.onnx") == onnx.load(tmp_path / "m.onnx")


def test_a_proto_in_memory_that_is_nested_too_deep(tmp_path):
    """Python can build what protobuf cannot write."""
    proto = small()
    graph = proto.graph
    for _ in range(1000):
        graph = graph.node.add(op_type="If").attribute.add(name="g", type=onnx.AttributeProto.GRAPH).g
    with pytest.raises(gk.SaveError, match="nested deeper than 100 messages"):
        gk.save(proto, tmp_path / "out.onnx")
    assert gk.inspect(as_model(proto)).node_count > 500
    assert os.listdir(tmp_path) == []


# names


def named(place, name):
    """A model with a name in some place; the bytes are put together by hand, as the name may be no text."""
    graph = {
        "graph": field(2, name),
        "node": field(1, field(3, name)),
        "node input": field(1, field(1, name)),
        "node output": field(1, field(2, name)),
        "operator": field(1, field(4, name)),
        "domain": field(1, field(7, name)),
        "attribute": field(1, field(5, field(1, name))),
        "initializer": field(5, field(8, name) + field(9, b"")),
        "large initializer": field(5, field(8, name) + raw(1).SerializeToString()),
        "graph input": field(11, field(1, name)),
        "graph output": field(12, field(1, name)),
        "value_info": field(13, field(1, name)),
        "in a body": field(1, field(5, field(6, field(1, field(3, name))))),
    }.get(place, b"")
    if place == "function":
        return model_bytes(b"") + field(25, field(1, name))
    return model_bytes(graph)


PLACES = [
    "graph", "node", "node input", "node output", "operator", "domain", "attribute", "initializer", "large initializer",
    "graph input", "graph output", "value_info", "in a body", "function",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_name_of_10_mb(refused, place):
    error = refused(named(place, b"n" * 10_000_000), "a name has 10000000 bytes", "at byte", kind=gk.FormatError)
    assert error.offset < 200


@pytest.mark.parametrize("place", PLACES)
def test_a_name_of_a_mebibyte_is_a_name(tmp_path, place):
    """Every message that quotes it stays short."""
    path = tmp_path / "m.onnx"
    path.write_bytes(named(place, b"n" * MAX_NAME))
    model = gk.load(path)
    gk.inspect(model)
    if place != "large initializer":
        assert gk.save(model, tmp_path / "again.onnx").size == path.stat().st_size


@pytest.mark.parametrize("padding", [0, 20], ids=["parsed", "scanned"])
@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_is_no_utf_8(refused, place, padding):
    data = named(place, b"caf\xe9")
    if padding:
        data += field(7, field(5, raw(1, "padding").SerializeToString()) * padding)
    said = {"function": "functions[0].name", "graph": "graph.name", "operator": "graph.node[0].op_type"}.get(
        place, "graph."
    )
    refused(data, said, "is no UTF-8 text", kind=gk.FormatError)


# large ones, in a process of their own


HEAVY = {
    "a sparse file of zeros": (lambda: b"", 6 << 30, "at byte 0"),
    "a graph of zeros": (lambda: tag(7, 2) + varint(5 << 30), 6 << 30, "at byte 6"),
    "a tensor with too much data": (lambda: model_head(tensor([3]), 5 << 30), None, "takes 12"),
    "a tensor with data twice": (lambda: model_head(tensor([3], raw_data=b""), 5 << 30), None, "in several pieces"),
    "a tensor with an unknown field of 5 GB": (lambda: model_head(tensor([3]), 5 << 30, number=99), None, "2 GiB"),
    "a tensor longer than the file": (lambda: model_head(tensor(), 5 << 30), 4 << 30, "at byte"),
    "50 MB of random bytes": (lambda: random.Random(1).randbytes(50_000_000), None, "m.onnx"),
    "20,000 bodies deep around 1 GB": (lambda: deep(1 << 30), 2 << 30, "nested deeper than 100"),
}


def deep(length):
    heads = []
    for _ in range(20_000):
        for number in (6, 5, 1):
            heads.append(tag(number, 2) + varint(length))
            length += len(heads[-1])
    return tag(7, 2) + varint(length) + b"".join(reversed(heads))


@pytest.mark.parametrize("case", HEAVY)
def test_large_bad_files_cost_neither_time_nor_memory(tmp_path, measured, case):
    make, size, said = HEAVY[case]
    path = tmp_path / "m.onnx"
    data = make()
    path.write_bytes(data)
    os.truncate(path, size or len(data) + (5 << 30) * (len(data) < 1000))
    seen = measured("gk.save(gk.load('m.onnx'), 'out.onnx')")
    kind, message = seen.result
    assert kind in ("FormatError", "TensorError")
    assert said in message
    assert len(message) < 1000
    assert seen.seconds < SECONDS
    assert seen.mib < MIB
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_an_offset_beyond_a_large_data_file(tmp_path, measured):
    (tmp_path / "m.onnx").write_bytes(referring(location="m.data", offset=5 << 30, length=BYTES))
    (tmp_path / "m.data").touch()
    os.truncate(tmp_path / "m.data", 5 << 30)
    seen = measured("gk.load('m.onnx')")
    assert seen.result[0] == "WeightsError"
    assert seen.seconds < SECONDS
    assert seen.mib < MIB

"""Loading leaves every large payload where it is, and finds it again."""

import os
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from graphkit.graph import walk
from graphkit.model import own_location
from graphkit.storage import load as load_room
from graphkit.storage.source import LocalFile
from graphkit.tensor import data_range
from weight_places import BYTES, SIDE, assert_computes, node, raw, value, weight


def by_key(proto):
    """(name, position) -> tensor, for every tensor of a model in a fixed order."""
    return dict(enumerate(walk.tensors(proto)))


def external(proto):
    return [tensor for tensor in walk.tensors(proto) if tensor.data_location == TensorProto.EXTERNAL]


def one_weight(tensor, *, inputs="x"):
    """y = x + w, with the tensor as the initializer ``w``."""
    tensor.name = "w"
    graph = helper.make_graph([node("Add", f"{inputs} w", "y")], "one", [value("x")], [value("y")], [tensor])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def reference(location, seed=1, **entries):
    """A float32 tensor whose bytes lie elsewhere."""
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[SIDE, SIDE], data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(text))
    return tensor


# where payloads lie


def test_every_large_payload_stays_in_the_file_wherever_it_is(file, everything):
    model = gk.load(file)
    assert len(external(model.proto)) == 12  # int64_data is no image of the values and is parsed
    assert model.proto.ByteSize() < 25_000 < everything.ByteSize() - 80_000
    assert_computes(model, everything)
    assert_computes(model, everything, cond=False)


def test_every_value_is_the_one_that_onnx_reads(file, everything):
    model = gk.load(file)
    theirs = by_key(onnx.load(file))
    for key, tensor in by_key(model.proto).items():
        expected = numpy_helper.to_array(theirs[key])
        assert np.array_equal(model.array_of(tensor), expected, equal_nan=expected.dtype.kind == "f")
        assert model.array_of(tensor).dtype == expected.dtype


def test_what_is_no_payload_is_kept_to_the_last_field(file, everything):
    model = gk.load(file)
    expected = onnx.ModelProto()
    expected.CopyFrom(everything)
    assert materialized_like(model, expected) == expected


def materialized_like(model, like):
    """The model with every payload back, float_data and double_data in their own fields again."""
    proto = model.materialize()
    for tensor, other in zip(walk.tensors(proto), walk.tensors(like), strict=True):
        if (other.float_data or other.double_data) and not (tensor.float_data or tensor.double_data):
            assert tensor.raw_data == np.array(other.float_data or other.double_data, dtype_of(other)).tobytes()
            tensor.CopyFrom(other)
    return proto


def dtype_of(tensor):
    return helper.tensor_dtype_to_np_dtype(tensor.data_type)


def test_a_small_file_is_parsed_whole(tmp_path):
    model = one_weight(raw(1))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert gk.load(tmp_path / "m.onnx").proto == model


def test_below_the_threshold_a_payload_is_part_of_the_skeleton(tmp_path, monkeypatch):
    monkeypatch.setattr(load_room, "SMALL_FILE", 0)
    (tmp_path / "m.onnx").write_bytes(one_weight(raw(1)).SerializeToString())
    monkeypatch.setattr(LocalFile, "threshold", BYTES + 1)
    assert gk.load(tmp_path / "m.onnx").tensor("w").HasField("raw_data")
    monkeypatch.setattr(LocalFile, "threshold", BYTES)
    assert data_range(gk.load(tmp_path / "m.onnx").tensor("w")).length == BYTES


def test_the_scanner_gives_what_the_parser_gives_for_small_models(tmp_path, scan_all, everything):
    """With a threshold of 128 bytes, the scanner goes into every part of the model."""
    path = tmp_path / "m.onnx"
    path.write_bytes(everything.SerializeToString())
    model = gk.load(path)
    assert len(external(model.proto)) == 13  # the 160 bytes of the Scan body too
    assert materialized_like(model, everything) == everything


@pytest.mark.parametrize(
    "merged",
    ["raw_data twice", "float_data in two pieces", "raw_data and float_data", "raw_data and an empty raw_data"],
)
def test_a_payload_that_protobuf_puts_together_from_parts_is_left_to_protobuf(tmp_path, scan_all, merged):
    values = weight(1)
    head = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[SIDE, SIDE]).SerializeToString()
    half = values.ravel()[: SIDE * SIDE // 2], values.ravel()[SIDE * SIDE // 2 :]
    tail = {
        "raw_data twice": TensorProto(raw_data=bytes(BYTES)).SerializeToString()
        + TensorProto(raw_data=values.tobytes()).SerializeToString(),
        "float_data in two pieces": b"".join(TensorProto(float_data=h).SerializeToString() for h in half),
        "raw_data and float_data": TensorProto(raw_data=values.tobytes(), float_data=[1.5]).SerializeToString(),
        "raw_data and an empty raw_data": TensorProto(raw_data=values.tobytes()).SerializeToString() + b"\x4a\x00",
    }[merged]
    tensor = head + tail
    rest = one_weight(TensorProto())
    rest.graph.ClearField("initializer")
    graph = rest.graph.SerializeToString() + b"\x2a" + varint(len(tensor)) + tensor
    rest.ClearField("graph")
    data = rest.SerializeToString() + b"\x3a" + varint(len(graph)) + graph
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    expected = onnx.ModelProto.FromString(data)
    loaded = gk.load(path)
    assert loaded.proto == expected
    if merged == "raw_data and an empty raw_data":
        with pytest.raises(gk.WeightsError, match=r"tensor 'w' \(float32\[40, 40\]\) has no values"):
            loaded.array("w")


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def test_fields_that_onnx_does_not_know_survive(tmp_path, scan_all):
    model = one_weight(raw(1))
    unknown = b"\xaa\x3e\x03abc" + b"\xb3\x3e\x08\x01\xb4\x3e" + b"\xb8\x3e\x05"  # a string, a group, a number
    path = tmp_path / "m.onnx"
    data = model.SerializeToString() + b"\xaa\x3e\x03abc"
    path.write_bytes(data)
    gk.save(gk.load(path), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == data
    small = onnx.ModelProto.FromString(model.SerializeToString() + unknown)
    gk.save(small, tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").read_bytes() == small.SerializeToString()


def test_a_graph_field_that_stands_twice_is_one_graph(tmp_path, scan_all):
    first, second = one_weight(raw(1)), onnx.ModelProto()
    second.graph.initializer.append(raw(2, "w2"))
    path = tmp_path / "m.onnx"
    path.write_bytes(first.SerializeToString() + second.SerializeToString())
    model = gk.load(path)
    assert [t.name for t in model.proto.graph.initializer] == ["w", "w2"]
    assert np.array_equal(model.array("w2"), weight(2))


# external data


def test_external_data_is_referenced_not_read(pair, everything, monkeypatch):
    monkeypatch.setattr(LocalFile, "read", refuse("read", of="m.data", also=LocalFile.read))
    monkeypatch.setattr(LocalFile, "view", refuse("view", of="m.data", also=LocalFile.view))
    model = gk.load(pair)
    monkeypatch.undo()
    assert {data_range(t).location for t in external(model.proto)} == {
        "m.data",
        own_location("m.onnx", os.path.getsize(model.path)),
    }
    assert_computes(model, everything)


def refuse(what, *, of, also):
    def method(self, *arguments):
        assert not self.path.endswith(of), f"{what} of {self.path}"
        return also(self, *arguments)

    return method


@pytest.mark.parametrize("omitted", [(), ("offset",), ("length",), ("offset", "length")])
def test_offset_and_length_may_be_omitted(tmp_path, omitted):
    start = 0 if "offset" in omitted else 64
    (tmp_path / "w.data").write_bytes(bytes(start) + weight(1).tobytes())
    entries = {"offset": start, "length": BYTES}
    tensor = reference("w.data", **{k: v for k, v in entries.items() if k not in omitted})
    path = tmp_path / "m.onnx"
    path.write_bytes(one_weight(tensor).SerializeToString())
    assert np.array_equal(gk.load(path).array("w"), weight(1))
    assert np.array_equal(numpy_helper.to_array(onnx.load(path).graph.initializer[0]), weight(1))


def test_a_length_that_is_omitted_ends_where_the_dims_say(tmp_path):
    """The file goes on: other tensors lie behind. ExternalData.md says "to the end of the file"; ONNX Runtime reads this."""
    (tmp_path / "w.data").write_bytes(weight(1).tobytes() + weight(2).tobytes())
    path = tmp_path / "m.onnx"
    model = one_weight(reference("w.data"))
    path.write_bytes(model.SerializeToString())
    assert np.array_equal(gk.load(path).array("w"), weight(1))
    gk.save(gk.load(path), tmp_path / "embedded.onnx")
    assert onnx.load(tmp_path / "embedded.onnx") == one_weight(raw(1))


def test_many_files_and_shared_bytes(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.data").write_bytes(weight(1).tobytes())
    (tmp_path / "sub" / "b.data").write_bytes(weight(2).tobytes())
    model = one_weight(reference("a.data", length=BYTES))
    for name, location in (("same", "a.data"), ("other", "sub/b.data")):
        tensor = reference(location, length=BYTES)
        tensor.name = name
        model.graph.initializer.append(tensor)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = gk.load(path)
    assert loaded.proto == model
    assert np.array_equal(loaded.array("w"), loaded.array("same"))
    assert np.array_equal(loaded.array("other"), weight(2))


def test_more_data_files_than_a_process_may_have_open(tmp_path, everything):
    """One file a tensor, as older exporters write it. The limit of open files is often 1024, or 256."""
    import resource

    count = 300
    model = one_weight(raw(1))
    for i in range(count):
        (tmp_path / f"t{i}").write_bytes(np.full((SIDE, SIDE), i, np.float32).tobytes())
        tensor = reference(f"t{i}", length=BYTES)
        tensor.name = f"t{i}"
        model.graph.initializer.append(tensor)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100, before[1]))
    try:
        loaded = gk.load(path)
        gk.save(loaded, tmp_path / "one.onnx")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert loaded.array("t299")[0, 0] == 299
    again = gk.load(tmp_path / "one.onnx")
    assert all(np.array_equal(again.array(f"t{i}"), loaded.array(f"t{i}")) for i in range(count))
    (tmp_path / "t299").write_bytes(bytes(BYTES))
    with pytest.raises(gk.WeightsError, match="t299 was changed on disk after it was loaded"):
        loaded.array("t299")


def test_a_missing_data_file_is_no_error_until_its_bytes_are_wanted(tmp_path):
    model = one_weight(reference("gone.data", length=BYTES))
    model.graph.initializer.append(raw(2, "here"))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    loaded = gk.load(path)
    assert loaded.proto == model
    assert np.array_equal(loaded.array("here"), weight(2))
    for read in (lambda: loaded.array("w"), loaded.materialize, lambda: gk.save(loaded, tmp_path / "out.onnx")):
        with pytest.raises(gk.WeightsError, match=r"tensor 'w' are in 'gone\.data', which is not there") as caught:
            read()
        assert "beside the .onnx file" in caught.value.hint
    assert os.listdir(tmp_path) == ["m.onnx"]


def test_a_model_may_reference_bytes_of_its_own_file(tmp_path, scan_all):
    """An overlay's tensors may point into any file, and why not into this one: a padding field holds the bytes."""
    path = tmp_path / "m.onnx"
    padding = b"\xaa\x3e" + varint(BYTES) + weight(3).tobytes()
    model = one_weight(reference("m.onnx", offset=4, length=BYTES))
    path.write_bytes(padding + model.SerializeToString())
    assert np.array_equal(gk.load(path).array("w"), weight(3))


# models in memory


def test_a_small_proto_is_wrapped_as_it_is(everything):
    from graphkit.storage.load import as_model

    assert as_model(everything).proto is everything


@pytest.mark.parametrize("huge", [False, True], ids=["large", "above 2 GiB"])
def test_a_large_proto_is_split_from_its_weights_and_not_changed(everything, monkeypatch, huge):
    """Above 2 GiB protobuf cannot even say how large a message is; that case is reached here by its own door."""
    from graphkit.storage.load import _from_huge_proto, as_model

    proto = onnx.ModelProto()
    proto.CopyFrom(everything)
    monkeypatch.setattr(load_room, "LARGE_PROTO", 1000)
    model = _from_huge_proto(proto) if huge else as_model(proto)
    assert proto == everything
    assert model.proto is not proto
    assert len(external(model.proto)) == (
        10 if huge else 12
    )  # float_data and double_data are not moved out of a huge one
    assert materialized_like(model, everything) == everything
    assert_computes(model, everything)


def test_a_large_proto_whose_data_contradict_their_dims(scan_all, monkeypatch):
    from graphkit.storage.load import as_model

    monkeypatch.setattr(load_room, "LARGE_PROTO", 1000)
    tensor = raw(1)
    tensor.dims[0] += 1
    with pytest.raises(gk.TensorError, match=r"tensor 'w' at byte \d+: 6400 bytes of data, but a float32\[41, 40\]"):
        as_model(one_weight(tensor))


def test_the_door_for_protos_above_2_gib(everything, monkeypatch):
    from google.protobuf.message import EncodeError

    from graphkit.storage.load import from_proto

    def too_large():
        raise EncodeError("Error serializing message with type 'onnx.ModelProto'")

    proto = SimpleNamespace(graph=everything.graph, ListFields=everything.ListFields, ByteSize=too_large)
    assert materialized_like(from_proto(proto), everything) == everything


def test_a_proto_does_not_say_where_its_external_data_lie(pair, tmp_path):
    proto = onnx.load(pair, load_external_data=False)
    with pytest.raises(gk.WeightsError, match=r"'m\.data', which is not there") as caught:
        gk.save(proto, tmp_path / "out.onnx")
    assert "give the path of the .onnx file" in caught.value.hint


def test_what_is_no_model_is_a_type_error():
    from graphkit.storage.load import as_model

    with pytest.raises(TypeError, match=r"expected a path, an onnx\.ModelProto or a graphkit\.Model, not GraphProto"):
        as_model(onnx.GraphProto())

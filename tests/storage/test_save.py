"""What a save writes, and what it leaves alone."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import graphkit as gk
from graphkit.graph import walk
from graphkit.storage import save as save_room
from graphkit.storage.source import LocalFile
from graphkit.tensor import data_range
from weight_places import BYTES, assert_computes, names, node, raw, snapshot, value, weight


def plain(*tensors, extra=()):
    """y = x + the sum of the tensors, which are initializers."""
    total = node("Sum", " ".join(["x", *(t.name for t in tensors)]), "y")
    graph = helper.make_graph([total], "plain", [value("x")], [value("y")], [*tensors, *extra])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


def locations(path):
    """location -> number of tensors that lie there, in a file."""
    found = {}
    for tensor in walk.tensors(onnx.load(path, load_external_data=False)):
        if tensor.data_location == TensorProto.EXTERNAL:
            where = data_range(tensor).location
            found[where] = found.get(where, 0) + 1
    return found


def loaded(path):
    """What onnx.load gives, but for the data location that it then writes out though it is the default."""
    model = onnx.load(path)
    for tensor in walk.tensors(model):
        tensor.ClearField("data_location")
    return model


# the default: one file


def test_saving_again_gives_the_same_bytes(file, tmp_path, everything):
    saved = gk.save(gk.load(file), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == file.read_bytes() == everything.SerializeToString()
    assert saved == save_room.Saved(str(tmp_path / "again.onnx"), file.stat().st_size)
    assert_computes(tmp_path / "again.onnx", everything)


def test_saving_again_gives_the_same_bytes_down_to_small_tensors(tmp_path, scan_all, everything):
    (tmp_path / "m.onnx").write_bytes(everything.SerializeToString())
    gk.save(tmp_path / "m.onnx", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == everything.SerializeToString()


def test_saving_again_gives_the_same_bytes_of_what_onnx_embedded(pair, tmp_path):
    """onnx.load of external data leaves ``data_location: DEFAULT`` behind, which protobuf then writes out."""
    onnx.save(onnx.load(pair), tmp_path / "one.onnx")
    gk.save(tmp_path / "one.onnx", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "one.onnx").read_bytes()


@pytest.mark.parametrize("large", [False, True])
def test_a_proto_is_written_as_protobuf_writes_it(tmp_path, everything, monkeypatch, large):
    monkeypatch.setattr("graphkit.storage.load.LARGE_PROTO", 1000 if large else 1 << 30)
    before = everything.SerializeToString()
    gk.save(everything, tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == before == everything.SerializeToString()


def test_a_pair_becomes_one_file(pair, tmp_path, everything):
    gk.save(pair, tmp_path / "one.onnx")
    assert locations(tmp_path / "one.onnx") == {}
    assert_computes(tmp_path / "one.onnx", everything)
    assert loaded(tmp_path / "one.onnx") == loaded(pair)


def test_a_float_tensor_that_became_another_type_goes_into_raw_data(file, tmp_path):
    """An edit may change the data type of a skeleton's tensor; then float_data is not its field any more."""
    model = gk.load(file)
    proto = model.copy_proto()
    tensor = next(t for t in proto.graph.initializer if t.name == "w_float")
    tensor.data_type = TensorProto.INT32
    gk.save(model.after(gk.Step("retype", {}), proto), tmp_path / "out.onnx")
    written = next(t for t in onnx.load(tmp_path / "out.onnx").graph.initializer if t.name == "w_float")
    assert np.array_equal(numpy_helper.to_array(written), model.array("w_float").view(np.int32))


# external data


def test_a_data_file_that_nothing_goes_into_is_not_written(tmp_path):
    saved = gk.save(
        plain(numpy_helper.from_array(np.ones((1, 4), np.float32), "w")), tmp_path / "out.onnx", external="w.data"
    )
    assert (saved.data_path, saved.data_size) == (None, 0)
    assert os.listdir(tmp_path) == ["out.onnx"]


def test_external_moves_initializers_everywhere_and_leaves_attributes(file, tmp_path, everything):
    saved = gk.save(file, tmp_path / "out.onnx", external="w.data")
    assert saved.data_path == str(tmp_path / "w.data")
    assert saved.data_size == (tmp_path / "w.data").stat().st_size
    moved = {t.name for t in walk.tensors(onnx.load(saved.path, load_external_data=False)) if t.data_location}
    assert moved == {"w_raw", "w_float", "w_double", "t_w", "l_w"}
    onnx.checker.check_model(tmp_path / "out.onnx")
    assert_computes(tmp_path / "out.onnx", everything)
    assert_computes(gk.load(tmp_path / "out.onnx"), everything)


def test_external_tensors_begin_at_pages_where_they_are_large(tmp_path):
    sizes = {"tiny": 100, "small": 300, "page": 20_000, "large": 300_001}
    tensors = [numpy_helper.from_array(np.full(n, i, np.float32), name) for i, (name, n) in enumerate(sizes.items())]
    model = plain(raw(1, "w"), extra=tensors)
    gk.save(model, tmp_path / "m.onnx", external="w.data")
    written = {t.name: t for t in onnx.load(tmp_path / "m.onnx", load_external_data=False).graph.initializer}
    assert written["tiny"].HasField("raw_data")
    offsets = {name: data_range(written[name]).offset for name in ("w", "small", "page", "large")}
    assert offsets == {"w": 0, "small": 6400, "page": 8192, "large": 131072}
    assert (tmp_path / "w.data").stat().st_size == 131072 + 4 * 300_001
    data = (tmp_path / "w.data").read_bytes()
    assert set(data[7600:8192]) | set(data[88192:131072]) == {0}
    assert loaded(tmp_path / "m.onnx") == model


def test_small_external_tensors_come_into_the_onnx_file(tmp_path):
    """As with onnx.save: inference can read the shapes and axes among them there."""
    (tmp_path / "few.data").write_bytes(np.arange(4, dtype=np.int64).tobytes())
    shape = TensorProto(name="shape", data_type=TensorProto.INT64, dims=[4], data_location=TensorProto.EXTERNAL)
    shape.external_data.add(key="location", value="few.data")
    (tmp_path / "m.onnx").write_bytes(plain(raw(1, "w"), extra=[shape]).SerializeToString())
    gk.save(tmp_path / "m.onnx", tmp_path / "out.onnx", external="w.data")
    assert gk.load(tmp_path / "out.onnx").tensor("shape").raw_data == (tmp_path / "few.data").read_bytes()


def test_shared_bytes_are_written_once(tmp_path):
    (tmp_path / "w.data").write_bytes(weight(1).tobytes() + weight(2).tobytes())
    model = plain(raw(1, "a"), raw(1, "b"), raw(2, "c"))
    for tensor, offset in zip(model.graph.initializer, (0, 0, BYTES), strict=True):
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, text in (("location", "w.data"), ("offset", offset), ("length", BYTES)):
            tensor.external_data.add(key=key, value=str(text))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    saved = gk.save(tmp_path / "m.onnx", tmp_path / "out.onnx", external="new.data")
    assert saved.data_size == 2 * BYTES
    assert_same_arrays(tmp_path / "out.onnx", tmp_path / "m.onnx")


def assert_same_arrays(path, other):
    ours, theirs = gk.load(path), gk.load(other)
    for tensor in theirs.proto.graph.initializer:
        assert np.array_equal(ours.array(tensor.name), theirs.array(tensor.name), equal_nan=True)


def test_an_external_name_may_lie_in_a_folder_below(file, tmp_path, everything):
    (tmp_path / "weights").mkdir()
    gk.save(file, tmp_path / "out.onnx", external="./weights//w.data")
    assert set(locations(tmp_path / "out.onnx")) == {"weights/w.data"}
    assert_computes(tmp_path / "out.onnx", everything)


@pytest.mark.parametrize("external", ["../w.data", "a/../../w.data", "/w.data", "", "sub/", ".", "m.onnx", "./m.onnx"])
def test_an_external_name_that_leads_elsewhere_is_a_value_error(file, external):
    before = snapshot(file.parent)
    with pytest.raises(ValueError, match="external is the name of a"):
        gk.save(file, file, external=external)
    assert snapshot(file.parent) == before


@pytest.mark.parametrize(
    ("external", "message"),
    [("no/w.data", "there is no folder"), ("away/w.data", "leads out of the model's folder"), ("dir", "not a file")],
)
def test_an_external_name_that_cannot_be_written_is_a_save_error(file, tmp_path_factory, external, message):
    (file.parent / "away").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    (file.parent / "dir").mkdir()
    before = snapshot(file.parent)
    with pytest.raises(gk.SaveError, match=message):
        gk.save(file, file.parent / "out.onnx", external=external)
    assert snapshot(file.parent) == before


def test_options_that_exclude_each_other(file):
    with pytest.raises(ValueError, match="weights='keep' writes none"):
        gk.save(file, file, external="w.data", weights="keep")
    with pytest.raises(ValueError, match="weights is 'auto', 'keep' or 'link', not 'copy'"):
        gk.save(file, file, weights="copy")


# 2 GiB


def test_above_the_limit_of_protobuf_the_weights_go_out_by_themselves(file, tmp_path, everything, monkeypatch):
    monkeypatch.setattr(save_room, "PROTOBUF_LIMIT", file.stat().st_size - 1)
    saved = gk.save(file, tmp_path / "out.onnx")
    assert saved.data_path == str(tmp_path / "out.onnx.data")
    assert {"c", "t_c"} & {t.name for t in walk.tensors(onnx.load(saved.path, load_external_data=False))} == set()
    assert_computes(tmp_path / "out.onnx", everything)
    monkeypatch.setattr(save_room, "PROTOBUF_LIMIT", file.stat().st_size)
    assert gk.save(file, tmp_path / "one.onnx").data_path is None


@pytest.mark.parametrize("external", [None, "w.data"])
def test_constants_go_out_too_where_they_must(file, tmp_path, everything, monkeypatch, external):
    monkeypatch.setattr(save_room, "PROTOBUF_LIMIT", 60_000)
    saved = gk.save(file, tmp_path / "out.onnx", external=external)
    assert saved.size < 60_000
    assert sum(locations(saved.path).values()) == 8  # everything but sparse tensors
    onnx.checker.check_model(saved.path)
    assert_computes(saved.path, everything)
    assert_computes(gk.load(saved.path), everything)


def test_a_graph_that_does_not_fit_without_its_weights_is_refused(file, tmp_path, monkeypatch):
    monkeypatch.setattr(save_room, "PROTOBUF_LIMIT", 10_000)
    with pytest.raises(gk.SaveError, match=r"out\.onnx would have \d+ bytes without the weights"):
        gk.save(file, tmp_path / "out.onnx")
    assert names(tmp_path) == ["m.onnx"]


def test_the_data_file_that_save_chooses_takes_no_place_of_another(file, tmp_path, everything, monkeypatch):
    """Unless the model that is replaced used it: that is what saving twice is."""
    monkeypatch.setattr(save_room, "PROTOBUF_LIMIT", file.stat().st_size - 1)
    (tmp_path / "out.onnx.data").write_bytes(b"somebody's")
    before = snapshot(tmp_path)
    with pytest.raises(
        gk.SaveError, match=r"out\.onnx\.data is already there and .*out\.onnx does not use it"
    ) as caught:
        gk.save(file, tmp_path / "out.onnx")
    assert "external=NAME" in caught.value.hint
    assert snapshot(tmp_path) == before
    gk.save(file, tmp_path / "out.onnx", external="out.onnx.data")
    for _ in range(2):
        gk.save(file, tmp_path / "out.onnx")
    assert_computes(tmp_path / "out.onnx", everything)


# over itself, again and again


@pytest.mark.parametrize("options", [{}, {"external": "m.data"}, {"external": "other.data"}])
def test_saving_over_the_input(pair, everything, options):
    before = gk.load(pair)
    gk.save(gk.load(pair), pair, **options)
    assert_computes(pair, everything)
    assert_computes(pair, everything, cond=False)
    assert_computes(before, everything)  # what was open still reads the old files


def test_saving_over_an_embedded_input(file, everything):
    before = gk.load(file)
    gk.save(before, file)
    gk.save(before, file, external="m.data")
    assert_computes(file, everything)
    gk.save(before, file)
    assert_computes(before, everything)
    assert file.read_bytes() == everything.SerializeToString()


def test_a_second_save_writes_the_same_and_does_not_grow(pair):
    gk.save(pair, pair, external="m.data")
    first = {name: (pair.parent / name).read_bytes() for name in names(pair.parent)}
    for _ in range(3):
        gk.save(pair, pair, external="m.data")
    assert {name: (pair.parent / name).read_bytes() for name in names(pair.parent)} == first
    assert sorted(first) == ["m.data", "m.onnx"]


def test_a_pair_over_a_pair_with_a_tensor_that_is_named_location(tmp_path):
    """The name of an external-data entry in the name of an inline tensor: the old pair is still found and kept whole."""
    small = numpy_helper.from_array(np.ones(3, np.float32), "location_embedding")
    model = plain(raw(1, "w"), extra=[small])
    for _ in range(2):
        gk.save(model, tmp_path / "m.onnx", external="m.data")
    assert loaded(tmp_path / "m.onnx") == model


def test_saving_changes_neither_model_nor_proto(file, tmp_path, everything):
    model = gk.load(file)
    edited = model.after(gk.Step("step", {}), model.copy_proto())
    before = edited.proto.SerializeToString(), everything.SerializeToString()
    for options in ({}, {"external": "w.data"}, {"weights": "keep"}):
        gk.save(edited, tmp_path / "out.onnx", **options)
        gk.save(everything, tmp_path / "proto.onnx", **({"external": "p.data"} if options else {}))
        assert (edited.proto.SerializeToString(), everything.SerializeToString()) == before
    assert [step.operation for step in edited.history] == ["step"]


def test_a_data_file_that_was_written_into_is_noticed(pair, tmp_path):
    model = gk.load(pair)
    data = pair.parent / "m.data"
    os.utime(data, ns=(1, 1))
    before = snapshot(tmp_path)
    with pytest.raises(gk.WeightsError, match=r"m\.data was changed on disk after it was loaded"):
        gk.save(model, tmp_path / "out.onnx")
    with data.open("r+b") as file:
        file.truncate(100)
    with pytest.raises(gk.WeightsError, match=r"m\.data became shorter after it was loaded"):
        model.array("w_raw")
    (tmp_path / "m.data").unlink()
    assert names(tmp_path) == ["m.onnx"]
    assert before.keys() == {"m.onnx", "m.data"}


def test_a_data_file_that_was_written_into_is_noticed_before_anything_is_written(pair, tmp_path):
    model = gk.load(pair)
    os.utime(pair.with_name("m.data"), ns=(1, 1))
    seen = []
    with pytest.raises(gk.WeightsError, match="was changed on disk"):
        gk.save(model, tmp_path / "out.onnx", progress=lambda *now: seen.append(now))
    assert seen == []


def test_a_data_file_that_is_written_into_during_the_save_is_noticed(pair, tmp_path):
    model = gk.load(pair)
    with pytest.raises(gk.WeightsError, match="was changed on disk"):
        gk.save(model, tmp_path / "out.onnx", progress=lambda *_: os.utime(pair.parent / "m.data", ns=(1, 1)))
    assert names(tmp_path) == ["m.data", "m.onnx"]


@pytest.mark.parametrize("options", [{}, {"external": "w.data"}], ids=["one file", "pair"])
@pytest.mark.parametrize("way", ["kernel", "buffer"])
@pytest.mark.parametrize("left", [0, 9000, 200_000])
def test_a_file_that_shrinks_in_the_middle_of_a_copy_ends_the_save_and_leaves_out_as_it_was(
    tmp_path, monkeypatch, way, left, options
):
    source, out = tmp_path / "in" / "m.onnx", tmp_path / "out"
    source.parent.mkdir()
    out.mkdir()
    gk.save(plain(numpy_helper.from_array(np.arange(100_000, dtype=np.float32), "w")), source)
    gk.save(plain(numpy_helper.from_array(np.arange(2, dtype=np.float32), "v")), out / "m.onnx", **options)
    before = snapshot(out)
    model, seen = gk.load(source), []
    monkeypatch.setattr("graphkit.storage.append.WRITEBACK", 1 << 14)
    monkeypatch.setattr("graphkit.storage.append.BUFFER", 1 << 14)
    if way == "buffer":
        monkeypatch.setattr("graphkit.storage.system.copy_in_kernel", lambda *_: None)

    def shrink(done, total):
        if done > 30_000 and not seen:
            os.truncate(source, left)
        if done > 30_000:
            seen.append(done)

    with pytest.raises(gk.WeightsError, match=r"m\.onnx (became shorter while it was read|was changed on disk)"):
        gk.save(model, out / "m.onnx", progress=shrink, **options)
    assert seen[0] < 100_000  # in the middle of 400,000 bytes
    assert seen[-1] <= max(left, seen[0]) + (1 << 14)
    assert snapshot(out) == before


# history


def test_the_history_is_in_the_metadata_and_grows_with_each_session(file, tmp_path):
    model = gk.load(file)
    edited = model.after(gk.Step("first", {"names": ["ä", "b"]}, ["a note"]), model.copy_proto())
    gk.save(edited, tmp_path / "one.onnx")
    again = gk.load(tmp_path / "one.onnx")
    assert [step.operation for step in again.history] == ["first"]
    gk.save(again, tmp_path / "same.onnx")
    assert (tmp_path / "same.onnx").read_bytes() == (tmp_path / "one.onnx").read_bytes()
    gk.save(again.after(gk.Step("second", {}), again.copy_proto()), tmp_path / "two.onnx")
    written = {e.key: e.value for e in onnx.load(tmp_path / "two.onnx").metadata_props}
    history = json.loads(written["graphkit.history"])
    assert history["format"] == 1
    assert history["original"] == {"file": "m.onnx", "sha256": model.identity.digest}
    assert history["steps"] == [
        {"operation": "first", "arguments": {"names": ["ä", "b"]}},
        {"operation": "second"},
    ]
    assert written["model"] == "kept"


@pytest.mark.parametrize("found", ["no JSON", '{"a": 1}', "3", '"text"', "[" * 10_000], ids=lambda text: text[:8])
def test_a_history_that_is_not_ours_is_kept_and_no_step_is_put_behind_it(tmp_path, found):
    model = plain(raw(1, "w"))
    model.metadata_props.add(key="graphkit.history", value=found)
    gk.save(model, tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx").metadata_props[0].value == found
    with pytest.raises(gk.FormatError, match="history"):
        gk.rename(tmp_path / "m.onnx", nodes={"n": "other"})
    gk.save(tmp_path / "m.onnx", tmp_path / "without.onnx", history=False)  # what the hint says
    assert gk.load(tmp_path / "without.onnx").history == ()


# progress


def test_progress_counts_every_byte_of_both_files(file, tmp_path):
    seen = []
    saved = gk.save(file, tmp_path / "out.onnx", external="w.data", progress=lambda *now: seen.append(now))
    total = saved.size + saved.data_size
    assert {whole for _, whole in seen} == {total}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (total, total)


def test_interrupted_in_the_middle(pair, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    before = snapshot(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        gk.save(pair, pair, external="m.data", progress=interrupt)
    assert snapshot(tmp_path) == before


def test_the_weights_do_not_pass_through_memory(file, tmp_path, monkeypatch):
    """Saved beside its source, a tensor goes from file to file; LocalFile.read is for skeletons."""
    model = gk.load(file)
    monkeypatch.setattr(LocalFile, "read", lambda *_: pytest.fail("read"))
    monkeypatch.setattr(LocalFile, "view", lambda *_: pytest.fail("view"))
    gk.save(model, tmp_path / "out.onnx")
    gk.save(model, tmp_path / "out.onnx", external="w.data")

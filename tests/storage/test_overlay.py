"""weights="keep" and weights="link": a few kilobytes of skeleton over weights that stay where they are."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array

import graphkit as gk
from graphkit.graph import walk
from graphkit.tensor import data_range
from oracle import assert_same, run_ort, run_reference
from weight_places import assert_computes, feeds, names, node, raw, snapshot, value, weight


def renamed(model):
    """An edit that leaves every weight alone."""
    proto = model.copy_proto()
    proto.graph.name = "renamed"
    return model.after(gk.Step("rename", {}), proto)


def where(path):
    return [
        data_range(t)
        for t in walk.tensors(onnx.load(path, load_external_data=False))
        if t.data_location == onnx.TensorProto.EXTERNAL
    ]


# keep


@pytest.mark.parametrize("kind", ["file", "pair"])
def test_an_overlay_is_a_few_kilobytes_beside_an_untouched_original(request, tmp_path, everything, kind):
    path = request.getfixturevalue(kind)
    before = snapshot(tmp_path)
    saved = gk.save(renamed(gk.load(path)), tmp_path / "over.onnx", weights="keep")
    assert saved.size < 0.5 * everything.ByteSize()  # int64_data and sparse tensors are in it
    assert saved.data_path is None
    assert set(saved.references) <= {str(tmp_path / "m.onnx"), str(tmp_path / "m.data")}
    after = snapshot(tmp_path)
    del after["over.onnx"]
    assert after == before
    # every judge takes it and computes the same
    onnx.checker.check_model(tmp_path / "over.onnx")
    assert_computes(tmp_path / "over.onnx", everything)
    assert_computes(gk.load(tmp_path / "over.onnx"), everything)
    assert onnx.load(tmp_path / "over.onnx").graph.name == "renamed"
    assert_same_tensors(onnx.load(tmp_path / "over.onnx"), everything)


@pytest.mark.parametrize("kind", ["file", "pair"])
def test_an_overlay_notices_that_its_base_was_saved_over(request, tmp_path, kind):
    path = request.getfixturevalue(kind)
    overlay = tmp_path / "over.onnx"
    gk.save(renamed(gk.load(path)), overlay, weights="keep")
    held = gk.load(overlay)
    base = next(p for p in (tmp_path / "m.data", path) if p.exists())
    again = renamed(gk.load(path))
    again.proto.graph.initializer.insert(0, raw(7, "new"))
    gk.save(again, path, external="m.data" if base.name == "m.data" else None)
    with pytest.raises(gk.WeightsError, match=rf"{base.name}, which is another file than when .*over.onnx was saved"):
        gk.load(overlay)
    # What was loaded before holds the file that it was loaded from.
    assert all(held.array_of(tensor).size for tensor in walk.tensors(held.proto))


def test_what_an_overlay_knows_of_its_base_goes_with_the_overlay(tmp_path, file):
    gk.save(renamed(gk.load(file)), tmp_path / "over.onnx", weights="keep")
    gk.save(gk.load(tmp_path / "over.onnx"), tmp_path / "whole.onnx")
    assert [e.key for e in onnx.load(tmp_path / "over.onnx").metadata_props][-1] == "graphkit.bases"
    assert "graphkit.bases" not in [e.key for e in onnx.load(tmp_path / "whole.onnx").metadata_props]
    gk.save(gk.load(tmp_path / "over.onnx"), tmp_path / "again.onnx", weights="keep")
    assert gk.load(tmp_path / "again.onnx").proto.metadata_props[-1].key == "graphkit.bases"


@pytest.mark.parametrize("held", ["{", "[]", '"x"'])
def test_a_damaged_entry_is_said(tmp_path, file, held):
    proto = onnx.load(file)
    proto.metadata_props.add(key="graphkit.bases", value=held)
    onnx.save(proto, tmp_path / "bad.onnx")
    with pytest.raises(gk.FormatError, match=r"graphkit\.bases"):
        gk.load(tmp_path / "bad.onnx")


def assert_same_tensors(proto, expected):
    for ours, theirs in zip(walk.tensors(proto), walk.tensors(expected), strict=True):
        assert np.array_equal(to_array(ours), to_array(theirs), equal_nan=theirs.data_type != onnx.TensorProto.BOOL)


def test_an_overlay_of_bytes_inside_of_an_onnx_file_is_tiny(tmp_path):
    """Bytes in the middle of a protobuf message, at no particular offset: ONNX Runtime, onnx and the reference read them."""
    graph = onnx.helper.make_graph(
        [node("Sum", "x a b", "y")],
        "g",
        [value("x")],
        [value("y")],
        [raw(1, "a"), raw(2, "b")] + [raw(3, f"big{i}") for i in range(20)],
    )
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)])
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    saved = gk.save(gk.extract(tmp_path / "m.onnx", outputs=["y"]), tmp_path / "over.onnx", weights="keep")
    assert saved.size < 600
    assert saved.references == (str(tmp_path / "m.onnx"),)
    assert {r.location for r in where(saved.path)} == {"m.onnx"}
    assert all(r.offset % 4 for r in where(saved.path)), "chosen so that nothing is aligned"
    inputs = {"x": weight(9)}
    for judge in (run_ort, run_reference):
        assert_same(judge(saved.path, inputs), {"y": weight(9) + weight(1) + weight(2)})
    assert_same(run_ort(saved.path, inputs, optimize=True), {"y": weight(9) + weight(1) + weight(2)})
    onnx.checker.check_model(saved.path)


def test_an_overlay_of_an_overlay_and_over_itself(file, tmp_path, everything):
    for _ in range(2):
        gk.save(renamed(gk.load(file)), tmp_path / "one.onnx", weights="keep")
    gk.save(renamed(gk.load(tmp_path / "one.onnx")), tmp_path / "two.onnx", weights="keep")
    gk.save(renamed(gk.load(tmp_path / "two.onnx")), tmp_path / "two.onnx", weights="keep")
    assert {r.location for r in where(tmp_path / "two.onnx")} == {"m.onnx"}
    assert_computes(tmp_path / "two.onnx", everything)
    gk.save(tmp_path / "two.onnx", tmp_path / "alone.onnx")
    file.unlink()
    assert_computes(tmp_path / "alone.onnx", everything)


def test_an_overlay_in_the_folder_above(tmp_path, everything):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "m.onnx").write_bytes(everything.SerializeToString())
    gk.save(tmp_path / "sub" / "m.onnx", tmp_path / "over.onnx", weights="keep")
    assert {r.location for r in where(tmp_path / "over.onnx")} == {"sub/m.onnx"}
    assert_computes(tmp_path / "over.onnx", everything)


def test_the_onnx_file_alone_changes_when_a_pair_is_saved_over_itself(pair, tmp_path, everything):
    before = snapshot(tmp_path)
    gk.save(gk.extract(pair, outputs=["nans"]), pair.with_name("part.onnx"), weights="keep")
    data = snapshot(tmp_path)["m.data"]
    assert data == before["m.data"]
    assert_same(run_ort(tmp_path / "part.onnx", {"x": feeds()["x"]})["nans"], run_ort(everything, feeds())["nans"])


def test_a_reference_that_stays_keeps_its_checksum_and_its_spelling(pair, tmp_path):
    """ExternalData.md's optional checksum, and an omitted length: nobody changed those bytes."""
    proto = onnx.load(pair, load_external_data=False)
    digest = hashlib.sha1(pair.with_name("m.data").read_bytes(), usedforsecurity=False).hexdigest()
    proto.graph.initializer[0].external_data.add(key="checksum", value=digest)
    pair.write_bytes(proto.SerializeToString())
    gk.save(pair, tmp_path / "kept.onnx", weights="keep")
    kept = onnx.load(tmp_path / "kept.onnx", load_external_data=False)
    for ours, theirs in zip(kept.graph.initializer, proto.graph.initializer, strict=True):
        assert theirs.data_location != onnx.TensorProto.EXTERNAL or ours == theirs
    gk.save(pair, tmp_path / "moved.onnx", external="new.data")
    moved = onnx.load(tmp_path / "moved.onnx", load_external_data=False)
    assert "checksum" not in {e.key for e in moved.graph.initializer[0].external_data}


@pytest.mark.parametrize("weights", ["keep", "link"])
def test_no_key_of_graphkit_gets_into_a_file(file, tmp_path, weights):
    """ONNX Runtime refuses external-data entries that it does not know."""
    gk.save(file, tmp_path / "over.onnx", weights=weights, **({"external": "l.data"} if weights == "link" else {}))
    keys = {
        e.key
        for t in walk.tensors(onnx.load(tmp_path / "over.onnx", load_external_data=False))
        for e in t.external_data
    }
    assert keys == {"location", "offset", "length"}


def test_keep_refuses_what_would_not_be_found_again(file, tmp_path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    before = snapshot(tmp_path)
    with pytest.raises(gk.SaveError, match=r"would reference .*m\.onnx, which is not in .*elsewhere") as caught:
        gk.save(file, elsewhere / "over.onnx", weights="keep")
    assert "weights='link'" in caught.value.hint
    with pytest.raises(gk.SaveError, match="its own bytes are the weights"):
        gk.save(file, file, weights="keep")
    assert snapshot(tmp_path) == before
    assert names(elsewhere) == []


@pytest.mark.parametrize("weights", ["keep", "link"])
def test_a_file_that_was_replaced_cannot_be_kept(file, tmp_path, weights):
    model = gk.load(file)
    gk.save(gk.extract(file, outputs=["nans"]), file)
    before = snapshot(tmp_path)
    with pytest.raises(gk.SaveError, match="no longer the file that was loaded") as caught:
        gk.save(model, tmp_path / "over.onnx", weights=weights, **({"external": "w.data"} if weights == "link" else {}))
    assert caught.value.hint == "load the model again"
    assert snapshot(tmp_path) == before


def test_a_model_that_was_reached_through_links_is_kept_by_its_real_path(file, tmp_path, tmp_path_factory, everything):
    link = tmp_path_factory.mktemp("links") / "folder"
    link.symlink_to(tmp_path)
    (tmp_path / "alias.onnx").symlink_to(file)
    gk.save(link / "alias.onnx", link / "over.onnx", weights="keep")
    assert {r.location for r in where(tmp_path / "over.onnx")} == {"m.onnx"}
    assert_computes(tmp_path / "over.onnx", everything)


def test_weights_that_are_in_memory_are_written_not_kept(tmp_path, everything, monkeypatch):
    monkeypatch.setattr("graphkit.storage.load.LARGE_PROTO", 1000)
    saved = gk.save(everything, tmp_path / "m.onnx", weights="keep")
    assert saved.references == ()
    assert (tmp_path / "m.onnx").read_bytes() == everything.SerializeToString()


# link


def test_links_to_the_weights_in_another_folder(pair, tmp_path_factory, everything):
    folder = tmp_path_factory.mktemp("linked")
    saved = gk.save(renamed(gk.load(pair)), folder / "m2.onnx", weights="link")
    assert names(folder) == ["m.data", "m.onnx", "m2.onnx"]  # float_data lies in m.onnx
    assert set(saved.references) == {str(folder / "m.data"), str(folder / "m.onnx")}
    assert (folder / "m.data").samefile(pair.with_name("m.data"))
    assert_computes(folder / "m2.onnx", everything)
    assert_computes(gk.load(folder / "m2.onnx"), everything)
    gk.save(renamed(gk.load(pair)), folder / "m2.onnx", weights="link")  # the links are there already
    assert_computes(folder / "m2.onnx", everything)


def test_onnx_refuses_hard_links_and_the_docstring_says_so(pair, tmp_path_factory):
    """onnx 1.20 and later: a hard link may be a way to files outside of the folder (onnx PR 7717). ONNX Runtime and
    graphkit read it. If onnx should begin to accept them, the docstring of ``gk.save`` has to be changed.
    """
    folder = tmp_path_factory.mktemp("linked")
    gk.save(pair, folder / "m2.onnx", weights="link")
    with pytest.raises(onnx.checker.ValidationError, match="hard"):
        onnx.load(folder / "m2.onnx")
    assert "refuse hard-linked data" in gk.save.__doc__


def test_a_link_under_another_name(file, tmp_path_factory, everything):
    folder = tmp_path_factory.mktemp("linked")
    gk.save(file, folder / "m.onnx", weights="link", external="weights.bin")
    assert names(folder) == ["m.onnx", "weights.bin"]
    assert_computes(folder / "m.onnx", everything)


@pytest.mark.parametrize("taken", ["m.data", "m.onnx"])
def test_a_link_takes_no_place_of_another_file(pair, tmp_path_factory, taken):
    folder = tmp_path_factory.mktemp("linked")
    (folder / taken).write_text("precious")
    before = snapshot(folder)
    with pytest.raises(gk.SaveError, match=rf"cannot hard-link .*{taken}: another file is there") as caught:
        gk.save(pair, folder / "m2.onnx", weights="link")
    assert "external=NAME" in caught.value.hint
    assert snapshot(folder) == before, "the other link, where it was made first, is gone again"


@pytest.mark.parametrize(("target", "options"), [("m.onnx", {}), ("m2.onnx", {"external": "one.data"})])
def test_two_files_cannot_be_linked_under_one_name(pair, tmp_path_factory, target, options):
    folder = tmp_path_factory.mktemp("linked")
    with pytest.raises(gk.SaveError, match="that name is taken"):
        gk.save(pair, folder / target, weights="link", **options)
    assert names(folder) == []


def test_links_within_one_folder_are_the_files_themselves(pair, tmp_path, everything):
    gk.save(pair, tmp_path / "over.onnx", weights="link")
    assert names(tmp_path) == ["m.data", "m.onnx", "over.onnx"]
    assert_computes(tmp_path / "over.onnx", everything)
    onnx.checker.check_model(tmp_path / "over.onnx")


def test_a_link_across_disks_is_a_save_error(pair, tmp_path_factory, monkeypatch):
    import errno
    import os

    folder = tmp_path_factory.mktemp("linked")
    link = os.link

    def other_disk(source, target, **options):
        if "/proc/self/fd" not in str(source):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target, **options)

    monkeypatch.setattr(os, "link", other_disk)
    with pytest.raises(gk.SaveError, match="Invalid cross-device link") as caught:
        gk.save(pair, folder / "m2.onnx", weights="link")
    assert "one disk" in caught.value.hint
    assert names(folder) == []


def test_linked_weights_outlive_the_original(pair, tmp_path_factory, everything):
    folder = tmp_path_factory.mktemp("linked")
    gk.save(pair, folder / "m2.onnx", weights="link")
    gk.save(gk.extract(pair, outputs=["nans"]), pair, external="m.data")
    assert_computes(folder / "m2.onnx", everything)
    assert np.isnan(gk.load(folder / "m2.onnx").array("w_float")[0, 3])

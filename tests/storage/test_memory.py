"""Peak memory stays below 200 MiB and the skeleton, whatever the weights: each step in a process of its own."""

import json
import os

import onnx
import pytest

import graphkit as gk
from sparse_files import chain

MIB = 200


@pytest.fixture
def embedded(tmp_path):
    """1.9 GB in one file, 30 blocks of 64 MB."""
    return chain(tmp_path / "m.onnx", 30, 4000)


@pytest.fixture
def external(tmp_path):
    """12 GB beside the model, 30 blocks of 400 MB."""
    return chain(tmp_path / "m.onnx", 30, 10_000, external="m.data")


def test_load_and_look(embedded, measured):
    seen = measured(
        """
        model = gk.load("m.onnx")
        gk.inspect(model)
        array = model.array("w7")
        result = [float(array[0, 0]), float(array[-1, -1]), array.nbytes]
        """
    )
    assert seen.result == [8, 8, 64_000_000]
    assert seen.mib < MIB


@pytest.mark.parametrize("options", [{}, {"external": "out.data"}, {"weights": "keep"}], ids=json.dumps)
def test_cut_a_block_out_of_one_file(embedded, measured, tmp_path, options):
    cut = f"gk.save(gk.extract('m.onnx', inputs=['x7'], outputs=['x8']), 'out.onnx', **{options})"
    assert measured(cut).mib < MIB
    part = gk.load(tmp_path / "out.onnx")
    assert [t.name for t in part.proto.graph.initializer] == ["w7"]
    assert part.array("w7")[-1, -1] == 8
    assert part.array("w7").sum() == 16


@pytest.mark.parametrize("options", [{}, {"weights": "keep"}], ids=json.dumps)
def test_cut_a_block_out_of_external_data(external, measured, tmp_path, options):
    assert measured(f"gk.save(gk.extract('m.onnx', inputs=['x7'], outputs=['x8']), 'out.onnx', **{options})").mib < MIB
    assert gk.load(tmp_path / "out.onnx").array("w7")[-1, -1] == 8


@pytest.mark.parametrize("options", [{}, {"external": "out.data"}], ids=json.dumps)
def test_save_the_whole(tmp_path, measured, options):
    """0.5 GB are really written here: three times what may be in memory."""
    chain(tmp_path / "m.onnx", 8, 4000)
    assert measured(f"gk.save('m.onnx', 'out.onnx', **{options})").mib < MIB
    saved = gk.load(tmp_path / "out.onnx")
    assert all(saved.array(f"w{i}")[-1, -1] == i + 1 for i in range(8))
    if not options:
        assert os.path.getsize(tmp_path / "out.onnx") == os.path.getsize(tmp_path / "m.onnx")


def test_save_the_whole_over_itself_without_copies_in_the_kernel(tmp_path, measured):
    chain(tmp_path / "m.onnx", 8, 4000, external="m.data")
    save = """
        import errno, os
        def refuse(*arguments): raise OSError(errno.EXDEV, "Invalid cross-device link")
        os.copy_file_range = refuse
        gk.save("m.onnx", "m.onnx", external="m.data")
        """
    assert measured(save).mib < MIB
    assert gk.load(tmp_path / "m.onnx").array("w7")[-1, -1] == 8


def test_an_overlay_of_12_gb(external, measured, tmp_path):
    """Every weight is used and none is written."""
    seen = measured("result = gk.save(gk.rename('m.onnx', nodes={'n3': 'third'}), 'out.onnx', weights='keep').size")
    assert seen.result < 10_000
    assert seen.mib < MIB
    assert onnx.load(tmp_path / "out.onnx", load_external_data=False).graph.node[3].name == "third"


def test_above_2_gib_the_weights_go_out_by_themselves(tmp_path, measured):
    """The true limit, once: a single file of more than 2 GiB, which graphkit still reads, becomes a pair."""
    chain(tmp_path / "m.onnx", 35, 4000)
    assert os.path.getsize(tmp_path / "m.onnx") > 1 << 31
    code = """
        model = gk.load("m.onnx")
        gk.save(gk.extract(model, inputs=["x1"], outputs=["x35"]), "out.onnx")
        """
    assert measured(code).mib < MIB
    assert os.path.getsize(tmp_path / "out.onnx.data") > 1 << 31
    assert gk.load(tmp_path / "out.onnx").array("w34")[-1, -1] == 35

"""Models at addresses: written whole or not at all, and read back."""

import json

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit_cli.main import main
from onnx_text import parse
from oracle import assert_same

fsspec = pytest.importorskip("fsspec", reason="the remote extra")

NET = "g (float[n,64] x) => (float[n,64] y) { h = MatMul(x, w)  y = Neg(h) }"
X = np.ones((1, 64), np.float32)


@pytest.fixture
def model():
    return parse(NET, w=np.random.default_rng(0).random((64, 64)))


@pytest.fixture(params=["memory", "file"])
def place(request, tmp_path):
    """An empty folder of a store."""
    place = f"file://{tmp_path}/store" if request.param == "file" else f"memory://{tmp_path.name}"
    yield place
    filesystem, path = fsspec.core.url_to_fs(place)
    if filesystem.exists(path):
        filesystem.rm(path, recursive=True)


def found(place):
    filesystem, path = fsspec.core.url_to_fs(place)
    return sorted(str(name).removeprefix(f"{path}/") for name in filesystem.find(path))


@pytest.mark.parametrize("external", [None, "m.data", "weights/m.data"])
def test_a_model_is_saved_to_an_address_and_read_back(model, place, external):
    saved = gk.save(model, f"{place}/m.onnx", external=external)
    assert saved.path == f"{place}/m.onnx"
    assert saved.data_path == (f"{place}/{external}" if external else None)
    assert found(place) == sorted(["m.onnx", *([external] if external else [])])
    assert_same(gk.run(gk.load(f"{place}/m.onnx"), {"x": X}), gk.run(model, {"x": X}))
    again = gk.rename(f"{place}/m.onnx", values={"x": "image"}).save(f"{place}/m.onnx")  # over the file that it reads
    assert (saved.replaced, again.replaced) == (False, True)
    assert_same(gk.run(gk.load(f"{place}/m.onnx"), {"image": X}), gk.run(model, {"x": X}))


def test_commands_and_recipes_write_to_addresses(model, tmp_path, capsys):
    place = f"file://{tmp_path}/store"  # what a recipe runs in is another process, which has its own memory://
    onnx.save(model, tmp_path / "m.onnx")
    assert main(["rename", str(tmp_path / "m.onnx"), f"{place}/a.onnx", "--value", "x=image", "--prove"]) == 0
    assert f"wrote {place}/a.onnx" in (said := capsys.readouterr().out)
    assert "replaced" not in said
    assert main(["copy", str(tmp_path / "m.onnx"), f"{place}/a.onnx"]) == 0
    assert f"replaced {place}/a.onnx, which was another file" in capsys.readouterr().out
    assert main(["rename", f"{place}/a.onnx", f"{place}/a.onnx", "--value", "x=image"]) == 0
    assert "replaced" not in capsys.readouterr().out
    (tmp_path / "patch.toml").write_text('[[step]]\ndo = "rename"\nvalues = { image = "picture" }\n')
    assert main(["apply", str(tmp_path / "patch.toml"), f"{place}/a.onnx", "--out", f"{place}/out/b.onnx"]) == 0
    assert main(["split", f"{place}/out/b.onnx", f"{place}/parts", "--at", "h"]) == 0
    assert found(place) == [
        "a.onnx",
        "out/b.onnx",
        *(f"parts/{n}" for n in ("stage0.onnx", "stage1.onnx", "stages.json")),
    ]
    assert [v.name for v in gk.load(f"{place}/parts/stage0.onnx").inputs] == ["picture"]


def test_a_split_takes_the_place_of_an_earlier_one_and_of_nothing_else(model, place):
    gk.split(model, at=["h"]).save(f"{place}/parts", external=True)
    saved = gk.split(model, at=["h"]).save(f"{place}/parts")
    assert [one.path for one in saved] == [f"{place}/parts/stage0.onnx", f"{place}/parts/stage1.onnx"]
    assert found(f"{place}/parts") == ["stage0.onnx", "stage1.onnx", "stages.json"]
    gk.save(model, f"{place}/models/m.onnx")
    with pytest.raises(gk.SaveError, match="holds no split"):
        gk.split(model, at=["h"]).save(f"{place}/models")


def test_a_split_says_where_its_stages_are(model, tmp_path):
    saved = gk.split(model, at=["h"]).save(tmp_path / "parts", external=True)
    assert json.loads((tmp_path / "parts" / "stages.json").read_text())["stages"]
    assert [one.path for one in saved] == [str(tmp_path / "parts" / f"stage{k}.onnx") for k in (0, 1)]
    assert saved[0].data_path == str(tmp_path / "parts" / "stage0.onnx.data")


def test_a_connection_that_breaks_leaves_what_was_there(model, place, monkeypatch):
    gk.save(model, f"{place}/m.onnx", external="m.data")
    filesystem, _ = fsspec.core.url_to_fs(place)
    before = [filesystem.cat_file(f"{place}/{name}") for name in found(place)]
    put, count = filesystem.put_file, []

    def breaking(local, target, **options):
        count.append(target)
        if len(count) == 2:
            put(local, target, **options)
            raise ConnectionResetError("the line is dead")
        put(local, target, **options)

    monkeypatch.setattr(filesystem, "put_file", breaking)
    changed = gk.set_parts(model, tensors={"w": np.zeros((64, 64), np.float32)})
    with pytest.raises(gk.SaveError, match="the line is dead"):
        changed.save(f"{place}/m.onnx", external="m.data")
    assert found(place) == ["m.data", "m.onnx"]
    assert [filesystem.cat_file(f"{place}/{name}") for name in found(place)] == before


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:9/m.onnx", "only read from"),
        ("memory://m.onnx", "names no file"),
        ("memory://folder/", "names no file"),
        ("nowhere://a/m.onnx", "Protocol not known"),
    ],
)
def test_an_address_that_cannot_be_written_is_said(model, address, says):
    with pytest.raises(gk.SaveError, match=says):
        gk.save(model, address)


def test_weights_cannot_be_kept_in_place_by_a_file_that_is_elsewhere(model):
    with pytest.raises(gk.SaveError, match="weights='keep' leaves them in local files"):
        gk.save(model, "memory://a/m.onnx", weights="keep")

"""A colour photograph through a net of one channel, from the command line, as the tutorials do it with PIL by hand. R04"""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit_cli.main import main

Image = pytest.importorskip("PIL.Image")

HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
TWICE = (
    HEAD + " g (float[1,1,h,w] luma) => (float[1,1,H,W] larger) <float[4] scales = {1, 1, 2, 2}> {"
    ' larger = Resize<mode = "linear">(luma, , scales) }'
)


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.fixture
def net(tmp_path):
    onnx.save(onnx.parser.parse_model(TWICE), tmp_path / "net.onnx")
    return str(tmp_path / "net.onnx")


def by_hand(model, photo, white=255.0):
    """PyTorch's tutorial: YCbCr, the net on Y, Cb and Cr enlarged by PIL's bicubic filter, merged."""
    y, cb, cr = Image.open(photo).convert("YCbCr").split()
    (made,) = gk.run(model, {"luma": (np.asarray(y, np.float32) / np.float32(white))[None, None]}).values()
    bright = Image.fromarray(np.uint8(np.rint((made[0, 0] * white).clip(0, 255))))
    planes = [bright, cb.resize(bright.size, Image.BICUBIC), cr.resize(bright.size, Image.BICUBIC)]
    return np.asarray(Image.merge("YCbCr", planes).convert("RGB"))


# R04
def test_luma_from_the_command_line_is_what_pil_makes_by_hand(net, photo, tmp_path, capsys):
    out = str(tmp_path / "larger.png")
    assert main(["run", net, "--feed", f"luma=@{photo}", "--luma", "--save", out]) == 0
    assert np.array_equal(np.asarray(Image.open(out)), by_hand(net, photo))
    said = capsys.readouterr().err
    assert "photo.png as float32 of 0..1, grey: luma alone" in said
    assert "output 'larger' was taken as 0..1, grey" in said


def test_a_colour_photograph_without_luma_says_what_keeps_its_colours(net, photo, tmp_path, capsys):
    assert main(["run", net, "--feed", f"luma=@{photo}"]) == 0
    assert "0..1, grey: its colours were left out; --luma keeps them" in capsys.readouterr().err
    note = gk.run_report(net, {"luma": f"@{photo}"}).notes[-1]
    assert "graphkit.run_luma(...) keeps them" in note
    for grey in ("LA", "L", "I;16"):
        Image.new(grey, (9, 6)).save(tmp_path / "grey.png")
        note = gk.run_report(net, {"luma": f"@{tmp_path}/grey.png"}).notes[-1]
        assert note.endswith("grey")
    mean = onnx.parser.parse_model(HEAD + " g (float[1,1,h,w] x) => (float y) { y = ReduceMean<keepdims = 0>(x) }")
    note = gk.run_report(mean, {"x": f"@{photo}"}).notes[-1]
    assert note.endswith("its colours were left out")


def test_luma_of_0_to_255_and_the_same_in_python(net, photo, tmp_path):
    ran = gk.run_luma(net, {"luma": f"@{photo}:0-255"}, save=f"{tmp_path}/o.png:0-255")
    assert np.array_equal(ran.arrays["larger"], by_hand(net, photo, 1.0))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o.png")), ran.arrays["larger"])


def test_a_fixed_size_is_met_by_resizing_before_the_colours_are_taken_apart(photo, tmp_path):
    onnx.save(onnx.parser.parse_model(TWICE.replace("1,1,h,w", "1,1,4,5")), tmp_path / "fixed.onnx")
    ran = gk.run_luma(str(tmp_path / "fixed.onnx"), {"luma": f"@{photo}:resize"})
    Image.open(photo).resize((5, 4), Image.BILINEAR).save(tmp_path / "small.png")
    assert np.array_equal(ran.arrays["larger"], by_hand(str(tmp_path / "fixed.onnx"), tmp_path / "small.png"))


@pytest.mark.parametrize(
    ("text", "feeds", "kind", "words"),
    [
        (TWICE, {}, gk.FeedError, "no feed is a picture"),
        (TWICE, {"luma": "random"}, gk.FeedError, "no feed is a picture"),
        (TWICE.replace("float[1,1,", "float[1,3,"), {"luma": "@{photo}"}, gk.FeedError, "takes 3 channels"),
        (
            HEAD + " g (float[1,1,h,w] luma) => (float[1,3,h,w] y) { y = Concat<axis = 1>(luma, luma, luma) }",
            {"luma": "@{photo}"},
            gk.SaveError,
            "luma is one channel",
        ),
        (
            HEAD + " g (float[1,1,h,w] luma) => (float[1,1,h,w] y, float[1,1,h,w] z) { y = Abs(luma) z = Neg(luma) }",
            {"luma": "@{photo}"},
            gk.SaveError,
            "there are 2: 'y', 'z'",
        ),
    ],
)
def test_what_is_no_luma_net_is_refused_and_nothing_written(text, feeds, kind, words, photo, tmp_path):
    model = onnx.parser.parse_model(text)
    given = {name: value.format(photo=photo) for name, value in feeds.items()}
    with pytest.raises(kind, match=words):
        gk.run_luma(model, given, save=tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()

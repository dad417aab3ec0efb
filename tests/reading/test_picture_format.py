"""Words behind a picture's path: range, order, mean and deviation, in and out; what lies outside is said."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.graph.ports import Port
from graphkit.reading.values import value_for
from graphkit_cli.main import main

Image = pytest.importorskip("PIL.Image")

PIXELS = np.array([[[255, 0, 51], [0, 102, 0]], [[1, 2, 3], [250, 128, 64]]], np.uint8)
FLOAT = Port("x", onnx.TensorProto.FLOAT, [1, 3, 2, 2], "float32[1,3,2,2]")
BYTES = Port("x", onnx.TensorProto.UINT8, [1, 3, 2, 2], "uint8[1,3,2,2]")
MEAN, STD = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.25, 0.5])

NCHW = PIXELS.transpose(2, 0, 1)[None].astype(np.float64)
CASES = {
    "": NCHW / 255,
    ":rgb:0-1": NCHW / 255,
    ":bgr": NCHW[:, ::-1] / 255,
    ":0-255": NCHW,
    ":bgr:0-255": NCHW[:, ::-1],
    ":mean=0.5/0.4/0.3:std=0.2/0.25/0.5": (NCHW / 255 - MEAN[:, None, None]) / STD[:, None, None],
    ":0-255:mean=127.5:std=127.5": NCHW / 127.5 - 1,
}


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


@pytest.mark.parametrize("words", CASES)
def test_a_picture_is_fed_and_saved_as_its_words_say(photo, words, tmp_path):
    fed = value_for(FLOAT, f"@{photo}{words}")
    np.testing.assert_allclose(fed, CASES[words], rtol=0, atol=2e-5)
    gk.save_arrays({"y": fed}, f"{tmp_path}/out.png{words}")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out.png")), PIXELS)


def test_bytes_take_an_order_and_no_mean(photo):
    assert np.array_equal(value_for(BYTES, f"@{photo}:bgr"), NCHW[:, ::-1].astype(np.uint8))
    with pytest.raises(gk.FeedError, match="takes no mean"):
        value_for(BYTES, f"@{photo}:mean=0.5")


@pytest.mark.parametrize("words", [":mean=0.1/0.2", ":std=0", ":mean=1e"])
def test_a_mean_or_deviation_that_is_none_is_refused(photo, words):
    with pytest.raises(gk.TextError):
        value_for(FLOAT, f"@{photo}{words}")


def test_a_file_that_is_called_so_is_taken_as_it_is_called(photo, tmp_path):
    (tmp_path / "b.png:bgr").write_bytes((tmp_path / "photo.png").read_bytes())
    np.testing.assert_allclose(value_for(FLOAT, f"@{tmp_path}/b.png:bgr"), NCHW / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-1, 1)])
def test_a_result_far_outside_of_the_range_is_said(low, high, tmp_path):
    with pytest.warns(gk.GraphkitWarning, match=r"taken as 0\.\.1, RGB, and holds .* clipped"):
        gk.save_arrays({"y": np.linspace(low, high, 12, dtype=np.float32).reshape(1, 3, 2, 2)}, tmp_path / "out.png")


def test_the_overshoot_of_a_resampler_is_clipped_without_a_word(tmp_path):
    array = np.float32([[-0.03, 1.05], [0.5, 0.2]])
    gk.save_arrays({"y": array}, tmp_path / "out.png")
    assert np.asarray(Image.open(tmp_path / "out.png")).tolist() == [[0, 255], [128, 51]]


def test_the_command_feeds_and_saves_bgr_of_0_to_255_and_says_what_does_not_fit(photo, tmp_path, capsys):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[1,3,h,w] x) => (float[1,3,h,w] y) { y = Identity(x) }'
    model, out = str(tmp_path / "same.onnx"), str(tmp_path / "out.png")
    onnx.save(onnx.parser.parse_model(text), model)
    assert main(["run", model, "--feed", f"x=@{photo}:bgr:0-255", "--save", f"{out}:bgr:0-255"]) == 0
    assert np.array_equal(np.asarray(Image.open(out)), PIXELS)
    assert "clipped" not in capsys.readouterr().err
    assert main(["run", model, "--feed", f"x=@{photo}:0-255", "--save", out]) == 0
    assert "out.png:0-255" in capsys.readouterr().err


def same(tmp_path, shape):
    """A model that gives what it is fed, as a path."""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x) => (float[{shape}] y) {{ y = Identity(x) }}'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "same.onnx")
    return str(tmp_path / "same.onnx")


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        ("resize", "BILINEAR"),
        ("resize=bicubic", "BICUBIC"),
        ("resize=nearest", "NEAREST"),
        ("resize=lanczos", "LANCZOS"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_fixed_size_is_met_by_resizing_when_asked(photo, word, mode, last):
    wanted = np.asarray(Image.open(photo).resize((5, 6), Image.Resampling[mode]), np.float32) / 255
    shape = (1, 6, 5, 3) if last else (1, 3, 6, 5)
    port = Port("x", onnx.TensorProto.FLOAT, shape, f"float32{list(shape)}")
    expected = wanted if last else wanted.transpose(2, 0, 1)
    np.testing.assert_allclose(value_for(port, f"@{photo}:{word}")[0], expected, rtol=0, atol=1e-6)


def test_another_size_without_a_word_is_refused_and_the_word_is_named(photo):
    port = Port("x", onnx.TensorProto.FLOAT, (1, 3, 4, 6), "float32[1,3,4,6]")
    with pytest.raises(gk.FeedError, match=r"must be 4") as caught:
        value_for(port, f"@{photo}")
    assert f"@{photo}:resize" in caught.value.hint
    assert value_for(port, f"@{photo}:resize").shape == (1, 3, 4, 6)


def test_resize_needs_a_fixed_size_and_a_filter_that_exists(photo):
    free = Port("x", onnx.TensorProto.FLOAT, (1, 3, "h", 6), "float32[1,3,h,6]")
    with pytest.raises(gk.FeedError, match="any size"):
        value_for(free, f"@{photo}:resize")
    with pytest.raises(gk.TextError, match="no filter 'soft'"):
        value_for(FLOAT, f"@{photo}:resize=soft")


def test_the_command_says_range_order_and_size_in_and_out(photo, tmp_path, capsys):
    model, out = same(tmp_path, "1,3,4,4"), str(tmp_path / "out.png")
    assert main(["run", model, "--feed", f"x=@{photo}:bgr:0-255:resize", "--save", f"{out}:0-255"]) == 0
    said = capsys.readouterr().err
    assert "input 'x': photo.png as float32 of 0..255, BGR, resized (bilinear)" in said
    assert "y taken as 0..255, RGB" in said
    assert main(["run", same(tmp_path, "1,1,2,2"), "--feed", f"x=@{photo}", "--save", out]) == 0
    said = capsys.readouterr().err
    assert "photo.png as float32 of 0..1, grey" in said
    assert "y taken as 0..1, grey" in said


def test_a_word_that_is_none_is_answered_with_those_that_are(photo, tmp_path):
    with pytest.raises(gk.FeedError, match="does not exist") as caught:
        value_for(FLOAT, f"@{photo}:BGR")
    assert f"{photo} is there; behind a picture can stand :rgb, :bgr" in caught.value.hint
    with pytest.raises(gk.SaveError, match="no kind of file") as refused:
        gk.save_arrays({"y": np.zeros((2, 2), np.float32)}, tmp_path / "out.png:0-2")
    assert ":0-255" in refused.value.hint


DEEP = np.array([[0, 1000, 30_000], [65_535, 257, 4_242]], np.uint16)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_picture_of_16_bits_keeps_its_levels(tmp_path, channels):
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    port = Port("x", onnx.TensorProto.FLOAT, (1, channels, 2, 3), f"float32[1,{channels},2,3]")
    fed = value_for(port, f"@{tmp_path}/deep.png")
    for channel in fed[0][:3]:
        np.testing.assert_allclose(channel, DEEP / 65_535, rtol=0, atol=1e-6)
    assert (fed[0][3:] == 1).all()
    port = Port("x", onnx.TensorProto.UINT8, (1, channels, 2, 3), f"uint8[1,{channels},2,3]")
    assert np.array_equal(value_for(port, f"@{tmp_path}/deep.png")[0, 0], np.rint(DEEP / 257).astype(np.uint8))


def test_luma_of_a_picture_of_16_bits_is_grey(tmp_path):
    Image.fromarray(DEEP).save(tmp_path / "deep.png")
    ran = gk.run_luma(same(tmp_path, "1,1,h,w"), {"x": f"@{tmp_path}/deep.png"})
    expected = np.repeat(np.rint(DEEP / 257).astype(int)[:, :, None], 3, axis=2)
    assert np.abs(ran.arrays["y"].astype(int) - expected).max() <= 1


def test_pixels_of_32_bits_are_refused(tmp_path):
    Image.fromarray(np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)).save(tmp_path / "float.tif")
    port = Port("x", onnx.TensorProto.FLOAT, (1, 1, 2, 3), "float32[1,1,2,3]")
    with pytest.raises(gk.FeedError, match="32 bits"):
        value_for(port, f"@{tmp_path}/float.tif")

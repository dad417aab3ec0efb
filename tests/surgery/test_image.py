"""image: what the model gets of a picture is what PIL, OpenCV and torchvision make of it."""

import numpy as np
import onnx
import pytest

import graphkit as gk
from oracle import assert_same, run_ort, run_reference

Image = pytest.importorskip("PIL.Image")

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def net(shape="n,3,12,10", opset=18, elem="float"):
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]> g ({elem}[{shape}] x) => ({elem}[{shape}] y) {{ y = Identity(x) }}'
    )


def picture(height, width, channels=3, seed=0):
    """A picture with flat parts, edges of black and white, and noise."""
    generator = np.random.default_rng(seed)
    found = generator.integers(0, 256, (height, width, channels), dtype=np.uint8)
    found[: height // 2, : width // 2] = 200
    found[height // 2 :, ::2] = 0
    found[height // 2 :, 1::2] = 255
    return found


def prepared(model, array):
    """What the model gets, as a picture of 0 to 255."""
    onnx.checker.check_model(model.proto, full_check=True)
    return run_ort(model, {"x": array})["y"] * 255


FILTERS = {"bilinear": 2, "bicubic": 3, "nearest": 0}  # PIL's numbers


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize("size", [(12, 10), (37, 53), (7, 6), (6, 31), (120, 97)])
def test_pil(size, filter_name, opset):
    array = picture(*size)
    model = gk.image(net(opset=opset), "x", resize="pil", filter=filter_name)
    wanted = np.asarray(Image.fromarray(array).resize((10, 12), FILTERS[filter_name])).astype(np.float32)
    off = np.abs(prepared(model, array[None])[0].transpose(1, 2, 0) - wanted)
    assert off.max() <= {"bilinear": 1.001, "bicubic": 2.001, "nearest": 1e-4}[filter_name]


@pytest.mark.parametrize("filter_name", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(37, 53), (7, 6)])
def test_torchvision(size, filter_name):
    """torchvision resizes a uint8 tensor by this function of torch."""
    torch = pytest.importorskip("torch")
    array = picture(*size).transpose(2, 0, 1)[None]
    model = gk.image(net(), "x", layout="NCHW", resize="torchvision", filter=filter_name)
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(array.copy()), size=(12, 10), mode=filter_name, antialias=True, align_corners=False
    ).numpy()
    off = np.abs(prepared(model, array) - wanted.astype(np.float32))
    assert off.max() <= (1.001 if filter_name == "bilinear" else 2.001)


def opencv(array, height, width, filter_name):
    """cv2.resize as its source has it: samples at (x + 0.5) * scale - 0.5, borders repeated; bicubic with a = -0.75."""
    out = array.astype(np.float64)
    for axis, size in ((0, height), (1, width)):
        old = out.shape[axis]
        at = (np.arange(size) + 0.5) * old / size - 0.5
        if filter_name == "nearest":
            out = np.take(out, np.minimum(np.floor(np.arange(size) * (1 / (size / old))).astype(int), old - 1), axis)
            continue
        low, part = np.floor(at).astype(int), at - np.floor(at)
        a = -0.75
        cubic = [
            ((a * (part + 1) - 5 * a) * (part + 1) + 8 * a) * (part + 1) - 4 * a,
            ((a + 2) * part - (a + 3)) * part * part + 1,
            ((a + 2) * (1 - part) - (a + 3)) * (1 - part) * (1 - part) + 1,
        ]
        weights = {0: 1 - part, 1: part} if filter_name == "bilinear" else dict(zip((-1, 0, 1), cubic, strict=True))
        if filter_name == "bicubic":
            weights[2] = 1 - sum(cubic)
        shape = [1, 1, 1]
        shape[axis] = size
        out = sum(np.take(out, np.clip(low + k, 0, old - 1), axis) * w.reshape(shape) for k, w in weights.items())
    return np.clip(np.round(out), 0, 255)


@pytest.mark.parametrize("opset", [12, 18])
@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize("size", [(37, 53), (7, 6), (6, 31)])
def test_opencv(size, filter_name, opset):
    array = picture(*size)
    model = gk.image(net(opset=opset), "x", resize="opencv", filter=filter_name)
    wanted = opencv(array, 12, 10, filter_name)
    off = np.abs(prepared(model, array[None])[0].transpose(1, 2, 0) - wanted)
    assert off.max() <= (2.001 if filter_name == "bicubic" else 1.001)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("shape", ["n,3,12,10", "n,12,10,3"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_mean_std_order_and_layouts(layout, shape, order):
    array = np.stack([picture(12, 10, seed=k) for k in range(2)])
    model = gk.image(net(shape), "x", layout=layout, order=order, mean=MEAN.tolist(), std=STD.tolist())
    fed = array if layout == "NHWC" else array.transpose(0, 3, 1, 2)
    seen = array if order == "rgb" else array[..., ::-1]
    wanted = (seen.astype(np.float32) / 255 - MEAN) / STD
    wanted = wanted if shape.endswith("3") else wanted.transpose(0, 3, 1, 2)
    assert_same(run_ort(model, {"x": np.ascontiguousarray(fed)}), {"y": wanted}, rtol=1e-5, atol=1e-5)
    assert_same(run_reference(model, {"x": np.ascontiguousarray(fed)}), {"y": wanted}, rtol=1e-5, atol=1e-5)
    assert gk.inspect(model).inputs[0].type == ("uint8[n,12,10,3]" if layout == "NHWC" else "uint8[n,3,12,10]")


def test_any_size_is_declared_and_other_types_are_taken_and_given():
    model = gk.image(net(elem="float16"), "x", resize="pil", mean=0.5, std=0.25)
    assert gk.inspect(model).inputs[0].type == "uint8[n,x_height,x_width,3]"
    assert run_ort(model, {"x": picture(5, 9)[None]})["y"].dtype == np.float16
    floats = gk.image(net(), "x", dtype="float32")
    assert_same(
        run_ort(floats, {"x": picture(12, 10)[None].astype(np.float32)})["y"][0, 0],
        picture(12, 10)[..., 0] / np.float32(255),
    )
    gray = gk.image(net("n,1,12,10"), "x", resize="pil")
    wanted = np.asarray(Image.fromarray(picture(30, 30, 1)[..., 0]).resize((10, 12), 2)).astype(np.float32)
    assert np.abs(prepared(gray, picture(30, 30, 1)[None])[0, 0] - wanted).max() <= 1.001
    assert model.history[-1].notes == (
        "'x' takes uint8[n,x_height,x_width,3], NHWC rgb, resized as pil does (bilinear)",
    )


@pytest.mark.parametrize(
    ("shape", "arguments", "error", "said"),
    [
        ("n,3,h,w", {"resize": "pil"}, gk.EditError, "no size to bring pictures to"),
        ("n,3,12", {}, gk.EditError, "four axes of floats"),
        ("n,1,12,10", {"order": "bgr"}, gk.EditError, "has 1 channels"),
        ("n,3,12,10", {"mean": [0.1, 0.2]}, gk.EditError, "mean has 2 numbers, and 'x' has 3 channels"),
        ("n,3,12,10", {"std": 0}, gk.EditError, "no std may be 0"),
        ("n,3,12,10", {"layout": "HWC"}, ValueError, "'HWC' is none of NHWC, NCHW"),
        ("n,3,12,10", {"std": float("inf")}, gk.EditError, "finite"),
        ("n,3,12,10", {"mean": float("nan")}, gk.EditError, "finite"),
        ("n,3,12,10", {"mean": "12"}, TypeError, "is a number, or one for each channel"),
        ("n,3,12,10", {"dtype": "float99"}, gk.EditError, "float99"),
        ("n,3,12,10", {"dtype": "string"}, gk.EditError, "integers or floats"),
        ("n,3,12,10", {"dtype": "int4"}, gk.EditError, "integers or floats"),
        ("n,3,12,10", {"input": "y"}, gk.NameNotFoundError, "no input named 'y'"),
    ],
)
def test_what_cannot_be_is_refused(shape, arguments, error, said):
    with pytest.raises(error, match=said):
        gk.image(net(shape), **{"input": "x", **arguments})


def test_a_nearest_place_that_is_just_between_two_pixels_is_the_one_that_pil_takes():
    image = pytest.importorskip("PIL.Image")
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 18]> g (float[1,3,17,23] x) => (float[1,3,17,23] y) { y = Identity(x) }"""
    )
    after = gk.image(model, "x", resize="pil", filter="nearest")
    picture = np.zeros((5, 90, 3), np.uint8) + np.arange(90, dtype=np.uint8)[None, :, None]
    got = gk.run(after, {"x": picture[None]})["y"][0].transpose(1, 2, 0) * 255
    want = np.asarray(image.fromarray(picture).resize((23, 17), image.Resampling.NEAREST))
    np.testing.assert_array_equal(np.round(got), want)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("size", [(60, 60), (62, 60), (63, 61), (40, 49), (97, 101), (90, 5), (53, 90), (54, 55)])
def test_bicubic_begins_with_the_side_that_pil_begins_with(size, opset):
    """Noise overshoots, which is cut off between the two sides: the order of the sides shows."""
    array = np.random.default_rng(0).integers(0, 2, (*size, 3), dtype=np.uint8) * 255
    wanted = np.asarray(Image.fromarray(array).resize((50, 53), 3)).astype(np.float32)
    model = gk.image(net("n,3,53,50", opset), "x", resize="pil", filter="bicubic")
    assert np.abs(prepared(model, array[None])[0].transpose(1, 2, 0) - wanted).max() <= 2.001


def ramp(length):
    """A row of pixels, each with its place in it in two channels."""
    places = np.arange(length)
    return np.stack([places % 256, places // 256, places * 0], -1).astype(np.uint8)[None]


@pytest.mark.parametrize(
    ("new", "olds"), [(23, (90, 448, 7, 1)), (64, (448, 1000, 50)), (224, (50, 1, 640)), (49, (98, 441))]
)
def test_nearest_takes_the_very_pixels_that_each_library_takes(new, olds):
    torch = pytest.importorskip("torch")
    models = {
        library: gk.image(net(f"n,3,1,{new}"), "x", resize=library, filter="nearest")
        for library in ("pil", "opencv", "torchvision")
    }
    for old in olds:
        row = ramp(old)
        channels_first = torch.from_numpy(row.transpose(2, 0, 1).copy())[None]
        wanted = {
            "pil": np.asarray(Image.fromarray(row).resize((new, 1), 0)),
            "opencv": row[:, np.floor(np.arange(new) * (1 / (new / old))).astype(int)],
            "torchvision": torch.nn.functional.interpolate(channels_first, size=(1, new)).numpy()[0].transpose(1, 2, 0),
        }
        for library, model in models.items():
            np.testing.assert_array_equal(np.round(prepared(model, row[None])[0].transpose(1, 2, 0)), wanted[library])


@pytest.mark.parametrize("opset", [12, 18])
@pytest.mark.parametrize("filter_name", FILTERS)
@pytest.mark.parametrize("size", [(12, 10), (30, 17), (5, 40)])
def test_colours_are_weighed_by_alpha_as_pil_does(size, filter_name, opset):
    array = picture(*size, 4)
    array[:3, :2, 3] = 0
    wanted = np.asarray(Image.fromarray(array, "RGBA").resize((10, 12), FILTERS[filter_name])).astype(np.float32)
    model = gk.image(net("n,4,12,10", opset), "x", resize="pil", filter=filter_name)
    got = prepared(model, array[None])[0].transpose(1, 2, 0)
    alpha = wanted[..., 3:]
    assert np.abs(got - wanted)[..., 3].max() <= 1.001
    assert (np.abs(got - wanted)[..., :3] * alpha).max() <= 255 * 2.1
    if size == (12, 10):
        np.testing.assert_array_equal(np.round(got), wanted)


def test_alpha_stays_last_where_red_and_blue_change_places():
    array = picture(12, 10, 4)
    got = prepared(gk.image(net("n,4,12,10"), "x", order="bgr"), array[None])[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(np.round(got), array[..., [2, 1, 0, 3]])


@pytest.mark.parametrize("filter_name", FILTERS)
def test_pictures_of_floats_are_neither_rounded_nor_cut_off(filter_name):
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(1).uniform(0, 255, (30, 17)).astype(np.float32)
    array[::2] = 255
    wanted = {"pil": np.asarray(Image.fromarray(array).resize((10, 12), FILTERS[filter_name]))}
    how = {} if filter_name == "nearest" else {"antialias": True, "align_corners": False}
    tensor = torch.from_numpy(array)[None, None]
    wanted["torchvision"] = torch.nn.functional.interpolate(tensor, size=(12, 10), mode=filter_name, **how).numpy()[
        0, 0
    ]
    for library, expected in wanted.items():
        model = gk.image(net("n,1,12,10"), "x", dtype="float32", resize=library, filter=filter_name)
        assert_same({"y": prepared(model, array[None, ..., None])[0, 0]}, {"y": expected}, rtol=1e-5, atol=2e-3)


@pytest.mark.parametrize("library", ["pil", "opencv", "torchvision"])
def test_halves_are_rounded_up(library):
    """A picture twice as large, whose pixels are the middles of two, is all halves."""
    array = np.zeros((24, 20, 3), np.uint8)
    array[:, 1::2] = 1
    array[:, :, 1] += 2
    model = gk.image(net(), "x", resize=library)
    if library != "opencv":  # the filter is wider there: 1/8, 3/8, 3/8, 1/8
        wanted = np.asarray(Image.fromarray(array).resize((10, 12), 2))
    else:
        wanted = np.ceil((array[:, ::2] / 2 + array[:, 1::2] / 2)[::2])
    np.testing.assert_array_equal(np.round(prepared(model, array[None])[0].transpose(1, 2, 0)), wanted)

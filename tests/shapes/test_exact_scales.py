"""Factors that make torch's sizes in ONNX Runtime."""

import itertools

import numpy as np
import onnx.parser
import pytest

import graphkit as gk
from graphkit.shapes.exact_scales import agreeing_factors, exact_factor
from oracle import run_ort


def resize_model(nodes, dims="1,1,15,30", opset=18):
    text = (
        f"g (float[{dims}] x) => (float[a,b,c,d] y) <float[4] s = {{1,1,2,2}}, float[4] t = {{1,1,3,3}}> {{ {nodes} }}"
    )
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')


ONE = 'y = Resize<mode="nearest">(x,, s)'


def test_exact_scale_gives_torchs_size_in_onnx_runtime():
    wrong = 0
    for size, tenths in itertools.product(range(1, 200), range(1, 60)):
        factor = tenths / 10
        scale = gk.exact_scale(size, factor)
        assert int(np.float32(size) * scale) == int(np.floor(size * factor))
        assert abs(float(scale) - factor) <= 4e-7 * factor
        wrong += int(np.float32(size) * np.float32(factor)) != int(np.floor(size * factor))
    assert wrong > 10  # without the nudge


def test_exact_scale_repairs_a_run():
    x = np.zeros((1, 1, 15, 30), np.float32)
    resized = gk.resize(resize_model(ONE))
    assert run_ort(resized, {"x": x, "factor": np.array([4.2, 1], np.float32)})["y"].shape[2] == 62
    assert run_ort(resized, {"x": x, "factor": np.array([gk.exact_scale(15, 4.2), 1], np.float32)})["y"].shape[2] == 63


@pytest.mark.parametrize("form", ["factor", "scales"])
@pytest.mark.parametrize("semantics", ["scales", "sizes"])
@pytest.mark.parametrize("dims", ["1,1,15,30", "1,1,h,w"])
def test_exact_factor_serves_every_axis_of_the_nodes_it_drives(form, semantics, dims):
    resized = gk.resize(resize_model(ONE, dims), form=form, semantics=semantics)
    x = np.zeros((1, 1, 15, 30), np.float32)
    for height, width in ((4.2, 4.2), (4.2, 2.1), (3.3, 4.1)):
        wanted = [height, width] if form == "factor" else [1, 1, height, width]
        feed = exact_factor(resized.proto, "factor", wanted, {"x": x.shape})
        shape = run_ort(resized, {"x": x, "factor": feed})["y"].shape
        assert shape[2:] == (int(np.floor(15 * height)), int(np.floor(30 * width)))


def test_one_number_serves_both_axes():
    resized = gk.resize(resize_model(ONE))
    feed = exact_factor(resized.proto, "factor", 4.2, {})
    assert feed.shape == (1,)
    assert run_ort(resized, {"x": np.zeros((1, 1, 15, 30), np.float32), "factor": feed})["y"].shape[2:] == (63, 126)


def test_relative_factors_count_with_the_nodes_own_scale():
    resized = gk.resize(resize_model('y = Resize<mode="nearest">(x,, t)', "1,1,5,5"), relative=True)
    x = np.zeros((1, 1, 5, 5), np.float32)
    feed = exact_factor(resized.proto, "factor", 1.4, {"x": x.shape})
    assert run_ort(resized, {"x": x, "factor": feed})["y"].shape[2] == int(np.floor(5 * 3 * 1.4))


NEAREST = 'y = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x,, s)'


def test_pixels_of_mode_nearest_are_torchs_at_any_size_and_factor():
    functional = pytest.importorskip("torch.nn.functional")
    import torch

    resized = gk.resize(resize_model(NEAREST, "1,1,1,w"))
    moved = 0
    for width, twentieths in itertools.product((7, 15, 20), (*range(12, 40), 42, 46, 84)):
        factor = twentieths / 20
        x = np.arange(width, dtype=np.float32).reshape(1, 1, 1, width)
        found = agreeing_factors(resized.proto, "factor", [1, factor], {"x": x.shape})
        moved += found.meant[1] != factor
        wanted = functional.interpolate(torch.from_numpy(x), scale_factor=tuple(found.meant.tolist()), mode="nearest")
        assert np.array_equal(run_ort(resized, {"x": x, "factor": found.fed})["y"], wanted.numpy()), (width, factor)
        assert abs(found.meant[1] - factor) <= 4e-7 * factor
    assert 0 < moved < 20


@pytest.mark.parametrize(
    ("shape", "factor", "fed"),
    [
        ((1, 1, 11, 13), 2.05, [2.0]),  # 22 x 26: both axes are doubled
        ((1, 1, 5, 16), 1.1, [1.0, 1.1]),  # 5 x 17: the rows are copied, the columns are not
        ((1, 1, 3, 4), 1.3, [1.0, 1.3]),
        ((1, 1, 3, 3), 1.3, [1.0]),
    ],
)
def test_where_torch_copies_or_doubles_whole_rows_the_runtime_is_fed_that(shape, factor, fed):
    functional = pytest.importorskip("torch.nn.functional")
    import torch

    resized = gk.resize(resize_model(NEAREST, "1,1,h,w"))
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = agreeing_factors(resized.proto, "factor", factor, {"x": x.shape})
    assert (np.round(found.fed.astype(np.float64), 4).tolist(), found.meant.tolist(), found.copies) == (
        fed,
        [factor],
        True,
    )
    wanted = functional.interpolate(torch.from_numpy(x), scale_factor=factor, mode="nearest").numpy()
    assert np.array_equal(run_ort(resized, {"x": x, "factor": found.fed})["y"], wanted)
    assert np.array_equal(gk.run(resized, {"x": x, "factor": factor})["y"], wanted)


def test_sizes_that_are_not_known_leave_the_nearest_float():
    resized = gk.resize(resize_model(ONE, "1,1,h,w"))
    assert exact_factor(resized.proto, "factor", 4.2, {}) == np.array([4.2], np.float32)


@pytest.mark.parametrize(("size", "factor"), [(0, 2), (3, 0), (3, -1), (3, float("inf")), (3, float("nan"))])
def test_exact_scale_refuses_what_is_no_size_or_factor(size, factor):
    with pytest.raises(ValueError, match="positive factor"):
        gk.exact_scale(size, factor)


@pytest.mark.parametrize("factor", [float("nan"), float("inf"), 0.0, -1.0])
def test_what_is_no_factor_is_left_to_the_runtime(factor):
    resized = gk.resize(resize_model(ONE))
    fed = exact_factor(resized.proto, "factor", factor, {"x": (1, 1, 15, 30)})
    assert np.array_equal(fed, np.array([factor], np.float32), equal_nan=True)
    with pytest.raises(gk.GraphkitError):
        gk.run(resized, {"x": np.zeros((1, 1, 15, 30), np.float32), "factor": 0.0})

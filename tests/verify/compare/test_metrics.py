"""The judge of validate: what it measures, and what it must never let pass."""

import math

import ml_dtypes
import numpy as np
import pytest

from graphkit.verify.compare.error_picture import error_picture
from graphkit.verify.compare.magnitude import mask_level, scale_of
from graphkit.verify.compare.metrics import measure, ulp_quantiles
from graphkit.verify.compare.tolerance import TORCH_TESTING, Policy

B = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)


def judged(a, b=B, **options):
    return measure(a, b, Policy(), **options)


def test_equal_arrays_match_with_no_error():
    m = judged(B.copy())
    assert m.match
    assert (m.max_abs, m.max_rel, m.mean_abs, m.rms, m.share_out) == (0, 0, 0, 0, 0)
    assert m.cosine == pytest.approx(1)
    assert m.psnr == math.inf
    assert m.ulp == {"p50": 0, "p99": 0, "max": 0}


def test_the_numbers_are_what_they_are_called():
    b = np.array([1.0, 2.0, -4.0, 8.0], np.float32)
    a = np.array([1.0, 2.5, -4.0, 7.0], np.float32)
    m = judged(a, b)
    assert m.max_abs == 1.0
    assert m.max_rel == pytest.approx(0.25)
    assert m.mean_abs == pytest.approx(1.5 / 4)
    assert m.rms == pytest.approx(math.sqrt((0.25 + 1) / 4))
    assert m.cosine == pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    assert m.psnr == pytest.approx(20 * math.log10(12 / m.rms))
    assert m.share_out == 0.5
    assert m.worst == (3,)
    assert (m.actual, m.expected) == (7, 8)
    assert not m.match


MUTANTS = {
    "doubled": lambda a: a * 2,
    "zeroed": lambda a: a * 0,
    "one element": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 17, a + abs(a).max() / 10, a).astype(
        a.dtype
    ),
    "one NaN": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 17, np.nan, a).astype(a.dtype),
    "one inf": lambda a: np.where(np.arange(a.size).reshape(a.shape) == 17, np.inf, a).astype(a.dtype),
    "all NaN": lambda a: a * np.nan,
    "negated": lambda a: -a,
    "transposed": lambda a: a.transpose(1, 0, 2),
    "flattened": lambda a: a.ravel(),
    "one row for all": lambda a: a[:1],
    "float64": lambda a: a.astype(np.float64),
    "a percent off": lambda a: a * np.float32(1.01),
    "rolled": lambda a: np.roll(a, 1),
}


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.parametrize("magnitude", [1e-4, 1.0, 1e4])
def test_what_is_different_never_matches(name, magnitude):
    b = (B * magnitude).astype(np.float32)
    m = measure(MUTANTS[name](b), b, Policy("gpu"))
    assert not m.match
    assert m.problem or m.share_out


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.parametrize("magnitude", [1e-6, 1e-9])
def test_numbers_below_every_tolerance_are_held_against_themselves(name, magnitude):
    b = (B * magnitude).astype(np.float32)
    assert not judged(MUTANTS[name](b), b).match
    assert judged((b * np.float32(1 + 1e-6)).astype(np.float32), b).match


def test_noise_beside_zero_and_noise_beside_noise():
    noise = (B * 1e-9).astype(np.float32)
    assert judged(noise, np.zeros_like(B)).match
    assert "of the root mean square" in judged(noise[::-1].copy(), noise).problem
    assert measure(noise[::-1].copy(), noise, Policy(atol=1e-7)).match
    assert measure(noise[::-1].copy(), noise, Policy(), small=False).match


@pytest.mark.parametrize("between", ["same", "cpu", "gpu"])
def test_scores_beside_coordinates_in_pixels_are_held_against_scores(between):
    random = np.random.default_rng(0)
    boxes, scores = random.uniform(0, 640, (1, 4, 800)), random.uniform(0, 0.3, (1, 1, 800))
    b = np.concatenate([boxes, scores], 1).astype(np.float32)
    a = b.copy()
    a[:, 4] *= np.float32(1.02)
    assert not measure(a, b, Policy(between)).match
    rounded = (b * (1 + 1e-7 * random.standard_normal(b.shape))).astype(np.float32)
    assert measure(rounded, b, Policy(between)).match


def test_a_mask_of_large_numbers_does_not_hide_a_difference():
    b = B.copy()
    b[0, 0] = -1e9
    a = b.copy()
    a[1, 1, 1] += 0.01
    assert not judged(a, b).match
    assert scale_of(b) < 100


MASKS = {"-1e4": -1e4, "-1e9": -1e9, "finfo.min": float(np.finfo(np.float32).min), "1e30": 1e30}


def masked(mask, window=4, size=16, *, added=False, heads=8):
    """Attention scores of a sliding window: most of each row, and some of every slice, is masked."""
    i = np.arange(size)
    hidden = ~((i[:, None] >= i) & (i[:, None] - i < window))
    scores = np.random.default_rng(0).standard_normal((heads, size, size))
    return scores, hidden, lambda s: np.where(hidden, s + mask, s) if added else np.where(hidden, mask, s)


@pytest.mark.parametrize(
    ("mask", "dtype"),
    [(m, d) for m in MASKS for d in (np.float16, np.float32, np.float64) if abs(MASKS[m]) <= float(np.finfo(d).max)],
)
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize(("window", "size"), [(12, 16), (4, 16), (1, 64), (2, 300)])
def test_a_mask_of_most_of_an_array_hides_nothing(mask, added, dtype, window, size):
    scores, hidden, put = masked(MASKS[mask], window, size, added=added, heads=4)
    with np.errstate(over="ignore"):
        b, turned, more = (put(s).astype(dtype) for s in (scores, -scores, 1.05 * scores))
        rounded = put(scores * (1 + np.finfo(dtype).eps / 4)).astype(dtype)
    assert 0.1 < scale_of(b) < 10
    assert (abs(b.astype(float)) >= mask_level(b)).mean() == pytest.approx(hidden.mean(), abs=0.01)
    for policy in (Policy("same"), Policy("cpu"), Policy("gpu")):
        assert not measure(turned, b, policy).match
        assert not measure(more, b, policy).match
        assert measure(rounded, b, policy).match


def test_small_scores_beside_a_mask_are_held_against_scores():
    scores, _, put = masked(-1e9, 4, 64)
    b, a = (put(s * 1e-6).astype(np.float32) for s in (scores, 1.05 * scores))
    assert "of the root mean square" in judged(a, b).problem
    assert judged(put(scores * 1.0000001e-6).astype(np.float32), b).match


def test_masks_of_several_sizes_and_one_number_that_none_hides():
    scores, _, put = masked(-1e4, 4, 32)
    b = put(scores)
    b[:, :, 20:] = -1e9
    assert 0.1 < scale_of(b) < 10
    lonely = np.full((40, 70, 50), -1e9, np.float32)
    lonely[7, 13, 11] = 2.0
    assert scale_of(lonely) == pytest.approx(2)


def test_numbers_of_many_sizes_and_saturated_ones_are_no_mask():
    random = np.random.default_rng(0)
    for b in (
        10 ** random.uniform(-5, 5, 5000),
        random.standard_normal(5000),
        np.full(100, 7.0),
        np.r_[np.full(5000, 1.0), random.uniform(0, 1, 500)],
        np.r_[np.zeros(5000), 3.0],
    ):
        assert mask_level(b) == math.inf


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("both", [False, True])
def test_what_is_not_finite_has_no_number_that_looks_good(value, both):
    b = B.copy()
    a = B.copy()
    a[0, 0, 2] = a[2, 1, 1] = value
    if both:
        b[0, 0, 2] = b[2, 1, 1] = value if np.isnan(value) else -value
    m = judged(a, b)
    assert not m.match
    assert m.share_out == pytest.approx(2 / B.size)
    assert (m.max_abs, m.max_rel, m.mean_abs, m.rms) == (math.inf,) * 4
    assert m.cosine == 0
    assert m.psnr == 0
    assert m.ulp["p50"] == math.inf
    assert m.worst == (0, 0, 2)
    assert np.isnan(m.actual) if np.isnan(value) else m.actual == math.inf
    assert judged(a * np.float32(np.nan), b).share_out == 1


def test_nan_in_the_same_places_is_told_with_the_ways_out():
    b = B.copy()
    b[0] = np.nan
    assert "equal_nan" in judged(b.copy(), b).problem
    assert "feed another" in judged(b.copy(), b).problem
    assert "equal_nan" not in judged(np.roll(b, 1), b).problem


def test_nan_on_both_sides_is_a_failure_unless_it_is_allowed():
    b = B.copy()
    b[0, 0, 0] = np.nan
    assert not judged(b.copy(), b).match
    assert "NaN" in judged(b.copy(), b).problem
    assert judged(b.copy(), b, equal_nan=True).match
    a = np.roll(b, 1)
    assert not judged(a, b, equal_nan=True).match


def test_the_same_infinity_agrees_and_another_does_not():
    b = B.copy()
    b[0, 0, 0] = -np.inf
    assert judged(b.copy(), b).match
    a = b.copy()
    a[0, 0, 0] = np.inf
    assert "infinite" in judged(a, b).problem
    a[0, 0, 0] = -1e30
    assert not judged(a, b).match


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16])
def test_rounding_passes_and_more_than_rounding_does_not(dtype):
    b = B.astype(dtype)
    step = {"float16": 2e-4, "float32": 1e-7, "float64": 1e-15, "bfloat16": 2e-3}[str(np.dtype(dtype))]
    assert judged((b.astype(np.float64) * (1 + step)).astype(dtype), b).match
    assert not judged((b.astype(np.float64) * (1 + 500 * step) + 0.1).astype(dtype), b).match


def test_integers_and_booleans_agree_exactly():
    big = np.array([2**53, 5], np.int64)
    assert judged(big, big).match
    assert not judged(big + np.array([1, 0]), big).match
    assert judged(np.array([255], np.uint8), np.array([0], np.uint8)).max_abs == 255
    assert not judged(np.array([True]), np.array([False])).match
    assert judged(np.array(["a"], object), np.array(["a"], object)).match
    assert not judged(np.array(["a"], object), np.array(["b"], object)).match


def test_sequences_and_empty_arrays():
    assert judged([B, B], [B, B]).match
    assert not judged([B, 2 * B], [B, B]).match
    assert not judged([B], [B, B]).match
    assert not judged(None, B).match
    assert judged(None, None).match
    empty = np.zeros((0, 3), np.float32)
    assert judged(empty, empty).match
    assert not judged(empty, np.zeros((1, 3), np.float32)).match


def test_another_dtype_can_be_allowed_and_takes_the_coarser_tolerance():
    half = B.astype(np.float16)
    assert "dtype" in judged(half).problem
    m = judged(half, any_dtype=True)
    assert m.match
    assert m.rtol == pytest.approx(10 * TORCH_TESTING["float16"][0])


def test_distances_are_counted_in_units_in_the_last_place():
    b = np.float32([1.0, -1.0, 0.0, 1e-40, 3.0])
    a = np.nextafter(b, np.float32(np.inf))
    assert ulp_quantiles(a, b) == {"p50": 1, "p99": 1, "max": 1}
    assert ulp_quantiles(np.float32([-0.0]), np.float32([0.0])) == {"p50": 0, "p99": 0, "max": 0}
    smallest = np.float32([1e-45])
    assert ulp_quantiles(smallest, -smallest)["max"] == 2
    assert ulp_quantiles(np.float16([1.0]), np.nextafter(np.float16([1.0]), np.float16(2)))["max"] == 1
    assert ulp_quantiles(np.array([1]), np.array([1])) is None


def test_the_users_own_tolerance_is_absolute_and_goes_before_the_table():
    a, b = np.float32([100.05]), np.float32([100.0])
    assert not measure(a, b, Policy()).match
    assert measure(a, b, Policy(atol=0.1, rtol=0)).match
    assert not measure(a, b, Policy(atol=0.01, rtol=0)).match
    assert measure(np.uint8([3]), np.uint8([4]), Policy(atol=1)).match


def test_tolerances_widen_with_what_is_compared():
    narrow, cpu, gpu = (Policy(between).tolerance("float32") for between in ("same", "cpu", "gpu"))
    assert (narrow.rtol, narrow.atol) == TORCH_TESTING["float32"]
    assert narrow.rtol < cpu.rtol < gpu.rtol < Policy("gpu", tf32=True).tolerance("float32").rtol
    assert "TF32" in Policy("gpu", tf32=True).tolerance("float32").source


def test_where_an_error_lies():
    a = B.copy()
    a[2, 3, 4] += 0.5
    picture = error_picture(a, B)
    assert sum(picture.histogram) == B.size
    assert picture.histogram[0] == B.size - 1
    assert max(max(row) for row in picture.heat) == pytest.approx(0.5)
    assert picture.heat[3][4] == pytest.approx(0.5)
    large = np.zeros((1, 3, 500, 300), np.float32)
    assert len(error_picture(large, large).heat) == 48


CASES = {
    "random": (B, (B + 1e-3 * np.sin(B)).astype(np.float32)),
    "NaN": (np.where(B > 2, np.nan, B).astype(np.float32), B),
    "hidden": (np.where(abs(B) > 1, -1e9, -B).astype(np.float32), np.where(abs(B) > 1, -1e9, B).astype(np.float32)),
    "infinite": (np.where(B > 2, np.inf, B).astype(np.float32), B),
    "integers": (np.arange(12), np.arange(12) + (np.arange(12) == 5)),
    "halves": (B.astype(np.float16), (B * 1.001).astype(np.float16)),
    "masked": (np.where(B > 1, -1e9, B).astype(np.float32), np.where(B > 1, -1e9, B + 1e-4).astype(np.float32)),
    "tiny": ((B * 1e-8).astype(np.float32), (B * 1.01e-8).astype(np.float32)),
    "columns": (B.repeat(9, 2) * [[[1]] * 3 + [[1e-5]]], B.repeat(9, 2) * [[[1]] * 3 + [[1.05e-5]]]),
    "shape": (B, B[0]),
    "empty": (B[:0], B[:0]),
    "equal": (B, B),
}


@pytest.mark.parametrize("name", CASES)
def test_the_device_measures_what_the_host_measures(name):
    torch = pytest.importorskip("torch")
    a, b = CASES[name]
    host = vars(measure(a, b, Policy("gpu")))
    device = vars(measure(torch.from_numpy(a.copy()), torch.from_numpy(b.copy()), Policy("gpu")))
    assert host.pop("problem") == device.pop("problem")
    for key, value in host.items():
        expected = pytest.approx(value, rel=1e-5, nan_ok=True) if isinstance(value, float) else value
        assert device[key] == expected, key

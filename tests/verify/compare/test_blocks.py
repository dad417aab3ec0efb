"""Large arrays are compared block by block: the same numbers, in memory that does not grow."""

import math
import tracemalloc
from dataclasses import asdict

import ml_dtypes
import numpy as np
import pytest

from graphkit.verify.bisect.search import judge
from graphkit.verify.compare import blocks
from graphkit.verify.compare.blocks import Blocks, thinned
from graphkit.verify.compare.error_picture import error_picture
from graphkit.verify.compare.metrics import measure
from graphkit.verify.compare.tolerance import Policy


@pytest.mark.parametrize("limit", [1, 2, 7, 64, 10_000])
@pytest.mark.parametrize("shape", [(), (1,), (17,), (3, 5), (2, 3, 4), (1, 1, 30), (5, 1, 7, 2), (40, 2), (0, 3)])
def test_blocks_are_the_array_in_order(shape, limit):
    whole = np.arange(math.prod(shape)).reshape(shape)
    parts = [whole[box] for box in blocks.blocks(shape, limit)]
    assert all(part.size <= limit and part.ndim == whole.ndim for part in parts)
    np.testing.assert_array_equal(np.concatenate([part.ravel() for part in parts]), whole.ravel())
    if limit >= whole.size:
        assert len(parts) == 1


def arrays(name, shape):
    random = np.random.default_rng(5)
    b = random.standard_normal(shape) * {"tiny": 1e-9, "mixed": np.logspace(-6, 2, shape[-1])}.get(name, 1)
    a = b * (1 + {"close": 1e-7, "tiny": 1e-7, "mixed": 1e-5}.get(name, 1e-2) * random.standard_normal(shape))
    kind = {"halves": np.float16, "brain": ml_dtypes.bfloat16, "whole": np.int32, "complex": np.complex64}
    a, b = ((x * 20 if name == "whole" else x).astype(kind.get(name, np.float32)) for x in (a, b))
    if name == "not finite":
        a.flat[3], b.flat[3], a.flat[50], b.flat[60], a.flat[-1] = np.nan, np.nan, np.inf, -np.inf, np.nan
    return a, b


NAMES = ["close", "far", "tiny", "mixed", "halves", "brain", "whole", "complex", "not finite"]


@pytest.mark.parametrize("shape", [(3000,), (4, 700), (2, 3, 20, 30)])
@pytest.mark.parametrize("name", NAMES)
def test_many_blocks_measure_what_one_does(name, shape, monkeypatch):
    a, b = arrays(name, shape)
    for options in ({}, {"equal_nan": True, "small": False}):
        whole = asdict(measure(a, b, Policy(), **options))
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "BLOCK", 97)
            parts = asdict(measure(a, b, Policy(), **options))
        assert parts.pop("ulp") == whole.pop("ulp")
        assert parts == {
            k: pytest.approx(v, rel=1e-9, nan_ok=True) if isinstance(v, float) else v for k, v in whole.items()
        }
    assert len(list(Blocks(a, b))) == 1


@pytest.mark.parametrize("shape", [(), (1,), (50,), (2500,), (3, 700), (2, 2, 61, 55)])
def test_a_picture_of_many_blocks_is_that_of_one(shape, monkeypatch):
    random = np.random.default_rng(0)
    a, b = (random.standard_normal(shape).astype(np.float32) for _ in range(2))
    whole = error_picture(np.asarray(a), np.asarray(b))
    monkeypatch.setattr(blocks, "BLOCK", 97)
    assert error_picture(np.asarray(a), np.asarray(b)) == whole
    assert max(map(max, whole.heat)) == pytest.approx(float(np.abs(np.float64(a) - b).max()))
    assert sum(whole.histogram) == a.size


def test_a_number_without_dims_is_held_against_itself():
    m = measure(np.array(1.05e-9, np.float32), np.array(1e-9, np.float32), Policy())
    assert not m.match
    assert "of the root mean square" in m.problem


def test_the_largest_distance_is_that_of_all_elements():
    b = np.ones(1_000_001, np.float32)
    a = b.copy()
    a[654_321] = np.float32(1 + 7 * 2**-23)
    assert measure(a, b, Policy()).ulp == {"p50": 0, "p99": 0, "max": 7}


@pytest.mark.parametrize("layout", ["whole", "transposed", "strided"])
def test_thinning_does_not_copy_what_it_leaves_out(layout):
    a = np.arange(1200.0).reshape(30, 40)
    a = {"whole": a, "transposed": a.T, "strided": a[:, ::2]}[layout]
    step = next(step for step in range(-(-a.size // 100), a.size) if math.gcd(step, a.size) == 1)
    found = thinned(a, 100)
    np.testing.assert_array_equal(found, a.ravel()[::step])
    assert 50 < found.size <= 100


def test_thinning_sees_every_column():
    a = np.tile(np.arange(64), (1024, 1))
    assert set(thinned(a, 1024).tolist()) == set(range(64))


@pytest.mark.parametrize("layout", ["whole", "transposed", "line"])
def test_comparing_large_arrays_takes_little_memory(layout):
    b = np.random.default_rng(0).standard_normal((4, 1000, 1000), np.float32)
    b = {"whole": b, "transposed": b.transpose(2, 0, 1), "line": b.ravel()}[layout]
    a = b * np.float32(1 + 1e-7)
    a[(5 % a.shape[0], *[0] * (a.ndim - 1))] += 1e-5
    for compare in (
        lambda: measure(a, b, Policy()),
        lambda: judge(a, b, Policy(), small=True),
        lambda: judge(b, b, Policy(), small=True),
        lambda: error_picture(a, b),
    ):
        compare()  # what is imported or made once
        tracemalloc.start()
        compare()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < blocks.WORKING_BYTES < b.nbytes

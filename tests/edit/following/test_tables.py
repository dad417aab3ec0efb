"""Constants whose making is evident are recognised, and no others."""

import numpy as np
import pytest

from graphkit.edit.following.rotary import rotary
from graphkit.edit.following.tables import distances, grid, slope, steps, uniform


@pytest.mark.parametrize(
    ("array", "anchor"),
    [
        (np.arange(5), "start"),
        (np.arange(1, 6), "start"),
        (np.arange(5)[::-1], "end"),
        (np.arange(5, dtype=np.float32) + 0.5, "start"),
        (np.linspace(-1, 1, 7, dtype=np.float32), "span"),
        (np.linspace(0, 1, 7, dtype=np.float32), "span"),
        ((np.arange(8, dtype=np.float32) + 0.5) / 8, "cells"),
        (np.arange(8, dtype=np.float32) / 8, "parts"),
    ],
)
def test_even_steps_are_known_by_where_they_begin_and_end(array, anchor):
    found = steps(array, 0)
    assert found is not None
    assert found.anchor == anchor


@pytest.mark.parametrize("array", [[3, 1, 2], [7, 8, 9], [0, 0.3, 0.6], [1, 5], [0, 1, 3]])
def test_other_numbers_are_no_steps(array):
    assert steps(np.array(array), 0) is None


def test_slopes_of_alibi_are_rows_of_their_own():
    rows = np.array([[0.25], [0.0625]], np.float32) * np.arange(16, dtype=np.float32)
    found = steps(rows, 1)
    assert found is not None
    assert np.array_equal(found.step, rows[:, 1:2])


def test_masks_depend_on_the_distance():
    causal = np.where(np.tri(5) > 0, 0, -np.inf).astype(np.float32)
    found = distances(causal)
    assert found is not None
    assert (found.bounds, [float(v) for v in found.values]) == ((0,), [-np.inf, 0.0])
    band = distances((np.abs(np.arange(8)[:, None] - np.arange(8)) <= 1).astype(np.int64))
    assert band is not None
    assert band.bounds == (-1, 2)
    assert distances(np.arange(16).reshape(4, 4)) is None
    assert distances(np.random.default_rng(0).random((4, 4))) is None


def test_biases_and_meshes():
    distance = np.abs(np.arange(6)[:, None] - np.arange(6)).astype(np.float32)
    found = slope(-0.5 * distance, 0, 1)
    assert found is not None
    assert (found[0].item(), found[1]) == (-0.5, True)
    assert slope(distance**2, 0, 1) is None
    ys, xs = np.meshgrid(np.arange(3), np.arange(4), indexing="ij")
    assert grid(np.stack((xs, ys), -1), [0, 1]) is not None
    assert grid(ys * 4 + xs, [0, 1]) is not None
    assert grid(ys * xs, [0, 1]) is None
    assert uniform(np.ones((2, 3)), 1)
    assert not uniform(np.arange(3), 0)


@pytest.mark.parametrize("base", [100.0, 10000.0, 500000.0])
@pytest.mark.parametrize("function", [np.cos, np.sin])
def test_rotary_tables_give_their_frequencies(base, function):
    row = base ** (-np.arange(4) / 4)
    table = function(np.arange(16)[:, None] * np.concatenate([row, row])).astype(np.float32)
    found = rotary(table, 0)
    assert found is not None
    np.testing.assert_allclose(found.frequencies[0, :4], row, rtol=1e-6)
    noisy = table.copy()
    noisy[7, 3] += 1e-3
    assert rotary(noisy, 0) is None
    assert rotary(np.random.default_rng(0).random((16, 8)).astype(np.float32), 0) is None

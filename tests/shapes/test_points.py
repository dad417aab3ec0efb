"""Which axis of a Reshape's result a size goes into."""

import pytest

from graphkit.shapes.points import align, fixed, merged, whole

B, S = whole((1, 2, 3)), whole((16, 48, 80))


def n(size):
    return fixed(size, 3)


@pytest.mark.parametrize(
    ("source", "target", "open_axis", "wanted"),
    [
        ([B, S, n(32)], [1, 16, 4, 8], None, [B, S, n(4), n(8)]),
        ([B, n(6), n(32)], [1, 24, 8], 1, [B, n(24), n(8)]),
        ([B, n(12)], [1, 3, 4], None, [B, n(3), n(4)]),
        ([S, B, n(32)], [16, 4, 8], None, [S, whole((4, 8, 12)), n(8)]),
        ([S, B, n(32)], [16, 32], None, [whole((16, 96, 240)), n(32)]),
        ([merged([S.sizes, B.sizes], 3), n(32)], [16, 1, 32], None, [S, B, n(32)]),
        ([n(1), B, n(4)], [1, 1, 4], None, [n(1), B, n(4)]),
        ([B, S], [4, 4], None, [whole((4, 24, 60)), n(4)]),
        ([S], [4, 4], 1, [n(4), whole((4, 12, 20))]),
        ([B, n(6), n(4)], [1, 4, 6], None, [B, n(4), n(6)]),
    ],
)
def test_sizes_go_where_the_elements_go(source, target, open_axis, wanted):
    found = align(source, target, open_axis, 3)
    assert found is not None
    assert [dim.sizes for dim in found.dims] == [dim.sizes for dim in wanted]


def test_a_size_that_is_cut_may_go_into_either_part():
    found = align([S], [4, 4], None, 3)
    assert found is not None
    assert found.ambiguous == ((0, 1),)
    inner = align([S], [4, 4], None, 3, inner=True)
    assert inner is not None
    assert [dim.base == dim.sizes[1] for dim in inner.dims] == [True, False]


def test_shapes_of_other_counts_do_not_align():
    assert align([n(6)], [4], None, 3) is None
    assert align([S, n(3)], [3, 16], None, 3) is None
    assert align([n(6)], [0], None, 3) is None
